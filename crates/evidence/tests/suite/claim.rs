//! Fragments as trees, and when a claim is all there.

use chain::SpanKind;
use evidence::claim::Position;
use evidence::{ClaimEvidence, Fragment, Span};

use crate::support::*;

fn complete(evidence: ClaimEvidence) -> bool {
    read(evidence, |reading| reading.is_complete())
}

fn ids(fragment: &Fragment) -> Vec<(String, usize, Position)> {
    fragment.nodes.iter().map(|node| (format!("{:.16}", node.span.span_id), node.depth, node.place)).collect()
}

#[test]
fn a_whole_chain_is_one_tree() {
    let mut spans = whole_chain();
    spans.reverse();
    let evidence = evidence(spans);
    assert!(complete(evidence.clone()), "every receiver, service and parent is there");
    let [fragment] = evidence.fragments.as_slice() else { panic!("one trace, not {:?}", evidence.fragments) };
    let depths: Vec<_> = ids(fragment).into_iter().map(|(_, depth, _)| depth).collect();
    let expected = [0, 1, 2, 3, 4, 3, 4, 5, 5, 6, 3, 1];
    assert_eq!(depths, expected, "a parent comes before its child, whatever the order of arrival");
    let services = ["python-api", "java-claims", "node-policy-store", "claims-worker"];
    assert_eq!(fragment.services, services, "in the chain's order");
}

#[test]
fn what_is_not_whole_is_not_complete() {
    let cases = [
        (chain_without(&[POLICY]), "the last receiver has not arrived"),
        (chain_without(&[FRONT]), "the root has not arrived, its child names it"),
        (chain_without(&[PROCESS, CALL_PARTNER, REPORT, REPORTED]), "nobody has consumed the message"),
        (chain_without(&[REPORTED]), "the outcome has not been reported: a service receives twice"),
        (chain_without(&[AUDIT]), "a spawned task is not done"),
        (chain_without(&[NOTIFY]), "a completion has not run"),
        (
            chain_with(POLICY, |span| span.with(evidence::span::CLAIM_ID, "c-2")),
            "the last receiver is of another claim",
        ),
        (Vec::new(), "nothing arrived"),
    ];
    for (spans, why) in cases {
        assert!(!complete(evidence(spans)), "{why}");
    }
    let called = |span: Span| span.below(0x99);
    let joined = chain_with(FRONT, |span| called(span.header("traceparent", traceparent(TRACE_A, 0x99, 1))));
    assert!(complete(evidence(joined)), "the caller of the front door is not waited for");
    assert!(!complete(evidence(chain_with(FRONT, called))), "unless no header says that there is one");
    assert!(complete(evidence(lab_1())), "two traces can be all there is");
    let mut scattered = whole_chain();
    for (at, top) in [AUDIT, NOTIFY, POLICY, PROCESS, REPORTED].into_iter().enumerate() {
        split(&mut scattered, top, 0x100 + at as u128);
    }
    assert!(complete(evidence(scattered.clone())), "lost contexts are not waited for");
    split(&mut scattered, CLAIMS, TRACE_B);
    scattered.retain(|span| span.span_id != span_id(FRONT) && span.span_id != span_id(CALL_CLAIMS));
    assert!(!complete(evidence(scattered)), "the front door's span is");
}

#[test]
fn odd_trees_keep_every_span_once() {
    let of = |id, parent| span(id, parent, "java-claims", SpanKind::Internal, "work", (id, id + 1));
    let cases = [
        (
            vec![of(1, Some(2)), of(2, Some(1)), of(3, Some(2))],
            vec![(0, Position::Cycle), (1, Position::Child), (2, Position::Child)],
            "a cycle",
        ),
        (vec![of(1, Some(1))], vec![(0, Position::Cycle)], "its own parent"),
        (vec![of(1, None), of(1, None)], vec![(0, Position::Root)], "one id twice"),
        (
            vec![of(1, Some(9)), of(2, Some(1))],
            vec![(1, Position::MissingParent), (2, Position::Child)],
            "a missing parent",
        ),
    ];
    for (spans, expected, why) in cases {
        let evidence = evidence(spans);
        let mut seen: Vec<_> =
            ids(&evidence.fragments[0]).into_iter().map(|(_, depth, place)| (depth, place)).collect();
        seen.sort_by_key(|(depth, _)| *depth);
        assert_eq!(seen, expected, "{why}");
    }
}

#[test]
fn evidence_survives_json() {
    let mut evidence = evidence(lab_1());
    evidence.traceresponse = Some(traceparent(TRACE_A, FRONT, 1));
    let json = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<ClaimEvidence>(&json).unwrap(), evidence, "the CLI reads what the desk writes");
}
