//! Decides claims and stores them: the stand-in for a Spring service.
//!
//! - [`Config`], [`app`]: the service
//! - [`seams`]: what can be set while it runs
//! - `policies`: calls node-policy-store
//! - `store`: claims in SQLite; a claim that was answered with 201 survives the end of the process
//! - `outbox`: the message about each claim, stored with it and published by a relay
//! - `decision`: which claims are paid
//! - `pool`: the policy lookup, moved to the blocking pool
//! - `completion`: what happens once a claim is decided
//! - `hand_built`, `late_parent`: misuses that a seam can choose
//!
//! `POST /api/claims` accepts a claim, `GET /api/claims/{id}` reads it back, `PUT /api/claims/{id}/fraud-check` records
//! what a fraud check found.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use chain::{RouteSyntax, Service};
use claims_queue::Queue;
use error_reporter::Report;
use opentelemetry::trace::FutureExt;
use reqwest::Url;
use service::body::Body;
use service::contract::{Claim, Decision, FraudCheck, Policy, Submission};
use service::health::App;
use service::url::{Call, database_url};
use service::{ClaimId, Problem};
use settings::{ConfigError, Environment, Live};
use telemetry::server::Server;

use crate::completion::Dispatcher;
use crate::outbox::{Published, Relay, Reporter, Stored};
use crate::policies::Policies;
use crate::seams::{PolicyClient, Seams, ServerSpan};
use crate::store::{Inserted, Store};

mod completion;
mod decision;
mod hand_built;
mod late_parent;
mod outbound;
mod outbox;
mod policies;
mod pool;
pub mod seams;
mod store;

/// How long a call of another service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The services that this one calls.
pub const CALLS: &[Call] = &[POLICY_STORE];
const POLICY_STORE: Call = Call { variable: "POLICY_STORE_URL", to: Service::NodePolicyStore };
/// The name of its database.
pub const DATABASE: &str = "claims";

/// What the service needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`, such as `sqlite:///var/lib/claims.db`.
    pub database_url: String,
    /// Where node-policy-store answers.
    pub policy_store: Url,
    pub queue: Arc<dyn Queue>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened.
    #[error("the claims database cannot be opened")]
    Database(#[from] database::OpenError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[from] reqwest::Error),
    /// The dispatcher's thread cannot be started.
    #[error("the dispatcher cannot be started")]
    Dispatcher(#[from] std::io::Error),
}

#[derive(Clone, Debug)]
struct Claims {
    policies: Policies,
    store: Store,
    stored: Stored,
    completions: Dispatcher,
    seams: Live<Seams>,
}

/// The service, and its relay on its own task.
///
/// # Errors
/// The database cannot be opened.
pub async fn app(config: &Config, seams: Live<Seams>) -> Result<App, StartError> {
    let claims = Claims {
        policies: Policies::new(config.policy_store.clone(), CALL_TIMEOUT)?,
        store: Store::open(&config.database_url).await?,
        stored: Stored::default(),
        completions: Dispatcher::start()?,
        seams: seams.clone(),
    };
    let (store, queue, published) = (claims.store.clone(), config.queue.clone(), Published::default());
    let reporter = Reporter { store: store.clone(), queue: queue.clone(), published: published.clone() };
    let relay = Relay { store, queue, stored: claims.stored.clone(), published };
    tokio::spawn(relay.run());
    let routes = Router::new()
        .route("/api/claims", post(accept_claim))
        .route("/api/claims/{id}", get(read_claim))
        .route("/api/claims/{id}/fraud-check", put(record_fraud_check))
        .with_state(claims);
    let server = Server::starting(RouteSyntax::Spring, move |entry| match seams.get().server_span {
        ServerSpan::InContext => entry.join(),
        ServerSpan::LateParent => late_parent::start(entry),
    });
    Ok(App {
        routes: service::serve::instrumented(routes, server),
        report: Some(Arc::new(move || Box::pin(reporter.clone().report()))),
    })
}

async fn accept_claim(
    State(claims): State<Claims>,
    headers: HeaderMap,
    Body(submission): Body<Submission>,
) -> Result<impl IntoResponse, Problem> {
    let claim_id = ClaimId::of(&headers)?;
    match submission.faults() {
        faults if faults.is_empty() => {}
        faults => return Err(Problem::invalid(faults)),
    }
    let tenant = service::baggage::tenant();
    let seams = claims.seams.get();
    let cx = service::baggage::with_members(&seams.extra_baggage());
    let claim = claims.accept(&seams, claim_id, submission).with_context(cx).await?;
    tracing::info!(claim_id = %claim.claim_id, tenant, "claim accepted");
    let location = format!("/api/claims/{}", claim.claim_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(claim)))
}

