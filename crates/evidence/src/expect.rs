//! Whether an expectation holds, and what was seen where it does not.

use std::collections::BTreeSet;
use std::fmt;

use chain::Service;
use serde::{Deserialize, Serialize};

use crate::claim::{ClaimEvidence, Fragment};
use crate::expectation::{BaggageShape, Expectation, FragmentShape, HopCells, LinkShape, SpanShape};
use crate::headers::{format_names, recorded};
use crate::ledger::{Side, SideState};
use crate::reading::Reading;
use crate::span::Span;
use wire::{Format, TraceHeaders};

/// One thing that was expected and not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// Which part of the expectation it is about.
    pub part: Part,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
}

/// The parts of an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The traces that the claim fell into.
    Fragments,
    /// A cell of the hop ledger.
    Hop,
    /// Spans whose parent never arrived.
    MissingParents,
    /// A link between spans.
    Link,
    /// Baggage that is not as it should be.
    Baggage,
    /// Baggage that arrived where it must not.
    BaggageLeak,
    /// The sampled bit of the answer.
    Sampled,
    /// Spans of other claims.
    OtherClaims,
}

/// Compares evidence with an expectation; an empty answer means that it holds.
///
/// What was not seen never holds as absent by itself: a cell of a hop needs the span that it is about, baggage a span
/// that received something, or the third party's record. One thing is read into absence: a call that was received, whose sender has no span, is on
/// record as sending nothing.
#[must_use]
pub fn holds(expectation: &Expectation, reading: &Reading<'_>) -> Vec<Mismatch> {
    let evidence = reading.evidence();
    let Expectation { fragments, hops, missing_parents, links, baggage, sampled, mixed_with_other_claims } =
        expectation;
    let mut mismatches = Vec::new();
    if !fragments.is_empty() {
        mismatches.extend(check_fragments(fragments, evidence));
    }
    mismatches.extend(hops.iter().flat_map(|cells| check_hop(cells, reading)));
    if let Some(shapes) = missing_parents {
        mismatches.extend(check_missing_parents(shapes, evidence));
    }
    mismatches.extend(links.iter().filter_map(|shape| check_link(shape, evidence)));
    mismatches.extend(baggage.iter().flat_map(|shape| check_baggage(shape, evidence)));
    if let Some(sampled) = sampled {
        mismatches.extend(check_sampled(*sampled, evidence));
    }
    if let Some(mixed) = mixed_with_other_claims {
        mismatches.extend(check_mixed(*mixed, evidence));
    }
    mismatches
}

// === impl Mismatch ===

impl Mismatch {
    fn new(part: Part, expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { part, expected: expected.into(), seen: seen.into() }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expected {}; seen: {}.", self.expected, self.seen)
    }
}

fn check_fragments(shapes: &[FragmentShape], evidence: &ClaimEvidence) -> Option<Mismatch> {
    let fragments: Vec<_> = evidence.fragments.iter().collect();
    (!exact_cover(shapes, &fragments, |shape, fragment| fits_fragment(shape, fragment))).then(|| {
        let expected = list(shapes, describe_shape);
        let seen = list(&fragments, |fragment| fragment.describe());
        Mismatch::new(Part::Fragments, format!("these traces and no others: {expected}"), seen)
    })
}

fn fits_fragment(shape: &FragmentShape, fragment: &Fragment) -> bool {
    let mut roots = fragment.roots();
    let root = match (&shape.root, roots.next()) {
        (None, None) => true,
        (Some(shape), Some(root)) => fits_span(shape, root) && roots.next().is_none(),
        _ => false,
    };
    // What is no service of the chain cannot be asked for.
    let services = fragment.services.iter().filter_map(|name| Service::named(name));
    root && as_set(&shape.services) == services.collect()
}

fn fits_span(shape: &SpanShape, span: &Span) -> bool {
    let SpanShape { service, kind, name } = shape;
    span.service == service.name()
        && kind.is_none_or(|kind| kind == span.kind)
        && name.as_ref().is_none_or(|name| *name == span.name)
}

