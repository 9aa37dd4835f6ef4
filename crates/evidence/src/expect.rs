//! Whether an expectation holds, and what was seen where it does not.

use std::collections::BTreeSet;
use std::fmt;

use chain::{ParentUsed, Service, Transit};
use serde::{Deserialize, Serialize};

use crate::claim::{ClaimEvidence, Fragment};
use crate::expectation::{BaggageShape, Expectation, FragmentShape, HopCells, LinkShape, SpanShape};
use crate::headers::format_names;
use crate::ledger::{Side, SideState};
use crate::reading::Reading;
use crate::span::Span;
use wire::Format;

const NOT_TOLD: &str = "nothing to tell it by";
const BAGGAGE: &str = "baggage";

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
    /// The traces that the claim was split into.
    Fragments,
    /// A cell of the hop ledger.
    Hop,
    /// Spans whose parent was not received.
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
/// What was not seen never holds as absent by itself: a cell of a hop needs the span that it is about, baggage the receiver's
/// span, or the third party's record.
#[must_use]
pub fn holds(expectation: &Expectation, reading: &Reading<'_>) -> Vec<Mismatch> {
    let evidence = reading.evidence();
    let Expectation { fragments, hops, missing_parents, links, baggage, sampled, mixed_with_other_claims } =
        expectation;
    let mut mismatches = Vec::new();
    if let Some(shapes) = fragments {
        mismatches.extend(check_fragments(shapes, evidence));
    }
    mismatches.extend(hops.iter().flat_map(|cells| check_hop(cells, reading)));
    if let Some(shapes) = missing_parents {
        mismatches.extend(check_missing_parents(shapes, evidence));
    }
    mismatches.extend(links.iter().filter_map(|shape| check_link(shape, evidence)));
    mismatches.extend(baggage.iter().flat_map(|shape| check_baggage(shape, reading)));
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
        write!(f, "Expected: {}. Seen: {}.", self.expected, self.seen)
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
    // What has no spans to show cannot be asked for.
    let services = fragment.services.iter().filter_map(|name| Service::named(name)).filter(|it| it.has_sdk());
    root && as_set(&shape.services) == services.collect()
}

fn fits_span(shape: &SpanShape, span: &Span) -> bool {
    let SpanShape { service, kind, name } = shape;
    span.service == service.name()
        && kind.is_none_or(|kind| kind == span.kind)
        && name.as_ref().is_none_or(|name| *name == span.name)
}

fn check_hop(cells: &HopCells, reading: &Reading<'_>) -> Vec<Mismatch> {
    let HopCells { hop, sender, sent, received, transit, parent, sampled, invalid, contains } = cells;
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
    if let Some(state) = sender {
        check(row.sent.state != *state, format!("sent: {}", state.words()), row.sent.state.words().to_owned());
    }
    if let Some(formats) = sent {
        let seen = on_record(&row.sent);
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
            format!("the trace headers {}", transit.words()),
            row.transit.map_or(NOT_TOLD, |seen| seen.words()).to_owned(),
        );
    }
    if let Some(parent) = parent {
        check(
            row.parent != Some(*parent),
            format!("the receiver's parent is {}", parent.words()),
            row.parent.map_or(NOT_TOLD, |seen| seen.words()).to_owned(),
        );
    }
    if let Some(sampled) = sampled {
        let expected = format!("the sampled bit that arrived is {}", set_or_clear(*sampled));
        let seen = row.sampled.map_or(NOT_TOLD, set_or_clear);
        check(row.sampled != Some(*sampled), expected, seen.to_owned());
    }
    if let Some(format) = invalid {
        let seen = row.received.recorded().and_then(|headers| headers.context(*format));
        let expected = format!("an invalid {} arrived", format_names(&[*format]));
        check(
            !matches!(seen, Some(Err(_))),
            expected,
            if seen.is_some() { "a valid one" } else { NOT_TOLD }.to_owned(),
        );
    }
    for (name, part) in contains {
        let value = row.received.recorded().and_then(|headers| headers.joined(name == BAGGAGE).remove(name.as_str()));
        let seen = value.as_ref().map_or(NOT_TOLD, |_| "it does not contain that");
        let expected = format!("the header `{name}` that arrived contains `{part}`");
        check(!value.as_ref().is_some_and(|value| value.contains(part)), expected, seen.to_owned());
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
        let seen = format!("{} such spans with {} links, none of them to that span", from.len(), targets().count());
        Mismatch::new(Part::Link, format!("a link from {from_shape} to {to}"), seen)
    })
}

