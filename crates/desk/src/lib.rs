//! The control desk of the lab, web page and JSON API in one: choose a scenario, send claims, see which traces each
//! was split into, and read what the evidence says about the chain.
//!
//! - [`api`]: requests and responses, as JSON: values, routes, their OpenAPI document, events
//! - `page`: the same for people, rendered here
//! - [`guard`]: who may ask, and how much
//! - `lab`: what the desk can do: settings, front door, claims, evidence, check
//! - `drill`: a hidden scenario, its score, whether an answer is correct, and the type of what a drill or a lesson hides
//!
//! The desk creates no spans. Its statements about a claim are based on spans and the answer's `traceresponse` header, never on
//! settings.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use axum::{Json, Router};
use chain::Service;
use reqwest::Url;
use scenario::Catalogue;
use settings::Schema;
use settings::setting::is_standard;

use crate::api::{openapi, routes};
use crate::guard::backends::Backends;
use crate::guard::limits::{self, Guesses, Writes};
use crate::guard::site;
use crate::guard::token::{self, Token};
use crate::lab::Lab;

pub mod api;
mod clock;
mod drill;
pub mod guard;
mod lab;
mod page;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use drill::DrillError;
pub use lab::kept::FILE as CLAIMS_FILE;

/// What the desk needs to start.
#[derive(Debug)]
pub struct Config {
    /// Where each service of the chain answers.
    pub services: Vec<(Service, Url)>,
    /// The services among them that somebody else's fill, and where those are asked for their health.
    pub seats: Vec<(Service, HealthAt)>,
    /// Tempo, or what answers like it.
    pub trace_source: Url,
    /// The file of active settings; drills are kept beside it.
    pub active: PathBuf,
    /// The lessons.
    pub catalogue: Catalogue,
    /// What may be set.
    pub schema: Arc<Schema>,
    /// The endpoints that a setting may name for spans.
    pub backends: Backends,
    /// What every request has to show; see [`check_exposure`](guard::token::check_exposure).
    pub token: Option<Token>,
    /// Whether the answers of scenarios stay hidden, and with them settings and diagnoses.
    pub lock_reveal: bool,
    /// The scenarios that drills choose from; empty for all.
    pub drills: Vec<String>,
    /// Grafana as people reach it: traces and claims link there.
    pub grafana: Option<Url>,
    /// Grafana's URL as the desk reaches it, for annotations; `None` if it is the same as for people.
    pub grafana_api: Option<Url>,
    /// Claims per second that are sent from the start; 0 for none.
    pub traffic_per_second: f64,
}

/// Where it is asked how a service is that knows nothing of the lab. What such a service itself says of settings never
/// counts: it may echo a generation that it does not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthAt {
    /// At its keeper, which answers for it as the lab's own services do.
    Keeper(Url),
    /// At itself, by the status alone: its settings cannot be switched.
    Plainly(Url),
}

/// The desk cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The URL of a service is missing.
    #[error("the desk must know where {0} answers")]
    Missing(Service),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    /// The drills cannot be set up.
    #[error(transparent)]
    Drills(#[from] DrillError),
}

// === impl HealthAt ===

impl HealthAt {
    /// Whether a service that is asked there can be made to follow a setting.
    fn follows(&self, key: &str) -> bool {
        matches!(self, Self::Keeper(_)) && is_standard(key)
    }
}

/// The desk. Must be called within a Tokio runtime.
///
/// # Errors
/// The URL of the front door is missing, or the drills cannot be set up.
pub fn app(config: Config) -> Result<Router, StartError> {
    let token = config.token.clone().map(Arc::new);
    let lab = Arc::new(Lab::start(config)?);
    let (api, document) = routes::router().split_for_parts();
    let document = Json(openapi::complete(document));
    Ok(api
        .route("/api/openapi.json", get(async || document))
        .merge(page::router(token.clone()))
        .route("/healthz", get(async |State(lab): State<Arc<Lab>>| Json(lab.health())))
        .fallback(page::nothing_here)
        .method_not_allowed_fallback(routes::wrong_method)
        .with_state(lab)
        .layer(DefaultBodyLimit::max(limits::MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::<Writes>::default(), limits::writes))
        .layer(from_fn_with_state((token, Arc::<Guesses>::default()), token::demand))
        .layer(from_fn(site::same_site))
        .layer(from_fn(site::headers)))
}
