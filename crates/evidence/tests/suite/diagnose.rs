//! The four steps of every hop, and every service inside.

use chain::{Hop, Service, SpanKind, Step, Topology};
use evidence::CellStatus;
use evidence::diagnose::HopDiagnosis;
use evidence::span::CLAIM_ID;
use evidence::{ClaimEvidence, Collected, Diagnosis, Finding, Outcome, Reading, Span};

use crate::support::*;

fn diagnose(collected: &Collected) -> Diagnosis {
    Reading::new(Topology::LAB, collected).conclude().diagnosis()
}

fn place_of(finding: &Finding) -> String {
    finding.place.map(|place| place.to_string()).unwrap_or_default()
}

fn of(spans: Vec<Span>) -> Diagnosis {
    diagnose(&collected(spans))
}

fn hop<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a HopDiagnosis {
    diagnosis.hop(Hop::find(name).unwrap()).unwrap()
}

fn split_at(top: u64, change: impl FnOnce(Span) -> Span) -> Vec<Span> {
    let mut spans = chain_with(top, change);
    split(&mut spans, top, TRACE_B);
    spans
}

fn statuses(hop: &HopDiagnosis) -> [CellStatus; 4] {
    [&hop.injected, &hop.survived, &hop.extracted, &hop.used].map(|cell| cell.status)
}

#[test]
fn a_healthy_claim_has_no_finding() {
    let collected = collected(whole_chain());
    let diagnosis = diagnose(&collected.with_third_party(Some(partner_record())));
    assert_eq!((diagnosis.outcome, &diagnosis.first), (Outcome::Healthy, &None), "{}", diagnosis.sentence);
    assert!(diagnosis.undecided.is_empty(), "everything was seen: {:?}", diagnosis.undecided);
    for hop in &diagnosis.hops {
        use CellStatus::{NotApplicable, Ok};
        let after = if hop.hop.to.has_sdk() { Ok } else { NotApplicable };
        assert_eq!(statuses(hop), [Ok, Ok, after, after], "{}", hop.hop);
        assert!(!hop.survived.headers.get("traceparent").is_empty(), "{}: the header is shown", hop.hop);
    }
    let services: Vec<_> = diagnosis.inside.iter().map(|it| (it.service.name(), it.used.status)).collect();
    let expected = ["python-api", "java-claims", "node-policy-store", "claims-worker"];
    assert_eq!(services, expected.map(|service| (service, CellStatus::Ok)), "every service with an SDK");
}

#[test]
fn each_rule_says_why() {
    let none = |span: Span| span.without_headers();
    let upper = || {
        let upper = traceparent(0xabc, CALL_POLICY, 1).to_uppercase();
        let by_hand = |span: Span| span.without_headers().header("traceparent", upper.clone());
        let mut spans = split_at(POLICY, by_hand);
        change(&mut spans, CALL_POLICY, by_hand);
        spans
    };
    let mut uninstrumented = split_at(POLICY, none);
    uninstrumented.retain(|span| span.span_id != span_id(CALL_POLICY));
    let mut foreign_id = split_at(POLICY, |span| span.header("traceparent", traceparent(TRACE_A, CLAIMS, 1)));
    change(&mut foreign_id, CALL_POLICY, |span| span.header("traceparent", traceparent(TRACE_A, CLAIMS, 1)));
    let ids_above = traceparent(TRACE_A, CLAIMS, 1);
    let mut span_above = chain_with(CALL_POLICY, |span| span.header("traceparent", ids_above.clone()));
    change(&mut span_above, POLICY, |span| {
        Span { parent_span_id: Some(span_id(CLAIMS)), ..span }.header("traceparent", ids_above.clone())
    });
    let mut unread = chain_with(POLICY, |span| span.without("tenant.id"));
    let long = format!("tenant.id=acme,notes={}", "x".repeat(MAX_BAGGAGE_BYTES));
    for span in unread.iter_mut().filter(|span| [CALL_POLICY, POLICY].map(span_id).contains(&span.span_id)) {
        *span = span.clone().header("baggage", &long);
    }
    let caller = |span: Span| span.header("baggage", "tenant.id=acme").without("tenant.id");
    let cases = [
        (lab_1(), GATEWAY, Step::Extract, "b3 arrived, but java-claims propagates tracecontext."),
        (
            upper(),
            LOOKUP,
            Step::Extract,
            "tracecontext arrived, but is invalid: the trace id must be 32 lower-case hex digits.",
        ),
        (uninstrumented, LOOKUP, Step::Inject, "java-claims has no span of this call, and no trace header arrived."),
        (foreign_id, LOOKUP, Step::Inject, "tracecontext left java-claims, but names no span of this call."),
        (span_above, LOOKUP, Step::Inject, "tracecontext left java-claims, but names no span of this call."),
        (
            split_at(CLAIMS, none),
            GATEWAY,
            Step::Transit,
            "traceparent, baggage were sent through gateway, but did not arrive.",
        ),
        (
            chain_with(CALL_CLAIMS, |span| span.header("tracestate", "acme=1")),
            GATEWAY,
            Step::Transit,
            "tracestate was sent through gateway, but did not arrive.",
        ),
        (
            chain_with(CLAIMS, |span| span.header("baggage", "tenant.id=x")),
            GATEWAY,
            Step::Transit,
            "baggage was sent through gateway, and arrived changed.",
        ),
        (
            split_at(CLAIMS, |span| span),
            GATEWAY,
            Step::Use,
            "tracecontext arrived, and java-claims read its baggage, but did not use the context as parent.",
        ),
        (
            split_at(CLAIMS, |span| span.without("tenant.id")),
            GATEWAY,
            Step::Extract,
            "tracecontext arrived, in a format that java-claims propagates, and java-claims most likely did not extract it.",
        ),
        (
            split_at(NOTIFY, |span| span),
            "java-claims",
            Step::Use,
            "java-claims `notify_claimant` (internal) is a root: the context was lost on the way to it.",
        ),
        (unread, LOOKUP, Step::Extract, "Baggage of 8213 bytes arrived; above 8192 all of it is dropped."),
        (chain_with(FRONT, caller), "python-api", Step::Extract, "The caller's baggage arrived, but was not read."),
    ];
    for (spans, place, step, sentence) in cases {
        let diagnosis = of(spans);
        let first = diagnosis.first.expect(sentence);
        assert_eq!((place_of(&first), first.step), (place.to_owned(), Some(step)), "{sentence}");
        assert_eq!(first.sentence, sentence, "the cause in words");
        assert_eq!(first.place, place.parse().ok(), "a scenario's cause is written like this: {place}");
    }
}

