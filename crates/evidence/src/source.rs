//! Where spans come from: Grafana Tempo's query API, which the embedded store answers as well.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use error_reporter::Report;
use prost::Message;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use serde_json::Value;
use wire::TraceId;

use crate::otlp::TraceByIdResponse;
use crate::span::{CLAIM_ID, Decoded, Span};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How far a search reaches before the claim and into the future, because clocks differ.
const SEARCH_MARGIN_SECONDS: u64 = 60;
/// Tempo refuses to search through more (`query_frontend.search.max_duration`, 168 h).
const LONGEST_SEARCH_SECONDS: u64 = 168 * 3600;
/// More traces than one claim can fall into.
const SEARCH_LIMIT: &str = "200";
/// Tempo keeps no trace above 5 MB, the built-in store none above 16 MiB.
const MAX_BODY_BYTES: usize = 32 << 20;
/// How much of an answer an error shows.
const SHOWN_CHARS: usize = 300;

/// A trace store with Tempo's query API (<https://grafana.com/docs/tempo/latest/api_docs/>).
#[derive(Clone, Debug)]
pub struct TraceSource {
    base_url: String,
    client: reqwest::Client,
}

/// One trace as the source has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Its spans, in no particular order.
    pub spans: Vec<Span>,
    /// How many spans and links had malformed ids and were left out.
    pub malformed: usize,
    /// Whether the source says that it left spans out.
    pub partial: bool,
}

/// A question that the source did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The request failed: nobody listens there, or the answer did not come in time.
    #[error("GET {asked} failed: {reason}")]
    Failed {
        /// The address with path and query.
        asked: String,
        /// The error with its causes.
        reason: String,
    },
    /// The answer was an error.
    #[error("GET {asked} answered {status}: {body}")]
    Refused {
        /// The address with path and query.
        asked: String,
        /// The HTTP status.
        status: u16,
        /// The first part of the body.
        body: String,
    },
    /// The answer was not what the API promises.
    #[error("GET {asked} answered {status}, but not readably ({reason}): {body}")]
    Unreadable {
        /// The address with path and query.
        asked: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
        /// The first part of the body.
        body: String,
    },
}

#[derive(Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    traces: Vec<FoundTrace>,
}

#[derive(Deserialize)]
struct FoundTrace {
    #[serde(rename = "traceID")]
    trace_id: TraceId,
}

struct Answer {
    asked: String,
    status: StatusCode,
    body: Vec<u8>,
}

// === impl TraceSource ===

impl TraceSource {
    /// A source at `base_url`, such as `http://127.0.0.1:3200`. The client must be one without tracing: reads make no
    /// spans.
    #[must_use]
    pub fn new(base_url: impl Into<String>, client: reqwest::Client) -> Self {
        Self { base_url: base_url.into().trim_end_matches('/').to_owned(), client }
    }

    /// The traces that hold a span with this claim's id.
    ///
    /// `since_unix_seconds` is any time before the claim was sent, by less than a week; the search starts a minute before
    /// it and ends, as Tempo wants it, no later than a week after that.
    ///
    /// # Errors
    /// When the source cannot be reached in five seconds, refuses or answers something unreadable.
    pub async fn traces_of_claim(
        &self,
        claim_id: &str,
        since_unix_seconds: u64,
    ) -> Result<BTreeSet<TraceId>, SourceError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        // TraceQL reads strings as Go does, and whatever JSON escapes, Go reads alike.
        let query = format!("{{ span.{CLAIM_ID} = {} }}", Value::from(claim_id));
        let start = since_unix_seconds.saturating_sub(SEARCH_MARGIN_SECONDS);
        let end = now.max(since_unix_seconds).saturating_add(SEARCH_MARGIN_SECONDS);
        let end = end.min(start.saturating_add(LONGEST_SEARCH_SECONDS)).to_string();
        let parameters = [("q", query.as_str()), ("start", &start.to_string()), ("end", &end), ("limit", SEARCH_LIMIT)];

