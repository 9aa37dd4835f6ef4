//! A seat of the chain that a service of somebody else fills: what it is told, and how it is kept running.
//!
//! Such a service knows nothing of the lab. A command is started by a keeper, a process of ours that restarts it when its
//! settings change, and answers for it how far it is; what is running already is only asked for its health.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::process::{ExitCode, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use chain::Service;
use chain::sdk::{Capture, Language};
use reqwest::Url;
use service::claim_id;
use service::health::{Following, Health, Seat as SeatHealth, ask_plainly};
use service::serve::{Limits, Serve};
use settings::active::Watch;
use settings::setting::is_standard;
use settings::{Active, ProcessEnvironment};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::process::{bind, watch_settings};
use crate::services::schema;

/// How often a service is asked while it starts, and later.
const STARTING_POLL: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_secs(2);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a command may take to end; the shell that runs it allows as much.
const STOP_DEADLINE: Duration = Duration::from_secs(11);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
pub(crate) const DEFAULT_HEALTH_PATH: &str = "/healthz";

/// Runs `$1` in a process group that ends when standard input does: politely, and after ten seconds by force. So nothing of
/// the command is left behind, however the keeper ends.
const SHELL: &str = r#"
exec 3<&0 </dev/null
( trap '' TERM; read -r _ <&3; kill -TERM 0; i=0
  while kill -0 $$ && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; kill -KILL 0 ) 2>/dev/null &
exec 3<&-
trap 'exit 143' TERM
eval "$1"
"#;

/// Who fills a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) service: Service,
    pub(crate) filled: Filled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// It runs already, and answers there.
    Url(Url),
    /// A command of the shell, told its port by `PORT`.
    Command(String),
}

/// Where a service answers for its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthPath {
    pub(crate) service: Service,
    pub(crate) path: String,
}

/// A variable that a service in a seat is told, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    pub(crate) why: &'static str,
}

/// What a keeper is told.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) service: Service,
    pub(crate) command: String,
    /// Where the command must listen.
    pub(crate) port: u16,
    pub(crate) health: Url,
}

struct Keeper {
    kept: Kept,
    settings: Watch,
    client: reqwest::Client,
    state: watch::Sender<Health>,
}

/// Why a command does not run any more.
enum Ended {
    /// It is to be started with other settings.
    Changed,
    /// By itself.
    Alone(String),
    Shutdown,
}