#[test]
fn every_failing_hop_is_listed_and_the_first_is_marked() {
    let mut spans = chain_with(PROCESS, |span| span.without("tenant.id"));
    for (top, trace) in [(CLAIMS, 0xd4), (PROCESS, TRACE_B), (AUDIT, 0xc3)] {
        split(&mut spans, top, trace);
    }
    let diagnosis = of(spans);
    let hops: Vec<_> = diagnosis.hops.iter().filter_map(|hop| hop.finding.as_ref().map(place_of)).collect();
    assert_eq!(hops, [GATEWAY, QUEUE], "both hops");
    let inside: Vec<_> = diagnosis.inside.iter().filter_map(|it| it.finding.as_ref().map(place_of)).collect();
    assert_eq!(inside, ["python-api"], "and the service");
    assert_eq!(place_of(diagnosis.first.as_ref().unwrap()), "python-api", "the door comes before its calls");
    use CellStatus::{Failed, NotApplicable, Ok};
    assert_eq!(
        statuses(hop(&diagnosis, QUEUE)),
        [Ok, Ok, Failed, NotApplicable],
        "what follows a failure is not asked"
    );
}

#[test]
fn causes_that_look_alike_are_all_named() {
    let places = |diagnosis: Diagnosis| {
        let first = diagnosis.first.unwrap();
        let alternatives = first.alternatives.into_iter().map(|it| (it.place.unwrap().to_string(), it.step));
        (first.inferred, first.step, alternatives.collect::<Vec<_>>())
    };
    let at = |name: &str, step| (name.to_owned(), Some(step));

    let mut silent = split_at(PROCESS, Span::without_headers);
    change(&mut silent, SEND, Span::without_headers);
    let expected = vec![at(QUEUE, Step::Inject), at("java-claims", Step::Inject)];
    assert_eq!(places(of(silent)), (true, Some(Step::Inject), expected), "the producer, or the outbox");

    let mut unseen = split_at(CLAIMS, Span::without_headers);
    unseen.retain(|span| span.service != "python-api");
    let expected = vec![at(GATEWAY, Step::Transit)];
    assert_eq!(places(of(unseen)), (true, Some(Step::Inject), expected), "nobody saw what left");

    let expected = vec![at(LOOKUP, Step::Use)];
    let last = split_at(POLICY, |span| span);
    assert_eq!(
        places(of(last)),
        (true, Some(Step::Extract), expected),
        "it calls no other service, so what it propagates is unseen"
    );
}

