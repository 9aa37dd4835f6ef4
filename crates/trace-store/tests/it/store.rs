//! Bounds, eviction, duplicates and what is counted.

use opentelemetry_proto::tonic::trace::v1::span::Link;
use prost::Message;
use serde_json::json;
use trace_store::{ATTRIBUTE_OVERHEAD_BYTES, BATCH_OVERHEAD_BYTES, Limits, SPAN_OVERHEAD_BYTES, Store};

use crate::support::{MAX_BYTES, PROTOBUF, get, request, span, spans, trace};

/// By the store's measure, a request with a single span of `span()`, sent by `sender`.
fn request_bytes() -> usize {
    let mut request = request("sender", vec![span(1, 1, 0)]);
    let mut resource = request.resource_spans.remove(0);
    let span = resource.scope_spans.remove(0).spans.remove(0);
    // The resource has one attribute, its service's name.
    let overhead = BATCH_OVERHEAD_BYTES + ATTRIBUTE_OVERHEAD_BYTES + SPAN_OVERHEAD_BYTES;
    resource.encoded_len() + span.encoded_len() + overhead
}

#[tokio::test]
async fn the_trace_that_arrived_first_is_evicted_first() {
    let store = Store::new(3 * request_bytes());
    for id in [1, 2, 3] {
        store.insert(request("sender", vec![span(id, 1, 0)]));
    }
    assert_eq!(store.counters().bytes_held, 3 * request_bytes() as u64, "three fit exactly");
    // Span 9 starts later than all others: eviction goes by arrival, not by the clock of the spans.
    store.insert(request("sender", vec![span(1, 9, 1)]));
    let counters = store.counters();
    assert_eq!((counters.traces_evicted, counters.spans_evicted), (1, 2), "trace 1 went whole, its new span too");
    assert_eq!((counters.traces_held, counters.spans_held), (2, 2), "2 and 3 are left");
    assert_eq!(counters.bytes_held, 2 * request_bytes() as u64, "what went is not charged");
    assert_eq!(get(&store, "/api/traces/1", PROTOBUF).await.status, 404, "evicted");
    assert_eq!(spans(&trace(&store, "3").await).len(), 1, "younger, so it stayed");
}

#[tokio::test]
async fn an_evicted_trace_can_start_anew() {
    let store = Store::new(request_bytes());
    for id in [1, 2, 1] {
        store.insert(request("sender", vec![span(id, 1, 0)]));
    }
    assert_eq!(store.counters().traces_evicted, 2, "one fits, two went");
    assert_eq!(store.counters().spans_duplicate, 0, "the evicted span is not remembered");
    assert_eq!(spans(&trace(&store, "1").await).len(), 1, "the last that came");
}

#[tokio::test]
async fn a_span_that_arrives_twice_is_kept_once() {
    let store = Store::new(1_000_000);
    let mut retried = span(1, 1, 0);
    retried.name = "the retry".to_owned();
    store.insert(request("sender", vec![span(1, 1, 0), span(1, 2, 1)]));
    store.insert(request("sender", vec![retried, span(1, 3, 1), span(1, 3, 1)]));
    let read = trace(&store, "1").await;
    let names = spans(&read).iter().map(|span| span.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names, ["span 1", "span 2", "span 3"], "the first of each id, in order of arrival");
    assert_eq!(store.counters().spans_duplicate, 2, "one across requests, one within");
    store.insert(request("sender", vec![span(2, 1, 0)]));
    assert_eq!(store.counters().spans_duplicate, 2, "the same span id in another trace is another span");
}

#[tokio::test]
async fn a_trace_at_its_bound_refuses_further_spans() {
    let store = Store::with_limits(Limits { max_bytes: 1_000_000, max_trace_bytes: 2 * request_bytes() });
    let rejected: u64 =
        [1, 2, 3].map(|id| store.insert(request("sender", vec![span(1, id, 0)])).trace_too_large).iter().sum();
    assert_eq!(rejected, 1, "two fit, the third does not");
    assert_eq!(store.counters().spans_rejected.trace_too_large, 1, "and it is counted");
    assert_eq!(store.insert(request("sender", vec![span(2, 1, 0)])).total(), 0, "the bound is each trace's own");

    let answer = get(&store, "/api/v2/traces/1", "application/json").await.json();
    assert_eq!(answer["status"], "PARTIAL", "a reader must learn that spans are missing");
    assert!(answer["message"].as_str().unwrap().contains("exceeds maximum size"), "{answer}");
    assert_eq!(get(&store, "/api/v2/traces/2", "application/json").await.json().get("status"), None, "2 is complete");
}

#[tokio::test]
async fn ten_thousand_spans_fit_into_a_trace() {
    const SPANS: u64 = 10_000;
    let store = Store::new(64 << 20);
    let mut spans_of_a_kilobyte: Vec<_> = (1..=SPANS).map(|id| span(1, id, 0)).collect();
    for span in &mut spans_of_a_kilobyte {
        span.name = "n".repeat(1000);
    }
    assert_eq!(store.insert(request("sender", spans_of_a_kilobyte)).total(), 0, "none is rejected");
    assert_eq!(spans(&trace(&store, "1").await).len() as u64, SPANS, "all can be read");
}

#[tokio::test]
async fn a_span_larger_than_the_store_is_refused_and_evicts_nothing() {
    let store = Store::new(2 * request_bytes());
    store.insert(request("sender", vec![span(1, 1, 0)]));
    let mut large = span(2, 1, 0);
    large.name = "n".repeat(2 * request_bytes());
    assert_eq!(store.insert(request("sender", vec![large])).trace_too_large, 1, "it could never be held");
    assert_eq!(store.counters().traces_evicted, 0, "so nobody has to make room");
    assert_eq!(store.counters().traces_held, 1, "and no empty trace stays behind");
}

#[tokio::test]
async fn what_is_small_on_the_wire_is_charged_what_it_takes() {
    let mut many_links = span(1, 1, 0);
    many_links.links = vec![Link::default(); 10_000];
    let store = Store::new(MAX_BYTES);
    let wire = request("sender", vec![many_links.clone()]);
    assert!(wire.encoded_len() < 21_000, "two bytes for each link");
    store.insert(wire);
    let taken = 10_000 * size_of::<Link>() as u64;
    assert!(store.counters().bytes_held > taken, "what the links take decoded: {:?}", store.counters());
    many_links.span_id = vec![2; 8];
    many_links.links = vec![Link::default(); 100_000];
    let rejected = store.insert(request("sender", vec![many_links]));
    assert_eq!(rejected.trace_too_large, 1, "200 KB on the wire are more than a trace may take");
}

#[tokio::test]
async fn status_shows_the_counters() {
    let store = Store::new(1_000_000);
    store.insert(request("sender", vec![span(1, 1, 0), span(0, 1, 0)]));
    let status = get(&store, "/status", "").await.json();
    assert_eq!(status["spans_received"], 2, "{status}");
    assert_eq!(
        status["spans_rejected"],
        json!({ "invalid_trace_id": 1, "invalid_span_id": 0, "trace_too_large": 0 }),
        "{status}"
    );
    assert_eq!((&status["spans_held"], &status["traces_held"]), (&json!(1), &json!(1)), "{status}");
}
