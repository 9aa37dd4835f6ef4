//! The fragments of a claim as text, on one clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use anstyle::{AnsiColor, Effects};
use chain::{Service, SpanKind};
use unicode_width::UnicodeWidthChar as _;

use crate::breaks::Break;
use crate::claim::{ClaimEvidence, Fragment, Node, Position, listed};
use crate::prose;
use crate::reading::Reading;
use crate::span::{Span, Status};
use wire::{SpanId, TraceId};

const KIND_COLUMNS: usize = 9;
const DURATION_COLUMNS: usize = 9;
const MARK_COLUMNS: usize = 2;
const MIN_LABEL_COLUMNS: usize = 24;
/// Names are cut only when bars are as narrow as this.
const MIN_BAR_COLUMNS: usize = 12;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; 60 to 200 are used.
    pub width: usize,
    /// Whether to write ANSI colours.
    pub colour: bool,
    /// Whether to write anything but ASCII.
    pub unicode: bool,
}

/// The clock that all fragments share, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy)]
struct Clock {
    start: u64,
    end: u64,
}

enum Row<'a> {
    /// A parent that was named and not received.
    Ghost(SpanId),
    Span(&'a Node),
}

/// The lines that lead from parents to children.
#[derive(Clone, Copy)]
struct Guides {
    branch: &'static str,
    last: &'static str,
    pass: &'static str,
    blank: &'static str,
    /// Nothing is indented deeper.
    levels: usize,
}

struct Canvas {
    style: Style,
    clock: Clock,
    guides: Guides,
    label_columns: usize,
    bar_columns: usize,
    /// Service and name of each span.
    names: BTreeMap<(TraceId, SpanId), String>,
    /// The spans of other claims, which are marked: they carry another id, or the nearest span above them that carries one does.
    foreign: BTreeSet<(TraceId, SpanId)>,
    /// For each span that calls another service, which one.
    targets: BTreeMap<(TraceId, SpanId), String>,
    /// By the first span after each break.
    breaks: BTreeMap<(TraceId, SpanId), Break>,
    /// Since when what is absent is absent, in words.
    absent: String,
    text: String,
}

/// Draws a claim: a header, and for each trace a title and a row per span. No line is wider than the style says, and
/// nothing that a service wrote reaches the terminal as a control character.
#[must_use]
pub fn render(reading: &Reading<'_>, style: &Style) -> String {
    let evidence = reading.evidence();
    let style = Style { width: style.width.clamp(60, 200), ..*style };
    let mut canvas = Canvas::new(reading, style);
    canvas.header(evidence);
    for fragment in &evidence.fragments {
        canvas.fragment(reading, fragment);
    }
    canvas.notes(evidence);
    canvas.text
}

/// The name of a span, and the service that it calls: the name of a CLIENT span is often just the method.
fn title(span: &Span, targets: &BTreeMap<(TraceId, SpanId), String>, style: Style) -> String {
    match targets.get(&(span.trace_id, span.span_id)) {
        Some(target) => format!("{} {} {target}", span.name, if style.unicode { "→" } else { "->" }),
        None => span.name.clone(),
    }
}

/// Whom a span calls: by the chain if it is the sender of a hop; if it is another claim's, by the receiver below it.
fn targets(reading: &Reading<'_>) -> BTreeMap<(TraceId, SpanId), String> {
    let evidence = reading.evidence();
    let below = evidence.spans().filter(|span| span.receives()).filter_map(|receiver| {
        let sender = evidence.span(receiver.trace_id, receiver.parent_span_id?)?;
        let calls = matches!(sender.kind, SpanKind::Client | SpanKind::Producer);
        calls.then(|| ((sender.trace_id, sender.span_id), receiver.service.clone()))
    });
    let hops = reading.rows().iter().filter_map(|row| Some((row.sent.span?, row.hop.to.to_string())));
    below.chain(hops.map(|(span, to)| ((span.trace_id, span.span_id), to))).collect()
}

// === impl Canvas ===

