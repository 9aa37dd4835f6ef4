//! What every service process needs: live settings, its listener, and a shutdown in which nothing is lost.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use chain::Service;
use reqwest::Url;
use service::health::{self, App, CountSpans, Following};
use service::serve::{Limits, Serve};
use settings::active::{self, Seen, Watch};
use settings::{Active, ConfigError, Environment, Live, Overlay, ProcessEnvironment, Schema};
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LONGEST_SECRET_BYTES: u64 = 4096;
/// A port that was just left by a dead predecessor may need a moment.
const BIND_DEADLINE: Duration = Duration::from_secs(3);

/// A service of the chain, in this process. It follows its settings from the start to the end: when the follower dies, the
/// process ends, since a service that ignores settings would look healthy.
pub(crate) struct Process {
    health: Health,
    telemetry: Option<Arc<Telemetry>>,
    follower: JoinHandle<()>,
}

/// What `/healthz` answers from.
pub(crate) struct Health {
    service: Service,
    following: watch::Receiver<Following>,
    spans: Option<CountSpans>,
    /// Which of its settings the process environment has.
    environment: BTreeMap<String, String>,
}

/// How a service reads its seams.
type ReadSeams<S> = fn(&dyn Environment) -> Result<S, ConfigError>;

/// What a change of settings changes: the SDK and the service's own seams, both or neither.
struct Followed<S> {
    service: Service,
    telemetry: Option<Arc<Telemetry>>,
    read: ReadSeams<S>,
    seams: Live<S>,
}

// === impl Process ===

impl Process {
    /// Sets up telemetry and the seams of a service by the active settings, and follows those from now on.
    pub(crate) fn start<S: Send + Sync + 'static>(
        service: Service,
        schema: Schema,
        read: ReadSeams<S>,
    ) -> anyhow::Result<(Self, Live<S>)> {
        let inherited = inherited(service, &schema);
        let settings = watch_settings(schema);
        let environment = environment(service, &settings.borrow().active);
        let seams = Live::new(read(&environment)?);
        let telemetry = if service.has_sdk() {
            Some(Arc::new(Telemetry::init(&environment)?))
        } else {
            telemetry::logs::init(service.name(), None).context("logs cannot be set up")?;
            None
        };
        let followed = Followed { service, telemetry: telemetry.clone(), read, seams: seams.clone() };
        let (following, follower) = follow(settings, move |active| followed.apply(active));
        let counted = telemetry.clone();
        let spans = counted.map(|telemetry| -> CountSpans { Arc::new(move || telemetry.counts()) });
        Ok((Self { health: Health { service, following, spans, environment: inherited }, telemetry, follower }, seams))
    }

    /// Serves `app` and `/healthz` until the end.
    pub(crate) async fn serve<A: Into<App>>(
        self,
        listen: SocketAddr,
        shutdown: impl Future<Output = ()> + Send + 'static,
        app: impl AsyncFnOnce() -> anyhow::Result<A>,
    ) -> anyhow::Result<ExitCode> {
        self.run(async |health| health.serve(listen, shutdown, app().await?).await).await
    }

    /// Does the service's work, and exports the spans that it created, however it ended.
    pub(crate) async fn run(self, work: impl AsyncFnOnce(&Health) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
        let result = tokio::select! {
            result = work(&self.health) => result.map(|()| ExitCode::SUCCESS),
            ended = self.follower => {
                let cause = ended.err().map_or_else(|| "the watch on the settings file ended".to_owned(), |error| error.to_string());
                tracing::error!(cause, "the settings can no longer be watched: the service stops, and the supervisor restarts it");
                Ok(ExitCode::FAILURE)
            }
        };
        if let Some(telemetry) = self.telemetry {
            telemetry.shutdown().await;
        }
        result
    }
}

// === impl Health ===

impl Health {
    /// Serves `app` and `/healthz`.
    pub(crate) async fn serve(
        &self,
        listen: SocketAddr,
        shutdown: impl Future<Output = ()> + Send + 'static,
        app: impl Into<App>,
    ) -> anyhow::Result<()> {
        let App { routes, report } = app.into();
        let source = health::Source {
            service: self.service.name(),
            following: self.following.clone(),
            spans: self.spans.clone(),
            environment: self.environment.clone(),
            report,
        };
        // Outside the server layer: health polls create no spans.
        let app = health::router(source).merge(routes);
        Serve::read(&ProcessEnvironment, Limits::default())?.run([(bind(listen).await?, app)], shutdown).await;
        Ok(())
    }
}

// === impl Followed ===

