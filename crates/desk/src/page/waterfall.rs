//! The fragments of a claim on one clock.

use std::collections::{BTreeMap, BTreeSet};

use evidence::claim::{Node, Position, listed};
use evidence::span::Status;
use evidence::{Break, ClaimEvidence, Fragment, Reading, Span, Tie};
use maud::{Markup, html};
use wire::{SpanId, TraceId};

use super::{beginning, duration, encoded, service_class, trace_id};
use crate::lab::Lab;

/// How many rows of a trace are drawn at first; then as many again as there are.
const ROWS: usize = 200;
/// More rows than this are not added at once.
const MORE_ROWS: usize = 2_000;
/// How many traces are drawn, and how many links of a span: one claim has a few of both, and a page must stay readable.
const TRACES: usize = 50;
const LINKS: usize = 10;
/// How much of a service's or a span's name is shown, in characters.
const NAME_CHARACTERS: usize = 200;
const DEEPEST_INDENT: usize = 12;
/// The bar's own units, from the start of the clock to its end.
const BAR_WIDTH: u128 = 1000;

/// The clock that all fragments share, in nanoseconds since the Unix epoch.
struct Clock {
    start: u64,
    nanos: u64,
}

/// What a row says of other rows.
struct Drawing<'a> {
    evidence: &'a ClaimEvidence,
    clock: Clock,
    /// The spans that a row can lead to.
    here: BTreeSet<(TraceId, SpanId)>,
    /// By the first span after each break.
    breaks: BTreeMap<(TraceId, SpanId), Break>,
}

pub(super) fn draw(lab: &Lab, reading: &Reading<'_>) -> Markup {
    let drawing = Drawing::of(reading);
    let Drawing { evidence, clock, .. } = &drawing;
    let count = evidence.fragments.len();
    html! {
        p {
            (count) @if count == 1 { " trace" } @else { " traces" } ", drawn on one clock of " (duration(clock.nanos)) "."
            @if evidence.malformed > 0 { " " (evidence.malformed) " spans or links had malformed ids and were left out." }
            @if evidence.partial { " The trace store left out spans." }
            @if let Some(most) = evidence.searched_up_to { " " (most) " traces carry the claim's id, the most that a search finds: its own may not be among them." }
            @if count > TRACES { " The first " (TRACES) " are drawn; " (count - TRACES) " more are left out." }
        }
        div.fragments {
            @for fragment in evidence.fragments.iter().take(TRACES) { (drawing.fragment(lab, fragment)) }
            // A script draws links and breaks here when the places of the rows are known.
            svg.links aria-hidden="true" {}
        }
    }
}

/// More rows of a trace, and how many are left.
pub(super) fn rows(reading: &Reading<'_>, fragment: &Fragment, from: usize) -> Markup {
    Drawing::of(reading).rows(fragment, from)
}

// === impl Drawing ===

impl<'a> Drawing<'a> {
    fn of(reading: &Reading<'a>) -> Self {
        let evidence = reading.evidence();
        let here = evidence.spans().map(|span| (span.trace_id, span.span_id)).collect();
        let breaks = reading.breaks().into_iter().map(|at| (at.to, at)).collect();
        Self { evidence, clock: Clock::of(evidence), here, breaks }
    }

    fn fragment(&self, lab: &Lab, fragment: &Fragment) -> Markup {
        html! {
            div.fragment {
                h3 {
                    "Trace " (trace_id(lab, fragment.trace_id)) " "
                    span.quiet { (fragment.nodes.len()) @if fragment.nodes.len() == 1 { " span: " } @else { " spans: " } (listed(&fragment.services)) }
                }
                @if fragment.roots().next().is_none() { p.unsure { "No root span was received." } }
                @if !fragment.other_claims.is_empty() { p { "It also has spans of claim " (listed(&fragment.other_claims)) "." } }
                ol.rows { (self.rows(fragment, 0)) }
            }
        }
    }

    fn rows(&self, fragment: &Fragment, from: usize) -> Markup {
        let next = |from: usize| from.saturating_add(from.clamp(ROWS, MORE_ROWS)).min(fragment.nodes.len());
        let until = next(from);
        let left = fragment.nodes.len() - until;
        let before = from.checked_sub(1).and_then(|at| fragment.nodes.get(at));
        let mut ghost = before.and_then(ghost_of);
        html! {
            @for node in fragment.nodes.iter().take(until).skip(from) {
                @if let Some(parent) = ghost_of(node) && ghost.replace(parent) != Some(parent) {
                    li.ghost { span { "parent " code { (parent) } " not received" } }
                }
                (self.row(node))
            }
            @if left > 0 {
                li.more {
                    button.quiet data-append=(format!("/parts/rows/{}/{}?from={until}", encoded(&claim_or_trace(self.evidence, fragment)), fragment.trace_id)) {
                        "Show " (next(until) - until) " more (" (left) " are hidden)"
                    }
                }
            }
        }
    }

