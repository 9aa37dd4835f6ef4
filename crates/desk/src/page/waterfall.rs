//! The fragments of a claim on one clock: a row for each span, and above them when each service worked.

use std::collections::{BTreeMap, BTreeSet};

use evidence::claim::{Node, Position, listed};
use evidence::compare::text;
use evidence::span::Status;
use evidence::{Break, ClaimEvidence, Fragment, Reading, Span};
use maud::{Markup, html};
use wire::{SpanId, TraceId};

use super::{beginning, chain, duration, encoded, service_class, trace_id};
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
/// The bar's own units, from the start of the clock to its end: fine enough to be magnified.
const BAR_WIDTH: u128 = 100_000;
/// How the clock is divided.
const TICKS: u64 = 4;
/// What is drawn of a service's work: times closer together than this are one.
const OVERVIEW_GAP: u128 = BAR_WIDTH / 200;
/// How many services have a line; the others share one.
const OVERVIEW_LINES: usize = 10;
/// How many spans a search lists, and how much is shown around what it found, in characters.
const FOUND: usize = 100;
const MARKED_CHARACTERS: usize = 60;

/// The clock that all fragments share, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    start: u64,
    nanos: u64,
}

/// What a row says of other rows.
struct Drawing<'a> {
    /// By what the claim was asked for: its id, or one of its traces'.
    asked: &'a str,
    evidence: &'a ClaimEvidence,
    clock: Clock,
    /// The spans that a row can lead to.
    here: BTreeSet<(TraceId, SpanId)>,
    /// By the first span after each break.
    breaks: BTreeMap<(TraceId, SpanId), Break>,
}

pub(super) fn draw(lab: &Lab, reading: &Reading<'_>, asked: &str) -> Markup {
    let drawing = Drawing::of(reading, asked);
    let Drawing { evidence, clock, .. } = &drawing;
    let count = evidence.fragments.len();
    html! {
        p {
            (count) @if count == 1 { " trace" } @else { " traces" } ", drawn on one clock of " (duration(clock.nanos)) "."
            @if evidence.malformed > 0 { " Left out, since an id is malformed: " (evidence.malformed) " of its spans and links." }
            @if evidence.partial { " The trace store left out spans." }
            @if let Some(most) = evidence.searched_up_to { " " (most) " traces carry the claim's id, the most that a search finds: its own may not be among them." }
            @if count > TRACES { " The first " (TRACES) " are drawn; left out: " (count - TRACES) "." }
        }
        div.waterfall data-nanos=(clock.nanos) data-units=(BAR_WIDTH) data-claim=(asked) {
            (tools())
            (overview(evidence, clock))
            div.fragments {
                (axis(clock))
                @for (at, fragment) in evidence.fragments.iter().take(TRACES).enumerate() { (drawing.fragment(lab, at, fragment)) }
                // A script draws links and breaks here when the places of the rows are known.
                svg.links aria-hidden="true" {}
            }
        }
    }
}

/// What the scripts do.
fn tools() -> Markup {
    html! {
        div.tools {
            div.wide {
                label for="find-span" { "Find a span by service, name, id or attribute" }
                input #find-span type="search" autocomplete="off" spellcheck="false" maxlength="200";
            }
            button.quiet #fold-all type="button" { "Collapse all" }
            button.quiet #unfold-all type="button" { "Expand all" }
        }
        div #found aria-live="polite" {}
        p.keys.quiet {
            "Keys: " kbd { "j" } " and " kbd { "k" } " lead to the next and the previous row. In a row, " kbd { "←" } " collapses, " kbd { "→" }
            " expands, " kbd { "Enter" } " shows its span, and " kbd { "Esc" } " closes that. " kbd { "/" } " leads to the search: there "
            kbd { "Enter" } " shows the next span found, and " kbd { "Esc" } " ends the search."
        }
    }
}

