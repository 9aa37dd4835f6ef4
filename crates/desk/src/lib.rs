//! The control desk of the lab, web page and JSON API in one: choose a scenario, drive claims, see into which traces
//! each fell, and be told by evidence whether the chain is whole.
//!
//! - [`api`]: what goes in and out, as JSON; `routes` and `openapi`: where
//! - `page`: the same for people, rendered here; [`events`](api::Pulse) tell a page when to ask again
//! - [`guard`], [`token`], `limits`: who may ask, and how much
//! - `lab`: what can be asked, across all of the following
//! - `control`: switches settings and waits until every service follows them
//! - `door`: sends claims through the front door, singly or as traffic
//! - `observer`, `log`: looks once at each claim, and remembers the newest
//! - `looker`: gathers the evidence of a claim: its spans, and what the third party remembers
//! - `check`: sends probes and judges their evidence
//! - `drill`, `judge`: a hidden scenario, its score, and whether an answer is right
//!
//! The desk makes no spans. What it says of a claim rests on spans and the answer's `traceresponse` header, never on
//! settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use axum::{Json, Router};
use chain::Service;
use reqwest::Url;
use scenario::Catalogue;
use settings::Schema;

use crate::control::Control;
use crate::door::Door;
use crate::drill::Drills;
use crate::events::Pulses;
use crate::lab::Desk;
use crate::limits::Writes;
use crate::looker::Looker;
use crate::observer::Observer;
use crate::token::Token;

pub mod api;
mod check;
mod control;
mod door;
mod drill;
mod events;
mod extract;
pub mod guard;
mod judge;
mod lab;
mod limits;
mod log;
mod looker;
mod observer;
mod openapi;
mod page;
mod routes;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod token;

pub use drill::DrillError;

/// How long a health poll may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the file of active settings is looked at.
const SETTINGS_POLL: Duration = Duration::from_millis(250);

/// What the desk needs to start.
#[derive(Debug)]
pub struct Config {
    /// Where each service of the chain answers.
    pub services: Vec<(Service, Url)>,
    /// Tempo, or what answers like it.
    pub trace_source: Url,
    /// The file of active settings; drills are kept beside it.
    pub active: PathBuf,
    /// The lessons.
    pub catalogue: Catalogue,
    /// What may be set.
    pub schema: Arc<Schema>,
    /// Hosts that may be asked for, beside those of loopback.
    pub allowed_hosts: Vec<String>,
    /// What has to be shown by whoever asks; see [`token::check_exposure`].
    pub token: Option<Token>,
    /// Whether the answers of scenarios stay hidden.
    pub lock_reveal: bool,
    /// The scenarios that drills choose from; empty for all.
    pub drills: Vec<String>,
    /// Grafana, whose Explore page trace ids link to.
    pub grafana: Option<Url>,
    /// Claims per second that are sent from the start; 0 for none.
    pub traffic_per_second: f64,
}

/// The desk cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was not told where a service answers.
    #[error("the desk must know where {0} answers")]
    Missing(Service),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    /// The drills cannot be set up.
    #[error(transparent)]
    Drills(#[from] DrillError),
}

/// The desk. Must be called within a Tokio runtime.
///
/// # Errors
/// It was not told where the front door is, or the drills cannot be set up.
pub fn app(config: Config) -> Result<Router, StartError> {
    let token = config.token.clone().map(Arc::new);
    let allowed_hosts: Arc<[String]> = Arc::from(config.allowed_hosts.clone());
    let desk = Arc::new(desk(config)?);
    let (api, document) = routes::router().split_for_parts();
    let document = Json(openapi::complete(document));
    Ok(api
        .route("/api/openapi.json", get(async || document))
        .merge(page::router(token.clone()))
        .route("/healthz", get(async || Json(serde_json::json!({ "service": "desk" }))))
        .fallback(routes::nothing_here)
        .method_not_allowed_fallback(routes::wrong_method)
        .with_state(desk)
        .layer(DefaultBodyLimit::max(limits::MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::new(Writes::new()), limits::writes))
        .layer(from_fn_with_state(token, token::demand))
        .layer(from_fn_with_state(allowed_hosts, guard::same_site))
        .layer(from_fn(guard::headers)))
}

fn desk(config: Config) -> Result<Desk, StartError> {
    let client = reqwest::Client::builder().no_proxy().timeout(HEALTH_TIMEOUT).build()?;
    let url = |service: Service| config.services.iter().find(|(name, _)| *name == service).map(|(_, url)| url.clone());
    let front_door = url(Service::PythonApi).ok_or(StartError::Missing(Service::PythonApi))?;
    let folder = config.active.parent().unwrap_or(Path::new(""));
    let drills = Drills::load(folder, config.drills, &config.catalogue)?;
    let pulses = Pulses::new();
    tell_of_settings(&pulses, config.active.clone(), Arc::clone(&config.schema));
    let looker = Looker::new(&config.trace_source, client.clone(), url(Service::FraudPartner));
    let observer = Observer::start(looker.clone(), pulses.clone());
    let door = Door::new(&front_door, observer.clone(), pulses.clone())?;
    door.set_traffic(config.traffic_per_second);
    Ok(Desk {
        door,
        observer,
        looker,
        drills,
        pulses,
        control: Control::new(client, config.services, config.active, config.catalogue, config.schema),
        trace_source: config.trace_source,
        grafana: config.grafana,
        lock_reveal: config.lock_reveal,
        drill_turn: tokio::sync::Mutex::default(),
    })
}

/// By the file, whoever wrote it.
fn tell_of_settings(pulses: &Pulses, active: PathBuf, schema: Arc<Schema>) {
    let mut watch = settings::active::watch(active, schema, SETTINGS_POLL);
    let pulses = pulses.clone();
    watch.mark_changed();
    tokio::spawn(async move {
        while watch.changed().await.is_ok() {
            let generation = watch.borrow_and_update().active.generation;
            pulses.beat(|pulse| {
                pulse.settings += 1;
                pulse.generation = generation;
            });
        }
    });
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn unix_seconds() -> u64 {
    unix_millis() / 1000
}
