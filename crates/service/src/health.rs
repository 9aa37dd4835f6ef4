//! `GET /healthz`: that the service runs, the generation of settings that it has applied, what happened to its spans, what
//! waits to be sent, and what keeps it from its work: then the status is 503.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
pub use telemetry::SpanCounts;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a question about health may take: it does not wait for what is gone.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// What a service follows: a number, no digest, so that settings cannot be read off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// The generation of settings that is in force.
    pub generation: u64,
    /// Why newer settings were refused, if they were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
}

/// The answer of `GET /healthz`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    pub service: String,
    /// What it follows.
    #[serde(flatten)]
    pub following: Following,
    /// What became of its spans.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spans: Option<SpanCounts>,
    /// What it has accepted and not passed on yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub backlog: Option<Backlog>,
    /// Which settings its process environment has: they are in force where nothing is set. Never what is set, which a drill
    /// hides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub environment: BTreeMap<String, String>,
    /// What keeps it from its work, such as a full disk.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub troubles: Vec<String>,
    /// If this is the answer of a keeper, which has the service itself in its seat.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seat: Option<Seat>,
}

/// What is known of a service that fills a seat of the chain and knows nothing of the lab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Whether it answers, with whatever status.
    pub answers: bool,
    /// Whether it is being started.
    pub starting: bool,
    /// The keys of settings that are active and that nobody can make it follow.
    pub not_applied: Vec<String>,
}

/// A service that asks its parent whether to sample creates no spans below these: what is asked here is no claim.
const UNSAMPLED: [(&str, &str); 3] = [
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"),
    ("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"),
    ("uber-trace-id", "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:0"),
];

/// How a service that knows nothing of the lab answers for its health; `None` if it does not. Nothing but the status counts.
pub async fn ask_plainly(client: &Client, url: Url) -> Option<StatusCode> {
    let request = UNSAMPLED.iter().fold(client.get(url), |request, (name, value)| request.header(*name, *value));
    Some(request.send().await.ok()?.status())
}

/// What a service reports about the messages that it stores for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What it has accepted and not passed on yet.
    pub backlog: Option<Backlog>,
    /// What keeps it from its work, a sentence each.
    pub troubles: Vec<String>,
}

/// Messages that have not been processed yet; `None` where counting failed or took too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Accepted, and not published to the queue yet.
    pub outbox: Option<u64>,
    /// In the queue.
    pub queue: Option<Queued>,
}

/// What a queue holds, as `claims_queue::Counts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Ready to be received.
    pub waiting: u64,
    /// Held by a receiver, or not due yet.
    pub in_flight: u64,
    /// Given up.
    pub dead: u64,
}

/// What the health of this process is read from; it lives as long as the listener.
#[derive(Clone)]
pub struct Source {
    pub service: &'static str,
    /// What it follows, as it changes.
    pub following: watch::Receiver<Following>,
    /// Counts spans; absent for a service without an SDK.
    pub spans: Option<CountSpans>,
    /// Which settings the process environment has.
    pub environment: BTreeMap<String, String>,
    /// Absent for a service that keeps nothing.
    pub report: Option<MakeReport>,
}

/// Reports what became of this process's spans.
pub type CountSpans = Arc<dyn Fn() -> SpanCounts + Send + Sync>;

/// Asked every few seconds and more, so it must be cheap, and must soon answer whatever it asks itself.
pub type MakeReport = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Report> + Send>> + Send + Sync>;

/// What a service serves.
pub struct App {
    pub routes: Router,
    /// Absent for a service that keeps nothing.
    pub report: Option<MakeReport>,
}

/// The route; merged outside the server layer, since health polls create no spans.
pub fn router(source: Source) -> Router {
    Router::new().route("/healthz", get(health)).with_state(source)
}

/// What keeps `what` from being written, if anything does. `why` must know at once that nothing does; no answer in time is a
/// trouble too.
pub async fn trouble(what: &str, why: impl Future<Output = Option<String>>) -> Option<String> {
    let why = timeout(PATIENCE, why).await.unwrap_or_else(|_| Some("no answer".to_owned()))?;
    Some(format!("{what} cannot be written: {why}"))
}

async fn health(State(source): State<Source>) -> (StatusCode, Json<Health>) {
    let Report { backlog, troubles } = match &source.report {
        Some(report) => report().await,
        None => Report::default(),
    };
    let status = if troubles.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let health = Health {
        service: source.service.to_owned(),
        following: source.following.borrow().clone(),
        spans: source.spans.as_ref().map(|count| count()),
        backlog,
        environment: source.environment.clone(),
        troubles,
        seat: None,
    };
    (status, Json(health))
}

// === impl App ===

impl From<Router> for App {
    fn from(routes: Router) -> Self {
        Self { routes, report: None }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("routes", &self.routes).finish_non_exhaustive()
    }
}

// === impl Source ===

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("service", &self.service).finish_non_exhaustive()
    }
}
