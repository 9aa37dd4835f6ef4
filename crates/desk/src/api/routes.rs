//! The JSON API. Handlers only map requests to calls of the lab.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use evidence::Diagnosis;
use scenario::Scenario;
use serde::Serialize;
use service::Problem;
use service::body::Body;
use tokio::sync::mpsc;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::extract::{InPath, InQuery};
use crate::api::openapi;
use crate::api::{
    CheckEvent, CheckRequest, ClaimEvent, ClaimReport, ClaimRow, ClaimsRequest, DrillAnswer, DrillRequest, DrillStatus,
    Hint, Judgement, LabStatus, LookQuery, Pulse, ScenarioBrief, Scoreboard, SetRequest, Status, Traffic,
    TrafficRequest, UseRequest,
};
use crate::drill::Viewer;
use crate::lab::Lab;

pub(crate) type Shared = State<Arc<Lab>>;
type Answer<T> = Result<Json<T>, Problem>;

pub(crate) fn router() -> OpenApiRouter<Arc<Lab>> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(lab))
        .routes(routes!(events))
        .routes(routes!(scenarios))
        .routes(routes!(scenario))
        .routes(routes!(answer))
        .routes(routes!(status))
        .routes(routes!(use_scenario))
        .routes(routes!(set))
        .routes(routes!(reset))
        .routes(routes!(claims, send_claims))
        .routes(routes!(claim))
        .routes(routes!(diagnose_claim))
        .routes(routes!(diagnose_probe))
        .routes(routes!(scoreboard))
        .routes(routes!(hint))
        .routes(routes!(reveal))
        .routes(routes!(run_check))
        .routes(routes!(traffic, set_traffic))
        .routes(routes!(drill, start_drill))
        .routes(routes!(answer_drill))
}

/// Where the lab's parts are, and whether they answer.
#[utoipa::path(get, path = "/api/lab", responses((status = 200, body = LabStatus)))]
async fn lab(State(lab): Shared) -> Json<LabStatus> {
    Json(lab.overview().await)
}

/// Tells by server-sent events that something changed; each event's data is a `Pulse`. It never ends.
#[utoipa::path(get, path = "/api/events", responses((status = 200, content_type = "text/event-stream", body = Pulse)))]
async fn events(State(lab): Shared) -> Result<impl IntoResponse, Problem> {
    lab.changes().stream()
}

/// Every scenario, without its answer.
#[utoipa::path(get, path = "/api/scenarios", responses((status = 200, body = Vec<ScenarioBrief>)))]
async fn scenarios(State(lab): Shared) -> Json<Vec<ScenarioBrief>> {
    Json(lab.briefs())
}

/// One scenario, without its answer.
#[utoipa::path(get, path = "/api/scenarios/{id}", params(("id" = String, Path, description = "the scenario")), responses((status = 200, body = ScenarioBrief)))]
async fn scenario(State(lab): Shared, InPath(id): InPath<String>) -> Answer<ScenarioBrief> {
    lab.brief(&id).map(Json)
}

/// One scenario with its answer; not while a drill is on.
#[utoipa::path(get, path = "/api/scenarios/{id}/answer", params(("id" = String, Path, description = "the scenario")), responses((status = 200, body = Object)))]
async fn answer(State(lab): Shared, InPath(id): InPath<String>) -> Answer<Scenario> {
    lab.answer(&id).map(Json)
}

/// What is set, and which services have applied it.
#[utoipa::path(get, path = "/api/settings", responses((status = 200, body = Status)))]
async fn status(State(lab): Shared) -> Answer<Status> {
    lab.status(Viewer::Api).await.map(Json)
}

/// Switches to a scenario; answers when all services have applied it. It ends a drill.
#[utoipa::path(post, path = "/api/settings/use", request_body = UseRequest, responses((status = 200, body = Status)))]
async fn use_scenario(State(lab): Shared, Body(request): Body<UseRequest>) -> Answer<Status> {
    lab.use_scenario(&request.id).await.map(Json)
}

/// Changes one setting of one service; answers when all services have applied it.
#[utoipa::path(post, path = "/api/settings/set", request_body = SetRequest, responses((status = 200, body = Status)))]
async fn set(State(lab): Shared, Body(request): Body<SetRequest>) -> Answer<Status> {
    lab.set(&request).await.map(Json)
}

/// Switches to the healthy scenario. It ends a drill.
#[utoipa::path(post, path = "/api/settings/reset", responses((status = 200, body = Status)))]
async fn reset(State(lab): Shared) -> Answer<Status> {
    lab.use_scenario(crate::api::HEALTHY).await.map(Json)
}

/// The newest claims that went through this desk, newest first.
#[utoipa::path(get, path = "/api/claims", responses((status = 200, body = Vec<ClaimRow>)))]
async fn claims(State(lab): Shared) -> Json<Vec<ClaimRow>> {
    Json(lab.claims(Viewer::Api))
}

