//! The control desk of the lab: choose a scenario, drive claims, see into which traces each fell, and be told by
//! evidence whether the chain is whole.
//!
//! - [`api`]: what goes in and out, as JSON; the command line is a thin client of it
//! - [`guard`]: who may ask
//! - `control`: switches settings and waits until every service follows them
//! - `door`: sends claims through the front door, singly or as traffic
//! - `looker`: gathers the evidence of a claim: its spans, and what the third party remembers
//! - `check`: sends probes and judges their evidence
//!
//! The desk makes no spans. What it says of a claim rests on spans and the answer's `traceresponse` header, never on
//! settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use evidence::{Collected, Diagnosis, Patience};
use reqwest::Url;
use scenario::{Catalogue, Scenario, Schema, Service};
use serde::Serialize;
use service::Problem;
use service::body::Body;
use tokio::sync::mpsc;

use crate::api::{
    CheckEvent, CheckRequest, ClaimEvent, ClaimReport, ClaimsRequest, Lab, ScenarioBrief, SetRequest, Status, Traffic,
    UseRequest,
};
use crate::control::Control;
use crate::door::Door;
use crate::looker::Looker;

pub mod api;
mod check;
mod control;
mod door;
pub mod guard;
mod looker;

/// How long a health poll may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Somebody who asks for a trace waits no longer for spans that may never come.
const LOOK_PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(3), settle: Duration::from_millis(300), poll: Duration::from_millis(100) };
/// How far back a claim is searched for, in seconds.
const LOOK_BACK_SECONDS: u64 = 7 * 24 * 3600;

/// What the desk needs to start.
#[derive(Debug)]
pub struct Config {
    /// Where each service of the chain answers.
    pub services: Vec<(Service, Url)>,
    /// Tempo, or what answers like it.
    pub trace_source: Url,
    /// The file of active settings.
    pub active: PathBuf,
    /// The lessons.
    pub catalogue: Catalogue,
    /// What may be set.
    pub schema: Arc<Schema>,
    /// Hosts that may be asked for, beside those of loopback.
    pub allowed_hosts: Vec<String>,
    /// Whether the answers of scenarios stay hidden.
    pub lock_reveal: bool,
    /// Claims per second that are sent from the start; 0 for none.
    pub traffic_per_second: f64,
}

#[derive(Debug)]
struct Desk {
    control: Control,
    door: Door,
    looker: Looker,
    trace_source: Url,
    lock_reveal: bool,
}

type Shared = State<Arc<Desk>>;

/// The desk cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was not told where a service answers.
    #[error("the desk must know where {0} answers")]
    Missing(Service),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
}

/// The desk.
///
/// # Errors
/// It was not told where the front door is.
pub fn app(config: Config) -> Result<Router, StartError> {
    let client = reqwest::Client::builder().no_proxy().timeout(HEALTH_TIMEOUT).build()?;
    let url = |service: Service| config.services.iter().find(|(name, _)| *name == service).map(|(_, url)| url.clone());
    let door = Door::new(&url(Service::PythonApi).ok_or(StartError::Missing(Service::PythonApi))?)?;
    door.set_traffic(config.traffic_per_second);
    let desk = Desk {
        looker: Looker::new(&config.trace_source, client.clone(), url(Service::FraudPartner)),
        trace_source: config.trace_source,
        lock_reveal: config.lock_reveal,
        control: Control::new(client, config.services, config.active, config.catalogue, config.schema),
        door,
    };
    Ok(Router::new()
        .route("/api/lab", get(lab))
        .route("/api/scenarios", get(scenarios))
        .route("/api/scenarios/{id}", get(scenario))
        .route("/api/scenarios/{id}/answer", get(answer))
        .route("/api/settings", get(status))
        .route("/api/settings/use", post(use_scenario))
        .route("/api/settings/set", post(set))
        .route("/api/settings/reset", post(reset))
        .route("/api/claims", post(send_claims))
        .route("/api/claims/{id}", get(claim))
        .route("/api/claims/{id}/diagnosis", get(diagnose_claim))
        .route("/api/diagnoses", post(diagnose_probe))
        .route("/api/hint", post(hint))
        .route("/api/reveal", post(reveal))
        .route("/api/checks", post(run_check))
        .route("/api/traffic", get(traffic).post(set_traffic))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .with_state(Arc::new(desk))
        .layer(from_fn_with_state(Arc::from(config.allowed_hosts), guard::same_site)))
}

async fn lab(State(desk): Shared) -> Json<Lab> {
    Json(Lab {
        front_door: desk.door.url().to_string(),
        trace_source: desk.trace_source.to_string(),
        services: desk.control.services().await,
        traffic: desk.door.traffic(),
    })
}

async fn scenarios(State(desk): Shared) -> Json<Vec<ScenarioBrief>> {
    Json(desk.control.catalogue().iter().map(ScenarioBrief::from).collect())
}

async fn scenario(State(desk): Shared, Path(id): Path<String>) -> Result<Json<ScenarioBrief>, Problem> {
    Ok(Json(ScenarioBrief::from(desk.control.find(&id)?)))
}

async fn answer(State(desk): Shared, Path(id): Path<String>) -> Result<Json<Scenario>, Problem> {
    desk.unlocked()?;
    Ok(Json(desk.control.find(&id)?.clone()))
}