impl<S> Followed<S> {
    /// Reads and prepares everything, then puts everything in place, which cannot fail.
    fn apply(&self, active: &Active) -> Result<(), String> {
        let environment = environment(self.service, active);
        let seams = (self.read)(&environment).map_err(|error| error.to_string())?;
        let telemetry = self.telemetry.as_ref();
        let change = telemetry.map(|telemetry| Ok((telemetry, telemetry.prepare(&environment)?))).transpose();
        let change = change.map_err(|error: telemetry::sdk::PrepareError| error.to_string())?;

        if let Some((telemetry, change)) = change {
            telemetry.swap(change);
        }
        self.seams.set(seams);
        Ok(())
    }
}

/// The variables of a service: its active settings over the process environment over its own name.
fn environment(service: Service, active: &Active) -> impl Environment + use<> {
    let named = BTreeMap::from([("OTEL_SERVICE_NAME".to_owned(), service.name().to_owned())]);
    let base = Overlay { over: ProcessEnvironment, base: named };
    Overlay { over: active.for_service(service).clone(), base }
}

/// The settings of a service that its process environment has, except for what may be a secret.
fn inherited(service: Service, schema: &Schema) -> BTreeMap<String, String> {
    let keys = schema.settings(service).map(|setting| setting.key).filter(|key| !key.ends_with("_HEADERS"));
    keys.filter_map(|key| Some((key.to_owned(), without_user(ProcessEnvironment.get(key)?)))).collect()
}

/// A URL without user name and password; anything else as it is.
fn without_user(value: String) -> String {
    match Url::parse(&value) {
        Ok(mut url) if !url.username().is_empty() || url.password().is_some() => {
            let removed = url.set_username("").and_then(|()| url.set_password(None));
            removed.map_or_else(|()| String::new(), |()| url.to_string())
        }
        _ => value,
    }
}

/// The settings of the file that `INSUREWATCH_SETTINGS` names; without it nothing is ever set.
pub(crate) fn watch_settings(schema: Schema) -> Watch {
    match std::env::var_os("INSUREWATCH_SETTINGS") {
        Some(path) => active::watch(path.into(), Arc::new(schema)),
        None => {
            let (sender, never) = watch::channel(Seen::default());
            std::mem::forget(sender);
            never
        }
    }
}