fn check_baggage(shape: &BaggageShape, reading: &Reading<'_>) -> Vec<Mismatch> {
    let BaggageShape { hop, key, present, read, more_than_bytes } = shape;
    let what = key.as_ref().map_or_else(|| "baggage".to_owned(), |key| format!("baggage `{key}`"));
    let Some(row) = reading.row(hop).filter(|row| row.received.is_seen()) else {
        let expected = format!("{hop}: {what} to be judged");
        return vec![Mismatch::new(Part::Baggage, expected, "no span or record of the receiver")];
    };
    let Side { headers, baggage, .. } = &row.received;
    let arrived: BTreeSet<_> = baggage.keys().cloned().collect();
    // Bytes of the value, or of the whole header; `None` if it is not there.
    let bytes = match key {
        Some(key) => baggage.get(key).map(|member| member.bytes),
        None => Some(headers.baggage_bytes()).filter(|bytes| *bytes > 0),
    };
    let keys = key.as_ref().map_or_else(|| arrived.iter().collect(), |key| vec![key]);
    let was_read = reading.receiver(row).is_some_and(|span| keys.iter().any(|key| span.attributes.contains_key(*key)));

    let mut mismatches = Vec::new();
    if let Some(present) = present
        && *present != bytes.is_some()
    {
        let part = if *present { Part::Baggage } else { Part::BaggageLeak };
        let expected = format!("{hop}: {what} {}", if *present { "arrives" } else { "does not arrive" });
        mismatches.push(Mismatch::new(part, expected, format!("the keys {}", list_of(&arrived))));
    }
    if let Some(read) = read
        && *read != was_read
    {
        let expected = format!("{hop}: the application {} {what}", if *read { "reads" } else { "does not read" });
        let seen = if was_read { "it is recorded on a span" } else { "no span there records it" };
        mismatches.push(Mismatch::new(Part::Baggage, expected, seen));
    }
    if let Some(limit) = more_than_bytes
        && bytes.is_none_or(|bytes| bytes <= *limit)
    {
        let seen = bytes.map_or_else(|| "it did not arrive".to_owned(), |bytes| format!("{bytes} bytes"));
        mismatches.push(Mismatch::new(Part::Baggage, format!("{hop}: {what} of more than {limit} bytes"), seen));
    }
    mismatches
}