#[test]
fn two_claims_in_one_trace_are_told_from_both_sides() {
    let stale = || {
        let mut spans = whole_chain();
        let other = span(0x70, None, "python-api", SpanKind::Server, "POST /claims", (0, 1)).with(CLAIM_ID, "c-0");
        let server = span(0x71, Some(0x70), "java-claims", SpanKind::Server, "POST /api/claims", (0, 1));
        spans.extend([other.in_trace(TRACE_B), server.with(CLAIM_ID, "c-0").in_trace(TRACE_B)]);
        change(&mut spans, NOTIFY, |span| span.in_trace(TRACE_B).below(0x71));
        spans
    };
    let ours = of(stale()).first.unwrap();
    assert_eq!((place_of(&ours), ours.step), ("java-claims".to_owned(), Some(Step::Use)), "a span of ours below c-0");

    let theirs = diagnose(&Collected { evidence: ClaimEvidence::from_spans("c-0", stale()), ..Collected::default() });
    assert!(
        theirs.inside(Service::JavaClaims).unwrap().finding.is_some(),
        "a span of c-1 below ours: {}",
        theirs.sentence
    );
}

#[test]
fn nobody_is_blamed_where_the_evidence_does_not_reach() {
    use CellStatus::Unknown;
    let partial = ClaimEvidence { partial: true, ..evidence(lab_1()) };
    let diagnosis = diagnose(&Collected { evidence: partial, ..Collected::default() });
    assert_eq!((diagnosis.outcome, &diagnosis.first), (Outcome::CannotTell, &None), "spans were left out");
    assert_eq!(hop(&diagnosis, GATEWAY).extracted.status, Unknown, "what seems to fail may not");
    assert!(!diagnosis.undecided.is_empty(), "and that is said");

    let unseen = of(chain_without(&[POLICY]));
    assert_eq!((unseen.outcome, unseen.first), (Outcome::CannotTell, None), "one receiver was not seen");
    let said = "java-claims -> node-policy-store: the receiver's span was not received.";
    assert_eq!(unseen.undecided[0], said, "the hop is named");

    let exporter_down = || chain_without(&[FRONT, CALL_CLAIMS, AUDIT]);
    let unwitnessed = of(exporter_down());
    assert_eq!(
        (unwitnessed.outcome, unwitnessed.first),
        (Outcome::CannotTell, None),
        "nobody says who wrote the parent"
    );
    let answered = collected(exporter_down()).with_traceresponse(Some(traceparent(TRACE_A, FRONT, 1)));
    let lost = diagnose(&answered);
    assert_eq!((lost.outcome, &lost.first), (Outcome::NotAPropagationBreak, &None), "export is no matter of context");
    assert_eq!(hop(&lost, GATEWAY).survived.status, Unknown, "what left was not seen");
    assert_eq!(hop(&lost, GATEWAY).used.status, CellStatus::Ok, "the parent that is named is the sampled header's");
}

#[test]
fn what_is_lost_inside_at_another_step_does_not_fail_use() {
    use CellStatus::{Failed, NotApplicable};
    let unread = |span: Span| span.header("baggage", "tenant.id=acme").without("tenant.id");
    let mut alone = whole_chain();
    split(&mut alone, NOTIFY, TRACE_B);
    let cases = [
        (alone, Service::JavaClaims, Failed, "a root inside: the context was not used"),
        (chain_with(FRONT, unread), Service::PythonApi, NotApplicable, "the baggage was not extracted"),
    ];
    for (spans, service, status, why) in cases {
        let diagnosis = of(spans);
        let inside = diagnosis.inside(service).unwrap();
        assert_eq!((inside.used.status, inside.finding.is_some()), (status, true), "{why}: {inside:?}");
    }
}

#[test]
fn a_leak_fails_no_step() {
    let record = [("baggage".to_owned(), vec!["user.session_token=x".to_owned()])].into_iter().collect();
    let collected = collected(whole_chain());
    let diagnosis = diagnose(&collected.with_third_party(Some(record)));
    let first = diagnosis.first.unwrap();
    assert_eq!((place_of(&first), first.step), (PARTNER.to_owned(), None), "all steps succeed");
    assert!(!diagnosis.sentence.contains("=x"), "the value is not repeated: {}", diagnosis.sentence);
    assert_eq!(diagnosis.outcome, Outcome::Leaking, "it is no break");
}

#[test]
fn a_diagnosis_survives_json() {
    let diagnosis = of(lab_1());
    let json = serde_json::to_value(&diagnosis).unwrap();
    assert_eq!(json["first"]["step"], "extract", "steps are written as in scenario files");
    let hop = json["hops"].as_array().unwrap().iter().find(|hop| hop["hop"] == GATEWAY).unwrap();
    assert_eq!(hop["extracted"]["status"], "failed", "statuses are kebab-case");
    assert_eq!(serde_json::from_value::<Diagnosis>(json).unwrap(), diagnosis, "the CLI reads what the desk writes");
}