fn check_hop(cells: &HopCells, reading: &Reading<'_>) -> Vec<Mismatch> {
    let HopCells { hop, sent, received, transit, parent, sampled } = cells;
    let Some(row) = reading.row(hop) else {
        return vec![Mismatch::new(Part::Hop, format!("the hop `{hop}`"), "the chain has no such hop")];
    };
    let mut mismatches = Vec::new();
    let mut check = |differs: bool, expected: String, seen: String| {
        if differs {
            let seen = if row.is_unseen() { "neither end of the hop".to_owned() } else { seen };
            mismatches.push(Mismatch::new(Part::Hop, format!("{hop}: {expected}"), seen));
        }
    };
    if let Some(formats) = sent {
        let without_span = row.sent.state == SideState::NoSpan && row.received.is_seen();
        let seen = on_record(&row.sent).or_else(|| without_span.then(Vec::new));
        let expected = format!("{} sent", format_names(formats));
        check(seen.as_deref().map(as_set) != Some(as_set(formats)), expected, formats_seen(seen.as_deref()));
    }
    if let Some(formats) = received {
        let seen = on_record(&row.received);
        let expected = format!("{} received", format_names(formats));
        check(seen.as_deref().map(as_set) != Some(as_set(formats)), expected, formats_seen(seen.as_deref()));
    }
    if let Some(transit) = transit {
        check(
            row.transit != Some(*transit),
            format!("headers {} in transit", described(Some(transit))),
            described(row.transit),
        );
    }
    if let Some(parent) = parent {
        check(
            row.parent != Some(*parent),
            format!("the receiver's parent is {}", described(Some(parent))),
            described(row.parent),
        );
    }
    if let Some(sampled) = sampled {
        let expected = format!("the sampled bit that arrived is {sampled}");
        check(row.sampled != Some(*sampled), expected, described(row.sampled));
    }
    mismatches
}

fn check_missing_parents(shapes: &[SpanShape], evidence: &ClaimEvidence) -> Option<Mismatch> {
    let spans: Vec<_> = evidence.missing_parents().collect();
    (!exact_cover(shapes, &spans, |shape, span| fits_span(shape, span))).then(|| {
        let expected = format!("parents that were not received: {}", list(shapes, describe_span_shape));
        Mismatch::new(Part::MissingParents, expected, list(&spans, |span| span.describe()))
    })
}

fn check_link(shape: &LinkShape, evidence: &ClaimEvidence) -> Option<Mismatch> {
    let from: Vec<_> = evidence.spans().filter(|span| fits_span(&shape.from, span)).collect();
    let targets = || from.iter().flat_map(|span| &span.links);
    let found = targets()
        .any(|link| evidence.span(link.trace_id, link.span_id).is_some_and(|target| fits_span(&shape.to, target)));
    (!found).then(|| {
        let (from_shape, to) = (describe_span_shape(&shape.from), describe_span_shape(&shape.to));
        let seen = format!("{} such spans with {} links, none of them to there", from.len(), targets().count());
        Mismatch::new(Part::Link, format!("a link from {from_shape} to {to}"), seen)
    })
}