/// Applies settings as they change, on a task that ends only with the watch, and reports which generation is in force.
fn follow(
    mut settings: Watch,
    apply: impl Fn(&Active) -> Result<(), String> + Send + 'static,
) -> (watch::Receiver<Following>, JoinHandle<()>) {
    let first = settings.borrow_and_update().clone();
    let refused = first.problem.map(|problem| problem.to_string());
    let (sender, receiver) = watch::channel(Following { generation: first.active.generation, refused });
    let follower = tokio::spawn(async move {
        while settings.changed().await.is_ok() {
            let Seen { active, problem } = settings.borrow_and_update().clone();
            let applied = match problem {
                Some(problem) => Err(problem.to_string()),
                None => apply(&active),
            };
            match applied {
                Ok(()) => {
                    // What was set is not logged: a learner could read the answer there.
                    tracing::info!(generation = active.generation, "settings applied");
                    sender.send_replace(Following { generation: active.generation, refused: None });
                }
                Err(error) => {
                    tracing::warn!(error, "new settings rejected; the last valid ones stay active");
                    sender.send_modify(|following| following.refused = Some(error));
                }
            }
        }
    });
    (receiver, follower)
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

/// A variable of this process's environment, or the content of the file that `NAME_FILE` names, as containers get secrets.
pub(crate) fn variable_or_file<T: FromStr>(name: &str, allowed: &str) -> anyhow::Result<Option<T>> {
    let file = format!("{name}_FILE");
    let (Some(path), None) = (variable::<PathBuf>(&file, "a path")?, std::env::var_os(name)) else {
        return variable(name, allowed);
    };
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(LONGEST_SECRET_BYTES).read_to_string(&mut text));
    read.with_context(|| format!("{file}={} cannot be read", path.display()))?;
    match text.trim() {
        "" => bail!("{file}={} names an empty file; allowed: {allowed}", path.display()),
        text => {
            text.parse().map(Some).map_err(|_| anyhow!("the content of {file}={} must be {allowed}", path.display()))
        }
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
        // A separate thread: at shutdown the runtime would wait for a blocking read on one of its threads.
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

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
    use python_api::seams::Seams;
    use settings::Settings;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn active(generation: u64, pairs: &[(&str, &str)]) -> Active {
        let mut settings = Settings::default();
        for (key, value) in pairs {
            settings.set(Service::PythonApi, *key, *value);
        }
        Active { generation, scenario: None, settings }
    }

    /// The names of the headers that the process sends now.
    fn sent() -> Vec<String> {
        let trace = TraceId::from(1);
        let span = SpanContext::new(trace, SpanId::from(1), TraceFlags::SAMPLED, false, TraceState::default());
        let mut headers = HeaderMap::new();
        telemetry::client::inject(&opentelemetry::Context::new().with_remote_span_context(span), &mut headers);
        headers.keys().map(ToString::to_string).collect()
    }

    async fn wait(following: &mut watch::Receiver<Following>, what: &str, is: impl FnMut(&Following) -> bool) {
        let seen = tokio::time::timeout(DEADLINE, following.wait_for(is)).await;
        seen.unwrap_or_else(|_| panic!("waited for {what}")).unwrap_or_else(|_| panic!("ended before {what}"));
    }

    #[tokio::test]
    async fn a_change_is_made_as_a_whole_or_not_at_all() {
        const LEGACY: (&str, &str) = ("CLAIMS_CLIENT", "with-legacy-b3");
        const B3: (&str, &str) = ("OTEL_PROPAGATORS", "b3");
        let service = Service::PythonApi;
        let telemetry = Arc::new(Telemetry::init(&environment(service, &Active::default())).unwrap());
        let seams = Live::new(Seams::default());
        let followed = Followed { service, telemetry: Some(telemetry), read: Seams::read, seams: seams.clone() };
        let (file, settings) = watch::channel(Seen::default());
        let (mut following, follower) = follow(settings, move |active| followed.apply(active));
        let change = |active: Active| file.send_replace(Seen { active: Arc::new(active), problem: None });

        let cases = [
            ([LEGACY, ("OTEL_PROPAGATORS", "zipkin")], "OTEL_PROPAGATORS=zipkin: ", "the SDK refuses"),
            ([("CLAIMS_CLIENT", "none"), B3], "CLAIMS_CLIENT=none: ", "a seam refuses"),
            ([LEGACY, ("OTEL_BSP_MAX_QUEUE_SIZE", "0")], "OTEL_BSP_MAX_QUEUE_SIZE=0: ", "the queue cannot be built"),
            ([("DOOR_BAGGAGE", "a=%zz"), B3], "DOOR_BAGGAGE=a=%zz: ", "a later seam refuses"),
        ];
        for (pairs, refusal, why) in cases {
            change(active(7, &pairs));
            let refused =
                |following: &Following| following.refused.as_ref().is_some_and(|text| text.starts_with(refusal));
            wait(&mut following, why, refused).await;
            assert_eq!(following.borrow().generation, 0, "{why}: the last good generation is in force");
            assert_eq!(*seams.get(), Seams::default(), "{why}: no seam has changed");
            assert_eq!(sent(), ["traceparent"], "{why}: the SDK has not changed");
        }

        change(active(8, &[LEGACY, B3]));
        wait(&mut following, "good settings", |following| following.generation == 8).await;
        assert_eq!(following.borrow().refused, None, "nothing is refused any more");
        assert_eq!(*seams.get(), Seams::read(&BTreeMap::from([LEGACY].map(owned))).unwrap(), "the seams have changed");
        assert_eq!(sent(), ["b3"], "the SDK has changed");
        follower.abort();
    }

    fn owned((key, value): (&str, &str)) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[tokio::test]
    async fn a_process_whose_follower_dies_ends_with_a_failure() {
        let start = |apply: fn(&Active) -> Result<(), String>| {
            let (file, settings) = watch::channel(Seen::default());
            let (following, follower) = follow(settings, apply);
            let environment = BTreeMap::new();
            let health = Health { service: Service::PythonApi, following, spans: None, environment };
            (file, Process { health, telemetry: None, follower })
        };
        let endless = async |_: &Health| std::future::pending().await;

        let (file, process) = start(|_| panic!("a defect in applying settings"));
        file.send_replace(Seen { active: Arc::new(active(1, &[])), problem: None });
        let code = tokio::time::timeout(DEADLINE, process.run(endless)).await.expect("a panic ends the process");
        assert_eq!(code.unwrap(), ExitCode::FAILURE, "not the code of a bad configuration: starting it again helps");

        let (file, process) = start(|_| Ok(()));
        drop(file);
        let code = tokio::time::timeout(DEADLINE, process.run(endless)).await.expect("the end of the watch ends it");
        assert_eq!(code.unwrap(), ExitCode::FAILURE, "the same for a watch that ended");
    }

    #[test]
    fn what_is_told_of_the_environment_holds_no_password() {
        for (value, told) in [
            ("http://user:secret@127.0.0.1:4318/base", "http://127.0.0.1:4318/base"),
            ("http://user@127.0.0.1:4318", "http://127.0.0.1:4318/"),
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("tracecontext,baggage", "tracecontext,baggage"),
        ] {
            assert_eq!(without_user(value.to_owned()), told, "{value}");
        }
    }
}