    fn row(&self, node: &Node) -> Markup {
        let Self { clock, here, .. } = self;
        let span = &node.span;
        let indent = format!("d{}", node.depth.min(DEEPEST_INDENT));
        let (left, width) = clock.bar(span);
        let kind = span.kind.name();
        let failed = matches!(span.status, Status::Error(_));
        html! {
            li.(service_class(&span.service)) #(anchor((span.trace_id, span.span_id))) {
                button.span.(indent) data-load=(format!("/parts/spans/{}/{}", span.trace_id, span.span_id)) data-dialog="span-dialog" data-into="span-detail" {
                    span.service { (beginning(&span.service, NAME_CHARACTERS)) } " " span.name { (beginning(&span.name, NAME_CHARACTERS)) }
                    @if failed { strong.bad { " failed" } }
                    span.hidden { ", depth " (node.depth) ", starts after " (duration(span.start_unix_nano.saturating_sub(clock.start))) }
                }
                span.kind { (kind) @if node.place == Position::Root { ", root" } }
                svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" { rect x=(left) y="1" width=(width) height="8" {} }
                span.duration { (duration(span.duration_nanos())) }
                (self.broken_off(span))
                @for link in span.links.iter().take(LINKS) {
                    span.link {
                        "linked to "
                        @if here.contains(&(link.trace_id, link.span_id)) {
                            a href=(to_row((link.trace_id, link.span_id))) { "span " code { (link.span_id) } }
                        } @else { "span " code { (link.span_id) } " of trace " code { (link.trace_id) } }
                    }
                }
                @if span.links.len() > LINKS { span.link { "and " (span.links.len() - LINKS) " more links" } }
            }
        }
    }

    /// What is seen at the first span after a break: that, and not why, so that it may be read in a drill.
    fn broken_off(&self, span: &Span) -> Markup {
        let at = self.breaks.get(&(span.trace_id, span.span_id));
        let before = at.and_then(|at| self.evidence.span(at.from.0, at.from.1));
        html! {
            @if let Some((at, before)) = at.zip(before) {
                span.break {
                    strong { @if at.begins { "new trace starts here" } @else { "goes on in another trace here" } } ": "
                    @match at.tie { Tie::Sent => "sent by ", Tie::During => "begun during " }
                    a href=(to_row(at.from)) { (beginning(&before.service, NAME_CHARACTERS)) " " (beginning(&before.name, NAME_CHARACTERS)) }
                }
            }
        }
    }
}

fn claim_or_trace(evidence: &ClaimEvidence, fragment: &Fragment) -> String {
    if evidence.claim_id.is_empty() { fragment.trace_id.to_string() } else { evidence.claim_id.clone() }
}

fn ghost_of(node: &Node) -> Option<SpanId> {
    node.span.parent_span_id.filter(|_| node.place == Position::MissingParent)
}

fn to_row(span: (TraceId, SpanId)) -> String {
    format!("#{}", anchor(span))
}

fn anchor((trace, span): (TraceId, SpanId)) -> String {
    format!("s-{trace}-{span}")
}

// === impl Clock ===

impl Clock {
    fn of(evidence: &ClaimEvidence) -> Self {
        let start = evidence.spans().map(|span| span.start_unix_nano).min().unwrap_or(0);
        let end = evidence.spans().map(|span| span.end_unix_nano.max(span.start_unix_nano)).max().unwrap_or(0);
        Self { start, nanos: end - start }
    }

    /// Left edge and width; never so narrow that it cannot be seen.
    fn bar(&self, span: &Span) -> (u128, u128) {
        let scale = |nanos: u64| u128::from(nanos) * BAR_WIDTH / u128::from(self.nanos.max(1));
        let left = scale(span.start_unix_nano.saturating_sub(self.start)).min(BAR_WIDTH - 3);
        (left, scale(span.duration_nanos()).clamp(3, BAR_WIDTH - left))
    }
}

#[cfg(test)]
mod tests {
    use chain::Topology;
    use evidence::Collected;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_is_bounded_whatever_was_sent() {
        let link = json!({ "trace_id": "1".repeat(32), "span_id": "2".repeat(16), "attributes": {} });
        let span = |id: usize, links: usize| -> Span {
            serde_json::from_value(json!({
                "trace_id": "a".repeat(32), "span_id": format!("{id:016x}"), "parent_span_id": null,
                "service": "x".repeat(100_000), "resource": {}, "scope": "", "name": "n".repeat(100_000), "kind": "server",
                "start_unix_nano": 1, "end_unix_nano": 2, "status": "unset", "attributes": {}, "events": [],
                "links": vec![link.clone(); links],
            }))
            .unwrap()
        };
        let evidence =
            ClaimEvidence::from_spans("CLM-1", (1..=1_000).map(|id| span(id, if id == 1 { 100_000 } else { 20 })));
        let found = Collected { evidence, ..Collected::default() };
        let rows = rows(&Reading::new(Topology::LAB, &found), &found.evidence.fragments[0], 0).into_string();
        assert!(rows.len() < 2_000_000, "200 rows of 10 links: {} bytes", rows.len());
        assert!(rows.contains("and 99990 more links"), "what is left out is counted");
        assert!(rows.contains("(800 are hidden)"), "rows too");
    }
}