fn check_baggage(shape: &BaggageShape, evidence: &ClaimEvidence) -> Vec<Mismatch> {
    let BaggageShape { at, key, present, read, min_bytes } = shape;
    let what = key.as_ref().map_or_else(|| "baggage".to_owned(), |key| format!("baggage `{key}`"));
    let headers: Vec<_> = match (at.has_sdk(), &evidence.third_party) {
        (true, _) => evidence.receivers(at.name()).map(|span| recorded(&span.attributes)).collect(),
        (false, record) => record.iter().cloned().collect(),
    };
    if headers.is_empty() {
        let expected = format!("{what} to be judged at {at}");
        return vec![Mismatch::new(Part::Baggage, expected, "no span or record of it that received anything")];
    }
    let arrived: BTreeSet<_> = headers.iter().flat_map(|headers| headers.baggage().into_keys()).collect();
    // Bytes of the value, or of the whole header; `None` if it is not there.
    let bytes = match key {
        Some(key) => headers.iter().filter_map(|headers| headers.baggage().get(key).map(|member| member.bytes)).max(),
        None => headers.iter().map(TraceHeaders::baggage_bytes).max().filter(|bytes| *bytes > 0),
    };
    let keys = key.as_ref().map_or_else(|| arrived.iter().collect(), |key| vec![key]);
    let claim = Some(evidence.claim_id.as_str());
    let was_read = evidence
        .spans()
        .filter(|span| span.service == at.name() && span.claim_id().is_none_or(|id| Some(id) == claim))
        .any(|span| keys.iter().any(|key| span.attributes.contains_key(*key)));

    let mut mismatches = Vec::new();
    if let Some(present) = present
        && *present != bytes.is_some()
    {
        let part = if *present { Part::Baggage } else { Part::BaggageLeak };
        let expected = format!("{what} {} at {at}", if *present { "arrives" } else { "does not arrive" });
        mismatches.push(Mismatch::new(part, expected, format!("the keys {}", list_of(&arrived))));
    }
    if let Some(read) = read
        && *read != was_read
    {
        let expected = format!("the application at {at} {} {what}", if *read { "reads" } else { "does not read" });
        let seen = if was_read { "it is recorded on a span" } else { "no span there records it" };
        mismatches.push(Mismatch::new(Part::Baggage, expected, seen));
    }
    if let Some(min_bytes) = min_bytes
        && bytes.is_none_or(|bytes| bytes < *min_bytes)
    {
        let seen = bytes.map_or_else(|| "it did not arrive".to_owned(), |bytes| format!("{bytes} bytes"));
        mismatches.push(Mismatch::new(Part::Baggage, format!("{what} of at least {min_bytes} bytes at {at}"), seen));
    }
    mismatches
}

fn check_sampled(sampled: bool, evidence: &ClaimEvidence) -> Option<Mismatch> {
    let seen = evidence.response_context().and_then(|context| context.sampled);
    (seen != Some(sampled)).then(|| {
        let raw = evidence.traceresponse.as_deref().map_or("no such header".to_owned(), |raw| format!("`{raw}`"));
        Mismatch::new(Part::Sampled, format!("a traceresponse with the sampled bit {sampled}"), raw)
    })
}

fn check_mixed(mixed: bool, evidence: &ClaimEvidence) -> Option<Mismatch> {
    let others: BTreeSet<_> = evidence.fragments.iter().flat_map(|fragment| fragment.other_claims.clone()).collect();
    (others.is_empty() == mixed).then(|| {
        let expected =
            if mixed { "spans of another claim in a trace of this one" } else { "spans of this claim alone" };
        Mismatch::new(Part::OtherClaims, expected, format!("other claims {}", list_of(&others)))
    })
}

/// Whether shapes and items can be matched one to one, none left over (augmenting paths, as Kuhn does).
fn exact_cover<S, T>(shapes: &[S], items: &[T], fits: impl Fn(&S, &T) -> bool) -> bool {
    fn place(shape: usize, edges: &[Vec<usize>], tried: &mut BTreeSet<usize>, taken: &mut [Option<usize>]) -> bool {
        for &item in edges.get(shape).map(Vec::as_slice).unwrap_or_default() {
            if !tried.insert(item) {
                continue;
            }
            let free = match taken.get(item).copied().flatten() {
                None => true,
                Some(holder) => place(holder, edges, tried, taken),
            };
            if let Some(slot) = taken.get_mut(item).filter(|_| free) {
                *slot = Some(shape);
                return true;
            }
        }
        false
    }
    let edges: Vec<Vec<_>> = shapes
        .iter()
        .map(|shape| items.iter().enumerate().filter(|(_, item)| fits(shape, item)).map(|(at, _)| at).collect())
        .collect();
    let mut taken = vec![None; items.len()];
    shapes.len() == items.len() && (0..shapes.len()).all(|at| place(at, &edges, &mut BTreeSet::new(), &mut taken))
}

fn as_set<T: Copy + Ord>(items: &[T]) -> BTreeSet<T> {
    items.iter().copied().collect()
}

fn described<T: fmt::Debug>(seen: Option<T>) -> String {
    seen.map_or_else(|| "nothing to tell it by".to_owned(), |seen| format!("{seen:?}").to_lowercase())
}

fn on_record(side: &Side) -> Option<Vec<Format>> {
    side.recorded().map(|_| side.formats.clone())
}

fn formats_seen(formats: Option<&[Format]>) -> String {
    formats.map_or_else(|| "nothing on record at that side".to_owned(), format_names)
}