async fn hint(State(desk): Shared) -> Result<Json<api::Hint>, Problem> {
    desk.control.next_hint().await.map(Json)
}

async fn reveal(State(desk): Shared) -> Result<Json<Scenario>, Problem> {
    desk.unlocked()?;
    desk.control.current().await.map(|scenario| Json(scenario.clone()))
}

async fn diagnose_claim(
    State(desk): Shared,
    Path(id): Path<String>,
    Query(query): Query<api::LookQuery>,
) -> Result<Json<Diagnosis>, Problem> {
    Ok(Json(evidence::diagnose(&desk.find(&id, query).await?)))
}

async fn diagnose_probe(State(desk): Shared) -> Result<Json<Diagnosis>, Problem> {
    check::diagnose(&desk).await.map(Json)
}

async fn status(State(desk): Shared) -> Result<Json<Status>, Problem> {
    desk.control.status().await.map(Json)
}

async fn use_scenario(State(desk): Shared, Body(request): Body<UseRequest>) -> Result<Json<Status>, Problem> {
    desk.control.use_scenario(&request.id).await.map(Json)
}

async fn set(State(desk): Shared, Body(request): Body<SetRequest>) -> Result<Json<Status>, Problem> {
    desk.control.set(&request).await.map(Json)
}

async fn reset(State(desk): Shared) -> Result<Json<Status>, Problem> {
    desk.control.use_scenario(api::HEALTHY).await.map(Json)
}

async fn send_claims(State(desk): Shared, Body(request): Body<ClaimsRequest>) -> Result<Response, Problem> {
    request.validate()?;
    let (events, lines) = mpsc::channel(64);
    tokio::spawn(async move { desk.door.send(&request, &events).await });
    Ok(json_lines::<ClaimEvent>(lines))
}

async fn run_check(State(desk): Shared, Body(request): Body<CheckRequest>) -> Result<Response, Problem> {
    if let Some(id) = &request.id {
        desk.control.find(id)?;
    }
    let (events, lines) = mpsc::channel(64);
    tokio::spawn(async move { check::run(&desk, request, &events).await });
    Ok(json_lines::<CheckEvent>(lines))
}

async fn claim(
    State(desk): Shared,
    Path(id): Path<String>,
    Query(query): Query<api::LookQuery>,
) -> Result<Json<ClaimReport>, Problem> {
    Ok(Json(ClaimReport::new(desk.find(&id, query).await?)))
}

async fn traffic(State(desk): Shared) -> Json<Traffic> {
    Json(desk.door.traffic())
}

async fn set_traffic(State(desk): Shared, Body(request): Body<api::TrafficRequest>) -> Result<Json<Traffic>, Problem> {
    request.validate()?;
    desk.door.set_traffic(request.per_second);
    Ok(Json(desk.door.traffic()))
}

// === impl Desk ===

impl Desk {
    fn unlocked(&self) -> Result<(), Problem> {
        if self.lock_reveal {
            return Err(Problem::new(StatusCode::FORBIDDEN, "the answers are locked"));
        }
        Ok(())
    }

    /// The evidence of a claim, named by its id, by the id of one of its traces, or as the last that was sent.
    async fn find(&self, id: &str, query: api::LookQuery) -> Result<Collected, Problem> {
        let unknown = |what: &str| Problem::new(StatusCode::NOT_FOUND, what.to_owned());
        let sent = match id {
            "last" => Some(self.door.last().ok_or_else(|| unknown("no claim was sent through this desk yet"))?),
            id => self.door.sent(id),
        };
        let claim_id = match (&sent, id.parse()) {
            (Some(sent), _) => sent.claim_id.clone().unwrap_or_default(),
            (None, Ok(trace_id)) => match self.looker.claim_of(trace_id).await? {
                Ok(claim_id) => claim_id,
                // A read: one trace that belongs to no submission.
                Err(trace) => return Ok(trace),
            },
            (None, Err(_)) => id.to_owned(),
        };
        let patience = Patience { deadline: query.wait().unwrap_or(LOOK_PATIENCE.deadline), ..LOOK_PATIENCE };
        let since = unix_seconds().saturating_sub(LOOK_BACK_SECONDS);
        let collected = self.looker.collect(&claim_id, since, &patience).await;
        if collected.source_down {
            return Err(Problem::unavailable("the trace store"));
        }
        if collected.evidence.fragments.is_empty() {
            return Err(unknown("no span of such a claim or trace has arrived"));
        }
        Ok(collected.with_traceresponse(sent.and_then(|sent| sent.traceresponse)))
    }
}

/// One JSON value a line, as they come. A reader who goes away closes the channel, and so ends the work behind it.
fn json_lines<T: Serialize + Send + 'static>(mut lines: mpsc::Receiver<T>) -> Response {
    let stream = futures_util::stream::poll_fn(move |cx| {
        lines.poll_recv(cx).map(|event| {
            event.map(|event| {
                let mut line = serde_json::to_vec(&event)?;
                line.push(b'\n');
                Ok::<_, serde_json::Error>(line)
            })
        })
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], axum::body::Body::from_stream(stream)).into_response()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