impl Canvas {
    fn new(reading: &Reading<'_>, style: Style) -> Self {
        let evidence = reading.evidence();
        let targets = targets(reading);
        let room = style.width - KIND_COLUMNS - 1 - DURATION_COLUMNS - MARK_COLUMNS;
        let most = room - MIN_BAR_COLUMNS;
        let clean = |text: &str| columns(&clean(text, style.unicode));
        let needed = |guides: Guides| {
            let label = |node: &Node| {
                guides.columns(node.depth)
                    + clean(&node.span.service)
                    + 2
                    + clean(&title(&node.span, &targets, style))
                    + 1
            };
            let nodes = evidence.fragments.iter().flat_map(|fragment| &fragment.nodes);
            nodes.map(label).max().unwrap_or(0).max(MIN_LABEL_COLUMNS)
        };
        let wide = Guides::wide(style.unicode, most);
        let guides = if needed(wide) <= style.width / 2 { wide } else { Guides::narrow(style.unicode, most) };
        let label_columns = needed(guides).min(most);
        let bar_columns = room - label_columns;
        let name = |span: &Span| ((span.trace_id, span.span_id), format!("{}  {}", span.service, span.name));
        let names = evidence.spans().map(name).collect();
        let absent = prose::absent(reading.collected);
        let clock = Clock::of(evidence.spans());
        let claim = |span| evidence.lineage(span).find_map(Span::claim_id);
        let others = evidence.spans().filter(|span| claim(span).is_some_and(|id| id != evidence.claim_id));
        let foreign = others.map(|span| (span.trace_id, span.span_id)).collect();
        let breaks = reading.breaks().into_iter().map(|at| (at.to, at)).collect();
        let text = String::new();
        Self { style, clock, guides, label_columns, bar_columns, names, foreign, targets, breaks, absent, text }
    }

    fn header(&mut self, evidence: &ClaimEvidence) {
        let traces = match evidence.fragments.len() {
            0 => "no span received".to_owned(),
            1 => "1 trace".to_owned(),
            count => format!("{count} traces"),
        };
        let own = Clock::of(evidence.spans().filter(|span| !self.foreign.contains(&(span.trace_id, span.span_id))));
        let total = match evidence.fragments.len() {
            0 => String::new(),
            _ if self.foreign.is_empty() => self.duration(own.nanos()),
            _ => format!("{} ({} with *)", self.duration(own.nanos()), self.duration(self.clock.nanos())),
        };
        let room = self.style.width - "claim ".len() - traces.len() - total.len() - 4;
        let claim = self.cut(&evidence.claim_id, room);
        let header = format!("claim {claim}  {traces}  {total}");
        self.line(&self.paint(header.trim_end(), anstyle::Style::new().bold()));
    }

    fn fragment(&mut self, reading: &Reading<'_>, fragment: &Fragment) {
        let roots: Vec<_> = fragment.roots().collect();
        let root = match roots.as_slice() {
            [] => self.paint("no root", warning()),
            [root] => self.paint(&self.cut(&root.service, self.style.width - 52), service_style(&root.service)),
            several => self.paint(&format!("{} roots", several.len()), warning()),
        };
        let stray = roots.iter().any(|root| !reading.is_front_door(root));
        let stray = if stray { format!("  {}", self.paint("no parent", warning())) } else { String::new() };
        self.line("");
        self.line(&format!("trace {}  {root}{stray}", fragment.trace_id));

        if !fragment.other_claims.is_empty() {
            let others = format!("also has spans (marked *) of claim {}", listed(&fragment.other_claims));
            let others = self.cut(&others, self.style.width);
            self.line(&self.paint(&others, warning()));
        }
        let rows = rows(fragment);
        for (row, guide) in rows.iter().zip(self.guides.draw(&rows)) {
            match row {
                Row::Ghost(parent) => {
                    let short = format!("{parent:.8}{}", self.ellipsis());
                    let ghost = format!("(parent {short} {})", self.absent);
                    self.line(&self.paint(&ghost, anstyle::Style::new().dimmed()));
                }
                Row::Span(node) => self.span(node, &guide),
            }
        }
    }