fn list<T>(items: &[T], describe: impl Fn(&T) -> String) -> String {
    if items.is_empty() { "none".to_owned() } else { items.iter().map(describe).collect::<Vec<_>>().join(", ") }
}

fn list_of(items: &BTreeSet<String>) -> String {
    list(&items.iter().collect::<Vec<_>>(), |item| format!("`{item}`"))
}

fn describe_shape(shape: &FragmentShape) -> String {
    let services = list(&shape.services, ToString::to_string);
    let root = shape.root.as_ref().map_or_else(|| "no root".to_owned(), describe_span_shape);
    format!("[{root}; {services}]")
}

fn describe_span_shape(shape: &SpanShape) -> String {
    let name = shape.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let kind = shape.kind.map(|kind| format!(" ({kind:?})").to_lowercase()).unwrap_or_default();
    format!("{}{name}{kind}", shape.service)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::span::CLAIM_ID;
    use crate::testing::*;

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
        evidence(chain_with(CLAIMS, |span| Span { parent_span_id: Some(span_id(0x99)), ..span }))
    }

    fn linked() -> ClaimEvidence {
        let mut spans = lab_1();
        let receiver = spans.remove(2).link(TRACE_A, CALL_CLAIMS);
        spans.push(receiver);
        evidence(spans)
    }

    fn hop(cells: Value) -> Value {
        let mut hop = json!({"hop": "python-api -> java-claims"});
        hop.as_object_mut().unwrap().extend(cells.as_object().unwrap().clone());
        json!({"hops": [hop]})
    }

    fn at_claims(cells: Value) -> Value {
        let mut baggage = json!({"at": "java-claims"});
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
        let link = |from: &str, to: &str| json!({"links": [{"from": {"service": from}, "to": {"service": to, "kind": "client"}}]});
        let mixed = || {
            let mut spans = whole_chain();
            spans.push(Span { span_id: span_id(0x50), ..whole_chain().remove(4) }.with(CLAIM_ID, "c-2"));
            evidence(spans)
        };
        let no_call = || evidence(chain_without(&[CALL_CLAIMS]));
        let two_roots = || {
            let mut spans = whole_chain();
            spans.push(Span { span_id: span_id(0x50), ..whole_chain().remove(0) });
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
            (one(front.clone(), &all), whole(), true, "one whole trace"),
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
            (sent(nothing.clone()), no_call(), true, "a call without a span sent nothing on record"),
            (sent(nothing.clone()), evidence(Vec::new()), false, "what was not seen at all did not send nothing"),
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
            (at_claims(json!({"key": "tenant.id", "min_bytes": 9})), whole(), true, "the value has 9 bytes"),
            (at_claims(json!({"key": "tenant.id", "min_bytes": 10})), whole(), false, "the value has 9 bytes"),
            (at_claims(json!({"min_bytes": 21})), whole(), true, "the header has 21 bytes"),
            (at_claims(json!({"min_bytes": 22})), whole(), false, "the header has 21 bytes"),
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
        let token = |present: bool| shape(json!({"at": "fraud-partner", "key": "token", "present": present}));
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
    fn fragments_are_matched_whatever_takes_the_first_place() {
        let wide = |_: &char, _: &char| true;
        let narrow = |shape: &char, item: &char| *shape == '*' || shape == item;
        assert!(exact_cover(&['*', 'a'], &['a', 'b'], narrow), "the wide shape must give way");
        assert!(!exact_cover(&['a', 'a'], &['a', 'b'], narrow), "one item is left over");
        assert!(!exact_cover(&['*'], &['a', 'b'], wide), "more items than shapes");
        assert!(!exact_cover(&['*', '*'], &['a'], wide), "more shapes than items");
        assert!(exact_cover(&[], &[], wide), "nothing covers nothing");
    }

    #[test]
    fn a_mismatch_says_what_was_expected_and_seen() {
        let expectation: Expectation = serde_json::from_value(hop(json!({"parent": "sender"}))).unwrap();
        let sentence = held(&expectation, &evidence(lab_1()))[0].to_string();
        let expected = "Expected python-api -> java-claims: the receiver's parent is sender; seen: nobody.";
        assert_eq!(sentence, expected, "a sentence for people");
    }
}
