//! The control desk of the lab: choose a scenario, drive claims, see into which traces each fell, and be told by
//! evidence whether the chain is whole.
//!
//! - [`api`]: what goes in and out, as JSON; the command line is a thin client of it
//! - [`guard`]: who may ask
//! - `control`: switches settings and waits until every service follows them
//! - `door`: sends claims through the front door, singly or as traffic
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
use evidence::{Patience, TraceSource};
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

pub mod api;
mod check;
mod control;
mod door;
pub mod guard;

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
    /// Where python-api answers.
    pub front_door: Url,
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
    /// Claims per second that are sent from the start; 0 for none.
    pub traffic_per_second: f64,
}

#[derive(Debug)]
struct Desk {
    control: Control,
    door: Door,
    source: TraceSource,
    trace_source: Url,
}

type Shared = State<Arc<Desk>>;

/// The desk.
///
/// # Errors
/// The HTTP client cannot be built.
pub fn app(config: Config) -> Result<Router, reqwest::Error> {
    let client = reqwest::Client::builder().timeout(HEALTH_TIMEOUT).build()?;
    let door = Door::new(&config.front_door)?;
    door.set_traffic(config.traffic_per_second);
    let desk = Desk {
        source: TraceSource::new(config.trace_source.clone(), client.clone()),
        trace_source: config.trace_source,
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
    Ok(Json(desk.control.find(&id)?.clone()))
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
    let unknown = |what: &str| Problem::new(StatusCode::NOT_FOUND, what.to_owned());
    let since = unix_seconds().saturating_sub(LOOK_BACK_SECONDS);
    let sent = match id.as_str() {
        "last" => Some(desk.door.last().ok_or_else(|| unknown("no claim was sent through this desk yet"))?),
        id => desk.door.sent(id),
    };
    let claim_id = match (&sent, id.parse::<evidence::TraceId>()) {
        (Some(sent), _) => sent.claim_id.clone().unwrap_or_default(),
        (None, Ok(trace_id)) => {
            let trace = desk.source.trace(trace_id).await.map_err(source_problem)?;
            let spans = trace.map(|trace| trace.spans).unwrap_or_default();
            match spans.iter().find_map(|span| span.claim_id()) {
                Some(claim_id) => claim_id.to_owned(),
                None if spans.is_empty() => return Err(unknown("no trace with this id has arrived")),
                // A read: one trace that belongs to no submission.
                None => {
                    let evidence = evidence::ClaimEvidence::from_spans(String::new(), spans);
                    let collected = evidence::Collected { evidence, complete: true, ..evidence::Collected::default() };
                    return Ok(Json(ClaimReport::new(collected)));
                }
            }
        }
        (None, Err(_)) => id,
    };
    let patience = Patience { deadline: query.wait().unwrap_or(LOOK_PATIENCE.deadline), ..LOOK_PATIENCE };
    let collected = evidence::collect(&desk.source, &claim_id, since, &patience).await;
    let collected = collected.with_traceresponse(sent.and_then(|sent| sent.traceresponse));
    if collected.source_down {
        return Err(Problem::unavailable("the trace store"));
    }
    if collected.evidence.fragments.is_empty() {
        return Err(unknown("no span of such a claim or trace has arrived"));
    }
    Ok(Json(ClaimReport::new(collected)))
}

async fn traffic(State(desk): Shared) -> Json<Traffic> {
    Json(desk.door.traffic())
}

async fn set_traffic(State(desk): Shared, Body(request): Body<api::TrafficRequest>) -> Result<Json<Traffic>, Problem> {
    request.validate()?;
    desk.door.set_traffic(request.per_second);
    Ok(Json(desk.door.traffic()))
}

fn source_problem(error: evidence::SourceError) -> Problem {
    tracing::warn!(%error, "the trace store could not be asked");
    Problem::unavailable("the trace store")
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