    fn span(&mut self, node: &Node, guide: &str) {
        let span = &node.span;
        self.broken_off(span, guide);
        let colour = service_style(&span.service);
        let failed = if matches!(span.status, Status::Error(_)) { "!" } else { "" };
        let foreign = if self.foreign.contains(&(span.trace_id, span.span_id)) { "*" } else { "" };
        let marks = format!("{failed}{foreign}");
        let marks = if marks.is_empty() { marks } else { format!("{marks:>MARK_COLUMNS$}") };

        let room = self.label_columns.saturating_sub(columns(guide) + 1);
        let service = self.cut(&span.service, room);
        let name_room = room.saturating_sub(columns(&service) + 2);
        let name = if name_room > 0 {
            format!("  {}", self.cut(&title(span, &self.targets, self.style), name_room))
        } else {
            String::new()
        };
        let used = columns(guide) + columns(&service) + columns(&name);
        let gap = " ".repeat(self.label_columns.saturating_sub(used));

        let kind = format!("{:<KIND_COLUMNS$}", span.kind.name());
        let (before, bar) = self.bar(span);
        let after = " ".repeat(self.bar_columns.saturating_sub(before + bar.chars().count()));
        let duration = format!("{:>DURATION_COLUMNS$}", self.duration(span.duration_nanos()));
        let line = format!(
            "{guide}{}{name}{gap}{}{}{}{after} {duration}{}",
            self.paint(&service, colour),
            self.paint(&kind, anstyle::Style::new().dimmed()),
            " ".repeat(before),
            self.paint(&bar, if failed.is_empty() { colour } else { error() }),
            self.paint(&marks, if failed.is_empty() { warning() } else { error() }),
        );
        self.line(line.trim_end());
        for link in &span.links {
            let arrow = if self.style.unicode { "↳" } else { "->" };
            let dots = self.ellipsis();
            let name =
                self.names.get(&(link.trace_id, link.span_id)).map(|name| format!("  {name}")).unwrap_or_default();
            let link = format!("{arrow} link to {:.8}{dots} in trace {:.8}{dots}{name}", link.span_id, link.trace_id);
            let indent = " ".repeat(columns(guide));
            let link = self.cut(&link, self.style.width - columns(&indent));
            self.line(&format!("{indent}{}", self.paint(&link, anstyle::Style::new().dimmed())));
        }
    }

    /// Before the first span after a break: that, and what is before the break.
    fn broken_off(&mut self, span: &Span, guide: &str) {
        let Some(at) = self.breaks.get(&(span.trace_id, span.span_id)) else { return };
        let (mark, dots) = (if self.style.unicode { "╳" } else { "x" }, self.ellipsis());
        let before = self.names.get(&at.from).map(String::as_str).unwrap_or_default();
        let said = format!("{mark} {}: {} {before}, in trace {:.8}{dots}", at.words(), at.tie.words(), at.from.0);
        let indent = " ".repeat(columns(guide));
        let said = self.cut(&said, self.style.width - columns(&indent));
        self.line(&format!("{indent}{}", self.paint(&said, warning())));
    }

    fn notes(&mut self, evidence: &ClaimEvidence) {
        let malformed = (evidence.malformed > 0).then(|| format!("{} with malformed ids", evidence.malformed));
        let partial = evidence.partial.then(|| "some by the trace source".to_owned());
        let others = evidence.searched_up_to.map(|most| format!("traces beyond the first {most}, if there are more"));
        let notes: Vec<_> = malformed.into_iter().chain(partial).chain(others).collect();
        if !notes.is_empty() {
            self.line("");
            self.line(&self.paint(&format!("Left out: {}.", notes.join(", ")), warning()));
        }
    }

    /// The columns before a span's bar, and the bar; a span of less than a column gets a thin one.
    fn bar(&self, span: &Span) -> (usize, String) {
        let total = self.clock.nanos().max(1) as f64;
        let scale = |nanos: u64| nanos as f64 / total * self.bar_columns as f64;
        let offset = span.start_unix_nano.saturating_sub(self.clock.start);
        let length = span.duration_nanos();
        let from = (scale(offset).floor() as usize).min(self.bar_columns - 1);
        let to = (scale(offset.saturating_add(length)).ceil() as usize).clamp(from + 1, self.bar_columns);
        let (full, thin) = if self.style.unicode { ("█", "▏") } else { ("=", "|") };
        (from, if scale(length) < 1.0 { thin.to_owned() } else { full.repeat(to - from) })
    }

    fn duration(&self, nanos: u64) -> String {
        let number = nanos as f64;
        match nanos {
            0..1_000 => format!("{nanos} ns"),
            1_000..1_000_000 => format!("{:.1} {}", number / 1e3, if self.style.unicode { "µs" } else { "us" }),
            1_000_000..1_000_000_000 => format!("{:.1} ms", number / 1e6),
            1_000_000_000..3_600_000_000_000 => format!("{:.1} s", number / 1e9),
            3_600_000_000_000..36_000_000_000_000_000 => format!("{:.1} h", number / 3.6e12),
            _ => "> 9999 h".to_owned(),
        }
    }

    fn cut(&self, text: &str, room: usize) -> String {
        cut(text, room, self.style.unicode)
    }

