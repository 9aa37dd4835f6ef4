//! One service: its settings, its telemetry, its listener, and an end in which nothing is lost.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use axum::Router;
use reqwest::Url;
use scenario::active::{self, Seen, Watch};
use scenario::{Active, Catalogue, Service};
use service::health::{self, Following};
use telemetry::Telemetry;
use telemetry::config::{Environment, Overlay, ProcessEnvironment};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::{Serve, ServeName};
use crate::schema::schema;

/// How often the file of active settings is looked at.
const SETTINGS_POLL: Duration = Duration::from_millis(50);
/// A port that was just left by a dead predecessor may need a moment.
const BIND_DEADLINE: Duration = Duration::from_secs(3);
/// What the built-in trace store holds at most, in bytes.
const TRACE_STORE_BYTES: usize = 64 << 20;

/// Runs one service until it is told to end.
pub(crate) async fn serve(options: Serve) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_asked(options.supervised)?;
    let name = options.service;
    let listen = options.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, name.port())));
    match name {
        ServeName::PythonApi => {
            let app =
                async { Ok(python_api::app(&python_api::Config { claims: url("CLAIMS_URL", ServeName::Gateway)? })?) };
            instrumented(Service::PythonApi, listen, shutdown, app).await?;
        }
        ServeName::JavaClaims => {
            let app = async {
                let policy_store = url("POLICY_STORE_URL", ServeName::NodePolicyStore)?;
                Ok(java_claims::app(&java_claims::Config { database_url: database_url("claims"), policy_store })
                    .await?)
            };
            instrumented(Service::JavaClaims, listen, shutdown, app).await?;
        }
        ServeName::NodePolicyStore => {
            let app = async {
                Ok(node_policy_store::app(&node_policy_store::Config { database_url: database_url("policies") })
                    .await?)
            };
            instrumented(Service::NodePolicyStore, listen, shutdown, app).await?;
        }
        ServeName::TraceContextEcho => {
            let telemetry = Telemetry::init(&ProcessEnvironment)?;
            service::serve::run(bind(listen).await?, crate::echo::app()?, shutdown).await?;
            telemetry.shutdown().await;
        }
        ServeName::Gateway => {
            telemetry::logs::init(name.name(), None).context("logs cannot be set up")?;
            let following = follow(Service::Gateway, watch_settings(), None);
            let upstream = url("UPSTREAM_URL", ServeName::JavaClaims)?.to_string();
            let health = health::Source { service: name.name(), following, spans: None };
            let app = health::router(health).merge(gateway::app(&gateway::Config { upstream }));
            service::serve::run(bind(listen).await?, app, shutdown).await?;
        }
        ServeName::Desk => {
            telemetry::logs::init(name.name(), None).context("logs cannot be set up")?;
            service::serve::run(bind(listen).await?, desk::app(desk_config()?)?, shutdown).await?;
        }
        ServeName::TraceStore => {
            telemetry::logs::init(name.name(), None).context("logs cannot be set up")?;
            let listeners = trace_store::Listeners {
                grpc: bind(options.otlp_grpc).await?,
                http: bind(options.otlp_http).await?,
                query: bind(listen).await?,
            };
            let bytes =
                variable("INSUREWATCH_TRACE_STORE_MAX_BYTES", "a number of bytes")?.unwrap_or(TRACE_STORE_BYTES);
            trace_store::run(listeners, trace_store::Store::new(bytes), shutdown).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A service of the chain that carries an SDK.
async fn instrumented(
    service: Service,
    listen: SocketAddr,
    shutdown: impl Future<Output = ()> + Send + 'static,
    app: impl Future<Output = anyhow::Result<Router>>,
) -> anyhow::Result<()> {
    let settings = watch_settings();
    let active = settings.borrow().active.clone();
    let telemetry = Arc::new(Telemetry::init(&environment(service, &active))?);
    let serving = async {
        let counted = telemetry.clone();
        let health = health::Source {
            service: service.name(),
            following: follow(service, settings, Some(telemetry.clone())),
            spans: Some(Arc::new(move || counted.counts())),
        };
        let app = app.await?.merge(health::router(health));
        Ok(service::serve::run(bind(listen).await?, app, shutdown).await?)
    };
    let result = serving.await;
    // Whatever happened, the spans made so far are exported.
    telemetry.shutdown().await;
    result
}

/// What holds for a service: its active settings over the process environment over its own name.
fn environment(service: Service, active: &Active) -> impl Environment + use<> {
    let named = BTreeMap::from([("OTEL_SERVICE_NAME".to_owned(), service.name().to_owned())]);
    let base = Overlay { over: ProcessEnvironment, base: named };
    Overlay { over: active.for_service(service).clone(), base }
}

/// The settings of the file that `INSUREWATCH_SETTINGS` names; without it nothing is ever set.
fn watch_settings() -> Watch {
    match std::env::var_os("INSUREWATCH_SETTINGS") {
        Some(path) => active::watch(path.into(), Arc::new(schema()), SETTINGS_POLL),
        None => watch::channel(Seen::default()).1,
    }
}

/// Makes the SDK follow the settings, and tells which generation is in force.
fn follow(service: Service, mut settings: Watch, telemetry: Option<Arc<Telemetry>>) -> watch::Receiver<Following> {
    let first = settings.borrow_and_update().clone();
    let refused = first.problem.map(|problem| problem.to_string());
    let (sender, receiver) = watch::channel(Following { generation: first.active.generation, refused });
    tokio::spawn(async move {
        while settings.changed().await.is_ok() {
            let Seen { active, problem } = settings.borrow_and_update().clone();
            let applied = match (&problem, &telemetry) {
                (Some(problem), _) => Err(problem.to_string()),
                (None, Some(telemetry)) => {
                    telemetry.apply(&environment(service, &active)).map_err(|error| error.to_string())
                }
                (None, None) => Ok(()),
            };
            match applied {
                Ok(()) => {
                    // What was set is not logged: a learner could read the answer there.
                    tracing::info!(generation = active.generation, "settings are followed");
                    sender.send_replace(Following { generation: active.generation, refused: None });
                }
                Err(error) => {
                    tracing::warn!(error, "new settings are refused, the last good ones stay");
                    sender.send_modify(|following| following.refused = Some(error));
                }
            }
        }
    });
    receiver
}

fn desk_config() -> anyhow::Result<desk::Config> {
    let schema = Arc::new(schema());
    let catalogue = match std::env::var_os("INSUREWATCH_SCENARIOS_DIR") {
        Some(folder) => Catalogue::from_dir(folder.as_ref(), &schema)?,
        None => Catalogue::embedded(&schema)?,
    };
    let services = Service::ALL.iter().zip([
        url("PYTHON_API_URL", ServeName::PythonApi)?,
        url("GATEWAY_URL", ServeName::Gateway)?,
        url("JAVA_CLAIMS_URL", ServeName::JavaClaims)?,
        url("NODE_POLICY_STORE_URL", ServeName::NodePolicyStore)?,
    ]);
    let hosts = std::env::var("INSUREWATCH_ALLOWED_HOSTS").unwrap_or_default();
    let active = std::env::var_os("INSUREWATCH_SETTINGS").map_or_else(|| "active.toml".into(), PathBuf::from);
    Ok(desk::Config {
        front_door: url("PYTHON_API_URL", ServeName::PythonApi)?,
        services: services.map(|(service, url)| (*service, url)).collect(),
        trace_source: url("TEMPO_URL", ServeName::TraceStore)?,
        active,
        catalogue,
        schema,
        allowed_hosts: hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect(),
        traffic_per_second: variable("INSUREWATCH_TRAFFIC_PER_SECOND", "a number")?.unwrap_or(0.0),
    })
}

/// A variable that names another service's URL; by default it is on this machine, at its usual port.
fn url(name: &str, default: ServeName) -> anyhow::Result<Url> {
    let usual = || Ok(format!("http://127.0.0.1:{}", default.port()).parse()?);
    variable(name, "an http:// URL")?.map_or_else(usual, Ok)
}

fn database_url(name: &str) -> String {
    std::env::var("DATABASE_URL").unwrap_or_else(|_| format!("sqlite://{name}.db"))
}

fn variable<T: FromStr>(name: &str, allowed: &str) -> anyhow::Result<Option<T>> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => bail!("{name}={value} must be {allowed}"),
        },
        _ => Ok(None),
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let deadline = Instant::now() + BIND_DEADLINE;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result.with_context(|| format!("cannot listen on {address}")),
        }
    }
}