fn check_sampled(sampled: bool, evidence: &ClaimEvidence) -> Option<Mismatch> {
    let seen = evidence.response_context().and_then(|context| context.sampled);
    (seen != Some(sampled)).then(|| {
        let raw = evidence.traceresponse.as_deref().map_or("no such header".to_owned(), |raw| format!("`{raw}`"));
        Mismatch::new(Part::Sampled, format!("a traceresponse with the sampled bit {}", set_or_clear(sampled)), raw)
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

fn set_or_clear(sampled: bool) -> &'static str {
    if sampled { "set" } else { "clear" }
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
    let root = shape.root.as_ref().map_or_else(|| "none".to_owned(), describe_span_shape);
    format!("(root: {root}; services: {services})")
}

fn describe_span_shape(shape: &SpanShape) -> String {
    let name = shape.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let kind = shape.kind.map(|kind| format!(" ({})", kind.name())).unwrap_or_default();
    format!("{}{name}{kind}", shape.service)
}

// === impl Expectation ===

impl Expectation {
    /// What must be seen, one sentence for each part that can be checked separately.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let Self { fragments, hops, missing_parents, links, baggage, sampled, mixed_with_other_claims } = self;
        let mut sentences = Vec::new();
        match fragments.as_deref() {
            None => {}
            Some([]) => sentences.push("No span of the claim is received.".to_owned()),
            Some([one]) => sentences.push(format!("The claim is one trace: {}.", describe_fragment(one))),
            Some(several) => {
                let traces = several.iter().map(describe_fragment).collect::<Vec<_>>().join("; ");
                sentences.push(format!("The claim was split into {} traces: {traces}.", several.len()));
            }
        }
        sentences.extend(hops.iter().map(describe_cells));
        if let Some(shapes) = missing_parents {
            sentences.push(match shapes.as_slice() {
                [] => "The parent of each span that has one was received.".to_owned(),
                shapes => {
                    format!("The parent of {} is not received.", list(shapes, describe_span_shape))
                }
            });
        }
        sentences.extend(links.iter().map(|link| {
            format!("{} has a link to {}.", describe_span_shape(&link.from), describe_span_shape(&link.to))
        }));
        sentences.extend(baggage.iter().map(describe_baggage));
        sentences.extend(
            sampled.map(|bit| format!("The sampled bit of the `traceresponse` header is {}.", set_or_clear(bit))),
        );
        sentences.extend(mixed_with_other_claims.map(|mixed| match mixed {
            true => "When claims are sent one after the other, a trace of each also has spans of another.".to_owned(),
            false => "The traces of the claim have no spans of another claim.".to_owned(),
        }));
        sentences
    }
}

fn describe_fragment(shape: &FragmentShape) -> String {
    let services = list(&shape.services, ToString::to_string);
    match &shape.root {
        None => format!("{services}, without a root"),
        Some(root) => format!("{services}, with the root {}", describe_span_shape(root)),
    }
}

fn describe_cells(cells: &HopCells) -> String {
    let HopCells { hop, sender, sent, received, transit, parent, sampled, invalid, contains } = cells;
    let mut parts: Vec<_> = sender.iter().map(|state| format!("sent: {}", state.words())).collect();
    let nothing = SideState::Recorded.words();
    match (sent, received) {
        (Some(sent), Some(received)) if sent == received && !sent.is_empty() => {
            parts.push(format!("{} sent and arrived", were(sent)));
        }
        (Some(sent), Some(received)) if sent == received => parts.push(format!("sent and received: {nothing}")),
        (sent, received) => {
            parts.extend(sent.as_deref().map(|sent| match sent {
                [] => format!("sent: {nothing}"),
                sent => format!("{} sent", were(sent)),
            }));
            parts.extend(received.as_deref().map(|received| match received {
                [] => format!("received: {nothing}"),
                received => format!("{} arrived", and(received)),
            }));
        }
    }
    // That none arrived says that what was sent was lost.
    let said = *transit == Some(Transit::Lost) && received.as_ref().is_some_and(Vec::is_empty);
    let identities = |formats: &Vec<Format>| formats.iter().filter(|format| **format != Format::Baggage).count();
    let only_one = sent == received && sent.as_ref().map(identities) == Some(1);
    parts.extend(transit.filter(|_| !said).map(|transit| match transit {
        Transit::Altered if only_one => "the trace header arrived changed".to_owned(),
        transit => format!("the trace headers {}", transit.words()),
    }));
    parts.extend(invalid.map(|format| format!("the {} that arrived is invalid", format_names(&[format]))));
    parts.extend(contains.iter().map(|(name, part)| format!("the `{name}` that arrived contains `{part}`")));
    parts.extend(sampled.map(|bit| format!("the sampled bit that arrived is {}", set_or_clear(bit))));
    parts.extend(parent.map(|parent| match parent {
        ParentUsed::Nobody => "the receiver's span is a root".to_owned(),
        parent => format!("the parent of the receiver's span is {}", parent.words()),
    }));
    format!("{hop}: {}.", parts.join("; "))
}

fn and(formats: &[Format]) -> String {
    let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
    match names.as_slice() {
        [some @ .., last] if !some.is_empty() => format!("{} and {last}", some.join(", ")),
        names => names.join(""),
    }
}

fn were(formats: &[Format]) -> String {
    format!("{} {}", and(formats), if formats.len() == 1 { "was" } else { "were" })
}

fn describe_baggage(shape: &BaggageShape) -> String {
    let BaggageShape { hop, key, present, read, more_than_bytes } = shape;
    let what = key.as_ref().map_or_else(|| "baggage".to_owned(), |key| format!("baggage `{key}`"));
    let arrived = present.map(|present| if present { "arrived" } else { "did not arrive" }.to_owned());
    let read = read
        .map(|read| if read { "was read by the application" } else { "was not read by the application" }.to_owned());
    let size = more_than_bytes.map(|bytes| format!("has more than {bytes} bytes"));
    let parts: Vec<_> = arrived.into_iter().chain(size).chain(read).collect();
    format!("{hop}: {what} {}.", parts.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
