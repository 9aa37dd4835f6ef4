//! One claim, one truth: whatever its spans are, no two views of a claim contradict each other.

use std::collections::BTreeSet;

use chain::{Place, Service, SpanKind, Step, Topology};
use evidence::span::CLAIM_ID;
use evidence::{BaggageOn, Cause, CellStatus, DrawnHop, DrawnService, Picture};
use evidence::{ClaimEvidence, Collected, Expectation, Finding, Mark, Outcome, Reading, Span, holds};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use wire::TraceHeaders;

use crate::foreign::any_span;
use crate::simulation::{any_world, lessons};
use crate::support::*;

/// Something that happens to the spans of a claim.
#[derive(Clone, Debug)]
enum Edit {
    /// Something happens to one of them.
    Span(Index, Change),
    /// It was not received.
    Drop(Index),
    /// It was recorded twice.
    Repeat(Index, u64),
    /// It is below another one.
    Below(Index, Index),
    /// All that is below it is in another trace.
    Split(Index, u128),
    /// There is one more.
    Add(Box<Span>),
}

#[derive(Clone, Debug)]
enum Change {
    Parent(Option<u64>),
    Trace(u128),
    Silence,
    Rescope,
    WithoutHeaders,
    WithoutTenant,
    Header(&'static str, String),
    Claim(Option<&'static str>),
    Service(&'static str),
    Name(&'static str),
    Kind(SpanKind),
    Link(u128, u64),
}

// === impl Edit ===

impl Edit {
    fn apply(self, spans: &mut Vec<Span>) {
        if spans.is_empty() {
            return;
        }
        match self {
            Self::Span(at, change) => {
                let span = at.get_mut(spans);
                *span = change.apply(span.clone());
            }
            Self::Drop(at) => _ = spans.remove(at.index(spans.len())),
            Self::Repeat(at, id) => spans.push(Span { span_id: span_id(id), ..at.get(spans).clone() }),
            Self::Below(at, parent) => {
                let parent = parent.get(spans).span_id;
                at.get_mut(spans).parent_span_id = Some(parent);
            }
            Self::Split(at, trace) => {
                let top = u64::from_str_radix(&at.get(spans).span_id.to_string(), 16).unwrap();
                split(spans, top, trace);
            }
            Self::Add(span) => spans.push(*span),
        }
    }
}

// === impl Change ===

impl Change {
    fn apply(self, span: Span) -> Span {
        let elsewhere = || "io.opentelemetry.other".to_owned();
        match self {
            Self::Parent(parent) => Span { parent_span_id: parent.map(span_id), ..span },
            Self::Trace(trace) => span.in_trace(trace),
            Self::Silence => Span { scope: elsewhere(), ..span.without_headers().without(TENANT) },
            Self::Rescope => Span { scope: elsewhere(), ..span },
            Self::WithoutHeaders => span.without_headers(),
            Self::WithoutTenant => span.without(TENANT),
            Self::Header(name, value) => span.header(name, value),
            Self::Claim(Some(claim)) => span.with(CLAIM_ID, claim),
            Self::Claim(None) => span.without(CLAIM_ID),
            Self::Service(name) => Span { service: name.to_owned(), ..span },
            Self::Name(name) => Span { name: name.to_owned(), ..span },
            Self::Kind(kind) => Span { kind, ..span },
            Self::Link(trace, span_id) => span.link(trace, span_id),
        }
    }
}

fn is_blamed(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Broken | Outcome::Leaking)
}

/// Panics where two views of what was collected contradict each other.
pub(crate) fn assert_agreement(collected: &Collected, extra: Option<&Expectation>) {
    let reading = Reading::new(Topology::LAB, collected);
    let conclusion = reading.conclude_with(extra);
    let (outcome, causes) = (conclusion.outcome(), conclusion.causes());
    let (diagnosis, picture, verdict) = (conclusion.diagnosis(), conclusion.picture(), conclusion.verdict());
    let findings: Vec<_> = diagnosis.findings().collect();
    let seen = format!("{outcome:?}: {causes:?}; {}", verdict.sentence);

    assert_eq!((verdict.outcome, diagnosis.outcome), (outcome, outcome), "verdict and diagnosis come to the same");
    assert_eq!(is_blamed(outcome), !causes.is_empty(), "what is broken or leaking has a cause: {seen}");
    assert_eq!(findings.len(), causes.len(), "each cause is found in the diagnosis, once: {seen}");

    let names = |places: &mut dyn Iterator<Item = Place>| places.map(|it| it.to_string()).collect::<BTreeSet<_>>();
    for (is_marked, leak) in [(Mark::Bad, false), (Mark::Leaking, true)] {
        let hops = picture.hops.iter().filter(|it| it.mark == is_marked).map(|it| Place::Hop(it.hop));
        let services = picture.services.iter().filter(|it| it.mark == is_marked);
        let marked = names(&mut hops.chain(services.map(|it| Place::Service(it.service))));
        let found = findings.iter().filter(|finding| finding.leak == leak);
        let found = names(&mut found.filter_map(|finding| finding.place));
        assert_eq!(marked, found, "the picture marks what was found, and nothing else: {seen}");
    }
    let elsewhere: Vec<_> = findings.iter().filter(|it| it.place.is_none()).map(|it| it.sentence.as_str()).collect();
    assert_eq!(picture.elsewhere, elsewhere, "what has no place stands beside the picture: {seen}");

    assert_drawn_from_spans(collected, &picture, causes, &seen);

    let fails = |place, step| findings.iter().any(|it| (it.place, it.step) == (Some(place), Some(step)));
    for hop in &diagnosis.hops {
        for (step, cell) in hop.cells() {
            let failed = cell.status == CellStatus::Failed;
            assert_eq!(failed, fails(Place::Hop(hop.hop), step), "{}, {step}: {cell:?} {seen}", hop.hop);
        }
    }
    for inside in &diagnosis.inside {
        let failed = inside.used.status == CellStatus::Failed;
        assert_eq!(failed, fails(Place::Service(inside.service), Step::Use), "{inside:?} {seen}");
    }

    let places = Topology::LAB.places();
    // A loss goes before a leak.
    let rank = |finding: &Finding| {
        let at = |place| places.iter().position(|it| *it == place).expect("a known place");
        (finding.leak, finding.place.map_or(places.len(), at))
    };
    assert_eq!(diagnosis.first.is_some(), is_blamed(outcome), "there is a first finding, if there is one: {seen}");
    if let Some(first) = &diagnosis.first {
        assert!(findings.contains(&first), "the first finding is one of them: {seen}");
        assert!(findings.iter().all(|finding| rank(first) <= rank(finding)), "the first comes first: {first:?} {seen}");
    }
    let first_break = causes.iter().find(|cause| !cause.is_leak()).and_then(|cause| cause.place());
    let named = first_break.is_none_or(|place| verdict.sentence.contains(&place.to_string()));
    assert!(named, "the verdict names the first break: {seen}");

    if outcome == Outcome::Healthy {
        let mismatches = holds(&Expectation::healthy(Topology::LAB), &reading);
        assert!(mismatches.is_empty(), "healthy is what the topology says: {mismatches:#?} {seen}");
        assert_eq!(collected.evidence.fragments.len(), 1, "it is one trace: {seen}");
        assert_eq!(collected.evidence.missing_parents().count(), 0, "no parent is missing: {seen}");
        assert_eq!(reading.not_received().count(), 0, "everything was received: {seen}");
    }
}

/// What the picture shows beside its marks: traces, and baggage.
fn assert_drawn_from_spans(collected: &Collected, picture: &Picture, causes: &[Cause], seen: &str) {
    let evidence = &collected.evidence;
    for DrawnService { service, traces, .. } in &picture.services {
        for (at, fragment) in evidence.fragments.iter().enumerate() {
            let has_spans = fragment.spans().any(|span| span.service == service.name());
            let shown = traces.contains(&at);
            assert!(has_spans || !shown, "{service} is shown in trace {at} without a span there: {seen}");
            // Spans of other claims do not count.
            let alone = fragment.other_claims.is_empty();
            assert!(shown || !has_spans || !alone, "{service} has spans in trace {at}, and is not shown: {seen}");
        }
    }
    for DrawnHop { hop, mark, baggage } in &picture.hops {
        // Nothing is concluded from spans of which some were left out.
        let leaks = *baggage == BaggageOn::Leaking && !causes.is_empty();
        assert_eq!(leaks, *mark == Mark::Leaking, "{hop}: {seen}");
        let lost = causes.iter().any(|cause| {
            cause.place() == Some(Place::Hop(hop))
                && matches!(
                    cause,
                    Cause::BaggageNotSent { .. }
                        | Cause::BaggageTooLong { .. }
                        | Cause::NoBaggagePropagator { .. }
                        | Cause::BaggageNotExtracted { .. }
                )
        });
        assert!(
            !lost || matches!(baggage, BaggageOn::Dropped { .. }),
            "{hop} lost baggage, shown as {baggage:?}: {seen}"
        );
    }
    let neutral = picture.clone().neutral();
    let judged = neutral.hops.iter().any(|it| it.mark.is_wrong() || it.mark == Mark::Good)
        || neutral.services.iter().any(|it| it.mark.is_wrong() || it.mark == Mark::Good);
    assert!(!judged && neutral.elsewhere.is_empty(), "without a judgement nothing is judged: {neutral:?}");
}

fn any_change() -> impl Strategy<Value = Change> {
    let ids = || prop_oneof![4 => 1..13_u64, 1 => 13..20_u64];
    let traces = || select(vec![TRACE_A, TRACE_B, 0xc3]);
    let services = Service::ALL.iter().map(|service| service.name()).chain(["billing"]).collect::<Vec<_>>();
    let receivers = Topology::LAB.hops.iter().map(|hop| hop.receiver_span);
    let names: Vec<_> = receivers.chain(["POST /claims", "write_audit", "work"]).collect();
    let kinds = vec![SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
    let header = prop_oneof![
        4 => (traces(), ids(), 0..4_u8).prop_map(|(trace, id, flags)| ("traceparent", traceparent(trace, id, flags))),
        1 => (traces(), ids()).prop_map(|(trace, id)| ("b3", format!("{trace:032x}-{id:016x}-1"))),
        1 => Just(("tracestate", "acme=1".to_owned())),
        1 => Just(("baggage", "user.session_token=FAKE".to_owned())),
        1 => Just(("baggage", format!("tenant.id=acme%20corp,notes={}", "x".repeat(MAX_BAGGAGE_BYTES)))),
        1 => Just(("traceparent", "00-nonsense".to_owned())),
    ];
    prop_oneof![
        4 => option::weighted(0.7, ids()).prop_map(Change::Parent),
        3 => traces().prop_map(Change::Trace),
        3 => Just(Change::Silence),
        2 => Just(Change::Rescope),
        3 => Just(Change::WithoutHeaders),
        2 => Just(Change::WithoutTenant),
        4 => header.prop_map(|(name, value)| Change::Header(name, value)),
        2 => option::of(select(vec![CLAIM, "c-0"])).prop_map(Change::Claim),
        3 => select(services).prop_map(Change::Service),
        2 => select(names).prop_map(Change::Name),
        1 => select(kinds).prop_map(Change::Kind),
        2 => (traces(), ids()).prop_map(|(trace, id)| Change::Link(trace, id)),
    ]
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let traces = || select(vec![TRACE_A, TRACE_B, 0xc3]);
    prop_oneof![
        8 => (at(), any_change()).prop_map(|(at, change)| Edit::Span(at, change)),
        2 => at().prop_map(Edit::Drop),
        1 => (at(), 1..20_u64).prop_map(|(at, id)| Edit::Repeat(at, id)),
        2 => (at(), at()).prop_map(|(at, parent)| Edit::Below(at, parent)),
        3 => (at(), traces()).prop_map(|(at, trace)| Edit::Split(at, trace)),
        1 => any_span().prop_map(|span| Edit::Add(Box::new(span))),
    ]
}

fn any_collected() -> impl Strategy<Value = Collected> {
    let record =
        |name: &str, value: &str| -> TraceHeaders { [(name.to_owned(), vec![value.to_owned()])].into_iter().collect() };
    let records = vec![None, Some(partner_record()), Some(record("baggage", "user.session_token=FAKE"))];
    let answers = [(TRACE_A, 1), (TRACE_A, 0), (TRACE_B, 1)].map(|(trace, flags)| traceparent(trace, FRONT, flags));
    let spans = prop_oneof![3 => Just(whole_chain()), 1 => Just(lab_1()), 1 => vec(any_span(), 0..24)];
    let drawn = (spans, select(records), option::of(select(answers.to_vec())));
    let drawn =
        drawn.prop_map(|(spans, record, answer)| collected(spans).with_third_party(record).with_traceresponse(answer));
    let base = prop_oneof![2 => drawn, 1 => any_world().prop_map(|world| world.run())];
    let edited = (base, vec(any_edit(), 0..5), prop::bool::weighted(0.05));
    edited.prop_map(|(Collected { evidence, .. }, edits, partial)| {
        let mut spans: Vec<_> = evidence.spans().cloned().collect();
        for edit in edits {
            edit.apply(&mut spans);
        }
        let more = collected(spans).with_third_party(evidence.third_party).with_traceresponse(evidence.traceresponse);
        Collected { evidence: ClaimEvidence { partial, ..more.evidence }, ..more }
    })
}

/// What some claims meet and others do not.
fn extras() -> Vec<Option<Expectation>> {
    let at_claims = |cells| serde_json::from_value(json!({ "baggage": [cells] })).unwrap();
    let leak = json!({ "hop": "python-api -> java-claims", "key": "tenant.id", "present": false });
    let unmet = json!({ "hop": "python-api -> java-claims", "key": "tenant.id", "read": true });
    vec![None, None, Some(at_claims(leak)), Some(at_claims(unmet))]
}

#[test]
fn every_lesson_of_the_simulator_is_told_alike_everywhere() {
    for world in lessons() {
        assert_agreement(&world.run(), None);
    }
}

/// Otherwise the property below would show little.
#[test]
fn edits_lead_to_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let mut outcomes = BTreeSet::new();
    for _ in 0..1_000 {
        let collected = any_collected().new_tree(&mut runner).unwrap().current();
        outcomes.insert(Reading::new(Topology::LAB, &collected).conclude().outcome());
    }
    assert_eq!(outcomes.len(), 5, "{outcomes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_views_of_any_claim_contradict_each_other(collected in any_collected(), extra in select(extras())) {
        assert_agreement(&collected, extra.as_ref());
    }
}
