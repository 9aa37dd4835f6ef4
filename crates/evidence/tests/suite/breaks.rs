//! Where a claim goes on in another trace.

use chain::SpanKind;
use evidence::{Span, Tie};

use crate::support::*;

/// Each break as the ids of the spans before and after it, how they belong together, and whether a trace begins there.
fn breaks(spans: Vec<evidence::Span>) -> Vec<(u64, u64, Tie, bool)> {
    let number = |id: wire::SpanId| id.get();
    read(evidence(spans), |reading| {
        reading.breaks().iter().map(|at| (number(at.from.1), number(at.to.1), at.tie, at.begins)).collect()
    })
}

#[test]
fn a_break_is_between_the_sender_and_the_first_span_of_the_other_trace() {
    let split_at = |id| {
        let mut spans = whole_chain();
        split(&mut spans, id, TRACE_B);
        spans
    };
    assert_eq!(breaks(whole_chain()), [], "a complete trace has none");
    assert_eq!(breaks(lab_1()), [(CALL_CLAIMS, CLAIMS, Tie::Sent, true)], "a root that received a call");
    assert_eq!(breaks(split_at(PROCESS)), [(SEND, PROCESS, Tie::Sent, true)], "a root that received a message");
    assert_eq!(breaks(split_at(AUDIT)), [(FRONT, AUDIT, Tie::During, true)], "a root inside a service");
    let mut afterwards = split_at(AUDIT);
    let end =
        afterwards.iter().find(|span| span.span_id.get() == FRONT).map(|span| span.end_unix_nano).expect("it is there");
    change(&mut afterwards, AUDIT, |span| Span { start_unix_nano: end + 1, end_unix_nano: end + 2, ..span });
    assert_eq!(breaks(afterwards), [(FRONT, AUDIT, Tie::After, true)], "it was begun when the request had ended");
    assert_eq!(breaks(split_at(CALL_POLICY)), [(CLAIMS, CALL_POLICY, Tie::During, true)], "a call that is a root");

    let mut linked = split_at(PROCESS);
    change(&mut linked, PROCESS, |span| span.link(TRACE_A, SEND));
    assert_eq!(breaks(linked), [], "a link ties the two by design");

    let mut replaced = split_at(CLAIMS);
    change(&mut replaced, CLAIMS, |span| span.below(0x99));
    assert_eq!(breaks(replaced), [(CALL_CLAIMS, CLAIMS, Tie::Sent, false)], "its parent was not received: no root");

    let mesh = chain_with(CLAIMS, |span| span.below(0x99));
    assert_eq!(breaks(mesh), [], "the same trace: a parent is missing, and no trace begins");
}

#[test]
fn a_call_without_a_span_leads_to_what_its_service_worked_on() {
    let mut spans = chain_without(&[CALL_POLICY]);
    split(&mut spans, POLICY, TRACE_B);
    assert_eq!(breaks(spans), [(CLAIMS, POLICY, Tie::During, true)], "the only request that java-claims was handling");
}

#[test]
fn what_cannot_be_told_is_not_said() {
    let mut alone = chain_without(&[CALL_CLAIMS, FRONT, AUDIT]);
    split(&mut alone, CLAIMS, TRACE_B);
    assert_eq!(breaks(alone), [], "no span of the sender was received");

    let mut late = whole_chain();
    late.push(span(0x20, None, "java-claims", SpanKind::Internal, "later", (30, 31)).in_trace(TRACE_B));
    assert_eq!(
        breaks(late),
        [],
        "it begins after both requests to java-claims have ended, so either may have begun it"
    );
}
