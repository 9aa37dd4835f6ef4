//! Whether expectations hold.

use evidence::expect::Part;
use evidence::span::CLAIM_ID;
use evidence::{ClaimEvidence, Expectation, Mismatch, SideState, Span, holds};
use serde_json::{Value, json};

use crate::support::*;

fn held(expectation: &Expectation, evidence: &ClaimEvidence) -> Vec<Mismatch> {
    read(evidence.clone(), |reading| holds(expectation, reading))
}

fn whole() -> ClaimEvidence {
    evidence(whole_chain())
}

fn answered(flags: u8) -> ClaimEvidence {
    ClaimEvidence { traceresponse: Some(traceparent(TRACE_A, FRONT, flags)), ..whole() }
}

fn mesh() -> ClaimEvidence {
    evidence(chain_with(CLAIMS, |span| span.below(0x99)))
}

fn linked() -> ClaimEvidence {
    let mut spans = lab_1();
    change(&mut spans, CLAIMS, |span| span.link(TRACE_A, CALL_CLAIMS));
    evidence(spans)
}

fn hop(cells: Value) -> Value {
    let mut hop = json!({"hop": "python-api -> java-claims"});
    hop.as_object_mut().unwrap().extend(cells.as_object().unwrap().clone());
    json!({"hops": [hop]})
}

fn at_claims(cells: Value) -> Value {
    let mut baggage = json!({"hop": "python-api -> java-claims"});
    baggage.as_object_mut().unwrap().extend(cells.as_object().unwrap().clone());
    json!({"baggage": [baggage]})
}

