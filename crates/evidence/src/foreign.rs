//! Foreign data never panics anything: odd bytes and odd spans go through the whole crate.

use chain::{SpanKind, Topology};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use crate::claim::{ClaimEvidence, Collected};
use crate::otlp::TracesData;
use crate::span::{CLAIM_ID, Decoded, Span};
use crate::testing::{CLAIM, span, to_otlp, trace_id, whole_chain};
use crate::waterfall::tests::assert_safe;
use crate::{Expectation, Outcome, Reading, Style, holds, judge, render};

fn go_through(spans: Vec<Span>, width: usize, unicode: bool) {
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| (span.trace_id, span.span_id)).collect();
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
fn any_span() -> impl Strategy<Value = Span> {
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
        Just("process claim".to_owned()),
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

    #[test]
    fn damaged_otlp_goes_through(damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..12)) {
        let mut bytes = to_otlp(&whole_chain()).encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(traces) = TracesData::decode(bytes.as_slice()) {
            go_through(Decoded::from(traces).spans, 100, true);
        }
    }

    #[test]
    fn any_bytes_go_through(bytes in vec(any::<u8>(), 0..256)) {
        if let Ok(traces) = TracesData::decode(bytes.as_slice()) {
            go_through(Decoded::from(traces).spans, 100, false);
        }
    }
}

#[test]
fn what_was_written_is_read_again() {
    let decoded = Decoded::from(to_otlp(&whole_chain()));
    let ids = |spans: &[Span]| spans.iter().map(|span| (span.span_id, span.attributes.clone())).collect::<Vec<_>>();
    assert_eq!(ids(&decoded.spans), ids(&whole_chain()), "no span and no attribute is lost on the way");
}
