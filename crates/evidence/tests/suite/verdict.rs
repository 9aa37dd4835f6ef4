//! What claims come to, in sentences.

use evidence::span::CLAIM_ID;
use evidence::{Collected, Expectation, Outcome, Span, Verdict, judge};
use serde_json::json;
use wire::TraceHeaders;

use crate::support::*;

fn judged(collected: &[Collected], extra: Option<&Expectation>) -> Verdict {
    judge(chain::Topology::LAB, collected, extra)
}

fn seen(spans: Vec<Span>) -> Collected {
    Collected { evidence: evidence(spans), waited_millis: 10_000, ..Collected::default() }
}

fn answered(spans: Vec<Span>, flags: u8) -> Collected {
    seen(spans).with_traceresponse(Some(traceparent(TRACE_A, FRONT, flags)))
}

fn renamed_parent(spans: Vec<Span>, id: u64, parent: u64, flags: u8) -> Vec<Span> {
    let change = |span: Span| match span.span_id == span_id(id) {
        true => Span { parent_span_id: Some(span_id(parent)), ..span }
            .header("traceparent", traceparent(TRACE_A, parent, flags)),
        false => span,
    };
    spans.into_iter().map(change).collect()
}

#[test]
fn evidence_decides() {
    use Outcome::{Broken, CannotTell, Healthy, NotAPropagationBreak};
    let down = Collected { source_down: true, ..seen(whole_chain()) };
    let mut stale = whole_chain();
    let other = |span: &Span| Span { trace_id: trace_id(TRACE_B), ..span.clone() }.with(CLAIM_ID, "c-0");
    stale.extend(whole_chain().iter().map(other));
    for span in stale.iter_mut().filter(|span| [CALL_POLICY, POLICY].map(span_id).contains(&span.span_id)) {
        if span.claim_id() != Some("c-0") {
            (span.trace_id, span.span_id) = (trace_id(TRACE_B), span_id(0x70 + u64::from(span.sends())));
            span.parent_span_id = Some(if span.sends() { span_id(CLAIMS) } else { span_id(0x71) });
        }
    }
    let mixed = chain_with(CALL_POLICY, |span| span.with(CLAIM_ID, "c-0"));
    let thread_pool =
        chain_with(CALL_POLICY, |span| Span { parent_span_id: None, trace_id: trace_id(TRACE_B), ..span })
            .into_iter()
            .map(|span| match span.span_id == span_id(POLICY) {
                true => Span { trace_id: trace_id(TRACE_B), ..span },
                false => span,
            })
            .collect();
    let mut linked = whole_chain();
    split(&mut linked, PROCESS, TRACE_B);
    change(&mut linked, PROCESS, |span| span.link(TRACE_A, SEND));
    let mut linked_and_split = linked.clone();
    split(&mut linked_and_split, REPORTED, 0xc3);
    let mut link_elsewhere = linked.clone();
    change(&mut link_elsewhere, PROCESS, |span| Span { links: Vec::new(), ..span }.link(TRACE_A, CALL_POLICY));
    let mut linked_and_lone = linked.clone();
    split(&mut linked_and_lone, AUDIT, 0xc3);
    let mut linked_unread = linked.clone();
    change(&mut linked_unread, PROCESS, |span| span.without("tenant.id"));
    let state = |span: Span| span.header("tracestate", "acme=1");
    let called = |span: Span| span.below(0x99);
    let caller = chain_with(FRONT, |span| called(span.header("traceparent", traceparent(TRACE_A, 0x99, 1))));
    let unsampled = renamed_parent(chain_without(&[FRONT, CALL_CLAIMS]), CLAIMS, CALL_CLAIMS, 0);
    let cases = [
        (seen(whole_chain()), Healthy, "the chain is complete"),
        (seen(lab_1()), Broken, "two traces"),
        (seen(mixed), Broken, "another claim is in the trace"),
        (seen(stale), Broken, "half of it is in the trace of another claim"),
        (seen(thread_pool), Broken, "a lookup in its own trace"),
        (seen(renamed_parent(whole_chain(), CLAIMS, 0x99, 1)), Broken, "a proxy's span is not exported"),
        (seen(unsampled), Broken, "the sender decided against sampling, the receiver for it"),
        (seen(chain_without(&[FRONT, CALL_CLAIMS])), NotAPropagationBreak, "the spans of python-api were lost"),
        (answered(chain_without(&[FRONT, CALL_CLAIMS]), 1), NotAPropagationBreak, "the answer names the same trace"),
        (seen(chain_without(&[FRONT])), NotAPropagationBreak, "the root is late: a local parent needs no header"),
        (seen(chain_without(&[CLAIMS, CALL_POLICY])), NotAPropagationBreak, "the spans of java-claims were lost"),
        (seen(caller), NotAPropagationBreak, "the caller is no part of the chain"),
        (seen(linked), NotAPropagationBreak, "joined by a link, by design"),
        (seen(linked_and_split), Broken, "a link joins one hop only"),
        (seen(link_elsewhere), Broken, "the link leads to another span than the sender's"),
        (seen(linked_and_lone), Broken, "a lone root beside the linked one"),
        (seen(linked_unread), Broken, "joined by a link, but the baggage is lost"),
        (seen(chain_with(CALL_CLAIMS, state)), Broken, "tracestate was sent and did not arrive"),
        (seen(chain_with(POLICY, |span| span.without("tenant.id"))), Broken, "the tenant was unreadable there"),
        (seen(chain_with(REPORTED, |span| span.without("tenant.id"))), Broken, "and here, where it came back"),
        (seen(chain_with(FRONT, |span| span.without("tenant.id"))), Healthy, "nobody said a tenant"),
        (seen(chain_without(&[AUDIT])), CannotTell, "a span that every claim leaves was not seen"),
        (seen(chain_without(&[POLICY])), CannotTell, "the last span was lost, or the call never made"),
        (seen(Vec::new()), CannotTell, "nothing was seen and nothing says why"),
        (answered(Vec::new(), 1), CannotTell, "nothing was seen though it was sampled"),
        (answered(Vec::new(), 2), NotAPropagationBreak, "sampled out by decision"),
        (down, CannotTell, "the source does not answer"),
    ];
    for (collected, outcome, why) in cases {
        let verdict = judged(std::slice::from_ref(&collected), None);
        assert_eq!(verdict.outcome, outcome, "{why}: {verdict:#?}");
    }
    assert_eq!(judged(&[], None).outcome, CannotTell, "no probe succeeded");
}

