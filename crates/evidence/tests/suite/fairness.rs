//! Claims as real systems leave them: nobody innocent is blamed, and nothing broken is called fine.

use chain::{Place, SpanKind, Step};
use evidence::span::CLAIM_ID;
use evidence::{Cause, Outcome, Span};

use crate::support::*;

/// What a claim must come to: its outcome, the place of the first cause, its step, and whether that is certain.
struct Truth(Outcome, Option<&'static str>, Option<Step>, bool);

const FINE: Truth = Truth(Outcome::NotAPropagationBreak, None, None, true);
const HEALTHY: Truth = Truth(Outcome::Healthy, None, None, true);
const CANNOT_TELL: Truth = Truth(Outcome::CannotTell, None, None, true);

fn assert_true(spans: Vec<Span>, Truth(outcome, place, step, certain): Truth, why: &str) {
    read(evidence(spans), |reading| {
        let conclusion = reading.conclude();
        let seen = (conclusion.outcome(), conclusion.first());
        assert_eq!(seen.0, outcome, "{why}: {:#?}", conclusion.verdict());
        let first = seen.1;
        assert_eq!(
            first.and_then(Cause::place),
            place.map(|place| place.parse::<Place>().unwrap()),
            "{why}: {first:?}"
        );
        assert_eq!(first.and_then(Cause::step), step, "{why}: {first:?}");
        assert!(first.is_none_or(|first| first.is_inferred() != certain), "{why}: certain is {certain}: {first:?}");
    });
}

fn foreign(span: Span) -> Span {
    Span { scope: "io.opentelemetry.other".to_owned(), ..span }
}

fn with(more: Vec<Span>) -> Vec<Span> {
    [whole_chain(), more].concat()
}

fn called() -> Vec<Span> {
    chain_with(FRONT, |span| span.below(0x90).header("traceparent", traceparent(TRACE_A, 0x90, 1)))
}

#[test]
fn callers_are_no_part_of_the_chain() {
    let caller = span(0x90, None, "my-client", SpanKind::Client, "POST", (0, 13));
    let exported = [called(), vec![caller.clone()]].concat();
    assert_true(exported, FINE, "a caller that exports its own span");

    let sibling =
        span(0x91, Some(0x90), "python-api", SpanKind::Server, "POST /claims", (30, 31)).with(CLAIM_ID, "c-2");
    let below =
        span(0x92, Some(0x91), "java-claims", SpanKind::Server, "POST /api/claims", (30, 31)).with(CLAIM_ID, "c-2");
    assert_true([called(), vec![caller, sibling, below]].concat(), FINE, "two claims below one caller");

    let unrecorded = chain_with(FRONT, |span| foreign(span.below(0x90).without_headers()));
    assert_true(unrecorded, FINE, "the parent of a front door that records no headers is its caller's");
}

#[test]
fn a_header_that_was_not_captured_was_not_lost() {
    let identity_alone = |span: Span| foreign(span.without(".header.baggage").without("tenant.id"));
    assert_true(chain_with(CLAIMS, identity_alone), HEALTHY, "a receiver that captures traceparent alone");
    let baggage_alone = |span: Span| foreign(span.without(".header.traceparent"));
    assert_true(chain_with(CALL_CLAIMS, baggage_alone), HEALTHY, "a sender that captures baggage alone");
}

#[test]
fn what_stands_between_may_export_spans_and_add_members() {
    let mut proxied = with(vec![
        span(0x93, Some(CALL_CLAIMS), "envoy", SpanKind::Server, "ingress", (1, 11)),
        span(0x94, Some(0x93), "envoy", SpanKind::Client, "egress", (2, 10)),
    ]);
    change(&mut proxied, CLAIMS, |span| span.below(0x94).header("traceparent", traceparent(TRACE_A, 0x94, 1)));
    assert_true(proxied, HEALTHY, "the sender is above the proxy's spans");

    let sent = |span: Span| span.header("tracestate", "acme=1");
    let mut added = chain_with(CALL_CLAIMS, sent);
    change(&mut added, CLAIMS, |span| span.header("tracestate", "envoy=x,acme=1"));
    assert_true(added, HEALTHY, "a vendor's own member of tracestate");
    let more = "tenant.id=acme%20corp,region=eu";
    assert_true(chain_with(CLAIMS, |span| span.header("baggage", more)), HEALTHY, "a member added to baggage");
}

#[test]
fn a_context_may_be_injected_without_a_client_span() {
    let mut by_hand = chain_without(&[CALL_POLICY]);
    change(&mut by_hand, POLICY, |span| span.below(CLAIMS).header("traceparent", traceparent(TRACE_A, CLAIMS, 1)));
    assert_true(by_hand, HEALTHY, "the receiver is below the sender's own span");
}

#[test]
fn a_claim_that_was_refused_is_complete() {
    let refused = |status: u64| {
        let front = whole_chain().into_iter().find(|span| span.span_id == span_id(FRONT)).unwrap();
        front.with("http.response.status_code", status).with("http.request.header.baggage", "tenant.id=acme")
    };
    for status in [400, 422, 503] {
        assert_true(vec![refused(status).without("tenant.id")], FINE, "what was not reached is not missing");
    }
    let mut lost = chain_without(&[POLICY, CALL_POLICY, SEND, PROCESS, CALL_PARTNER, REPORT, REPORTED]);
    split(&mut lost, CLAIMS, TRACE_B);
    change(&mut lost, FRONT, |span| span.with("http.response.status_code", 503));
    change(&mut lost, CLAIMS, Span::without_headers);
    let broken = Truth(Outcome::Broken, Some(GATEWAY), Some(Step::Transit), true);
    assert_true(lost, broken, "a break before the refusal is one all the same");
}

#[test]
fn a_trace_of_no_submission_is_not_judged() {
    let read_claim = span(1, None, "python-api", SpanKind::Server, "GET /claims/<id>", (0, 1));
    let collected = evidence::Collected {
        evidence: evidence::ClaimEvidence::from_spans("", [read_claim]),
        ..evidence::Collected::default()
    };
    let reading = evidence::Reading::new(chain::Topology::LAB, &collected);
    assert_eq!(reading.conclude().outcome(), Outcome::CannotTell, "a read owes no chain");
}

#[test]
fn traces_that_nothing_ties_together_are_a_split() {
    let mut stripped = chain_with(CLAIMS, Span::without_headers);
    split(&mut stripped, CLAIMS, TRACE_B);
    stripped.retain(|span| span.span_id != span_id(CLAIMS));
    let at_the_gap = Truth(Outcome::Broken, Some(GATEWAY), None, false);
    assert_true(stripped, at_the_gap, "the span at which the traces part was not received");

    let mut ignored = whole_chain();
    split(&mut ignored, PROCESS, TRACE_B);
    ignored.retain(|span| span.span_id != span_id(PROCESS));
    assert_true(ignored, Truth(Outcome::Broken, Some(QUEUE), None, false), "the same at the queue");
}

#[test]
fn what_has_no_witness_is_not_told() {
    let silent = |span: Span| foreign(span.without_headers().without("tenant.id"));
    let mut lost = chain_without(&[CALL_POLICY]);
    change(&mut lost, POLICY, silent);
    assert_true(lost, FINE, "the sender's other spans are in the trace: its call was not exported");

    let mut no_sender = chain_without(&[FRONT, CALL_CLAIMS, AUDIT]);
    change(&mut no_sender, CLAIMS, silent);
    assert_true(no_sender, CANNOT_TELL, "nothing of the sender, nothing on record");
}

#[test]
fn a_lost_client_span_leaves_two_causes() {
    let mut stripped = chain_with(CLAIMS, Span::without_headers);
    split(&mut stripped, CLAIMS, TRACE_B);
    stripped.retain(|span| span.span_id != span_id(CALL_CLAIMS));
    let either = Truth(Outcome::Broken, Some(GATEWAY), Some(Step::Inject), false);
    assert_true(stripped, either, "nothing sent, or sent by a span that was not exported, and stripped");
}

#[test]
fn a_record_made_before_the_injection_is_no_proof() {
    let misrecorded = |span: Span| foreign(span.header("traceparent", traceparent(TRACE_A, FRONT, 1)));
    let mut stripped = chain_with(CALL_CLAIMS, misrecorded);
    change(&mut stripped, CLAIMS, Span::without_headers);
    split(&mut stripped, CLAIMS, TRACE_B);
    let either = Truth(Outcome::Broken, Some(GATEWAY), Some(Step::Inject), false);
    assert_true(stripped, either, "the sender's record names the span above, and nothing arrived");
}

#[test]
fn a_message_that_is_delivered_again_breaks_at_the_same_hop() {
    let mut spans = whole_chain();
    split(&mut spans, PROCESS, TRACE_B);
    let again = span(0x95, None, "claims-worker", SpanKind::Consumer, "process claims", (40, 41)).in_trace(0xc3);
    spans.push(again.with(CLAIM_ID, CLAIM));
    read(evidence(spans), |reading| {
        let conclusion = reading.conclude();
        let places: Vec<_> =
            conclusion.causes().iter().filter_map(Cause::place).map(|place| place.to_string()).collect();
        assert_eq!(places, [QUEUE], "nothing was lost inside the worker");
    });
}