/// When each service worked: a line of each, whatever trace its spans are in. The scripts let a part of it be chosen.
fn overview(evidence: &ClaimEvidence, clock: &Clock) -> Markup {
    let mut lines = BTreeMap::<&str, Vec<(u128, u128)>>::new();
    for span in evidence.spans() {
        let name =
            if lines.len() < OVERVIEW_LINES || lines.contains_key(span.service.as_str()) { &*span.service } else { "" };
        lines.entry(name).or_default().push(clock.bar(span));
    }
    let mut lines: Vec<_> = lines.into_iter().map(|(name, bars)| (name, merged(bars))).collect();
    lines.sort_by_key(|(_, bars)| bars.first().map(|bar| bar.0));
    html! {
        div.overview {
            svg viewBox=(format!("0 0 {BAR_WIDTH} {}", lines.len() * 10)) preserveAspectRatio="none" aria-hidden="true" {
                @for (at, (name, bars)) in lines.iter().enumerate() {
                    g.(service_class(name)) {
                        @for (left, width) in bars { rect x=(left) y=(at * 10 + 2) width=(width) height="6" {} }
                    }
                }
            }
            div.tools {
                div { label for="zoom-from" { "Zoom from" } input #zoom-from type="range" min="0" max="1000" value="0"; }
                div { label for="zoom-until" { "to" } input #zoom-until type="range" min="0" max="1000" value="1000"; }
                button.quiet #zoom-whole type="button" hidden="" { "Zoom out" }
                span.quiet { "Or drag across the overview above." }
            }
        }
    }
}

/// Joins what overlaps, or is so near that nobody could see the gap.
fn merged(mut bars: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    bars.sort_unstable();
    let mut joined = Vec::<(u128, u128)>::new();
    for (left, width) in bars {
        match joined.last_mut() {
            Some(last) if left <= last.0 + last.1 + OVERVIEW_GAP => last.1 = last.1.max(left + width - last.0),
            _ => joined.push((left, width)),
        }
    }
    joined
}

/// The clock's labels.
pub(super) fn ticks(nanos: u64) -> Markup {
    html! { @for tick in 0..=TICKS { span.tick { (duration(nanos / TICKS * tick + nanos % TICKS * tick / TICKS)) } } }
}

fn axis(clock: &Clock) -> Markup {
    html! {
        div.axis aria-hidden="true" {
            span { "Span" } span.kind { "Kind" } span.ticks { (ticks(clock.nanos)) } span.duration { "Duration" }
        }
    }
}

/// The spans that hold a text, in any case: the first of them, and how many there are.
pub(super) fn find(evidence: &ClaimEvidence, sought: &str) -> Markup {
    let clock = Clock::of(evidence);
    let wanted = sought.to_lowercase();
    let drawn = evidence.fragments.iter().take(TRACES).flat_map(Fragment::spans);
    let found: Vec<_> = drawn.filter_map(|span| Some((span, held(span, &wanted)?))).collect();
    html! {
        p.quiet {
            "Found in " (found.len()) " of " (evidence.spans().count()) " spans."
            @if found.len() > FOUND { " The first " (FOUND) " are listed." }
        }
        @if !found.is_empty() {
            ol.hits {
                @for (span, (what, held)) in found.iter().take(FOUND) {
                    li {
                        a href=(to_row((span.trace_id, span.span_id))) { (title(span)) } " "
                        span.quiet { "after " (duration(span.start_unix_nano.saturating_sub(clock.start))) ", by " (what) " " }
                        code { (marked(held, &wanted)) }
                    }
                }
            }
        }
    }
}

/// Where a span holds a text: what that is called, and all of it.
fn held(span: &Span, wanted: &str) -> Option<(&'static str, String)> {
    let fields = [
        ("name", span.name.clone()),
        ("service", span.service.clone()),
        ("kind", span.kind.name().to_owned()),
        ("trace id", span.trace_id.to_string()),
        ("span id", span.span_id.to_string()),
    ];
    let attribute = |(key, value)| ("attribute", format!("{key}={}", text(value)));
    let attributes = span.attributes.iter().map(attribute);
    fields.into_iter().chain(attributes).find(|(_, text)| text.to_lowercase().contains(wanted))
}

/// What stands around the place where a text holds another, which is marked.
fn marked(text: &str, wanted: &str) -> Markup {
    let lower = text.to_lowercase();
    let before = lower.split(wanted).next().map_or(0, |before| before.chars().count());
    let from = before.saturating_sub(MARKED_CHARACTERS);
    let part = |from: usize, count: usize| text.chars().skip(from).take(count).collect::<String>();
    let until = before + wanted.chars().count();
    html! {
        @if from > 0 { "…" }
        (part(from, before - from)) mark { (part(before, until - before)) } (beginning(&part(until, MARKED_CHARACTERS + 1), MARKED_CHARACTERS))
    }
}

/// More rows of a trace, and how many are left.
pub(super) fn rows(reading: &Reading<'_>, asked: &str, fragment: &Fragment, from: usize) -> Markup {
    Drawing::of(reading, asked).rows(fragment, from)
}

// === impl Drawing ===

impl<'a> Drawing<'a> {
    fn of(reading: &Reading<'a>, asked: &'a str) -> Self {
        let evidence = reading.evidence();
        let here = evidence.spans().map(|span| (span.trace_id, span.span_id)).collect();
        let breaks = reading.breaks().into_iter().map(|at| (at.to, at)).collect();
        Self { asked, evidence, clock: Clock::of(evidence), here, breaks }
    }

    fn fragment(&self, lab: &Lab, at: usize, fragment: &Fragment) -> Markup {
        html! {
            div.fragment {
                h3 {
                    "Trace " (letter(at)) " " (trace_id(lab, fragment.trace_id)) " "
                    span.quiet { (fragment.nodes.len()) @if fragment.nodes.len() == 1 { " span: " } @else { " spans: " } (listed(&fragment.services)) }
                }
                @if fragment.roots().next().is_none() { p.unsure { "No root span was received." } }
                @if !fragment.other_claims.is_empty() { p { "It also has spans of claim " (listed(&fragment.other_claims)) "." } }
                ol.rows data-trace=(fragment.trace_id) { (self.rows(fragment, 0)) }
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
            @for (at, node) in fragment.nodes.iter().enumerate().take(until).skip(from) {
                @if let Some(parent) = ghost_of(node) && ghost.replace(parent) != Some(parent) {
                    li.ghost { span { "parent " code { (parent) } " not received" } }
                }
                (self.row(node, below(fragment, at)))
            }
            @if left > 0 {
                li.more {
                    button.quiet data-append=(format!("/parts/rows/{}/{}?from={until}", encoded(self.asked), fragment.trace_id)) {
                        "Show " (next(until) - until) " more (" (left) " hidden)"
                    }
                }
            }
        }
    }

    fn row(&self, node: &Node, below: usize) -> Markup {
        let Self { clock, here, .. } = self;
        let span = &node.span;
        let indent = format!("d{}", node.depth.min(DEEPEST_INDENT));
        let (left, width) = clock.bar(span);
        let kind = span.kind.name();
        let failed = matches!(span.status, Status::Error(_));
        html! {
            li.(service_class(&span.service)) #(anchor((span.trace_id, span.span_id))) data-depth=(node.depth) {
                div.label.(indent) {
                    @if below > 0 {
                        button.fold type="button" aria-expanded="true" aria-label=(format!("{below} below {}", title(span))) {}
                    }
                    button.span type="button" {
                        span.service { (beginning(&span.service, NAME_CHARACTERS)) } " " span.name { (beginning(&span.name, NAME_CHARACTERS)) }
                        @if failed { strong.bad { " failed" } }
                        span.hidden { ", depth " (node.depth) ", starts after " (duration(span.start_unix_nano.saturating_sub(clock.start))) }
                    }
                }
                span.kind { (kind) @if node.place == Position::Root { ", root" } }
                svg.bar viewBox=(Clock::VIEW_BOX) preserveAspectRatio="none" aria-hidden="true" { rect x=(left) y="1" width=(width) height="8" {} }
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
                    strong { (at.words()) } ": " (at.tie.words()) " "
                    a href=(to_row(at.from)) { (title(before)) }
                }
            }
        }
    }
}

/// How many spans are below one.
fn below(fragment: &Fragment, at: usize) -> usize {
    let depth = fragment.nodes.get(at).map_or(0, |node| node.depth);
    fragment.nodes.iter().skip(at + 1).take_while(|node| node.depth > depth && node.place == Position::Child).count()
}

pub(super) fn title(span: &Span) -> String {
    format!("{} {}", beginning(&span.service, NAME_CHARACTERS), beginning(&span.name, NAME_CHARACTERS))
}

fn ghost_of(node: &Node) -> Option<SpanId> {
    node.span.parent_span_id.filter(|_| node.place == Position::MissingParent)
}

pub(super) fn to_row(span: (TraceId, SpanId)) -> String {
    format!("#{}", anchor(span))
}

pub(super) fn anchor((trace, span): (TraceId, SpanId)) -> String {
    format!("s-{trace}-{span}")
}

// === impl Clock ===

impl Clock {
    /// What a bar's place is counted in.
    pub(super) const VIEW_BOX: &str = "0 0 100000 10";

    pub(super) fn of(evidence: &ClaimEvidence) -> Self {
        let start = evidence.spans().map(|span| span.start_unix_nano).min().unwrap_or(0);
        let end = evidence.spans().map(|span| span.end_unix_nano.max(span.start_unix_nano)).max().unwrap_or(0);
        Self { start, nanos: end - start }
    }

    pub(super) const fn nanos(&self) -> u64 {
        self.nanos
    }

    /// The same from its start, with another end.
    pub(super) const fn lasting(self, nanos: u64) -> Self {
        Self { nanos, ..self }
    }

    /// Left edge and width; the style sheet draws a line around it, so that it can be seen however narrow it is.
    pub(super) fn bar(&self, span: &Span) -> (u128, u128) {
        let scale = |nanos: u64| u128::from(nanos) * BAR_WIDTH / u128::from(self.nanos.max(1));
        let left = scale(span.start_unix_nano.saturating_sub(self.start)).min(BAR_WIDTH - 1);
        (left, scale(span.duration_nanos()).clamp(1, BAR_WIDTH - left))
    }
}

/// What a trace of a claim is called on its page, by its place among them.
pub(super) fn letter(at: usize) -> Markup {
    html! { b.letter.(chain::tint(Some(&at))) { (chain::letter(at)) } }
}

#[cfg(test)]
mod tests {
    use ::chain::Topology;
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
        let rows = rows(&Reading::new(Topology::LAB, &found), "CLM-1", &found.evidence.fragments[0], 0).into_string();
        assert!(rows.len() < 2_000_000, "200 rows of 10 links: {} bytes", rows.len());
        assert!(rows.contains("and 99990 more links"), "what is left out is counted");
        assert!(rows.contains("(800 hidden)"), "rows too");
    }
}
