//! A claim beside another: their spans in pairs on one clock, and what differs.

use evidence::compare::{Above, Compared, Comparison, Difference, Pair};
use evidence::{ClaimEvidence, Reading};
use maud::{Markup, html};

use super::waterfall::{Clock, letter, ticks, title, to_row_of};
use super::{beginning, duration, service_class};

/// How many pairs are drawn.
const PAIRS: usize = 400;
const DEEPEST_INDENT: usize = 12;

/// One clock for both claims, each from its own start.
struct Clocks<'a> {
    claim: &'a ClaimEvidence,
    one: Clock,
    other: Clock,
    nanos: u64,
}

pub(super) fn draw(one: &Reading<'_>, other: &Reading<'_>) -> Markup {
    let (one, other) = (one.evidence(), other.evidence());
    let pairs = Comparison::of(one, other).pairs;
    let clocks = Clocks::of(one, other);
    let drawn = || pairs.iter().take(PAIRS);
    html! {
        p { (summary(&pairs)) }
        p.quiet {
            "Each row is a span that both claims have, or one of them. Above is this claim, below and paler the healthy one, each from its own start, on one clock of "
            (duration(clocks.nanos)) ". A letter is a trace, in the order in which a claim's traces begin."
            @if pairs.len() > PAIRS { " The first " (PAIRS) " are drawn; " (pairs.len() - PAIRS) " more are left out." }
        }
        div.fragments.compared {
            div.axis aria-hidden="true" { span { "Span" } span.kind { "Traces" } span.ticks { (ticks(clocks.nanos)) } span { "What differs" } }
            ol.rows { @for pair in drawn() { (clocks.row(pair)) } }
        }
    }
}

/// How many rows differ, and in what.
fn summary(pairs: &[Pair<'_>]) -> Markup {
    let count = |is: &dyn Fn(&Pair<'_>) -> bool| pairs.iter().filter(|pair| is(pair)).count();
    let has = |is: fn(&Difference) -> bool| count(&|pair: &Pair<'_>| pair.differences.iter().any(is));
    let counts = [
        (count(&|pair| pair.one.is_none()), "missing here"),
        (count(&|pair| pair.other.is_none()), "only here"),
        (has(|it| matches!(it, Difference::Parent { .. })), "with another parent"),
        (has(|it| matches!(it, Difference::Trace)), "in another trace"),
        (has(|it| matches!(it, Difference::Headers { .. })), "with other headers"),
        (has(|it| matches!(it, Difference::Links { .. })), "with other links"),
        (has(|it| matches!(it, Difference::Failed { .. })), "that failed in one of the two"),
    ];
    let said: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    html! {
        strong {
            @if said.is_empty() { "No span differs from the healthy claim's." }
            @else { (count(&|pair| pair.differs())) " of " (pairs.len()) " rows differ, some in more than one way: " (said.join(", ")) "." }
        }
    }
}

// === impl Clocks ===

impl<'a> Clocks<'a> {
    fn of(claim: &'a ClaimEvidence, other: &ClaimEvidence) -> Self {
        let (one, other) = (Clock::of(claim), Clock::of(other));
        let nanos = one.nanos().max(other.nanos());
        Self { claim, one: one.lasting(nanos), other: other.lasting(nanos), nanos }
    }

    fn row(&self, pair: &Pair<'_>) -> Markup {
        let Some(node) = pair.node() else { return html! {} };
        let indent = format!("d{}", node.depth.min(DEEPEST_INDENT));
        html! {
            li.(service_class(&node.span.service)).differs[pair.differs()] {
                div.label.(indent) {
                    span.service {
                        @match pair.one {
                            Some(one) => a.name href=(to_row_of(self.claim, &one.node.span)) { (title(&node.span)) },
                            None => span.name { (title(&node.span)) },
                        }
                        " " span.quiet { (node.span.kind.name()) }
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

fn trace(span: Option<Compared<'_>>) -> Markup {
    html! { @match span { Some(span) => (letter(span.trace)), None => span.quiet { "–" } } }
}

fn differences(pair: &Pair<'_>) -> Markup {
    html! {
        ul.differences {
            @if pair.one.is_none() { li { strong { "missing here" } } }
            @if pair.other.is_none() { li { strong { "only here" } } }
            @for difference in &pair.differences {
                @match difference {
                    Difference::Trace => {},
                    Difference::Parent { one, other } => { li { "parent: " strong { (above(one)) } ", healthy: " (above(other)) } }
                    Difference::Headers { more, fewer, changed } => {
                        @if !more.is_empty() { li { "header only here: " strong { (more.join(", ")) } } }
                        @if !fewer.is_empty() { li { "header not here: " strong { (fewer.join(", ")) } } }
                        @if !changed.is_empty() { li { "other content: " strong { (changed.join(", ")) } } }
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

    #[test]
    fn a_comparison_is_bounded_whatever_was_sent() {
        let span = |id: usize| -> Span {
            serde_json::from_value(json!({
                "trace_id": "a".repeat(32), "span_id": format!("{id:016x}"), "parent_span_id": null,
                "service": "x".repeat(10_000), "resource": {}, "scope": "", "name": format!("{id}{}", "n".repeat(10_000)),
                "kind": "server", "start_unix_nano": 1, "end_unix_nano": 2, "status": "unset", "attributes": {},
                "events": [], "links": [],
            }))
            .unwrap()
        };
        let claim = |spans: std::ops::Range<usize>| Collected {
            evidence: ClaimEvidence::from_spans("CLM-1", spans.map(span)),
            ..Collected::default()
        };
        let (one, other) = (claim(1..501), claim(401..601));
        let page = draw(&Reading::new(Topology::LAB, &one), &Reading::new(Topology::LAB, &other)).into_string();
        assert!(page.len() < 1_000_000, "400 rows: {} bytes", page.len());
        assert!(page.contains("200 more are left out"), "what is left out is counted");
        assert!(
            page.contains("500 of 600 rows differ, some in more than one way: 100 missing here, 400 only here"),
            "and what differs is not"
        );
    }
}
