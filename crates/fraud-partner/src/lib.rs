//! A third party that checks claims for fraud. It exports nothing; it only remembers which trace headers and baggage it
//! was sent, as any company that is called could.
//!
//! `POST /checks` checks a claim, `GET /checks/{claim id}` answers what came with it. It keeps the newest claims in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use service::Problem;
use service::body::Body;
use service::contract::{FraudCheck, FraudFinding, FraudQuestion};
use wire::trace_headers;

/// How many claims are remembered.
const REMEMBERED: usize = 10_000;
/// From here on a person should look at a claim.
const SUSPICIOUS_CENTS: i64 = 1_000_000;

/// What came with the first question about a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub claim_id: String,
    /// Trace headers and baggage, each with its lines.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The size of their names and values, in bytes.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Memory {
    records: HashMap<String, Record>,
    order: VecDeque<String>,
}

type Shared = State<Arc<Mutex<Memory>>>;

pub fn app() -> Router {
    Router::new()
        .route("/checks", post(check))
        .route("/checks/{claim_id}", get(record))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .with_state(Shared::default().0)
}

async fn check(State(memory): Shared, headers: HeaderMap, Body(question): Body<FraudQuestion>) -> Json<FraudCheck> {
    memory.lock().unwrap_or_else(PoisonError::into_inner).remember(question.claim_id.to_string(), &headers);
    let suspicious = question.amount_cents >= SUSPICIOUS_CENTS;
    Json(FraudCheck { finding: if suspicious { FraudFinding::Suspicious } else { FraudFinding::Clear } })
}

async fn record(State(memory): Shared, Path(claim_id): Path<String>) -> Result<Json<Record>, Problem> {
    let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
    let record = memory.records.get(&claim_id).cloned();
    record.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no request about this claim was received"))
}

// === impl Memory ===

impl Memory {
    fn remember(&mut self, claim_id: String, headers: &HeaderMap) {
        if self.records.contains_key(&claim_id) {
            return;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.records.remove(&oldest);
        }
        let lines = |name: &str| -> Vec<String> {
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
        };
        let headers: BTreeMap<String, Vec<String>> =
            trace_headers().map(|name| (name.to_owned(), lines(name))).filter(|(_, lines)| !lines.is_empty()).collect();
        let bytes =
            headers.iter().map(|(name, lines)| lines.iter().map(|line| name.len() + line.len()).sum::<usize>()).sum();
        self.order.push_back(claim_id.clone());
        self.records.insert(claim_id.clone(), Record { claim_id, headers, bytes });
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::*;

    async fn ask(app: &Router, request: Request<Body>) -> (StatusCode, Value) {
        let response = app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn it_remembers_what_it_was_sent() {
        const CLAIM: &str = "CLM-0af7651916cd43dd8448eb211c80319c";
        let app = app();
        let question = json!({ "claim_id": CLAIM, "amount_cents": 1_000_000 });
        let request = Request::post("/checks")
            .header("content-type", "application/json")
            .header("baggage", "user.session_token=FAKE")
            .header("authorization", "not a trace header")
            .body(Body::from(question.to_string()));
        assert_eq!(ask(&app, request.unwrap()).await, (StatusCode::OK, json!({ "finding": "suspicious" })));
        let request = Request::get(format!("/checks/{CLAIM}")).body(Body::empty()).unwrap();
        let record = json!({ "claim_id": CLAIM, "headers": { "baggage": ["user.session_token=FAKE"] }, "bytes": 30 });
        assert_eq!(ask(&app, request).await, (StatusCode::OK, record));
        let request = Request::get("/checks/CLM-unknown").body(Body::empty()).unwrap();
        assert_eq!(ask(&app, request).await.0, StatusCode::NOT_FOUND);
    }
}