#[test]
fn every_cell_of_the_grammar_can_hold_and_fail() {
    let all = json!(["python-api", "java-claims", "node-policy-store", "claims-worker"]);
    let front = json!({"service": "python-api", "kind": "server", "name": "POST /claims"});
    let one = |root: Value, services: &Value| json!({"fragments": [{"root": root, "services": services}]});
    let two = json!({"fragments": [
        {"root": {"service": "java-claims"}, "services": ["java-claims", "node-policy-store", "claims-worker"]},
        {"root": {"service": "python-api"}, "services": ["python-api"]},
    ]});
    let link =
        |from: &str, to: &str| json!({"links": [{"from": {"service": from}, "to": {"service": to, "kind": "client"}}]});
    let mixed = || {
        let mut spans = whole_chain();
        spans.push(Span { span_id: span_id(0x50), ..find(&whole_chain(), POLICY) }.with(CLAIM_ID, "c-2"));
        evidence(spans)
    };
    let no_call = || evidence(chain_without(&[CALL_CLAIMS]));
    let two_roots = || {
        let mut spans = whole_chain();
        spans.push(Span { span_id: span_id(0x50), ..find(&whole_chain(), FRONT) });
        evidence(spans)
    };
    let rootless = || evidence(chain_without(&[FRONT]));
    let orphan = json!({"missing_parents": [{"service": "java-claims", "kind": "server"}]});
    let none: Value = json!({"missing_parents": []});
    let sent = |formats: Value| hop(json!({"sent": formats}));
    let received = |formats: Value| hop(json!({"received": formats}));
    let both = json!(["baggage", "tracecontext"]);
    let b3 = json!(["b3"]);
    let nothing = json!([]);

    let cases: Vec<(Value, ClaimEvidence, bool, &str)> = vec![
        (json!({}), evidence(lab_1()), true, "nothing is asked"),
        (one(front.clone(), &all), whole(), true, "one complete trace"),
        (one(front.clone(), &all), evidence(lab_1()), false, "there are two traces"),
        (two.clone(), evidence(lab_1()), true, "two traces in any order"),
        (two, whole(), false, "there is one trace"),
        (one(json!({"service": "java-claims"}), &all), whole(), false, "the root is another service's"),
        (one(json!({"service": "python-api", "kind": "client"}), &all), whole(), false, "the root's kind differs"),
        (one(json!({"service": "python-api", "name": "GET"}), &all), whole(), false, "the root's name differs"),
        (one(front.clone(), &json!(["python-api"])), whole(), false, "more services than said are in it"),
        (one(Value::Null, &all), rootless(), true, "no root, as said"),
        (one(Value::Null, &all), whole(), false, "there is a root"),
        (one(front, &all), rootless(), false, "there is no root"),
        (one(json!({"service": "python-api"}), &all), two_roots(), false, "there are two roots"),
        (sent(both.clone()), whole(), true, "both headers were sent, in any order"),
        (sent(b3.clone()), evidence(lab_1()), true, "b3 alone was sent"),
        (sent(b3.clone()), whole(), false, "b3 was not sent"),
        (sent(json!(["tracecontext"])), whole(), false, "baggage was sent too"),
        (sent(nothing.clone()), no_call(), false, "a call without a span has no record of what it sent"),
        (hop(json!({"sender": "no-span"})), no_call(), true, "the call has no span"),
        (hop(json!({"sender": "no-span"})), whole(), false, "the call has a span"),
        (hop(json!({"sender": "recorded"})), whole(), true, "what was sent is on record"),
        (received(both), whole(), true, "both arrived"),
        (received(b3), whole(), false, "b3 did not arrive"),
        (received(nothing), evidence(chain_without(&[CLAIMS])), false, "no receiver was seen"),
        (hop(json!({"transit": "intact"})), whole(), true, "what was sent arrived"),
        (hop(json!({"transit": "lost"})), whole(), false, "nothing was lost"),
        (hop(json!({"parent": "sender"})), whole(), true, "the sender is the parent"),
        (hop(json!({"parent": "sender"})), mesh(), false, "somebody else is the parent"),
        (hop(json!({"parent": "other"})), mesh(), true, "somebody else is the parent"),
        (hop(json!({"parent": "nobody"})), evidence(lab_1()), true, "the receiver is a root"),
        (hop(json!({"sampled": true})), whole(), true, "the bit is set"),
        (hop(json!({"sampled": false})), whole(), false, "the bit is set"),
        (none.clone(), whole(), true, "no parent is missing"),
        (none, mesh(), false, "a parent is missing"),
        (orphan.clone(), mesh(), true, "the parent of java-claims is missing"),
        (orphan, whole(), false, "no parent is missing"),
        (link("java-claims", "python-api"), linked(), true, "a link leads to another trace"),
        (link("java-claims", "python-api"), evidence(lab_1()), false, "there is no link"),
        (link("java-claims", "java-claims"), linked(), false, "the link leads elsewhere"),
        (at_claims(json!({"key": "tenant.id", "present": true})), whole(), true, "the key arrived"),
        (at_claims(json!({"key": "tenant.id", "present": false})), whole(), false, "the key arrived"),
        (at_claims(json!({"key": "user.token", "present": false})), whole(), true, "the key did not arrive"),
        (at_claims(json!({"key": "user.token", "present": true})), whole(), false, "the key did not arrive"),
        (at_claims(json!({"present": true})), whole(), true, "baggage arrived"),
        (at_claims(json!({"present": true})), evidence(lab_1()), false, "no baggage arrived"),
        (at_claims(json!({"key": "tenant.id", "read": true})), whole(), true, "the application read it"),
        (at_claims(json!({"key": "tenant.id", "read": false})), whole(), false, "the application read it"),
        (at_claims(json!({"key": "user.token", "read": true})), whole(), false, "nobody read it"),
        (
            at_claims(json!({"key": "tenant.id", "more_than_bytes": 10})),
            whole(),
            true,
            "the value has 11 bytes on the wire",
        ),
        (
            at_claims(json!({"key": "tenant.id", "more_than_bytes": 11})),
            whole(),
            false,
            "the value has 11 bytes on the wire",
        ),
        (at_claims(json!({"more_than_bytes": 20})), whole(), true, "the header has 21 bytes"),
        (at_claims(json!({"more_than_bytes": 21})), whole(), false, "the header has 21 bytes"),
        (
            at_claims(json!({"present": false})),
            evidence(chain_without(&[CLAIMS])),
            false,
            "absence cannot be seen without a receiver",
        ),
        (json!({"sampled": true}), answered(3), true, "the answer's bit is set"),
        (json!({"sampled": true}), answered(2), false, "02 is unsampled"),
        (json!({"sampled": false}), answered(0), true, "the answer's bit is clear"),
        (json!({"sampled": false}), whole(), false, "there is no answer to read"),
        (json!({"mixed_with_other_claims": true}), mixed(), true, "another claim is in the trace"),
        (json!({"mixed_with_other_claims": true}), whole(), false, "the claim is alone"),
        (json!({"mixed_with_other_claims": false}), whole(), true, "the claim is alone"),
        (json!({"mixed_with_other_claims": false}), mixed(), false, "another claim is in the trace"),
    ];
    for (expectation, evidence, holds_, why) in cases {
        let parsed: Expectation = serde_json::from_value(expectation.clone()).unwrap();
        let mismatches = held(&parsed, &evidence);
        assert_eq!(mismatches.is_empty(), holds_, "{why}: {expectation}\n{mismatches:?}");
    }
}

