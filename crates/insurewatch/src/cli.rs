//! The commands and their options.

use std::net::SocketAddr;
use std::path::PathBuf;

use chain::{Kind, Language, Service};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::lab_file::LabName;
use crate::program::Program;
use crate::seat::{HealthPath, Seat};

/// A lab where distributed traces break, and you learn why
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) lab: Lab,
    #[command(subcommand)]
    pub(crate) command: Command,
}

pub(crate) const DEFAULT_DATA_DIR: &str = ".insurewatch";

/// Which lab is meant.
#[derive(Debug, Args)]
pub(crate) struct Lab {
    /// URL of the lab's desk; by default, of the lab that runs in the data directory
    #[arg(long, global = true, env = "INSUREWATCH_LAB", value_name = "URL")]
    pub(crate) lab: Option<reqwest::Url>,
    /// Folder of the lab's databases, logs and lab.json
    #[arg(long, global = true, env = "INSUREWATCH_DATA_DIR", value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the complete lab on this machine; Ctrl-C stops it
    Up(Up),
    /// Run one service
    Serve(Serve),
    /// List, show and switch scenarios, and change single settings, live
    #[command(subcommand)]
    Scenario(Scenario),
    /// Send claims through the front door
    Claim(Claim),
    /// Draw the traces of one claim on one clock
    Trace(Trace),
    /// Send probe claims and judge by their traces whether the chain is healthy
    ///
    /// Exit code 0: healthy, or not a propagation break. 1: broken, or leaking. 2: cannot tell.
    ///
    /// While a drill is on, it prints what it observed and no verdict, and the exit code is always 2.
    Check(Check),
    /// Check the four steps at every hop: injected, survived transit, extracted, used
    ///
    /// Without a claim, it sends probe claims. The exit codes are those of check.
    Diagnose(Diagnose),
    /// Find a hidden random scenario, against the clock
    #[command(subcommand)]
    Drill(Drill),
    /// Show the next hint for the active scenario
    Hint(Json),
    /// Show the complete answer of the active scenario
    Reveal(Json),
    /// Print the environment and the HTTP contract that your own service needs to fill a seat of the chain
    Seat(SeatOptions),
    /// Request a service's /healthz; exit code 0 if the service is healthy
    #[command(hide = true)]
    Healthcheck(Healthcheck),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The scenario to start with
    #[arg(long, value_name = "ID", default_value = desk::api::HEALTHY)]
    pub(crate) scenario: String,
    /// Claims per second to send continuously
    #[arg(long, value_name = "RPS", default_value_t = 0.0, value_parser = rate_or_none)]
    pub(crate) traffic: f64,
    /// Send spans to this OTLP endpoint instead of the built-in trace store
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Read traces from this Tempo instead of the built-in trace store
    #[arg(long, value_name = "URL")]
    pub(crate) tempo: Option<reqwest::Url>,
    /// First of the lab's ports; 0 takes any free ports
    #[arg(long, value_name = "N")]
    pub(crate) port_base: Option<u16>,
    /// Address of the desk; beyond loopback it requires INSUREWATCH_DESK_TOKEN
    #[arg(long, value_name = "ADDR")]
    pub(crate) desk_listen: Option<SocketAddr>,
    /// Name of the lab, on every span as deployment.environment.name; distinguishes labs that share a backend
    #[arg(long, value_name = "NAME")]
    pub(crate) lab_name: Option<LabName>,
    /// A service of yours instead of the lab's: its URL, or a command that starts it on $PORT; may be given more than once
    #[arg(long = "seat", value_name = "SERVICE=URL|COMMAND")]
    pub(crate) seats: Vec<Seat>,
    /// Where a service of yours answers 200 once it runs; by default at /healthz
    #[arg(long = "seat-health", value_name = "SERVICE=PATH")]
    pub(crate) seat_health: Vec<HealthPath>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The service to run
    pub(crate) service: Program,
    /// Address to listen on; by default loopback and the service's documented port
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// trace-store only: address for OTLP over gRPC
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4317")]
    pub(crate) otlp_grpc: SocketAddr,
    /// trace-store only: address for OTLP over HTTP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4318")]
    pub(crate) otlp_http: SocketAddr,
    /// Stop when standard input ends, as it does when the supervisor dies
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
    /// Keep this command in the seat of the service instead
    #[arg(long, hide = true, requires = "seat_health")]
    pub(crate) seat_command: Option<String>,
    /// Where the command answers for its health
    #[arg(long, hide = true)]
    pub(crate) seat_health: Option<reqwest::Url>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// List all scenarios
    List(Json),
    /// Show a scenario: its symptom and what to look at, but not the answer
    Show {
        /// The scenario
        id: String,
        /// Show the answer too
        #[arg(long)]
        answer: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Switch to a scenario; returns when all services have applied it
    Use {
        /// The scenario
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// Change one setting of one service; returns when all services have applied it
    Set {
        /// The service, such as python-api
        service: String,
        /// The setting, such as OTEL_PROPAGATORS=tracecontext,baggage
        #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
        assignment: (String, String),
        #[command(flatten)]
        json: Json,
    },
    /// Switch to the healthy scenario
    Reset(Json),
    /// Show what is set, and which services have applied it
    Status(Json),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Claim {
    /// Number of claims
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u64,
    /// Claims per second; by default one after the other
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// A traceparent header to send
    #[arg(long, value_name = "HEADER")]
    pub(crate) traceparent: Option<String>,
    /// A baggage member to send; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) baggage: Vec<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// A claim id or a trace id
    #[arg(required_unless_present = "last", conflicts_with = "last")]
    pub(crate) id: Option<String>,
    /// The claim that was sent last
    #[arg(long)]
    pub(crate) last: bool,
    /// Show the headers that each hop sent and received, instead of the spans
    #[arg(long, conflicts_with = "json")]
    pub(crate) ledger: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Also check what must be seen once this scenario is fixed
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Diagnose {
    /// A claim id or a trace id
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Drill {
    /// Hide a random scenario. Until the drill ends, settings are hidden, and check reports observations without a verdict
    Start {
        /// Choose only from these; can be repeated
        #[arg(long = "scenario", value_name = "ID")]
        scenarios: Vec<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Answer with a place and what happened there; exit code 0: correct, 1: incorrect, 2: cannot tell yet
    #[command(after_help = kinds())]
    Answer {
        /// A hop, such as 'python-api -> java-claims', or a service
        place: String,
        /// What happened there: one of the kinds below
        #[arg(value_parser = kind)]
        kind: Kind,
        #[command(flatten)]
        json: Json,
    },
    /// Show the time and the score
    Status(Json),
}

#[derive(Debug, Args)]
pub(crate) struct SeatOptions {
    /// The seat, such as java-claims
    pub(crate) service: Service,
    /// The language of your service: python, node, java, go, dotnet or rust
    #[arg(long)]
    pub(crate) language: Option<Language>,
    /// How to write the environment
    #[arg(long, value_enum, default_value_t = Format::Shell)]
    pub(crate) format: Format,
    /// Print the HTTP contract of the seat as OpenAPI instead
    #[arg(long, conflicts_with_all = ["language", "format"])]
    pub(crate) openapi: bool,
}

/// How an environment is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Lines for a POSIX shell
    Shell,
    /// A fragment of compose.yaml
    Compose,
}

#[derive(Debug, Args)]
pub(crate) struct Healthcheck {
    /// URL of the service's /healthz
    #[arg(default_value = "http://127.0.0.1:7700/healthz")]
    pub(crate) url: reqwest::Url,
}

fn kind(text: &str) -> Result<Kind, chain::UnknownKind> {
    text.parse()
}

/// The kinds of an answer, and what they mean.
fn kinds() -> String {
    // In a narrower terminal clap wraps it again.
    let below = " ".repeat(16);
    let options = textwrap::Options::new(96).subsequent_indent(&below);
    let row = |kind: Kind| textwrap::fill(&format!("  {:<13} {}", kind.name(), kind.meaning()), &options);
    let rows = Kind::ALL.map(row);
    format!(
        "Kinds:\n{}\n\nFor a step, the hop and the service that does the step are the same place: the sender injects, the \
         proxy forwards, the receiver extracts and uses.",
        rows.join("\n")
    )
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= desk::api::MAX_PER_SECOND => Ok(rate),
        _ => Err(format!("must be a number above 0, at most {}", desk::api::MAX_PER_SECOND)),
    }
}

fn rate_or_none(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) { Ok(0.0) } else { rate(text) }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}
