//! `GET /healthz`: is the service there, which generation of settings does it follow, what became of its spans.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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
    /// The service's name.
    pub service: String,
    /// What it follows.
    #[serde(flatten)]
    pub following: Following,
    /// What became of its spans.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spans: Option<serde_json::Value>,
}

/// What the health of this process is told from.
#[derive(Clone)]
pub struct Source {
    /// The service's name.
    pub service: &'static str,
    /// What it follows, as it changes.
    pub following: watch::Receiver<Following>,
    /// Counts spans; absent for a service without an SDK.
    pub spans: Option<CountSpans>,
}

/// Tells what became of this process's spans.
pub type CountSpans = std::sync::Arc<dyn Fn() -> telemetry::SpanCounts + Send + Sync>;

/// The route; merged outside the server layer, since health polls make no spans.
pub fn router(source: Source) -> Router {
    Router::new().route("/healthz", get(health)).with_state(source)
}

async fn health(State(source): State<Source>) -> Json<Health> {
    Json(Health {
        service: source.service.to_owned(),
        following: source.following.borrow().clone(),
        spans: source.spans.as_ref().and_then(|count| serde_json::to_value(count()).ok()),
    })
}

// === impl Source ===

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("service", &self.service).finish_non_exhaustive()
    }
}