#[tracing::instrument(skip_all, fields(insurewatch.claim.id = %claim_id))]
async fn look_up_policy(
    policies: Policies,
    client: PolicyClient,
    claim_id: ClaimId,
    policy_id: String,
) -> Result<Policy, Problem> {
    policies.look_up(client, &claim_id, &policy_id).await
}

#[tracing::instrument(skip_all)]
fn decide_claim(policy: &Policy, submission: &Submission) -> Decision {
    decision::decide(policy, submission)
}

#[tracing::instrument(skip_all, fields(insurewatch.claim.id = %claim.claim_id))]
fn notify_claimant(claim: &Claim) {
    tracing::info!(claim_id = %claim.claim_id, "claimant notified");
}

async fn read_claim(State(claims): State<Claims>, Path(id): Path<String>) -> Result<Json<Claim>, Problem> {
    let claim_id = id.parse::<ClaimId>().map_err(|_| unknown_claim())?;
    let claim = claims.store.find(&claim_id).await.map_err(|error| not_stored(&error))?;
    claim.map(Json).ok_or_else(unknown_claim)
}

/// The same finding twice is one finding: messages come at least once.
async fn record_fraud_check(
    State(claims): State<Claims>,
    Path(id): Path<String>,
    Body(check): Body<FraudCheck>,
) -> Result<StatusCode, Problem> {
    let claim_id = id.parse::<ClaimId>().map_err(|_| unknown_claim())?;
    let tenant = service::baggage::tenant();
    let broken = |error| not_stored(&error);
    if claims.store.record(&claim_id, check).await.map_err(broken)? {
        tracing::info!(%claim_id, tenant, "fraud check recorded");
        return Ok(StatusCode::NO_CONTENT);
    }
    claims.store.find(&claim_id).await.map_err(broken)?.ok_or_else(unknown_claim)?;
    Err(Problem::new(StatusCode::CONFLICT, "another result was recorded before"))
}

/// The disk may be full, or the file locked: the caller may try again.
fn not_stored(cause: &database::Error) -> Problem {
    tracing::error!(cause = %Report::new(cause), "the claims database failed");
    Problem::unavailable("the claims database")
}

fn unknown_claim() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such claim")
}

// === impl Config ===

impl Config {
    /// What the environment says beside the queue.
    ///
    /// # Errors
    /// A value that cannot be used.
    pub fn read(env: &dyn Environment, queue: Arc<dyn Queue>) -> Result<Self, ConfigError> {
        Ok(Self { database_url: database_url(env, DATABASE), policy_store: POLICY_STORE.url(env)?, queue })
    }
}

// === impl Claims ===

impl Claims {
    async fn accept(&self, seams: &Seams, claim_id: ClaimId, submission: Submission) -> Result<Claim, Problem> {
        let policy = self.look_up_policy(seams, claim_id.clone(), submission.policy_id.clone()).await?;
        let decision = decide_claim(&policy, &submission);
        let claim = Claim { claim_id, submission, decision, fraud_check: None };
        let inserted = self.store.insert(&claim, seams.outbox).await;
        match inserted.map_err(|error| not_stored(&error))? {
            Inserted::Now(message) => {
                self.stored.tell(message);
                let decided = claim.clone();
                self.completions.complete(seams.completion, move || notify_claimant(&decided));
                Ok(claim)
            }
            // The caller sent the same claim again.
            Inserted::Before(kept) if kept.submission == claim.submission => Ok(kept),
            Inserted::Before(_) => {
                Err(Problem::new(StatusCode::CONFLICT, "a different claim with this id was accepted before"))
            }
        }
    }