#[test]
fn baggage_at_the_third_party_comes_from_its_record() {
    let shape = |cells: Value| -> Expectation { serde_json::from_value(json!({"baggage": [cells]})).unwrap() };
    let token =
        |present: bool| shape(json!({"hop": "claims-worker -> fraud-partner", "key": "token", "present": present}));
    let record = [("baggage".to_owned(), vec!["token=x".to_owned()])].into_iter().collect();
    let leaking = ClaimEvidence { third_party: Some(record), ..whole() };
    let tight = ClaimEvidence { third_party: Some(partner_record()), ..whole() };
    let cases = [
        (token(true), &leaking, true, "it was sent the token"),
        (token(false), &leaking, false, "it was sent the token"),
        (token(false), &tight, true, "it was not"),
        (token(false), &whole(), false, "without its record nothing is known"),
    ];
    for (expectation, evidence, holds_, why) in cases {
        assert_eq!(held(&expectation, evidence).is_empty(), holds_, "{why}");
    }
    let part = held(&token(false), &leaking)[0].part;
    assert_eq!(part, Part::BaggageLeak, "that is a leak");
}

#[test]
fn a_mismatch_says_what_was_expected_and_seen() {
    let expectation: Expectation = serde_json::from_value(hop(json!({"parent": "sender"}))).unwrap();
    let sentence = held(&expectation, &evidence(lab_1()))[0].to_string();
    let expected =
        "Expected: python-api -> java-claims: the receiver's parent is the sender's span. Seen: none (it is a root).";
    assert_eq!(sentence, expected, "a sentence for people");
}

#[test]
fn an_observation_says_what_the_ledger_says() {
    let said = |expectation: Value| serde_json::from_value::<Expectation>(expectation).unwrap().sentences();
    let hop_1 = "python-api -> java-claims";
    for (expectation, sentence) in [
        (
            hop(json!({"sent": [], "received": [], "parent": "nobody"})),
            format!(
                "{hop_1}: sent and received: {nothing}; the receiver's span is a root.",
                nothing = SideState::Recorded.words()
            ),
        ),
        (hop(json!({"sender": "no-span"})), format!("{hop_1}: sent: no span received.")),
        (
            hop(
                json!({"sent": ["tracecontext", "baggage"], "received": ["tracecontext", "baggage"], "transit": "altered"}),
            ),
            format!("{hop_1}: tracecontext and baggage were sent and arrived; the trace header arrived changed."),
        ),
        (
            hop(json!({"sent": ["tracecontext", "tracestate"], "received": ["tracecontext"], "transit": "altered"})),
            format!(
                "{hop_1}: tracecontext and tracestate were sent; tracecontext arrived; the trace headers did not all \
                 arrive as they were sent."
            ),
        ),
        (
            at_claims(json!({"key": "tenant.id", "present": true, "read": true})),
            format!("{hop_1}: baggage `tenant.id` arrived and was read by the application."),
        ),
        (
            at_claims(json!({"present": true, "more_than_bytes": 8192})),
            format!("{hop_1}: baggage arrived and has more than 8192 bytes."),
        ),
    ] {
        assert_eq!(said(expectation.clone()), [sentence], "{expectation}");
    }
}