/// What any SDK is told, whatever its language; then what each of these languages needs.
pub(crate) fn variables(languages: &[Language]) -> Vec<Variable> {
    let mut variables = Vec::new();
    let mut tell = |name, value: String, why| variables.push(Variable { name, value, why });
    tell("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned(), "how spans are sent");
    tell("OTEL_TRACES_EXPORTER", "otlp".to_owned(), "spans are sent");
    tell("OTEL_METRICS_EXPORTER", "none".to_owned(), "the lab looks at spans only");
    tell("OTEL_LOGS_EXPORTER", "none".to_owned(), "the lab looks at spans only");
    tell("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned(), "spans can be seen within a second");
    tell(
        "OTEL_SEMCONV_STABILITY_OPT_IN",
        "http,database".to_owned(),
        "stable attribute names; the old ones are read too",
    );
    let received = || wire::trace_headers().chain([claim_id::HEADER]).collect::<Vec<_>>().join(",");
    for language in languages {
        let row = language.row();
        if let Capture::Variables { server_request, server_response, client_request } = row.capture {
            tell(server_request, received(), "what arrived, and the claim's id, which joins its traces");
            tell(client_request, received(), "what was sent");
            tell(server_response, claim_id::HEADER.to_owned(), "the id of a claim that is new here");
        }
        for (name, value, why) in row.variables {
            tell(name, (*value).to_owned(), why);
        }
    }
    variables
}

/// Keeps the command of a seat running until `shutdown` resolves, and answers for it.
pub(crate) async fn keep(
    kept: Kept,
    listen: SocketAddr,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<ExitCode> {
    let unknown = Health {
        service: kept.service.name().to_owned(),
        following: Following::default(),
        spans: None,
        backlog: None,
        environment: BTreeMap::new(),
        troubles: Vec::new(),
        seat: Some(SeatHealth { starting: true, ..SeatHealth::default() }),
    };
    let (state, seen) = watch::channel(unknown);
    let client = reqwest::Client::builder().no_proxy().timeout(HEALTH_TIMEOUT).build()?;
    let keeper = Keeper { kept, settings: watch_settings(schema()), client, state };
    let app = Router::new().route("/healthz", get(health)).with_state(seen);
    let serve = Serve::read(&ProcessEnvironment, Limits::default())?;
    let listener = bind(listen).await?;
    tokio::select! {
        result = keeper.run(shutdown) => result?,
        () = serve.run([(listener, app)], std::future::pending()) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn health(State(seen): State<watch::Receiver<Health>>) -> Json<Health> {
    Json(seen.borrow().clone())
}

/// The settings that an SDK reads from its environment when it starts, and the keys of the others.
fn split(active: &Active, service: Service) -> (BTreeMap<String, String>, Vec<String>) {
    let (standard, own): (Vec<_>, Vec<_>) = active.for_service(service).iter().partition(|(key, _)| is_standard(key));
    let standard = standard.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    (standard, own.into_iter().map(|(key, _)| key.clone()).collect())
}

// === impl Keeper ===

impl Keeper {
    async fn run(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut shutdown = pin!(shutdown);
        let mut backoff = FIRST_BACKOFF;
        loop {
            let active = self.settings.borrow_and_update().active.clone();
            let (wanted, _) = split(&active, self.kept.service);
            let began = Instant::now();
            match self.run_command(&wanted, &mut shutdown).await? {
                Ended::Shutdown => return Ok(()),
                Ended::Changed => backoff = FIRST_BACKOFF,
                Ended::Alone(how) => {
                    anstream::eprintln!("insurewatch: the command of {} ended ({how})", self.kept.service);
                    self.note(|health| {
                        health.following.refused = Some(format!("its command ended ({how}); its log says why"));
                        health.seat = Some(SeatHealth::default());
                    });
                    if began.elapsed() > MAX_BACKOFF {
                        backoff = FIRST_BACKOFF;
                    }
                    tokio::select! {
                        () = sleep(backoff) => backoff = (backoff * 2).min(MAX_BACKOFF),
                        _ = self.settings.changed() => {}
                        () = &mut shutdown => return Ok(()),
                    }
                }
            }
        }
    }

    /// Runs the command once, with these settings.
    async fn run_command(
        &mut self,
        wanted: &BTreeMap<String, String>,
        shutdown: &mut Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Ended> {
        let mut child = self.spawn(wanted).context("no shell can be started")?;
        // Kept apart, since waiting for a child closes its standard input.
        let lifeline = child.stdin.take();
        self.note(|health| health.seat.get_or_insert_default().starting = true);
        let mut poll = STARTING_POLL;
        loop {
            tokio::select! {
                status = child.wait() => {
                    return Ok(Ended::Alone(status.map_or_else(|error| error.to_string(), |status| status.to_string())));
                }
                () = &mut *shutdown => {
                    end(child, lifeline).await;
                    return Ok(Ended::Shutdown);
                }
                changed = self.settings.changed() => {
                    changed.context("the settings can no longer be watched")?;
                    let active = self.settings.borrow_and_update().active.clone();
                    if split(&active, self.kept.service).0 != *wanted {
                        self.note(|health| health.seat = Some(SeatHealth { starting: true, ..SeatHealth::default() }));
                        end(child, lifeline).await;
                        return Ok(Ended::Changed);
                    }
                    self.look(wanted).await;
                }
                () = sleep(poll) => if self.look(wanted).await { poll = POLL },
            }
        }
    }

    /// Asks the service, which runs with these settings, and notes what it answers; whether it is well.
    async fn look(&self, wanted: &BTreeMap<String, String>) -> bool {
        let status = ask_plainly(&self.client, self.kept.health.clone()).await;
        let active = self.settings.borrow().active.clone();
        let (standard, not_applied) = split(&active, self.kept.service);
        if standard != *wanted {
            return false;
        }
        self.note(|health| {
            let seat = health.seat.get_or_insert_default();
            seat.not_applied = not_applied;
            match status {
                // Until it listens it is being started, and afterwards it is down.
                None => seat.answers = false,
                Some(status) => {
                    (seat.answers, seat.starting) = (true, false);
                    let refused =
                        (status != StatusCode::OK).then(|| format!("{} answers {status}", self.kept.health.path()));
                    health.following = Following { generation: active.generation, refused };
                }
            }
        });
        status == Some(StatusCode::OK)
    }

    fn note(&self, change: impl FnOnce(&mut Health)) {
        self.state.send_modify(change);
    }

    fn spawn(&self, wanted: &BTreeMap<String, String>) -> std::io::Result<Child> {
        let Kept { command, port, .. } = &self.kept;
        let mut shell = Command::new("sh");
        shell.args(["-c", SHELL, "seat", command]);
        // What is the lab's own is nobody else's: the desk's token, for example. And to the specification an empty variable
        // is unset, to Java's agent it is a wrong URL.
        let is_own = |name: &str| name.starts_with("INSUREWATCH_");
        let is_empty = |name: &str, value: &OsStr| name.starts_with("OTEL_") && value.is_empty();
        for (name, value) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if is_own(&text) || is_empty(&text, &value) {
                shell.env_remove(&name);
            }
        }
        for variable in variables(&Language::ALL).into_iter().filter(|it| std::env::var_os(it.name).is_none()) {
            shell.env(variable.name, variable.value);
        }
        shell
            .envs(wanted)
            .env("PORT", port.to_string())
            .env("HOST", "127.0.0.1")
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        shell.process_group(0);
        shell.spawn()
    }
}

/// Ends the command and all that it started.
async fn end(mut child: Child, lifeline: Option<ChildStdin>) {
    drop(lifeline);
    if timeout(STOP_DEADLINE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

// === impl Seat ===

impl FromStr for Seat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, filled) = text.split_once('=').ok_or("must be SERVICE=URL or SERVICE=COMMAND")?;
        let service: Service = service.trim().parse().map_err(|error: chain::UnknownService| error.to_string())?;
        let filled = filled.trim();
        let filled = match filled.split_once("://") {
            Some(("http", _)) => Filled::Url(filled.parse().map_err(|error| format!("{filled} is no URL: {error}"))?),
            Some(("https", _)) => return Err("the lab has no TLS: use an http:// URL".to_owned()),
            _ if filled.is_empty() => return Err("must be SERVICE=URL or SERVICE=COMMAND".to_owned()),
            _ => Filled::Command(filled.to_owned()),
        };
        Ok(Self { service, filled })
    }
}

impl FromStr for HealthPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, path) = text.split_once('=').ok_or("must be SERVICE=/PATH")?;
        let service = service.trim().parse().map_err(|error: chain::UnknownService| error.to_string())?;
        if !path.starts_with('/') {
            return Err("a path begins with /".to_owned());
        }
        Ok(Self { service, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_a_url_or_a_command() {
        let url = "java-claims=http://127.0.0.1:8080".parse::<Seat>().unwrap();
        assert_eq!(url.filled, Filled::Url("http://127.0.0.1:8080/".parse().unwrap()));
        let command = "python-api=A=1 ./run flask".parse::<Seat>().unwrap();
        assert_eq!(command.filled, Filled::Command("A=1 ./run flask".to_owned()), "only the first = parts");
        for wrong in ["java-claims", "java=http://h", "java-claims=", "java-claims=https://h", "java-claims=http://"] {
            assert!(wrong.parse::<Seat>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_is_told_what_its_sdk_reads_and_the_rest_is_named() {
        let mut active = Active::default();
        active.settings.set(Service::JavaClaims, "OTEL_PROPAGATORS", "b3");
        active.settings.set(Service::JavaClaims, "LOOKUP_POOL", "bare");
        active.settings.set(Service::PythonApi, "OTEL_PROPAGATORS", "none");
        let (standard, own) = split(&active, Service::JavaClaims);
        assert_eq!(standard, BTreeMap::from([("OTEL_PROPAGATORS".to_owned(), "b3".to_owned())]));
        assert_eq!(own, ["LOOKUP_POOL"], "no real service has that seam");
    }

    #[test]
    fn every_variable_has_one_value() {
        let names: Vec<_> = variables(&Language::ALL).into_iter().map(|variable| variable.name).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), distinct.len(), "a command is told all of them at once: {names:?}");
    }
}
