//! Decides claims and keeps them: the stand-in for a Spring service.
//!
//! - [`Config`], [`app`]: the service
//! - `policies`: asks node-policy-store
//! - `store`: claims in SQLite; a claim that was answered with 201 survives the end of the process
//!
//! `POST /api/claims` accepts a claim, `GET /api/claims/{id}` reads it back.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::Url;
use service::body::Body;
use service::contract::{Claim, Decision, Policy, Submission};
use service::{ClaimId, Problem};
use telemetry::server::RouteSyntax;

use crate::policies::Policies;
use crate::store::{Inserted, Store};

mod policies;
mod store;

/// How long a call of another service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// What the service needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`, such as `sqlite:///var/lib/claims.db`.
    pub database_url: String,
    /// `POLICY_STORE_URL`: where node-policy-store answers.
    pub policy_store: Url,
}

/// The service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened.
    #[error("the claims database cannot be opened")]
    Database(#[from] sqlx::Error),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
}

#[derive(Clone, Debug)]
struct Claims {
    policies: Policies,
    store: Store,
}

/// The service.
///
/// # Errors
/// The database cannot be opened.
pub async fn app(config: &Config) -> Result<Router, StartError> {
    let claims = Claims {
        policies: Policies::new(telemetry::client::traced(CALL_TIMEOUT)?, config.policy_store.clone()),
        store: Store::open(&config.database_url).await?,
    };
    let routes = Router::new()
        .route("/api/claims", post(accept_claim))
        .route("/api/claims/{id}", get(read_claim))
        .with_state(claims);
    Ok(service::serve::instrumented(routes, RouteSyntax::Spring))
}

async fn accept_claim(
    State(claims): State<Claims>,
    headers: HeaderMap,
    Body(submission): Body<Submission>,
) -> Result<impl IntoResponse, Problem> {
    let claim_id = ClaimId::of(&headers)?;
    let policy = claims.policies.look_up(&claim_id, &submission.policy_id).await?;
    let decision = decide_claim(&policy, &submission);
    let claim = Claim { claim_id, submission, decision };
    let claim = match claims.store.insert(&claim).await.map_err(|error| Problem::internal(&error))? {
        Inserted::Now => claim,
        // The caller sent the same claim again.
        Inserted::Before(kept) if kept.submission == claim.submission => kept,
        Inserted::Before(_) => {
            return Err(Problem::new(StatusCode::CONFLICT, "a different claim with this id was accepted before"));
        }
    };
    let location = format!("/api/claims/{}", claim.claim_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(claim)))
}

#[tracing::instrument(skip_all)]
fn decide_claim(policy: &Policy, submission: &Submission) -> Decision {
    policy.decide(submission)
}

async fn read_claim(State(claims): State<Claims>, Path(id): Path<String>) -> Result<Json<Claim>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "there is no such claim");
    let claim_id = id.parse::<ClaimId>().map_err(|_| unknown())?;
    let claim = claims.store.find(&claim_id).await.map_err(|error| Problem::internal(&error))?;
    claim.map(Json).ok_or_else(unknown)
}
