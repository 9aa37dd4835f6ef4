//! The fragments of a claim as text, on one clock.

use std::collections::BTreeMap;
use std::fmt::Display;

use anstyle::{AnsiColor, Effects};
use chain::Service;
use unicode_width::UnicodeWidthChar as _;

use crate::claim::{ClaimEvidence, Fragment, Node, Position};
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
    /// A parent that was named and never arrived.
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
    text: String,
}

/// Draws a claim: a header, and for each trace a title and a row per span. No line is wider than the style says, and
/// nothing that a service wrote reaches the terminal as a control character.
#[must_use]
pub fn render(reading: &Reading<'_>, style: &Style) -> String {
    let evidence = reading.evidence();
    let style = Style { width: style.width.clamp(60, 200), ..*style };
    let mut canvas = Canvas::new(evidence, style);
    canvas.header(evidence);
    for fragment in &evidence.fragments {
        canvas.fragment(reading, fragment);
    }
    canvas.notes(evidence);
    canvas.text
}

// === impl Canvas ===

impl Canvas {
    fn new(evidence: &ClaimEvidence, style: Style) -> Self {
        let start = evidence.spans().map(|span| span.start_unix_nano).min().unwrap_or(0);
        let end = evidence.spans().map(|span| span.end_unix_nano.max(span.start_unix_nano)).max().unwrap_or(0);
        let room = style.width - KIND_COLUMNS - 1 - DURATION_COLUMNS - MARK_COLUMNS;
        let most = room - MIN_BAR_COLUMNS;
        let clean = |text: &str| columns(&clean(text, style.unicode));
        let needed = |guides: Guides| {
            let label =
                |node: &Node| guides.columns(node.depth) + clean(&node.span.service) + 2 + clean(&node.span.name) + 1;
            let nodes = evidence.fragments.iter().flat_map(|fragment| &fragment.nodes);
            nodes.map(label).max().unwrap_or(0).max(MIN_LABEL_COLUMNS)
        };
        let wide = Guides::wide(style.unicode, most);
        let guides = if needed(wide) <= style.width / 2 { wide } else { Guides::narrow(style.unicode, most) };
        let label_columns = needed(guides).min(most);
        let bar_columns = room - label_columns;
        let name = |span: &Span| ((span.trace_id, span.span_id), format!("{}  {}", span.service, span.name));
        let names = evidence.spans().map(name).collect();
        Self { style, clock: Clock { start, end }, guides, label_columns, bar_columns, names, text: String::new() }
    }

