//! The front door of the chain: the stand-in for a Flask API.
//!
//! - [`Config`], [`app`]: the service
//! - [`seams`]: what can be set while it runs
//! - `audit`: the task that writes the audit
//! - `baggage`: baggage as the Python SDK reads and writes it
//! - `legacy`: an old tracing library that is still in the call path
//!
//! `POST /claims` validates a claim, gives it an id and sends it on; `GET /claims/{id}` reads it back through the
//! chain. It stores nothing.

use std::time::Duration;

use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chain::{RouteSyntax, Service};
use error_reporter::Report;
use opentelemetry::trace::FutureExt;
use reqwest::Url;
use reqwest_middleware::ClientBuilder;
use reqwest_middleware::{ClientWithMiddleware, RequestBuilder};
use service::body::Body;
use service::claim_id::{self, Mint};
use service::contract::{Claim, Submission};
use service::url::{Call, resource};
use service::{ClaimId, Problem};
use settings::{ConfigError, Environment, Live};
use telemetry::client::Tracing;
use telemetry::server::Server;

use crate::legacy::LegacyB3;
use crate::seams::{CallerContext, Seams};

mod audit;
mod baggage;
mod legacy;
pub mod seams;

/// How long the claims service may take; longer than it waits for others itself.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer keys are refused.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// The services that this one calls.
pub const CALLS: &[Call] = &[CLAIMS];
/// The claims service answers behind the gateway.
const CLAIMS: Call = Call { variable: "CLAIMS_URL", to: Service::Gateway };

/// The file with the secret of [`Mint`]. By default idempotency keys are known until the process ends.
pub const CLAIM_ID_KEY_FILE: &str = "CLAIM_ID_KEY_FILE";

/// What the service needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the claims service answers.
    pub claims: Url,
    /// Names new claims.
    pub mint: Mint,
}

#[derive(Clone, Debug)]
struct Api {
    client: ClientWithMiddleware,
    claims: Url,
    mint: Mint,
    seams: Live<Seams>,
}

/// The service.
///
/// # Errors
/// The HTTP client cannot be built.
pub fn app(config: &Config, seams: Live<Seams>) -> Result<Router, reqwest::Error> {
    let client = reqwest::Client::builder().timeout(CALL_TIMEOUT).build()?;
    let client =
        ClientBuilder::new(client).with(LegacyB3(seams.clone())).with(Tracing::injecting(baggage::inject)).build();
    let door = seams.clone();
    let server = Server::starting(RouteSyntax::Flask, move |entry| match door.get().caller_context {
        CallerContext::Join => entry.join(),
        CallerContext::Restart => entry.restart(),
    })
    .extracting(baggage::extract);
    let api = Api { client, claims: config.claims.clone(), mint: config.mint.clone(), seams };
    let routes = Router::new().route("/claims", post(submit)).route("/claims/{id}", get(read)).with_state(api);
    Ok(service::serve::instrumented(routes, server))
}

async fn submit(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    // Minted first, so that a refused claim and its traces are found by it too.
    let (key, refused) = match idempotency_key(request.headers()) {
        Ok(key) => (key, None),
        Err(problem) => (None, Some(problem)),
    };
    let claim_id = api.mint.id(key);
    claim_id.mark_span();
    let seams = api.seams.get();
    let door = service::baggage::with_members(&seams.door_baggage);
    let answer = match refused {
        None => accept(&api, &seams, &claim_id, request).with_context(door).await,
        Some(problem) => Err(problem),
    };
    Ok(([(claim_id::HEADER, HeaderValue::from(&claim_id))], answer).into_response())
}

async fn accept(
    api: &Api,
    seams: &Seams,
    claim_id: &ClaimId,
    request: Request,
) -> Result<impl IntoResponse + use<>, Problem> {
    let tenant = service::baggage::tenant();
    let submission = validate_input(request).await?;
    let claim = submit_claim(api, claim_id, &submission).await?;
    audit::spawn(seams.audit_task, claim.clone(), tenant);
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/claims/{claim_id}"))], Json(claim)))
}

async fn read(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Claim>, Problem> {
    let claim_id = id.parse::<ClaimId>().map_err(|_| Problem::new(StatusCode::NOT_FOUND, "there is no such claim"))?;
    let response = api.ask(api.client.get(resource(&api.claims, &["api", "claims", claim_id.as_str()]))).await?;
    Ok(Json(claim(response).await?))
}

#[tracing::instrument(skip_all)]
async fn validate_input(request: Request) -> Result<Submission, Problem> {
    let Body(submission) = Body::<Submission>::from_request(request, &()).await?;
    match submission.faults() {
        faults if faults.is_empty() => Ok(submission),
        faults => Err(Problem::invalid(faults)),
    }
}

#[tracing::instrument(skip_all)]
async fn submit_claim(api: &Api, claim_id: &ClaimId, submission: &Submission) -> Result<Claim, Problem> {
    let url = resource(&api.claims, &["api", "claims"]);
    let request = api.client.post(url).header(claim_id::HEADER, claim_id).json(submission);
    claim(api.ask(request).await?).await
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    match headers.get("idempotency-key").map(|key| key.as_bytes()) {
        Some(key) if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY_BYTES => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            format!("header idempotency-key must have 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes"),
        )),
        key => Ok(key),
    }
}

// === impl Config ===

impl Config {
    /// What the environment says.
    ///
    /// # Errors
    /// A value that cannot be used.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        let mint = match env.get(CLAIM_ID_KEY_FILE) {
            Some(path) => Mint::kept_in(path.as_ref()).map_err(|error| ConfigError {
                variable: CLAIM_ID_KEY_FILE,
                reason: error.to_string(),
                value: path,
                allowed: "a file with a UUID, or one that can be made",
            })?,
            None => Mint::forgetful(),
        };
        Ok(Self { claims: CLAIMS.url(env)?, mint })
    }
}

// === impl Api ===

impl Api {
    /// The claims service's answer. What it says of the caller's request is the caller's to know; that it is down is not
    /// the caller's fault.
    async fn ask(&self, request: RequestBuilder) -> Result<reqwest::Response, Problem> {
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_client_error()
            && let Ok(problem) = response.json::<Problem>().await
        {
            return Err(problem);
        }
        tracing::warn!(status = status.as_u16(), "the claims service could not answer");
        Err(Problem::unavailable("the claims service"))
    }
}

async fn claim(response: reqwest::Response) -> Result<Claim, Problem> {
    response.json().await.map_err(|error| unavailable(&error))
}

fn unavailable(cause: &dyn std::error::Error) -> Problem {
    tracing::warn!(cause = %Report::new(cause), "the claims service did not answer");
    Problem::unavailable("the claims service")
}