    async fn look_up_policy(&self, seams: &Seams, claim_id: ClaimId, policy_id: String) -> Result<Policy, Problem> {
        let work = look_up_policy(self.policies.clone(), seams.policy_client, claim_id, policy_id);
        let answer = pool::run(seams.lookup_pool, work).await;
        answer.map_err(|error| Problem::internal(&error))?
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Instant;

    use async_trait::async_trait;
    use axum::body::Body;
    use axum::http::Request;
    use claims_queue::{BackendError, Counts, Delivery, Message, PublishError, SettleError};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    /// A queue that takes every message, or never answers.
    #[derive(Debug, Default)]
    struct Fake {
        is_silent: bool,
        published: AtomicUsize,
        synced: AtomicUsize,
    }

    impl Fake {
        fn silent() -> Arc<Self> {
            Arc::new(Self { is_silent: true, ..Self::default() })
        }

        async fn answer(&self) {
            if self.is_silent {
                pending().await
            }
        }
    }

    #[async_trait]
    impl Queue for Fake {
        async fn publish(&self, _: &Message) -> Result<(), PublishError> {
            self.answer().await;
            self.published.fetch_add(1, Relaxed);
            Ok(())
        }

        async fn sync(&self) -> Result<(), BackendError> {
            self.answer().await;
            self.synced.fetch_add(1, Relaxed);
            Ok(())
        }

        async fn receive(&self, _: usize, _: Duration) -> Result<Vec<Delivery>, BackendError> {
            pending().await
        }

        async fn ack(&self, _: &Delivery) -> Result<(), SettleError> {
            pending().await
        }

        async fn release(&self, _: &Delivery, _: Duration) -> Result<(), SettleError> {
            pending().await
        }

        async fn counts(&self) -> Result<Counts, BackendError> {
            self.answer().await;
            Ok(Counts::default())
        }

        async fn dead_letters(&self, _: usize) -> Result<Vec<Message>, BackendError> {
            pending().await
        }

        async fn trouble(&self) -> Option<String> {
            self.answer().await;
            None
        }
    }

    /// Any policy, at a URL.
    async fn policy_store() -> Url {
        let policy = json!({
            "policy_id": "POL-1001", "holder": "Ada", "product": "home", "valid_from": "2025-01-01",
            "valid_until": "2025-12-31", "limit_cents": 100_000, "deductible_cents": 5_000,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let routes = Router::new().route("/policies/{id}", get(async || Json(policy)));
        tokio::spawn(axum::serve(listener, routes).into_future());
        url
    }

    async fn start(queue: Arc<dyn Queue>) -> (tempfile::TempDir, App) {
        let folder = tempfile::tempdir().unwrap();
        let database_url = format!("sqlite://{}", folder.path().join("claims.db").display());
        let config = Config { database_url, policy_store: policy_store().await, queue };
        let app = app(&config, Live::default()).await.unwrap();
        (folder, app)
    }

    async fn post(routes: &Router, number: u32, amount_cents: i64) -> StatusCode {
        let claim = json!({
            "policy_id": "POL-1001", "claimant": "Ada", "incident_date": "2025-06-15", "amount_cents": amount_cents,
            "description": "hail".repeat(400),
        });
        let request = Request::post("/api/claims").header(service::claim_id::HEADER, format!("CLM-{number:032x}"));
        let request = request.header("content-type", "application/json").body(Body::from(claim.to_string()));
        routes.clone().oneshot(request.unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn what_the_door_refuses_is_refused_here_too() {
        let (_folder, App { routes, .. }) = start(Fake::silent()).await;
        for amount_cents in [-1, 0, i64::MIN] {
            let status = post(&routes, 1, amount_cents).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{amount_cents} cents: it can be reached directly");
        }
        assert_eq!(post(&routes, 1, 20_000).await, StatusCode::CREATED, "nothing was kept under this id");
    }

    #[tokio::test]
    async fn the_outbox_grows_while_the_queue_is_silent_and_is_counted_all_the_same() {
        let (_folder, App { routes, report }) = start(Fake::silent()).await;
        let report = report.expect("it keeps messages");
        let backlog = async || report().await.backlog;
        assert_eq!(json!(backlog().await), json!({ "outbox": 0, "queue": Value::Null }), "nothing was sent");
        for number in 1..=2 {
            let status = post(&routes, number, 20_000).await;
            assert_eq!(status, StatusCode::CREATED, "a claim is accepted while its message waits");
            assert_eq!(
                json!(backlog().await),
                json!({ "outbox": number, "queue": Value::Null }),
                "it waits, and is counted"
            );
        }
    }

    #[tokio::test]
    async fn what_cannot_be_forgotten_is_not_published_again() {
        const REFUSE: &str =
            "CREATE TRIGGER full BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'as a full disk'); END";
        let queue = Arc::new(Fake::default());
        let (folder, App { routes, report }) = start(queue.clone()).await;
        let other = database::rusqlite::Connection::open(folder.path().join("claims.db")).unwrap();
        other.execute_batch(REFUSE).unwrap();
        for number in 1..=2 {
            assert_eq!(post(&routes, number, 20_000).await, StatusCode::CREATED, "it can be accepted");
        }
        let eventually = async |what: &str, is_so: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while !is_so() {
                assert!(Instant::now() < deadline, "{what}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        eventually("it tries again to forget them", &|| queue.synced.load(Relaxed) >= 3).await;
        assert_eq!(queue.published.load(Relaxed), 2, "each message is published once");
        other.execute_batch("DROP TRIGGER full").unwrap();
        let left = || other.query_row("SELECT count(*) FROM outbox", (), |row| row.get::<_, i64>(0)).unwrap();
        eventually("they are forgotten once that can be", &|| left() == 0).await;
        let backlog = report.expect("it keeps messages")().await.backlog;
        assert_eq!(json!(backlog)["outbox"], json!(0), "nothing waits");
    }
}