    fn ellipsis(&self) -> &'static str {
        ellipsis(self.style.unicode)
    }

    fn paint(&self, text: &(impl Display + ?Sized), style: anstyle::Style) -> String {
        self.style.paint(text, style)
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

// === impl Style ===

impl Style {
    pub(crate) fn paint(self, text: &(impl Display + ?Sized), style: anstyle::Style) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

// === impl Clock ===

impl Clock {
    fn of<'a>(spans: impl Iterator<Item = &'a Span>) -> Self {
        let times = spans.map(|span| (span.start_unix_nano, span.end_unix_nano.max(span.start_unix_nano)));
        let (start, end) = times.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1))).unwrap_or_default();
        Self { start, end }
    }

    fn nanos(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

fn rows(fragment: &Fragment) -> Vec<Row<'_>> {
    let mut rows = Vec::with_capacity(fragment.nodes.len());
    let mut ghost = None;
    for node in &fragment.nodes {
        match node.place {
            Position::MissingParent if node.span.parent_span_id != ghost => {
                ghost = node.span.parent_span_id;
                rows.extend(ghost.map(Row::Ghost));
            }
            Position::Root | Position::Cycle => ghost = None,
            Position::MissingParent | Position::Child => {}
        }
        rows.push(Row::Span(node));
    }
    rows
}

// === impl Guides ===

impl Guides {
    /// At most half of a label of `label_columns`.
    fn wide(unicode: bool, label_columns: usize) -> Self {
        let (branch, last, pass) = if unicode { ("├─ ", "└─ ", "│  ") } else { ("|- ", "`- ", "|  ") };
        Self { branch, last, pass, blank: "   ", levels: label_columns / 2 / 3 }
    }

    fn narrow(unicode: bool, label_columns: usize) -> Self {
        let (branch, last, pass) = if unicode { ("├ ", "└ ", "│ ") } else { ("|-", "`-", "| ") };
        Self { branch, last, pass, blank: "  ", levels: label_columns / 2 / 2 }
    }

    fn columns(self, depth: usize) -> usize {
        self.blank.len() * depth.min(self.levels)
    }

    /// For each row.
    fn draw(self, rows: &[Row<'_>]) -> Vec<String> {
        // From below: which depths have another row still to come.
        let mut open: Vec<bool> = Vec::new();
        let mut guides: Vec<_> = rows
            .iter()
            .rev()
            .map(|row| {
                let depth = match row {
                    Row::Ghost(_) => 0,
                    Row::Span(node) => node.depth,
                };
                let has_next = open.get(depth).copied().unwrap_or(false);
                open.resize(depth + 1, false);
                if let Some(slot) = open.get_mut(depth) {
                    *slot = true;
                }
                if depth == 0 || self.levels == 0 {
                    return String::new();
                }
                let passing = open.iter().take(depth.min(self.levels)).skip(1);
                let passing: String = passing.map(|open| if *open { self.pass } else { self.blank }).collect();
                passing + if has_next { self.branch } else { self.last }
            })
            .collect();
        guides.reverse();
        guides
    }
}

/// The text, cleaned and no wider than `room` columns.
pub(crate) fn cut(text: &str, room: usize, unicode: bool) -> String {
    let text = clean(text, unicode);
    if columns(&text) <= room {
        return text;
    }
    let dots = ellipsis(unicode);
    let mut cut = String::new();
    let mut used = columns(dots);
    if used > room {
        return cut;
    }
    for character in text.chars() {
        used += columns_of(character);
        if used > room {
            break;
        }
        cut.push(character);
    }
    cut + dots
}

const fn ellipsis(unicode: bool) -> &'static str {
    if unicode { "…" } else { "..." }
}

/// One colour per service, the same in every drawing.
fn service_style(service: &str) -> anstyle::Style {
    const OTHERS: [AnsiColor; 2] = [AnsiColor::BrightBlue, AnsiColor::BrightCyan];
    let ours = Service::named(service).map(|service| service.row().colour.terminal);
    let sum = service.bytes().fold(0, |sum: usize, byte| sum.wrapping_add(byte.into()));
    let colour = ours.or_else(|| OTHERS.get(sum % OTHERS.len()).copied());
    anstyle::Style::new().fg_color(colour.map(Into::into))
}

fn warning() -> anstyle::Style {
    AnsiColor::Yellow.on_default()
}

fn error() -> anstyle::Style {
    AnsiColor::Red.on_default().effects(Effects::BOLD)
}

/// Replaces what could steer a terminal (control and direction characters) and, without Unicode, all but ASCII.
pub(crate) fn clean(text: &str, unicode: bool) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars()
        .map(|c| match c {
            c if steers(c) && unicode => '\u{fffd}',
            c if steers(c) || (!unicode && !c.is_ascii()) => '?',
            c => c,
        })
        .collect()
}

pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    c.width().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_is_counted_in_columns() {
        for (text, width) in [("abc", 3), ("…█", 2), ("見積", 4), ("가", 2), ("e\u{301}", 1), ("🚀", 2)] {
            assert_eq!(columns(text), width, "{text}");
        }
    }
}