#[test]
fn a_lost_span_needs_a_second_witness() {
    let lost = || chain_without(&[FRONT, CALL_CLAIMS]);
    let elsewhere = seen(lost()).with_traceresponse(Some(traceparent(TRACE_B, FRONT, 1)));
    assert_eq!(judged(&[elsewhere], None).outcome, Outcome::Broken, "the front door was in another trace");
    let unread = lost().into_iter().map(Span::without_headers).collect();
    assert_eq!(judged(&[seen(unread)], None).outcome, Outcome::Broken, "no header names the parent");
}

#[test]
fn secrets_must_not_leave_the_company() {
    let record =
        |baggage: &str| -> TraceHeaders { [("baggage".to_owned(), vec![baggage.to_owned()])].into_iter().collect() };
    let cases = [
        (Some(record("user.session_token=x")), Outcome::Leaking, "a token"),
        (Some(record("Authorization=x")), Outcome::Leaking, "upper case hides nothing"),
        (Some(record("db-password=x,tenant.id=y")), Outcome::Leaking, "one of several"),
        (Some(record("tenant.id=y")), Outcome::Healthy, "that is no secret"),
        (Some(TraceHeaders::default()), Outcome::Healthy, "it was sent nothing"),
        (None, Outcome::Healthy, "nobody asked, and nothing was sent"),
    ];
    for (record, outcome, why) in cases {
        assert_eq!(judged(&[seen(whole_chain()).with_third_party(record)], None).outcome, outcome, "{why}");
    }
    let sent = || chain_with(CALL_PARTNER, |span| span.header("baggage", "client_secret=x"));
    assert_eq!(judged(&[seen(sent())], None).outcome, Outcome::Leaking, "what was sent counts, without a record");
    let arrived = seen(sent()).with_third_party(Some(partner_record()));
    assert_eq!(judged(&[arrived], None).outcome, Outcome::Healthy, "with a record, what arrived counts");
}

#[test]
fn the_extra_expectation_counts() {
    let absent = json!({"baggage": [{"hop": "python-api -> java-claims", "key": "tenant.id", "present": false}]});
    let big = json!({"baggage": [{"hop": "python-api -> java-claims", "more_than_bytes": 5000}]});
    let fine = json!({"baggage": [{"hop": "python-api -> java-claims", "key": "tenant.id", "read": true}]});
    for (extra, outcome) in [(absent, Outcome::Leaking), (big, Outcome::Broken), (fine, Outcome::Healthy)] {
        let parsed = serde_json::from_value(extra.clone()).unwrap();
        assert_eq!(judged(&[seen(whole_chain())], Some(&parsed)).outcome, outcome, "{extra}");
    }
}

#[test]
fn the_worst_claim_decides_and_says_why() {
    let verdict = judged(&[seen(whole_chain()), seen(lab_1())], None);
    let sentence = "Broken: claim c-1 was split into 2 traces; the first hop whose parent is not its \
                    sender is python-api -> java-claims. (1 of 2 claims had this result.)";
    assert_eq!(verdict.sentence, sentence, "the sentence names the claim and the hop");
    let evidence = [
        "Trace 000000000000000000000000000000a1 (root: python-api `POST /claims` (server); services: python-api).",
        "Trace 000000000000000000000000000000b2 (root: java-claims `POST /api/claims` (server); services: java-claims, node-policy-store, claims-worker).",
        "python-api -> java-claims: the receiver's span is a root. Sent: b3; received: b3.",
        "java-claims `POST /api/claims` (server) is a root; only the front door's span may be one.",
    ];
    assert_eq!(verdict.evidence, evidence, "each fact comes from the spans");
    assert_eq!(serde_json::to_value(verdict.outcome).unwrap(), "broken", "outcomes are kebab-case");
    assert_eq!(verdict.outcome.exit_code(), 1, "broken exits with 1");
}
