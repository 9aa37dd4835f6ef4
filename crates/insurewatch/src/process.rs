//! What every service process needs: its settings followed, its listener, and an end in which nothing is lost.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chain::Service;
use scenario::Active;
use scenario::active::{self, Seen, Watch};
use service::health::{self, App, Following};
use telemetry::config::{Environment, Overlay, ProcessEnvironment};
use telemetry::{ConfigError, Telemetry};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::schema::schema;

/// How often the file of active settings is looked at.
const SETTINGS_POLL: Duration = Duration::from_millis(50);
/// A port that was just left by a dead predecessor may need a moment.
const BIND_DEADLINE: Duration = Duration::from_secs(3);

/// A service of the chain, in this process.
pub(crate) struct Process {
    service: Service,
    telemetry: Option<Arc<Telemetry>>,
    following: watch::Receiver<Following>,
}

// === impl Process ===

impl Process {
    /// Sets up telemetry and the service's own seams by the active settings, and follows those from now on.
    pub(crate) fn start(
        service: Service,
        seams: impl Fn(&dyn Environment) -> Result<(), ConfigError> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let settings = watch_settings();
        let environment = environment(service, &settings.borrow().active);
        seams(&environment)?;
        let telemetry = if service.has_sdk() {
            Some(Arc::new(Telemetry::init(&environment)?))
        } else {
            telemetry::logs::init(service.name(), None).context("logs cannot be set up")?;
            None
        };
        let followed = telemetry.clone();
        let apply = move |active: &Active| -> Result<(), String> {
            let environment = self::environment(service, active);
            if let Some(telemetry) = &followed {
                telemetry.apply(&environment).map_err(|error| error.to_string())?;
            }
            seams(&environment).map_err(|error| error.to_string())
        };
        Ok(Self { service, telemetry, following: follow(settings, apply) })
    }

    /// Serves `app` and `/healthz`.
    pub(crate) async fn serve(
        &self,
        listen: SocketAddr,
        app: impl Into<App>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let App { routes, backlog } = app.into();
        let counted = self.telemetry.clone();
        let health = health::Source {
            service: self.service.name(),
            following: self.following.clone(),
            spans: counted.map(|telemetry| -> health::CountSpans { Arc::new(move || telemetry.counts()) }),
            backlog,
        };
        // Outside the server layer: whoever asks for health makes no span.
        let app = health::router(health).merge(routes);
        Ok(service::serve::run(bind(listen).await?, app, shutdown).await?)
    }

    /// Does the service's work, and exports what spans it made, however it ended.
    pub(crate) async fn finish(self, work: impl AsyncFnOnce(&Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let result = work(&self).await;
        if let Some(telemetry) = self.telemetry {
            telemetry.shutdown().await;
        }
        result
    }
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

/// Applies settings as they change, and tells which generation is in force.
fn follow(
    mut settings: Watch,
    apply: impl Fn(&Active) -> Result<(), String> + Send + 'static,
) -> watch::Receiver<Following> {
    let first = settings.borrow_and_update().clone();
    let refused = first.problem.map(|problem| problem.to_string());
    let (sender, receiver) = watch::channel(Following { generation: first.active.generation, refused });
    tokio::spawn(async move {
        while settings.changed().await.is_ok() {
            let Seen { active, problem } = settings.borrow_and_update().clone();
            let applied = match problem {
                Some(problem) => Err(problem.to_string()),
                None => apply(&active),
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

/// A variable of this process's environment.
pub(crate) fn variable<T: FromStr>(name: &str, allowed: &str) -> anyhow::Result<Option<T>> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => bail!("{name}={value} must be {allowed}"),
        },
        _ => Ok(None),
    }
}

pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
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
