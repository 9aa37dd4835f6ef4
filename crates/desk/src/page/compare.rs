//! A claim beside another: their spans in pairs on one clock, and what differs.

use evidence::compare::{
    Above, Compared, Comparison, Difference, OtherAttribute, OtherHeader, Pair, is_compared, not_compared,
};
use evidence::{ClaimEvidence, Reading};
use maud::{Markup, html};
use wire::{SpanId, TraceId};

use super::span::{VALUE_CHARACTERS, facts};
use super::waterfall::{Clock, anchor, letter, ticks, title};
use super::{beginning, dotted, duration, service_class};

/// How many pairs are drawn, and how many attributes that differ are listed of each, and how much of a value, in characters.
const PAIRS: usize = 400;
const ATTRIBUTES: usize = 6;
const SHOWN_CHARACTERS: usize = 60;
/// What differs between any two spans beside their attributes.
const ALWAYS_OTHERS: [&str; 4] = ["start", "duration", "trace", "span"];
const DEEPEST_INDENT: usize = 12;

/// One clock for both claims, each from its own start.
struct Clocks {
    one: Clock,
    other: Clock,
    nanos: u64,
}

/// `asked` and `with` are what the page was asked for.
pub(super) fn draw(asked: &str, one: &Reading<'_>, with: &str, other: &Reading<'_>) -> Markup {
    let (one, other) = (one.evidence(), other.evidence());
    let pairs = Comparison::of(one, other).pairs;
    let clocks = Clocks::of(one, other);
    let drawn = || pairs.iter().take(PAIRS);
    html! {
        p { (summary(&pairs)) }
        p.quiet {
            "Each row is one span: of both claims, or of only one. The upper bar is this claim's, the lower and paler bar the healthy claim's. Each claim begins at 0, on one clock of "
            (duration(clocks.nanos)) ". The letters are traces: A is the trace of its claim that began first, B the next."
            @if pairs.len() > PAIRS { " The first " (PAIRS) " are drawn; left out: " (pairs.len() - PAIRS) "." }
        }
        p.quiet { "Choose a row to see both spans beside each other; " kbd { "Esc" } " closes them. Headers are compared without their ids. Not compared: " (not_compared().collect::<Vec<_>>().join("; ")) "." }
        div.waterfall data-claim=(asked) data-with=(with) {
            div.fragments.compared {
                div.axis aria-hidden="true" { span { "Span" } span.kind { "Traces" } span.ticks { (ticks(clocks.nanos)) } span { "What differs" } }
                ol.rows { @for pair in drawn() { (clocks.row(pair)) } }
            }
        }
    }
}