        let request = self.client.get(format!("{}/api/search", self.base_url)).query(&parameters);
        let answer = self.ask(request).await?.success()?;
        let found: SearchAnswer =
            serde_json::from_slice(&answer.body).map_err(|error| answer.unreadable(error.to_string()))?;
        Ok(found.traces.into_iter().map(|trace| trace.trace_id).collect())
    }

    /// The spans of one trace; `None` if the source has none (yet).
    ///
    /// # Errors
    /// When the source cannot be reached in five seconds, refuses or answers something unreadable.
    pub async fn trace(&self, id: TraceId) -> Result<Option<Trace>, SourceError> {
        let url = format!("{}/api/v2/traces/{id}", self.base_url);
        let answer = self.ask(self.client.get(url).header(ACCEPT, "application/protobuf")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.success()?;
        let found =
            TraceByIdResponse::decode(answer.body.as_slice()).map_err(|error| answer.unreadable(error.to_string()))?;
        let Decoded { spans, malformed } = found.trace.unwrap_or_default().into();
        let trace = Trace { spans, malformed, partial: found.status == 1 };
        Ok(Some(trace).filter(|trace| *trace != Trace::default()))
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, SourceError> {
        let request = request.timeout(REQUEST_TIMEOUT).build().map_err(|error| failed(&self.base_url, &error))?;
        let asked = request.url().to_string();
        let mut response = self.client.execute(request).await.map_err(|error| failed(&asked, &error))?;
        let mut answer = Answer { asked, status: response.status(), body: Vec::new() };
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&answer.asked, &error))? {
            if answer.body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(answer.unreadable(format!("it is longer than {MAX_BODY_BYTES} bytes")));
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

// === impl Answer ===

impl Answer {
    fn success(self) -> Result<Self, SourceError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let body = self.shown();
        Err(SourceError::Refused { asked: self.asked, status: self.status.as_u16(), body })
    }

    fn unreadable(&self, reason: String) -> SourceError {
        SourceError::Unreadable { asked: self.asked.clone(), status: self.status.as_u16(), reason, body: self.shown() }
    }

    fn shown(&self) -> String {
        let start = self.body.get(..4 * SHOWN_CHARS).unwrap_or(&self.body);
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        String::from_utf8_lossy(start).chars().take(SHOWN_CHARS).map(shown).collect()
    }
}

fn failed(asked: &str, error: &reqwest::Error) -> SourceError {
    SourceError::Failed { asked: asked.to_owned(), reason: Report::new(error).to_string() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use axum::extract::{Path, Query, State};
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::json;

    use super::*;
    use crate::claim::{Patience, collect};
    use crate::testing::*;

    /// A trace store to which each span comes at some look: looks are counted by searches.
    #[derive(Default)]
    struct Stub {
        looks: usize,
        spans: Vec<(usize, Span)>,
        queries: Vec<HashMap<String, String>>,
        failing_looks: usize,
        /// Traces that a search finds and nobody can fetch.
        announced: Vec<TraceId>,
        garbage: bool,
    }

    type Shared = Arc<Mutex<Stub>>;

    async fn search(
        State(stub): State<Shared>,
        Query(query): Query<HashMap<String, String>>,
    ) -> Result<Json<Value>, (StatusCode, &'static str)> {
        let mut stub = stub.lock().unwrap();
        stub.looks += 1;
        stub.queries.push(query);
        if stub.looks <= stub.failing_looks {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "starting\u{7}"));
        }
        let arrived = stub.spans.iter().filter(|it| it.0 <= stub.looks).map(|it| it.1.trace_id);
        let ids: BTreeSet<_> = arrived.chain(stub.announced.iter().copied()).collect();
        let traces: Vec<_> = ids.iter().map(|id| json!({"traceID": id.to_string().trim_start_matches('0')})).collect();
        Ok(Json(json!({"traces": traces, "metrics": {}})))
    }

    async fn by_id(State(stub): State<Shared>, Path(id): Path<String>) -> Result<Vec<u8>, StatusCode> {
        let stub = stub.lock().unwrap();
        if stub.garbage {
            return Ok(b"<html>not protobuf</html>".to_vec());
        }
        let spans: Vec<_> = stub
            .spans
            .iter()
            .filter(|(look, span)| *look <= stub.looks && span.trace_id.to_string() == id)
            .map(|(_, span)| span.clone())
            .collect();
        if spans.is_empty() {
            return Err(StatusCode::NOT_FOUND);
        }
        Ok(TraceByIdResponse { trace: Some(to_otlp(&spans)), status: 0 }.encode_to_vec())
    }

    async fn serve(stub: Stub) -> (TraceSource, Shared) {
        let stub = Arc::new(Mutex::new(stub));
        let app = Router::new()
            .route("/api/search", get(search))
            .route("/api/v2/traces/{id}", get(by_id))
            .with_state(Arc::clone(&stub));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        (TraceSource::new(format!("http://{address}/"), client()), stub)
    }

    fn client() -> reqwest::Client {
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    fn patience(deadline: Duration) -> Patience {
        Patience { deadline, settle: Duration::from_millis(30), poll: Duration::from_millis(5) }
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(60);

    fn at_looks(spans: Vec<Span>, look: impl Fn(usize) -> usize) -> Vec<(usize, Span)> {
        spans.into_iter().enumerate().map(|(at, span)| (look(at), span)).collect()
    }

    #[tokio::test]
    async fn waits_until_late_spans_have_arrived() {
        let spans = at_looks(lab_1(), |at| 2 * (12 - at));
        let (source, stub) = serve(Stub { spans, failing_looks: 1, ..Stub::default() }).await;
        let collected = collect(&source, chain::Topology::LAB, CLAIM, 1_000, &patience(LONG)).await;
        assert!(collected.complete && !collected.source_down, "the evidence became whole: {collected:?}");
        assert_eq!(collected.evidence.spans().count(), 12, "every span was waited for");
        assert_eq!(collected.evidence.fragments.len(), 2, "both traces were found by the claim's id");
        let [error] = collected.source_errors.as_slice() else {
            panic!("one error, not {:?}", collected.source_errors)
        };
        assert!(error.ends_with("answered 503: starting "), "the first look failed: {error}");

        let stub = stub.lock().unwrap();
        assert!(stub.looks > 24, "nothing is whole before the twenty-fourth look");
        let query = &stub.queries[0];
        assert_eq!(query["q"], r#"{ span.insurewatch.claim.id = "c-1" }"#, "asked by the claim's id");
        assert_eq!(query["start"], "940", "a minute before the claim");
        assert!(query["end"].parse::<u64>().unwrap() > 1_000, "a little in the future");
    }

    #[tokio::test]
    async fn whole_evidence_must_settle() {
        let mut spans = at_looks(whole_chain(), |_| 1);
        let stray = span(9, None, "python-api", chain::SpanKind::Internal, "audit", (5, 6));
        spans.push((2, Span { trace_id: trace_id(TRACE_B), ..stray }));
        let (source, _) = serve(Stub { spans, ..Stub::default() }).await;
        let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience(LONG)).await;
        assert!(collected.complete, "it settled in the end: {collected:?}");
        assert_eq!(
            collected.evidence.fragments.len(),
            2,
            "a root that came after the chain was whole is not overlooked"
        );
    }

    #[tokio::test]
    async fn what_never_arrives_is_absent_after_the_deadline() {
        let spans = at_looks(whole_chain(), |at| if at == 0 { usize::MAX } else { 1 });
        let (source, _) = serve(Stub { spans, ..Stub::default() }).await;
        let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience(SHORT)).await;
        assert!(!collected.complete && !collected.source_down, "the deadline passed: {collected:?}");
        assert_eq!(
            collected.evidence.missing_parents().count(),
            2,
            "the call and the audit name a root that never came"
        );
        assert!(u128::from(collected.waited_millis) >= SHORT.as_millis(), "nothing is absent before the deadline");
    }

    #[tokio::test]
    async fn a_trace_that_was_found_must_be_fetched() {
        let spans = at_looks(whole_chain(), |_| 1);
        let (source, _) = serve(Stub { spans, announced: vec![trace_id(TRACE_B)], ..Stub::default() }).await;
        let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience(SHORT)).await;
        assert!(!collected.complete, "a fragment that the search knows of is not here yet: {collected:?}");
        assert_eq!(collected.evidence.fragments.len(), 1, "what could be fetched is kept");
    }

    #[tokio::test]
    async fn a_source_that_fails_is_an_error_and_not_absence() {
        let spans = at_looks(whole_chain(), |_| 1);
        let (garbage, _) = serve(Stub { spans, garbage: true, ..Stub::default() }).await;
        let (refusing, _) = serve(Stub { failing_looks: usize::MAX, ..Stub::default() }).await;
        let unbound = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let cases = [
            (garbage, "not readably", "what is no protobuf cannot be read"),
            (refusing, "503", "the status is shown"),
            (TraceSource::new(format!("http://{unbound}"), client()), "failed", "nobody listens there"),
            (TraceSource::new("no url", client()), "failed", "that is no address"),
        ];
        for (source, part, why) in cases {
            let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience(SHORT)).await;
            assert!(collected.source_down && !collected.complete, "{why}: {collected:?}");
            assert!(collected.source_errors.iter().any(|error| error.contains(part)), "{why}: {collected:?}");
        }
    }

    #[tokio::test]
    async fn a_claim_id_cannot_leave_its_string() {
        let (source, stub) = serve(Stub::default()).await;
        let found = source.traces_of_claim("x\" } || { true }\\\n&q=1", 0).await.unwrap();
        assert!(found.is_empty(), "nothing has this id");
        let query = stub.lock().unwrap().queries[0]["q"].clone();
        assert_eq!(query, r#"{ span.insurewatch.claim.id = "x\" } || { true }\\\n&q=1" }"#, "quotes are escaped");
        assert_eq!(source.trace(trace_id(TRACE_A)).await.unwrap(), None, "404 means not found yet");
    }
}