/// Resolves on Ctrl-C, on SIGTERM, and, under a supervisor, when that is gone.
pub(crate) fn shutdown_asked(supervised: bool) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let (gone, supervisor) = tokio::sync::oneshot::channel();
    if supervised {
        // The supervisor holds the other end of standard input, and the system closes it however the supervisor ends.
        // A thread of its own, since the runtime would wait for a blocking read of its own at the end.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = gone.send(());
        });
    } else {
        std::mem::forget(gone);
    }
    #[cfg(unix)]
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        let terminated = terminated.recv();
        #[cfg(not(unix))]
        let terminated = std::future::pending::<()>();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated => {}
            _ = supervisor => {}
        }
    })
}

// === impl ServeName ===

impl ServeName {
    /// As it is written on the command line, and as `service.name`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PythonApi => Service::PythonApi.name(),
            Self::Gateway => Service::Gateway.name(),
            Self::JavaClaims => Service::JavaClaims.name(),
            Self::NodePolicyStore => Service::NodePolicyStore.name(),
            Self::TraceStore => "trace-store",
            Self::Desk => "desk",
            Self::TraceContextEcho => "trace-context-echo",
        }
    }

    /// The usual port.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Desk => 7700,
            Self::PythonApi => 7701,
            Self::Gateway => 7702,
            Self::JavaClaims => 7703,
            Self::NodePolicyStore => 7704,
            Self::TraceStore => 3200,
            Self::TraceContextEcho => 7780,
        }
    }
}