/// How many rows differ, and in what.
fn summary(pairs: &[Pair<'_>]) -> Markup {
    let count = |is: &dyn Fn(&Pair<'_>) -> bool| pairs.iter().filter(|pair| is(pair)).count();
    let has = |is: fn(&Difference) -> bool| count(&|pair: &Pair<'_>| pair.differences.iter().any(is));
    let counts = [
        (count(&|pair| pair.one.is_none()), "only in the healthy claim"),
        (count(&|pair| pair.other.is_none()), "only in this claim"),
        (has(|it| matches!(it, Difference::Parent { .. })), "with another parent"),
        (has(|it| matches!(it, Difference::Trace)), "in another trace"),
        (has(|it| matches!(it, Difference::Headers { .. })), "with other headers"),
        (has(|it| matches!(it, Difference::Attributes(_))), "with other attributes"),
        (has(|it| matches!(it, Difference::Links { .. })), "with other links"),
        (has(|it| matches!(it, Difference::Failed { .. })), "that failed in one of the two"),
    ];
    let said: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let differing = count(&|pair| pair.differs());
    let ways: usize = counts.iter().map(|(count, _)| count).sum();
    html! {
        strong {
            @if said.is_empty() { "No span differs from the healthy claim's." }
            @else { (differing) " of " (pairs.len()) @if differing == 1 { " rows differs" } @else { " rows differ" }
                @if ways > differing { @if differing == 1 { ", in more than one way" } @else { ", some in more than one way" } }
                ": " (said.join(", ")) "." }
        }
    }
}

// === impl Clocks ===

impl Clocks {
    fn of(claim: &ClaimEvidence, other: &ClaimEvidence) -> Self {
        let (one, other) = (Clock::of(claim), Clock::of(other));
        let nanos = one.nanos().max(other.nanos());
        Self { one: one.lasting(nanos), other: other.lasting(nanos), nanos }
    }

    fn row(&self, pair: &Pair<'_>) -> Markup {
        let Some(node) = pair.node() else { return html! {} };
        let indent = format!("d{}", node.depth.min(DEEPEST_INDENT));
        let anchors: Vec<_> = [pair.one, pair.other].into_iter().flatten().map(ids).map(anchor).collect();
        html! {
            li.(service_class(&node.span.service)).differs[pair.differs()] id=[anchors.first()] data-other=[anchors.get(1)] data-depth=(node.depth) {
                div.label.(indent) {
                    button.span type="button" {
                        span.service { span.name { (title(&node.span)) } " " span.quiet { (node.span.kind.name()) } }
                    }
                }
                span.kind { (trace(pair.one)) " " (trace(pair.other)) }
                svg.bar viewBox=(Clock::VIEW_BOX) preserveAspectRatio="none" aria-hidden="true" {
                    (self.bar(&self.one, pair.one, "this", "0.5")) (self.bar(&self.other, pair.other, "that", "5.5"))
                }
                (differences(pair))
            }
        }
    }

    fn bar(&self, clock: &Clock, span: Option<Compared<'_>>, class: &str, top: &str) -> Markup {
        let bar = span.map(|it| clock.bar(&it.node.span));
        html! { @if let Some((left, width)) = bar { rect.(class) x=(left) y=(top) width=(width) height="4" {} } }
    }
}

fn ids(span: Compared<'_>) -> (TraceId, SpanId) {
    (span.node.span.trace_id, span.node.span.span_id)
}

/// Both spans of a pair beside each other: what both have alike stands once.
pub(super) fn detail(one: &ClaimEvidence, other: &ClaimEvidence, span: (TraceId, SpanId)) -> Option<Markup> {
    let pairs = Comparison::of(one, other).pairs;
    let is_it = |it: &Compared<'_>| ids(*it) == span;
    let pair = pairs.iter().find(|pair| pair.one.iter().chain(&pair.other).any(is_it))?;
    let facts = |evidence, it: Option<Compared<'_>>| it.map(|it| facts(evidence, &it.node.span)).unwrap_or_default();
    let (left, right) = (facts(one, pair.one), facts(other, pair.other));
    let only_right = right.iter().filter(|(key, _)| !left.iter().any(|(other, _)| other == key));
    let value = |of: &[(String, String)], key: &str| of.iter().find(|it| it.0 == key).map(|it| it.1.clone());
    Some(html! {
        h2 #span-title { (title(&pair.node()?.span)) }
        p.quiet { "This claim's span beside the healthy one's. A value that is the same in both is shown once. Times, ids and addresses differ between any two claims, so they are not marked." }
        (differences(pair))
        dl.attributes {
            @for (key, _) in left.iter().chain(only_right) {
                @let (one, other) = (value(&left, key), value(&right, key));
                dt { (dotted(&beginning(key, SHOWN_CHARACTERS))) }
                dd {
                    @if one == other { code { (shown(one.as_deref())) } }
                    @else {
                        @let marked = one.is_some() != other.is_some() || is_compared(key) && !ALWAYS_OTHERS.contains(&key.as_str());
                        div { "this: " code.odd[marked] { (shown(one.as_deref())) } }
                        div.quiet { "healthy: " code { (shown(other.as_deref())) } }
                    }
                }
            }
        }
    })
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "not there".to_owned(), |value| beginning(value, VALUE_CHARACTERS))
}

fn trace(span: Option<Compared<'_>>) -> Markup {
    html! { @match span { Some(span) => (letter(span.trace)), None => span.quiet { "–" } } }
}

fn differences(pair: &Pair<'_>) -> Markup {
    html! {
        ul.differences {
            @if pair.one.is_none() { li { strong { "only in the healthy claim" } } }
            @if pair.other.is_none() { li { strong { "only in this claim" } } }
            @for difference in &pair.differences {
                @match difference {
                    Difference::Trace => {},
                    Difference::Parent { one, other } => { li { "parent: " strong { (above(one)) } ", healthy: " (above(other)) } }
                    Difference::Headers { more, fewer, changed } => {
                        @if !more.is_empty() { li { "header only in this claim: " strong { (more.join(", ")) } } }
                        @if !fewer.is_empty() { li { "header only in the healthy claim: " strong { (fewer.join(", ")) } } }
                        @for header in changed { (other_header(header)) }
                    }
                    Difference::Attributes(all) => {
                        @for attribute in all.iter().take(ATTRIBUTES) { (other_attribute(attribute)) }
                        @if all.len() > ATTRIBUTES { li { "and " (all.len() - ATTRIBUTES) @if all.len() == ATTRIBUTES + 1 { " more attribute" } @else { " more attributes" } } }
                    }
                    Difference::Failed { one } => { li { @if *one { strong { "failed" } } @else { "failed in the healthy claim" } } }
                    Difference::Links { one, other } => { li { "links: " strong { (one) } ", healthy: " (other) } }
                }
            }
            @if let Some((one, other)) = pair.one.zip(pair.other) && pair.differences.contains(&Difference::Trace) {
                li { "trace " (letter(one.trace)) ", healthy: " (letter(other.trace)) }
            }
        }
    }
}

fn other_header(header: &OtherHeader) -> Markup {
    let parts = |parts: &[String]| beginning(&parts.join(", "), 2 * SHOWN_CHARACTERS);
    html! {
        li {
            "header " (header.name) ": "
            @match (header.one.is_empty(), header.other.is_empty()) {
                (false, true) => { strong { (parts(&header.one)) } " only in this claim" },
                (true, _) => { strong { (parts(&header.other)) } " only in the healthy claim" },
                (false, false) => { strong { (parts(&header.one)) } ", healthy: " (parts(&header.other)) },
            }
        }
    }
}

fn other_attribute(attribute: &OtherAttribute) -> Markup {
    let OtherAttribute { key, one, other } = attribute;
    let key = dotted(&beginning(key, SHOWN_CHARACTERS));
    let value = |value: &str| beginning(value, SHOWN_CHARACTERS);
    html! {
        li {
            @match (one, other) {
                (None, Some(other)) => { "attribute only in the healthy claim: " strong { (key) } " = " (value(other)) }
                (Some(one), None) => { "attribute only in this claim: " strong { (key) } " = " (value(one)) }
                _ => { "attribute " (key) ": " strong { (value(one.as_deref().unwrap_or_default())) } ", healthy: " (value(other.as_deref().unwrap_or_default())) }
            }
        }
    }
}

fn above(above: &Above) -> String {
    match above {
        Above::Nothing => "none (it is a root)".to_owned(),
        Above::NotReceived => "not received".to_owned(),
        Above::Span(name) => beginning(name, 200),
        Above::AnotherClaim(name) => format!("{}, of another claim", beginning(name, 200)),
        Above::Cycle => "itself".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use chain::Topology;
    use evidence::{Collected, Span};
    use serde_json::json;

    use super::*;

    /// A claim with these spans of one trace, which are not below each other.
    fn claim(spans: std::ops::Range<usize>, length: usize) -> Collected {
        let span = |id: usize| -> Span {
            serde_json::from_value(json!({
                "trace_id": "a".repeat(32), "span_id": format!("{id:016x}"), "parent_span_id": null,
                "service": "x".repeat(length), "resource": {}, "scope": "", "name": format!("{id}{}", "n".repeat(length)),
                "kind": "server", "start_unix_nano": 1, "end_unix_nano": 2, "status": "unset", "attributes": {},
                "events": [], "links": [],
            }))
            .unwrap()
        };
        Collected { evidence: ClaimEvidence::from_spans("CLM-1", spans.map(span)), ..Collected::default() }
    }

    #[test]
    fn one_row_differs_and_several_differ() {
        let summary = |one: &Collected, other: &Collected| {
            super::summary(&Comparison::of(&one.evidence, &other.evidence).pairs).into_string()
        };
        let [one, two, three] = [2, 3, 4].map(|end| claim(1..end, 1));
        let table = [
            (&two, &two, "No span differs from the healthy claim's."),
            (&two, &one, "1 of 2 rows differs: 1 only in this claim."),
            (&one, &three, "2 of 3 rows differ: 2 only in the healthy claim."),
        ];
        for (one, other, words) in table {
            assert_eq!(summary(one, other), format!("<strong>{words}</strong>"));
        }
    }

    #[test]
    fn a_comparison_is_bounded_whatever_was_sent() {
        let (one, other) = (claim(1..501, 10_000), claim(401..601, 10_000));
        let (left, right) = (Reading::new(Topology::LAB, &one), Reading::new(Topology::LAB, &other));
        let page = draw("CLM-1", &left, "healthy", &right).into_string();
        assert!(page.len() < 1_000_000, "400 rows: {} bytes", page.len());
        assert!(page.contains("left out: 200."), "what is left out is counted");
        assert!(
            page.contains("500 of 600 rows differ: 100 only in the healthy claim, 400 only in this claim."),
            "and what differs is not"
        );
    }
}