    fn header(&mut self, evidence: &ClaimEvidence) {
        let traces = match evidence.fragments.len() {
            0 => "no spans seen".to_owned(),
            1 => "1 trace".to_owned(),
            count => format!("{count} traces"),
        };
        let total = if evidence.fragments.is_empty() { String::new() } else { self.duration(self.clock.nanos()) };
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
            let others = format!("also holds spans of claim {}", fragment.other_claims.join(", "));
            let others = self.cut(&others, self.style.width);
            self.line(&self.paint(&others, warning()));
        }
        let rows = rows(fragment);
        for (row, guide) in rows.iter().zip(self.guides.draw(&rows)) {
            match row {
                Row::Ghost(parent) => {
                    let short = format!("{parent:.8}{}", self.ellipsis());
                    let ghost = format!("(parent {short} never arrived)");
                    self.line(&self.paint(&ghost, anstyle::Style::new().dimmed()));
                }
                Row::Span(node) => self.span(node, &guide),
            }
        }
    }

    fn span(&mut self, node: &Node, guide: &str) {
        let span = &node.span;
        let colour = service_style(&span.service);
        let failed = matches!(span.status, Status::Error(_));

        let room = self.label_columns.saturating_sub(columns(guide) + 1);
        let service = self.cut(&span.service, room);
        let name_room = room.saturating_sub(columns(&service) + 2);
        let name = if name_room > 0 { format!("  {}", self.cut(&span.name, name_room)) } else { String::new() };
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
            self.paint(&bar, if failed { error() } else { colour }),
            if failed { format!(" {}", self.paint("!", error())) } else { String::new() },
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

    fn notes(&mut self, evidence: &ClaimEvidence) {
        let malformed = (evidence.malformed > 0).then(|| format!("{} with malformed ids", evidence.malformed));
        let partial = evidence.partial.then(|| "some by the trace source".to_owned());
        let notes: Vec<_> = malformed.into_iter().chain(partial).collect();
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

    /// The text, cleaned and no wider than `room` columns.
    fn cut(&self, text: &str, room: usize) -> String {
        let text = clean(text, self.style.unicode);
        if columns(&text) <= room {
            return text;
        }
        let dots = self.ellipsis();
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

    fn ellipsis(&self) -> &'static str {
        if self.style.unicode { "…" } else { "..." }
    }

    fn paint(&self, text: &(impl Display + ?Sized), style: anstyle::Style) -> String {
        if self.style.colour { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }
}

// === impl Clock ===

impl Clock {
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
fn clean(text: &str, unicode: bool) -> String {
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

fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    c.width().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use chain::SpanKind;

    use super::*;
    use crate::span::CLAIM_ID;
    use crate::testing::*;

    const PLAIN: Style = Style { width: 100, colour: false, unicode: false };
    const RICH: Style = Style { width: 100, colour: false, unicode: true };

    fn drawn(evidence: ClaimEvidence, style: &Style) -> String {
        read(evidence, |reading| render(reading, style))
    }

    /// No line is too wide, nothing steers the terminal, and without Unicode all is ASCII.
    pub(crate) fn assert_safe(drawing: &str, style: &Style) {
        for line in drawing.lines() {
            assert!(columns(line) <= style.width.clamp(60, 200), "too wide for {style:?}: {line:?}");
            assert!(!line.chars().any(char::is_control), "a control character got through: {line:?}");
            assert!(style.unicode || line.is_ascii(), "not ASCII: {line:?}");
        }
    }

    #[test]
    fn a_healthy_claim_is_one_staircase() {
        let expected = "\
claim c-1  1 trace  20.0 ms

trace 000000000000000000000000000000a1  python-api
python-api  POST /claims                                  server   █████████████           12.0 ms
├ python-api  POST                                        client    ███████████            10.0 ms
│ └ java-claims  POST /api/claims                         server     █████████              8.0 ms
│   ├ java-claims  GET                                    client      █████                 4.0 ms
│   │ └ node-policy-store  GET /policies/:id              server       ███                  2.0 ms
│   ├ java-claims  send claims                            producer        ██                1.0 ms
│   │ └ claims-worker  process claim                      consumer               ███████    6.0 ms
│   │   ├ claims-worker  POST                             client                  ██        1.0 ms
│   │   └ claims-worker  PUT                              client                    ████    3.0 ms
│   │     └ java-claims  PUT /api/claims/{id}/fraud-check server                     ██     1.0 ms
│   └ java-claims  notify_claimant                        internal          ██              1.0 ms
└ python-api  write_audit                                 internal            ███           2.0 ms
";
        let drawing = drawn(evidence(whole_chain()), &RICH);
        assert_eq!(drawing, expected, "each call lies within its caller:\n{drawing}");
    }

    #[test]
    fn lab_1_is_two_traces_on_one_clock() {
        let expected = "\
claim c-1  2 traces  20.0 ms

trace 000000000000000000000000000000a1  python-api
python-api  POST /claims                              server   ===============             12.0 ms
|-python-api  POST                                    client    =============              10.0 ms
`-python-api  write_audit                             internal              ====            2.0 ms

trace 000000000000000000000000000000b2  java-claims  no parent
java-claims  POST /api/claims                         server     ===========                8.0 ms
|-java-claims  GET                                    client      ======                    4.0 ms
| `-node-policy-store  GET /policies/:id              server        ===                     2.0 ms
|-java-claims  send claims                            producer         ==                   1.0 ms
| `-claims-worker  process claim                      consumer                  ========    6.0 ms
|   |-claims-worker  POST                             client                     ==         1.0 ms
|   `-claims-worker  PUT                              client                        ====    3.0 ms
|     `-java-claims  PUT /api/claims/{id}/fraud-check server                         ==     1.0 ms
`-java-claims  notify_claimant                        internal            ==                1.0 ms
";
        let drawing = drawn(evidence(lab_1()), &PLAIN);
        assert_eq!(drawing, expected, "the second trace starts where the first called it:\n{drawing}");
    }

    #[test]
    fn ghosts_links_and_errors_are_shown() {
        let mut spans = chain_without(&[FRONT]);
        spans[1].status = Status::Error(String::new());
        spans[2] = spans[2].clone().link(TRACE_B, CALL_CLAIMS);
        let drawing = drawn(evidence(spans), &PLAIN);
        for (part, why) in [
            ("(parent 00000000... never arrived)", "a missing parent has a line"),
            ("  no root\n", "the title says that there is no root"),
            ("-> link to 00000000... in trace 00000000...", "a link has a line"),
            (" ms !\n", "an error has a mark"),
        ] {
            assert!(drawing.contains(part), "{why}:\n{drawing}");
        }
        assert_safe(&drawing, &PLAIN);

        let linked = drawn(evidence(chain_with(PROCESS, |span| span.link(TRACE_A, SEND))), &PLAIN);
        let link = "-> link to 00000000... in trace 00000000...  java-claims  send claims\n";
        assert!(linked.contains(link), "a link to a span that is there names it:\n{linked}");

        let mixed = drawn(evidence(chain_with(CALL_POLICY, |span| span.with(CLAIM_ID, "c-0"))), &PLAIN);
        assert!(mixed.contains("also holds spans of claim c-0\n"), "a mixed trace is marked:\n{mixed}");
    }

    #[test]
    fn colour_wraps_text_and_hides_none() {
        let evidence = evidence(lab_1());
        let coloured = drawn(evidence.clone(), &Style { colour: true, ..PLAIN });
        let mut stripped = String::new();
        for (at, part) in coloured.split('\u{1b}').enumerate() {
            stripped += if at == 0 { part } else { part.split_once('m').unwrap().1 };
        }
        assert_ne!(coloured, stripped, "there is colour");
        assert_eq!(stripped, drawn(evidence.clone(), &PLAIN), "without its colours the drawing is the plain one");
    }

    #[test]
    fn names_are_cut_only_when_bars_are_as_narrow_as_they_get() {
        let mut deep = whole_chain();
        for id in 0x20..0x30 {
            let parent = if id == 0x20 { FRONT } else { id - 1 };
            deep.push(span(id, Some(parent), "java-claims", SpanKind::Internal, &format!("step_{id}"), (0, 1)));
        }
        let mut cut = Vec::new();
        let chains = [whole_chain(), lab_1(), deep];
        for (spans, width) in chains.iter().flat_map(|spans| (60..=200).map(move |width| (spans, width))) {
            for style in [PLAIN, RICH].map(|style| Style { width, ..style }) {
                let evidence = evidence(spans.clone());
                let bar_columns = Canvas::new(&evidence, style).bar_columns;
                let drawing = drawn(evidence.clone(), &style);
                let whole = evidence.spans().all(|span| drawing.contains(&format!("{}  {} ", span.service, span.name)));
                assert!(bar_columns >= MIN_BAR_COLUMNS, "{style:?}: bars are {bar_columns} wide");
                assert!(whole || bar_columns == MIN_BAR_COLUMNS, "{style:?}: bars are {bar_columns} wide:\n{drawing}");
                cut.extend((!whole).then_some(width));
            }
        }
        assert!(cut.contains(&60), "not every name fits into 60 columns");
        assert!(cut.iter().all(|width| *width < 100), "every name fits into 100: {cut:?}");
    }

    #[test]
    fn width_is_counted_in_columns() {
        for (text, width) in [("abc", 3), ("…█", 2), ("見積", 4), ("가", 2), ("e\u{301}", 1), ("🚀", 2)] {
            assert_eq!(columns(text), width, "{text}");
        }
    }

    #[test]
    fn foreign_names_are_harmless_at_any_width() {
        let names = [
            "\u{1b}[2J\u{7}\r\n",
            "見積もり見積もり見積もり見積もり見積もり",
            "e\u{301}\u{301}\u{202e}gnp.exe",
            &"x".repeat(500),
        ];
        for (name, width) in names.iter().flat_map(|name| [0, 60, 61, 99, 200, 9999].map(|width| (name, width))) {
            let mut spans = whole_chain();
            spans.push(span(7, Some(FRONT), name, SpanKind::Internal, name, (0, 1)));
            let evidence = ClaimEvidence::from_spans(*name, spans);
            for unicode in [true, false] {
                let style = Style { width, colour: false, unicode };
                assert_safe(&drawn(evidence.clone(), &style), &style);
            }
        }
    }
}
