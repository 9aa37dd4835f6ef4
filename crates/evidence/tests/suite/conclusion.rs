//! Every departure from a healthy chain is accounted for, and silence is none.

use chain::{Step, Topology};
use evidence::CellStatus;
use evidence::span::CLAIM_ID;
use evidence::{Cause, Expectation, Outcome, Span, holds};

use crate::support::*;

/// As an SDK records it that leaves headers out: another scope, and none of what the lab's own spans carry.
fn silent(span: Span) -> Span {
    Span { scope: "io.opentelemetry.other".to_owned(), ..span.without_headers().without("tenant.id") }
}

/// The lab's chain with the spans of real services in some places.
fn with_real(services: &[&str], change: impl Fn(Span) -> Span) -> Vec<Span> {
    let real = |span: &Span| services.contains(&span.service.as_str());
    whole_chain().into_iter().map(|span| if real(&span) { change(span) } else { span }).collect()
}

#[test]
fn what_a_real_sdk_does_not_record_is_no_fault() {
    let all = ["python-api", "java-claims", "node-policy-store", "claims-worker"];
    let before_injection = |span: Span| match span.sends() {
        true => silent(span.clone()).header("traceparent", traceparent(TRACE_A, FRONT, 1)),
        false => span,
    };
    let without_late =
        |spans: Vec<Span>| spans.into_iter().filter(|span| span.kind != chain::SpanKind::Internal).collect::<Vec<_>>();
    let cases = [
        (
            with_real(&["python-api"], |span| if span.sends() { silent(span) } else { span }),
            "requests: before injection",
        ),
        (with_real(&["java-claims"], before_injection), "JDK client: the SERVER span's ids are on record"),
        (with_real(&["node-policy-store"], silent), "Express by environment alone: nothing is on record"),
        (without_late(with_real(&all, silent)), "all of them, without spans of their own inside"),
    ];
    for (spans, why) in cases {
        read(evidence(spans), |reading| {
            let conclusion = reading.conclude();
            assert_eq!(conclusion.outcome(), Outcome::Healthy, "{why}: {:#?}", conclusion.diagnosis());
            let diagnosis = conclusion.diagnosis();
            let cells = diagnosis.hops.iter().flat_map(|hop| hop.cells()).map(|(_, cell)| cell.status);
            assert!(!cells.into_iter().any(|status| status == CellStatus::Failed), "{why}: no step failed");
        });
    }
}

#[test]
fn a_break_beside_silence_says_what_it_may_be() {
    let split_at = |mut spans: Vec<Span>, top| {
        split(&mut spans, top, TRACE_B);
        spans
    };
    let both = split_at(with_real(&["python-api", "java-claims"], silent), CLAIMS);
    let sender = split_at(with_real(&["python-api"], silent), CLAIMS);
    let mut nothing_arrived = sender.clone();
    change(&mut nothing_arrived, CLAIMS, Span::without_headers);
    let receiver = split_at(with_real(&["node-policy-store"], silent), POLICY);
    let mut elsewhere = with_real(&["python-api"], silent);
    split(&mut elsewhere, CLAIMS, TRACE_B);
    change(&mut elsewhere, CLAIMS, |span| {
        let arrived = span.header("traceparent", traceparent(TRACE_B, 0x99, 1));
        arrived.below(0x99)
    });
    let cases: [(Vec<Span>, &str, Option<Step>, &str); 5] = [
        (both, GATEWAY, None, "neither side is on record: any step may have failed"),
        (receiver, LOOKUP, None, "what arrived is not on record"),
        (nothing_arrived, GATEWAY, Some(Step::Inject), "nothing arrived; whether it was sent is not on record"),
        (sender, GATEWAY, Some(Step::Use), "what arrived names the sender's span, so it was sent"),
        (elsewhere, GATEWAY, Some(Step::Transit), "what arrived names another span than the sender's"),
    ];
    for (spans, place, step, why) in cases {
        read(evidence(spans), |reading| {
            let conclusion = reading.conclude();
            let first = conclusion.causes().first().unwrap();
            assert_eq!(first.place(), place.parse().ok(), "{why}: {first:?}");
            assert_eq!(first.step(), step, "{why}: {first:?}");
            assert!(first.is_inferred() || step == Some(Step::Use), "{why}: it is not certain: {first:?}");
        });
    }
}

#[test]
fn every_departure_is_accounted_for() {
    let stray = span(0x50, None, "java-claims", chain::SpanKind::Server, "GET /else", (3, 4));
    let foreign = span(0x51, None, "billing", chain::SpanKind::Server, "POST /bills", (3, 4));
    let proxy = span(0x55, None, "gateway", chain::SpanKind::Server, "POST /api/claims", (3, 4));
    let third = span(0x56, None, "fraud-partner", chain::SpanKind::Server, "POST /checks", (15, 16));
    let third = third.in_trace(TRACE_B).with(CLAIM_ID, CLAIM);
    let lost = stray.clone().below(0x98);
    let ring = |id, parent| span(id, Some(parent), "java-claims", chain::SpanKind::Internal, "work", (3, 4));
    let again = span(0x52, None, "python-api", chain::SpanKind::Server, "POST /claims", (30, 31));
    let with = |more: Vec<Span>| whole_chain().into_iter().chain(more).collect::<Vec<_>>();
    let cases: [(_, _, Option<&str>, _); 7] = [
        (with(vec![stray]), Outcome::Broken, None, "a root that no hop accounts for"),
        (with(vec![foreign]), Outcome::Broken, None, "the same in a service that is not of the chain"),
        (with(vec![proxy]), Outcome::Broken, None, "the same in a service that has no place"),
        (with(vec![third]), Outcome::Broken, None, "no hop accounts for what a third party records"),
        (with(vec![lost]), Outcome::Broken, None, "a receiver of no hop without its parent"),
        (with(vec![ring(0x53, 0x54), ring(0x54, 0x53)]), Outcome::Broken, None, "a cycle"),
        (with(vec![again.in_trace(TRACE_B)]), Outcome::NotAPropagationBreak, None, "a repeated submission"),
    ];
    for (spans, outcome, place, why) in cases {
        read(evidence(spans), |reading| {
            let conclusion = reading.conclude();
            assert_eq!(conclusion.outcome(), outcome, "{why}: {:?}", conclusion.causes());
            let found = conclusion.diagnosis().findings().count();
            assert_eq!(found, conclusion.causes().len(), "{why}: each cause is found");
            let places: Vec<_> = conclusion.causes().iter().map(Cause::place).collect();
            let expected = if outcome == Outcome::Broken { vec![place.map(|it| it.parse().unwrap())] } else { vec![] };
            assert_eq!(places, expected, "{why}");
        });
    }
}

#[test]
fn a_proxy_that_creates_spans_is_healthy() {
    let seen = span(0x50, Some(CALL_CLAIMS), "gateway", chain::SpanKind::Internal, "route", (1, 2));
    read(evidence([whole_chain(), vec![seen]].concat()), |reading| {
        assert_eq!(reading.conclude().outcome(), Outcome::Healthy, "nothing is lost");
        assert_eq!(holds(&Expectation::healthy(Topology::LAB), reading), [], "and that is what healthy says");
    });
}
