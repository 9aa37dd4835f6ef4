//! Foreign data never panics anything: odd bytes and odd spans go through the whole crate.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use chain::{SpanKind, Topology};
use evidence::span::CLAIM_ID;
use evidence::{
    ClaimEvidence, Collected, Expectation, Outcome, Reading, Span, Style, TraceSource, holds, judge, render,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use tokio::runtime::Runtime;

use crate::support::*;
use crate::waterfall::assert_safe;

/// A trace store that answers with any bytes for a trace.
struct Store {
    runtime: Runtime,
    source: TraceSource,
    trace: Arc<Mutex<Vec<u8>>>,
}

// === impl Store ===

impl Store {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let trace = Arc::new(Mutex::new(Vec::new()));
        let answered = Arc::clone(&trace);
        let answer = get(async move || TraceByIdResponse { trace: answered.lock().unwrap().clone() }.encode_to_vec());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/api/v2/traces/{id}", answer);
        runtime.spawn(async move { axum::serve(listener, app).await });
        let source = TraceSource::new(url, reqwest::Client::builder().no_proxy().build().unwrap());
        Self { runtime, source, trace }
    }

    /// What can be read of a trace; `None` if nothing can.
    fn spans(&self, trace: Vec<u8>) -> Option<Vec<Span>> {
        *self.trace.lock().unwrap() = trace;
        let found = self.runtime.block_on(self.source.trace(trace_id(TRACE_A))).ok()?;
        Some(found.map(|trace| trace.spans).unwrap_or_default())
    }
}

fn go_through(spans: Vec<Span>, width: usize, unicode: bool) {
    let ids: BTreeSet<_> = spans.iter().map(|span| (span.trace_id, span.span_id)).collect();
    let evidence = ClaimEvidence::from_spans(CLAIM, spans);
    assert_eq!(evidence.spans().count(), ids.len(), "every span has one place");
    let collected = Collected { evidence, ..Collected::default() };
    let reading = Reading::new(Topology::LAB, &collected);
    assert_eq!(reading.rows().len(), Topology::LAB.hops.len(), "every hop has a row");
    let healthy = holds(&Expectation::healthy(Topology::LAB), &reading).is_empty();
    let style = Style { width, colour: false, unicode };
    assert_safe(&render(&reading, &style), &style);
    let verdict = judge(Topology::LAB, std::slice::from_ref(&collected), None);
    assert!(healthy || verdict.outcome != Outcome::Healthy, "healthy is no less than the invariants say");
    let diagnosis = reading.conclude().diagnosis();
    assert_eq!(diagnosis.outcome, verdict.outcome, "both say the same");
    let blames = matches!(verdict.outcome, Outcome::Broken | Outcome::Leaking);
    assert!(blames || diagnosis.first.is_none(), "no fault is found where nothing is broken: {diagnosis:#?}");
    assert!(
        !blames || diagnosis.first.is_some() || !diagnosis.undecided.is_empty(),
        "nothing is passed over in silence"
    );
}

/// Few ids, so that duplicates, cycles and missing parents are common.
pub(crate) fn any_span() -> impl Strategy<Value = Span> {
    let services = prop_oneof![
        Just("python-api".to_owned()),
        Just("java-claims".to_owned()),
        Just("node-policy-store".to_owned()),
        Just("claims-worker".to_owned()),
        any::<String>()
    ];
    let names = prop_oneof![
        Just("POST /api/claims".to_owned()),
        Just("GET /policies/:id".to_owned()),
        Just("process claims".to_owned()),
        any::<String>()
    ];
    let kinds = prop_oneof![
        Just(SpanKind::Internal),
        Just(SpanKind::Server),
        Just(SpanKind::Client),
        Just(SpanKind::Producer),
        Just(SpanKind::Consumer)
    ];
    let time = || prop_oneof![Just(0), Just(u64::MAX), 0..100_u64, any::<u64>()];
    let header = prop_oneof![
        Just("traceparent"),
        Just("baggage"),
        Just("b3"),
        Just("x-b3-traceid"),
        Just("uber-trace-id"),
        Just("x-amzn-trace-id")
    ];
    let value = prop_oneof![any::<String>(), "[0-9a-f:;=%,é-]{0,60}", "00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]"];
    let ids = (1..3_u128, 1..8_u64, option::of(1..8_u64));
    let said = (header, value, option::of(prop_oneof![Just(CLAIM.to_owned()), any::<String>()]), option::of(1..8_u64));
    (ids, services, names, kinds, (time(), time()), said).prop_map(
        |((trace, id, parent), service, name, kind, (start, end), (header, value, claim, link))| {
            let mut span = span(id, parent, &service, kind, &name, (0, 0)).header(header, value);
            span.trace_id = trace_id(trace);
            (span.start_unix_nano, span.end_unix_nano) = (start, end);
            if let Some(claim) = claim {
                span = span.with(CLAIM_ID, claim);
            }
            if let Some(link) = link {
                span = span.link(trace, link);
            }
            span.with("http.request.method", "POST").with("url.full", format!("http://h/{name}"))
        },
    )
}

proptest! {
    #[test]
    fn any_spans_go_through(spans in vec(any_span(), 0..24), width in 0..300_usize, unicode: bool) {
        go_through(spans, width, unicode);
    }
}

#[test]
fn damaged_otlp_goes_through() {
    let store = Store::start();
    proptest!(|(damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..12))| {
        let mut bytes = to_otlp(&whole_chain());
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(spans) = store.spans(bytes) {
            go_through(spans, 100, true);
        }
    });
}

#[test]
fn any_bytes_go_through() {
    let store = Store::start();
    proptest!(|(bytes in vec(any::<u8>(), 0..256))| {
        if let Some(spans) = store.spans(bytes) {
            go_through(spans, 100, false);
        }
    });
}

#[test]
fn what_was_written_is_read_again() {
    let read = Store::start().spans(to_otlp(&whole_chain())).unwrap();
    let ids = |spans: &[Span]| spans.iter().map(|span| (span.span_id, span.attributes.clone())).collect::<Vec<_>>();
    assert_eq!(ids(&read), ids(&whole_chain()), "no span and no attribute is lost on the way");
}