/// Sends claims; answers one `ClaimEvent` a line, as they are answered.
#[utoipa::path(post, path = "/api/claims", request_body = ClaimsRequest, responses((status = 200, content_type = "application/x-ndjson", body = ClaimEvent)))]
async fn send_claims(State(lab): Shared, Body(request): Body<ClaimsRequest>) -> Result<Response, Problem> {
    request.validate()?;
    let (events, lines) = mpsc::channel(64);
    tokio::spawn(async move { lab.send_claims(&request, &events).await });
    Ok(json_lines::<ClaimEvent>(lines))
}

/// Every trace of a claim, and what each hop sent and received.
#[utoipa::path(get, path = "/api/claims/{id}", params(("id" = String, Path, description = "a claim id, a trace id, or `last`"), LookQuery), responses((status = 200, body = ClaimReport)))]
async fn claim(
    State(lab): Shared,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<LookQuery>,
) -> Answer<ClaimReport> {
    Ok(Json(ClaimReport::new(lab.find(&id, query).await?)))
}

/// The four steps for every hop of a claim. It ends a drill.
#[utoipa::path(post, path = "/api/claims/{id}/diagnosis", params(("id" = String, Path, description = "a claim id, a trace id, or `last`"), LookQuery), responses((status = 200, body = Object)))]
async fn diagnose_claim(
    State(lab): Shared,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<LookQuery>,
) -> Answer<Diagnosis> {
    lab.diagnose_claim(&id, query).await.map(Json)
}

/// Sends probe claims and diagnoses the last. It ends a drill.
#[utoipa::path(post, path = "/api/diagnoses", responses((status = 200, body = Object)))]
async fn diagnose_probe(State(lab): Shared) -> Answer<Diagnosis> {
    lab.diagnose_probe().await.map(Json)
}

/// What the claims of the last minutes come to.
#[utoipa::path(get, path = "/api/scoreboard", responses((status = 200, body = Scoreboard)))]
async fn scoreboard(State(lab): Shared) -> Json<Scoreboard> {
    Json(lab.scoreboard(Viewer::Api))
}

/// The next hint for the active scenario; in a drill every hint but the last.
#[utoipa::path(post, path = "/api/hint", responses((status = 200, body = Hint)))]
async fn hint(State(lab): Shared) -> Answer<Hint> {
    lab.hint().await.map(Json)
}

/// The whole answer of the active scenario. It ends a drill.
#[utoipa::path(post, path = "/api/reveal", responses((status = 200, body = Object)))]
async fn reveal(State(lab): Shared) -> Answer<Scenario> {
    lab.reveal().await.map(Json)
}

/// Sends probe claims and judges their evidence; answers one `CheckEvent` a line. In a drill it says only healthy or
/// broken.
#[utoipa::path(post, path = "/api/checks", request_body = CheckRequest, responses((status = 200, content_type = "application/x-ndjson", body = CheckEvent)))]
async fn run_check(State(lab): Shared, Body(request): Body<CheckRequest>) -> Result<Response, Problem> {
    if let Some(id) = &request.id {
        lab.brief(id)?;
    }
    let (events, lines) = mpsc::channel(64);
    tokio::spawn(async move { lab.check(request, events).await });
    Ok(json_lines::<CheckEvent>(lines))
}

/// What is sent continuously.
#[utoipa::path(get, path = "/api/traffic", responses((status = 200, body = Traffic)))]
async fn traffic(State(lab): Shared) -> Json<Traffic> {
    Json(lab.traffic())
}

/// Sends claims continuously, or no longer.
#[utoipa::path(post, path = "/api/traffic", request_body = TrafficRequest, responses((status = 200, body = Traffic)))]
async fn set_traffic(State(lab): Shared, Body(request): Body<TrafficRequest>) -> Answer<Traffic> {
    request.validate()?;
    Ok(Json(lab.set_traffic(request.per_second)))
}

/// The drill that is on, and the score.
#[utoipa::path(get, path = "/api/drill", responses((status = 200, body = DrillStatus)))]
async fn drill(State(lab): Shared) -> Json<DrillStatus> {
    Json(lab.drill())
}

/// Starts a drill: a scenario that is kept secret, and the clock.
#[utoipa::path(post, path = "/api/drill", request_body = DrillRequest, responses((status = 200, body = DrillStatus)))]
async fn start_drill(State(lab): Shared, Body(request): Body<DrillRequest>) -> Answer<DrillStatus> {
    lab.start_drill(&request).await.map(Json)
}

/// Answers the drill with a place and the first step that fails there.
#[utoipa::path(post, path = "/api/drill/answer", request_body = DrillAnswer, responses((status = 200, body = Judgement)))]
async fn answer_drill(State(lab): Shared, Body(request): Body<DrillAnswer>) -> Answer<Judgement> {
    lab.answer_drill(&request).await.map(Json)
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

pub(crate) async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path")
}

pub(crate) async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not allow the method")
}
