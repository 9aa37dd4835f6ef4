//! One program: a service of the chain, the desk, the trace store, or an endpoint for conformance tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use chain::Service;
use desk::HealthAt;
use desk::guard::backends::Backends;
use reqwest::Url;
use scenario::{Catalogue, Scenario};
use service::serve::Limits;
use settings::{Active, ProcessEnvironment};
use telemetry::Telemetry;

use crate::cli::Serve;
use crate::lab_file::desk_token;
use crate::process::{bind, shutdown_asked, variable};
use crate::program::Program;
use crate::services::schema;
use crate::{seat, services};

/// What the built-in trace store holds at most, in bytes.
const TRACE_STORE_BYTES: usize = 64 << 20;

/// Runs one program until it is asked to stop.
pub(crate) async fn serve(options: Serve) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_asked(options.supervised)?;
    let program = options.service;
    let serve = service::serve::Serve::read(&ProcessEnvironment, limits(program))?;
    let listen = options.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, program.port())));
    if let (Program::Service(service), Some(command), Some(health)) =
        (program, options.seat_command, options.seat_health)
    {
        let port = health.port_or_known_default().unwrap_or_default();
        return seat::keep(seat::Kept { service, command, port, health }, listen, shutdown).await;
    }
    match program {
        Program::Service(service) => return services::run(service, listen, shutdown).await,
        Program::TraceContextEcho => {
            let telemetry = Telemetry::init(&ProcessEnvironment)?;
            serve.run([(bind(listen).await?, crate::echo::app()?)], shutdown).await;
            telemetry.shutdown().await;
        }
        Program::Desk => {
            telemetry::logs::init(program.name(), None).context("logs cannot be set up")?;
            let config = desk_config()?;
            let published = std::env::var("INSUREWATCH_PUBLISHED_ON_LOOPBACK").is_ok_and(|value| value == "1");
            desk::guard::token::check_exposure(listen, config.token.as_ref(), published)?;
            serve.run([(bind(listen).await?, desk::app(config)?)], shutdown).await;
        }
        Program::TraceStore => {
            telemetry::logs::init(program.name(), None).context("logs cannot be set up")?;
            let [grpc, http, query] =
                [bind(options.otlp_grpc).await?, bind(options.otlp_http).await?, bind(listen).await?];
            let bytes = variable("INSUREWATCH_TRACE_STORE_MAX_BYTES", "a number of bytes")?;
            let store = trace_store::Store::new(bytes.unwrap_or(TRACE_STORE_BYTES));
            let listeners = [
                (grpc, trace_store::grpc_router(store.clone())),
                (http, trace_store::otlp_http_app(store.clone())),
                (query, trace_store::query_app(store)),
            ];
            serve.run(listeners, shutdown).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the peers of a program may use up; those of the store by its budget of memory.
fn limits(program: Program) -> Limits {
    match program {
        Program::TraceStore => Limits {
            connections: trace_store::CONNECTIONS,
            streams: trace_store::STREAMS,
            ahead: trace_store::READ_AHEAD_BYTES,
            ..Limits::default()
        },
        _ => Limits::default(),
    }
}

/// The lessons: those that were built in, or an author's.
pub(crate) fn catalogue() -> anyhow::Result<Catalogue> {
    Ok(match std::env::var_os("INSUREWATCH_SCENARIOS_DIR") {
        Some(folder) => Catalogue::from_dir(folder.as_ref(), &schema())?,
        None => Catalogue::embedded(&schema())?,
    })
}

fn desk_config() -> anyhow::Result<desk::Config> {
    let services =
        Service::ALL.iter().map(|service| Ok((*service, url(service.row().url_variable, Program::Service(*service))?)));
    let list = |name: &str| -> Vec<String> {
        let list = std::env::var(name).unwrap_or_default();
        list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let configured = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok();
    let active = std::env::var_os("INSUREWATCH_SETTINGS").map_or_else(|| "active.toml".into(), PathBuf::from);
    let catalogue = catalogue()?;
    if let Some(id) = variable::<String>("INSUREWATCH_SCENARIO", "the id of a scenario")? {
        begin(&active, catalogue.get(&id)?)?;
    }
    let seats = seats("INSUREWATCH_SEATS", HealthAt::Plainly)?.into_iter();
    Ok(desk::Config {
        seats: seats.chain(self::seats("INSUREWATCH_KEPT_SEATS", HealthAt::Keeper)?).collect(),
        services: services.collect::<anyhow::Result<_>>()?,
        trace_source: url("TEMPO_URL", Program::TraceStore)?,
        active,
        catalogue,
        schema: Arc::new(schema()),
        backends: Backends::new(configured.as_deref(), list("INSUREWATCH_ALLOWED_BACKENDS")),
        token: desk_token()?.and_then(|token| desk::guard::token::Token::new(&token)),
        drills: list("INSUREWATCH_DRILLS"),
        grafana: variable("INSUREWATCH_GRAFANA_URL", "an http:// URL")?,
        grafana_api: variable("INSUREWATCH_GRAFANA_API_URL", "an http:// URL")?,
        lock_reveal: variable("INSUREWATCH_LOCK_REVEAL", "true or false")?.unwrap_or(false),
        traffic_per_second: variable("INSUREWATCH_TRAFFIC_PER_SECOND", "a number")?.unwrap_or(0.0),
    })
}

/// Writes the settings that a lab begins with; a service that follows the file already sees a new generation.
pub(crate) fn begin(path: &Path, scenario: &Scenario) -> anyhow::Result<()> {
    let active = Active {
        generation: Active::generation_in(path).unwrap_or_default().saturating_add(1),
        scenario: Some(scenario.id.clone()),
        settings: scenario.settings.clone(),
    };
    Ok(active.write(path)?)
}

/// The services of the chain that somebody else's fill, and where those are asked for their health: `SERVICE=URL,…`.
fn seats(name: &str, at: fn(Url) -> HealthAt) -> anyhow::Result<Vec<(Service, HealthAt)>> {
    let list = std::env::var(name).unwrap_or_default();
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let read = |entry: &str| {
        let (service, url) = entry.split_once('=')?;
        Some((service.parse().ok()?, at(url.parse().ok()?)))
    };
    let entries = entries.map(|entry| read(entry).with_context(|| format!("{name}: `{entry}` must be SERVICE=URL")));
    entries.collect()
}

/// A variable that names another service's URL; by default it is on this machine, at its usual port.
fn url(name: &str, default: Program) -> anyhow::Result<Url> {
    let usual = || Ok(format!("http://127.0.0.1:{}", default.port()).parse()?);
    variable(name, "an http:// URL")?.map_or_else(usual, Ok)
}
