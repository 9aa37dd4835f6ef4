//! How a trace store is asked, and waited for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use evidence::span::CLAIM_ID;
use evidence::{FoundBy, Patience, Span, TraceSource, collect};
use prost::Message;
use serde_json::{Value, json};
use wire::TraceId;

use crate::support::*;

/// A trace store to which each span comes at some look: looks are counted by searches.
#[derive(Default)]
struct Stub {
    looks: usize,
    spans: Vec<(usize, Span)>,
    queries: Vec<HashMap<String, String>>,
    failing_looks: usize,
    /// Spans that carry no claim id: only a search by service and kind finds them.
    beside: Vec<Span>,
    /// Traces that a search finds and nobody can fetch.
    announced: Vec<TraceId>,
    garbage: bool,
    /// How often changes of the claim are told before there are none; `None` for a source that tells none, as Tempo.
    changes: Option<usize>,
}

type Shared = Arc<Mutex<Stub>>;

async fn search(
    State(stub): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, (StatusCode, &'static str)> {
    let mut stub = stub.lock().unwrap();
    if query["q"].contains("kind = ") {
        let ids: BTreeSet<_> = stub.beside.iter().map(|span| span.trace_id).collect();
        return Ok(Json(
            json!({"traces": ids.iter().map(|id| json!({"traceID": id.to_string()})).collect::<Vec<_>>()}),
        ));
    }
    // A look begins with the search by the application's attribute.
    stub.looks += usize::from(query["q"].contains(CLAIM_ID));
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
        .chain(stub.beside.iter().filter(|span| span.trace_id.to_string() == id).cloned())
        .collect();
    if spans.is_empty() {
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(TraceByIdResponse { trace: to_otlp(&spans) }.encode_to_vec())
}

async fn changes(
    State(stub): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    assert_eq!(query["tag"], "insurewatch.claim.id", "claims are followed");
    let left = stub.lock().unwrap().changes.as_mut().map(|left| std::mem::replace(left, left.saturating_sub(1)));
    if left.ok_or(StatusCode::NOT_FOUND)? == 0 {
        tokio::time::sleep(Duration::from_millis(query["wait"].parse().unwrap())).await;
        return Ok(Json(json!({"at": "1", "complete": true, "values": ["another"]})));
    }
    Ok(Json(json!({"at": "1", "complete": query.contains_key("after"), "values": [CLAIM, "another"]})))
}

async fn serve(stub: Stub) -> (TraceSource, Shared) {
    let stub = Arc::new(Mutex::new(stub));
    let app = Router::new()
        .route("/api/search", get(search))
        .route("/api/v2/traces/{id}", get(by_id))
        .route("/api/changes", get(changes))
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

fn at_looks(spans: Vec<Span>, look: impl Fn(&Span) -> usize) -> Vec<(usize, Span)> {
    spans.into_iter().map(|span| (look(&span), span)).collect()
}

#[tokio::test]
async fn waits_until_late_spans_have_arrived() {
    // Every second look brings one more, the front door's span last.
    let spans: Vec<_> = (1..).map(|number| 2 * number).zip(lab_1().into_iter().rev()).collect();
    let (source, stub) = serve(Stub { spans, failing_looks: 1, ..Stub::default() }).await;
    let collected = collect(&source, chain::Topology::LAB, CLAIM, 1_000, &patience(LONG)).await;
    assert!(collected.complete && !collected.source_down, "the evidence became whole: {collected:?}");
    assert_eq!(collected.evidence.spans().count(), 12, "every span was waited for");
    assert_eq!(collected.evidence.fragments.len(), 2, "both traces were found by the claim's id");
    let [error] = collected.source_errors.as_slice() else { panic!("one error, not {:?}", collected.source_errors) };
    assert!(error.ends_with("answered 503: starting "), "the first look failed: {error}");

    let stub = stub.lock().unwrap();
    assert!(stub.looks > 24, "nothing is complete before the twenty-fourth look");
    let query = &stub.queries[0];
    assert_eq!(query["q"], r#"{ span.insurewatch.claim.id = "c-1" }"#, "asked by the claim's id");
    assert_eq!(query["start"], "940", "a minute before the claim");
    assert!(query["end"].parse::<u64>().unwrap() > 1_000, "a little in the future");
}

#[tokio::test]
async fn a_source_that_tells_changes_is_asked_once_per_change() {
    let spans: Vec<_> = (1..).zip(lab_1().into_iter().rev()).collect();
    let (source, stub) = serve(Stub { spans, changes: Some(11), ..Stub::default() }).await;
    let collected = collect(&source, chain::Topology::LAB, CLAIM, 1_000, &patience(LONG)).await;
    assert!(collected.complete, "every change was looked at: {collected:?}");
    assert_eq!(collected.evidence.spans().count(), 12, "one span at first, and one with each change");
    let looks = stub.lock().unwrap().looks;
    assert_eq!(looks, 13, "and once more when it had settled");
}

#[tokio::test]
async fn a_single_look_asks_for_captured_ids_only_where_there_is_a_gap() {
    let patience = Patience { deadline: Duration::ZERO, settle: Duration::ZERO, poll: Duration::from_millis(1) };
    for (spans, captured, why) in [
        (whole_chain(), false, "the chain is complete without them"),
        (chain_without(&[POLICY]), true, "an SDK may have recorded the missing span with a captured header"),
    ] {
        let (source, stub) = serve(Stub { spans: at_looks(spans, |_| 1), ..Stub::default() }).await;
        let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience).await;
        assert_eq!(collected.complete, !captured, "{why}: {collected:?}");
        let queries = &stub.lock().unwrap().queries;
        let asked = queries.iter().any(|query| !query["q"].contains(CLAIM_ID));
        assert_eq!(asked, captured, "{why}: {queries:?}");
    }
}

#[tokio::test]
async fn whole_evidence_must_settle() {
    let mut spans = at_looks(whole_chain(), |_| 1);
    let stray = span(9, None, "python-api", chain::SpanKind::Internal, "audit", (5, 6));
    spans.push((2, Span { trace_id: trace_id(TRACE_B), ..stray }));
    let (source, _) = serve(Stub { spans, ..Stub::default() }).await;
    let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience(LONG)).await;
    assert!(collected.complete, "it settled in the end: {collected:?}");
    assert_eq!(collected.evidence.fragments.len(), 2, "a root that came after the chain was whole is not overlooked");
}

#[tokio::test]
async fn what_does_not_arrive_is_absent_after_the_deadline() {
    let spans = at_looks(whole_chain(), |span| if span.span_id == span_id(FRONT) { usize::MAX } else { 1 });
    let (source, _) = serve(Stub { spans, ..Stub::default() }).await;
    let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience(SHORT)).await;
    assert!(!collected.complete && !collected.source_down, "the deadline passed: {collected:?}");
    assert_eq!(
        collected.evidence.missing_parents().count(),
        2,
        "the call and the audit name a root that was not received"
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
        (garbage, "unreadable body", "what is not protobuf cannot be read"),
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
    let found = source.traces_of_claim(CLAIM_ID, "x\" } || { true }\\\n&q=1", 0).await.unwrap();
    assert!(found.is_empty(), "nothing has this id");
    let query = stub.lock().unwrap().queries[0]["q"].clone();
    assert_eq!(query, r#"{ span.insurewatch.claim.id = "x\" } || { true }\\\n&q=1" }"#, "quotes are escaped");
    assert_eq!(source.trace(trace_id(TRACE_A)).await.unwrap(), None, "404 means not found yet");
}

#[tokio::test]
async fn a_claim_among_more_traces_than_a_search_finds_cannot_be_told() {
    // As a search answers that has 300 of them: 200, and not the claim's own.
    let forged = (1..=200_u64).map(|number| {
        let id = format!("{number:032x}").parse().unwrap();
        let root = span(9, None, "python-api", chain::SpanKind::Server, "POST /claims", (5, 6));
        (1, Span { trace_id: id, ..root }.with(evidence::span::CLAIM_ID, CLAIM))
    });
    let (source, _) = serve(Stub { spans: forged.collect(), ..Stub::default() }).await;
    let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience(SHORT)).await;
    assert_eq!(collected.evidence.searched_up_to, Some(200), "the search was full");
    let verdict = evidence::judge(chain::Topology::LAB, std::slice::from_ref(&collected), None);
    assert_eq!(verdict.outcome, evidence::Outcome::CannotTell, "{verdict:#?}");
    assert!(verdict.sentence.contains("200 traces or more carry the id of claim c-1"), "{}", verdict.sentence);
    let why = "the most that a search finds: its own may not be among them";
    assert!(verdict.evidence.iter().any(|fact| fact.contains(why)), "it says why: {:?}", verdict.evidence);
    assert!(verdict.evidence.len() < 60, "and does not list them all: {}", verdict.evidence.len());
}

#[tokio::test]
async fn a_span_that_carries_nothing_is_found_by_time_and_target_if_it_is_the_only_one() {
    let policy = |trace: u128, millis: (u64, u64)| {
        let span = span(POLICY, None, "node-policy-store", chain::SpanKind::Server, "GET /policies/:id", millis);
        span.in_trace(trace)
    };
    let during = policy(TRACE_B, (4, 6));
    let patience = Patience { deadline: Duration::from_millis(2500), ..patience(LONG) };
    for (beside, found, why) in [
        (vec![during.clone()], Some(FoundBy::TimeAndTarget), "the only one while the call waited"),
        (vec![during.clone(), policy(0xc3, (4, 5))], None, "either could be meant"),
        (vec![policy(TRACE_B, (14, 16))], Some(FoundBy::TimeAndTarget), "its clock is somewhat ahead"),
        (vec![policy(TRACE_B, (4, 60))], Some(FoundBy::TimeAndTarget), "its span ended after it had answered"),
        (
            vec![policy(TRACE_B, (4, 20)), policy(0xc3, (0, 1))],
            Some(FoundBy::TimeAndTarget),
            "the other was before the call",
        ),
        (vec![during.clone(), policy(0xc3, (4, 20))], Some(FoundBy::TimeAndTarget), "the other fits less closely"),
        (vec![policy(TRACE_B, (400, 406))], None, "the call had its answer by then"),
        (vec![during.clone().with("http.request.header.x-claim-id", "c-2")], None, "another claim's"),
    ] {
        let spans = at_looks(chain_without(&[POLICY]), |_| 1);
        let (source, _) = serve(Stub { spans, beside, ..Stub::default() }).await;
        let collected = collect(&source, chain::Topology::LAB, CLAIM, 0, &patience).await;
        let reading = evidence::Reading::new(chain::Topology::LAB, &collected);
        let row = reading.rows().iter().find(|row| row.hop.to_string() == LOOKUP).unwrap();
        assert_eq!(row.found_by, found, "{why}");
        let finding = reading.conclude().diagnosis().first;
        assert_eq!(
            finding.map(|it| (it.place.map(|place| place.to_string()), it.inferred)),
            found.map(|_| (Some(LOOKUP.to_owned()), true)),
            "{why}: such a finding is inferred"
        );
    }
}
