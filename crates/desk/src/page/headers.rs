//! Trace headers taken apart: what each part of a value is, what it names, and where both ends of a hop differ.
//!
//! `wire` takes them apart, with the rules that it reads headers by.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use evidence::cause::MAX_BAGGAGE_BYTES;
use evidence::table::differing;
use evidence::{ClaimEvidence, HopRow, Span};
use maud::{Markup, html};
use wire::format::baggage::BAGGAGE;
use wire::{BaggageMember, Format, Piece, Rejection, Role, Says, SpanId, TraceHeaders, TraceRef};

use super::waterfall::{letter, title, to_row};
use super::{beginning, chain};

/// How much of a value is shown, in characters, and how many parts of it.
const SHOWN_CHARACTERS: usize = 300;
const SHOWN_PARTS: usize = 60;
/// How much of a value can be copied, in characters.
const COPIED_CHARACTERS: usize = 10_000;

/// What ids can be compared with: the spans of one claim.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) evidence: &'a ClaimEvidence,
    /// Whether to say which rule a value breaks. That alone can be the cause.
    pub(super) judges: bool,
}

// === impl Known ===

impl Known<'_> {
    fn trace(&self, id: TraceRef) -> Option<usize> {
        self.evidence.fragments.iter().position(|fragment| id.matches(fragment.trace_id))
    }

    fn span(&self, id: SpanId) -> Option<(usize, &Span)> {
        let mut all = self.evidence.fragments.iter().enumerate();
        all.find_map(|(at, fragment)| Some((at, fragment.spans().find(|span| span.span_id == id)?)))
    }

    /// A header in one line, the ids in the tint of their trace, what differs from the other end marked.
    pub(super) fn line(&self, name: &str, value: &str, other: Option<&str>) -> Markup {
        let mark = other.map_or(0..0, |other| differing(value, other));
        let shown = beginning(value, SHOWN_CHARACTERS);
        html! {
            div.header {
                strong { (name) } " "
                code.value { @for (piece, from) in placed(wire::pieces(name, &shown)) { (self.piece(&piece, from, &mark)) } }
                " " (copy(name, value))
                @if name == BAGGAGE { " " span.quiet { (on_the_wire(name, value.len())) } }
            }
        }
    }

    fn piece(&self, piece: &Piece<'_>, from: usize, mark: &Range<usize>) -> Markup {
        let trace = match piece.says {
            Ok(Says::Trace(id)) => self.trace(id),
            Ok(Says::Span(id)) => self.span(id).map(|(at, _)| at),
            _ => None,
        };
        let tint = chain::tint(trace.as_ref());
        html! {
            @if piece.role == Role::Separator { (self.runs(piece, from, mark)) }
            @else { span.part.(tint) title=(piece.role.name()) { (self.runs(piece, from, mark)) } }
        }
    }

    fn runs(&self, piece: &Piece<'_>, from: usize, mark: &Range<usize>) -> Markup {
        let mut runs = Vec::<(String, bool, bool)>::new();
        let odd = piece.runs().into_iter().flat_map(|(run, odd)| run.chars().map(move |character| (character, odd)));
        for (at, (character, odd)) in (from..).zip(odd).take(SHOWN_CHARACTERS) {
            let look = (odd && self.judges, mark.contains(&at));
            match runs.last_mut() {
                Some(last) if (last.1, last.2) == look => last.0.push(character),
                _ => runs.push((character.to_string(), look.0, look.1)),
            }
        }
        html! {
            @for (text, odd, differs) in runs {
                @if odd || differs { mark.odd[odd].differs[differs] { (text) } } @else { (text) }
            }
            @if piece.text.chars().nth(SHOWN_CHARACTERS).is_some() { "…" }
        }
    }

    /// Every header of a hop in a table of its parts, as it was sent beside as it arrived.
    pub(super) fn of_hop(&self, row: &HopRow) -> Markup {
        let sides = [("Sent", &row.sent), ("Received", &row.received)];
        self.tables(&sides.map(|(title, side)| (title, side.recorded().ok_or_else(|| side.state.words()))))
    }

    /// Every header of one span in a table of its parts.
    pub(super) fn of_span(&self, headers: &TraceHeaders) -> Markup {
        self.tables(&[("Recorded", Ok(headers))])
    }

    fn tables(&self, sides: &[(&str, Result<&TraceHeaders, &'static str>)]) -> Markup {
        let recorded: Vec<_> = sides.iter().filter_map(|(_, side)| side.ok()).collect();
        let names: BTreeSet<_> = recorded.iter().flat_map(|side| side.iter().map(|(name, _)| name)).collect();
        // Which trace, before what else travels with it.
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|name| !Format::of(name).is_some_and(Format::is_identity));
        html! {
            @if names.is_empty() { p { "No trace header is on record." } }
            @for name in names {
                table.parts {
                    caption { (name) }
                    thead { tr { th scope="col" { "Part" } @for (title, _) in sides { th scope="col" { (title) } } } }
                    tbody { (self.rows(name, sides)) }
                }
            }
            @if self.judges {
                @for (title, side) in sides {
                    @for (format, rejection) in side.iter().flat_map(|side| rejections(side)) {
                        p.problem { (title) ": " (format) " is not valid: " (rejection) "." }
                    }
                }
            }
        }
    }

    fn rows(&self, name: &str, sides: &[(&str, Result<&TraceHeaders, &'static str>)]) -> Markup {
        let values: Vec<_> = sides.iter().map(|(_, side)| side.map(|side| side.get(name).join(","))).collect();
        let columns: Vec<_> =
            sides.iter().zip(&values).map(|((_, side), value)| Column::of(name, *side, value, &values)).collect();
        let longest = columns.iter().max_by_key(|column| column.parts.len());
        let titles: Vec<_> =
            longest.into_iter().flat_map(|column| &column.parts).map(|part| part.title.clone()).collect();
        let is_list = Format::of(name).is_some_and(|format| !format.is_identity());
        html! {
            @for (at, title) in titles.iter().enumerate().take(SHOWN_PARTS) {
                tr { th scope="row" { (title) } @for column in &columns { td { (self.cell(column, at)) } } }
            }
            @if titles.len() > SHOWN_PARTS { tr { th scope="row" { "more" } td colspan=(sides.len()) { "parts left out: " (titles.len() - SHOWN_PARTS) } } }
            @if is_list {
                tr { th scope="row" { "all of it" } @for column in &columns { td { @if let Some(value) = column.text { (on_the_wire(name, value.len())) } } } }
            }
        }
    }

    fn cell(&self, column: &Column<'_>, at: usize) -> Markup {
        let Some(part) = column.parts.get(at) else { return html! { span.quiet { (column.otherwise) } } };
        html! {
            code { (self.runs(&part.piece, part.from, &column.mark)) } " " (self.note(&part.piece))
            @if matches!(part.piece.role, Role::Flags | Role::Decision) && let Some(sampled) = column.sampled {
                @if sampled { "sampled" } @else { "not sampled" }
            }
            @if let Some(member) = column.members.get(&part.title) { (measured(member, part.piece.text)) }
        }
    }

    /// What a part names among the spans of the claim, or means.
    fn note(&self, piece: &Piece<'_>) -> Markup {
        html! {
            @match (&piece.says, piece.role) {
                (Ok(Says::Trace(id)), _) => @match self.trace(*id) {
                    Some(at) => { "trace " (letter(at)) }
                    None => span.quiet { "no trace of this claim" },
                },
                (Ok(Says::Span(id)), _) => @match self.span(*id) {
                    Some((at, span)) => { a href=(to_row((span.trace_id, span.span_id))) { (title(span)) } " " (letter(at)) }
                    None => span.quiet { "no span that was received" },
                },
                _ => {},
            }
        }
    }
}

/// A header at one end of a hop.
struct Column<'a> {
    /// Its value, if it is there.
    text: Option<&'a str>,
    /// What stands where there is no part.
    otherwise: &'static str,
    parts: Vec<Part<'a>>,
    /// Where it differs from the other end, in characters.
    mark: Range<usize>,
    /// What its flags or its decision come to.
    sampled: Option<bool>,
    /// The members of baggage, by key.
    members: BTreeMap<String, BaggageMember>,
}

/// A part that says something, and where it begins in its value.
struct Part<'a> {
    title: String,
    piece: Piece<'a>,
    from: usize,
}

// === impl Column ===

impl<'a> Column<'a> {
    fn of(
        name: &str,
        side: Result<&TraceHeaders, &'static str>,
        value: &'a Result<String, &'static str>,
        all: &[Result<String, &'static str>],
    ) -> Self {
        let is_there = |value: &&String| !value.is_empty();
        let text = value.as_ref().ok().filter(is_there).map(String::as_str);
        let others = all.iter().filter(|other| !std::ptr::eq(*other, value));
        let other = others.filter_map(|other| other.as_ref().ok().filter(is_there)).next();
        let context = || side.ok()?.context(Format::of(name)?)?.ok();
        Self {
            text,
            otherwise: side.err().unwrap_or("not there"),
            parts: text.map(|value| said(wire::pieces(name, value))).unwrap_or_default(),
            mark: text.zip(other).map_or(0..0, |(value, other)| differing(value, other)),
            sampled: context().and_then(|context| context.sampled),
            members: side.ok().filter(|_| name == BAGGAGE).map(TraceHeaders::baggage).unwrap_or_default(),
        }
    }
}

/// The parts that say something; the values of a list are called by their keys.
fn said(pieces: Vec<Piece<'_>>) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut key = None;
    for (piece, from) in placed(pieces) {
        let title = match piece.role {
            Role::Separator => continue,
            Role::Key => {
                key = Some(piece);
                continue;
            }
            Role::Value | Role::Decision | Role::TraceId | Role::SpanId => match key.take() {
                Some(key) => beginning(key.text, 80),
                None => piece.role.name().to_owned(),
            },
            role => role.name().to_owned(),
        };
        parts.push(Part { title, piece, from });
    }
    parts
}

/// A member of baggage as the application reads it, and its size on the wire.
fn measured(member: &BaggageMember, written: &str) -> Markup {
    html! {
        span.quiet {
            @if member.value != written { "“" (beginning(&member.value, SHOWN_CHARACTERS)) "”, " }
            (bytes(member.bytes))
        }
    }
}

/// Every size is of what is on the wire, as limits are.
fn on_the_wire(name: &str, length: usize) -> Markup {
    html! { (bytes(length)) " on the wire" @if name == BAGGAGE { "; the limit is " (bytes(MAX_BAGGAGE_BYTES)) } }
}

fn bytes(count: usize) -> String {
    format!("{count} {}", if count == 1 { "byte" } else { "bytes" })
}

fn placed(pieces: Vec<Piece<'_>>) -> impl Iterator<Item = (Piece<'_>, usize)> {
    let mut from = 0;
    pieces.into_iter().map(move |piece| {
        let at = from;
        from += piece.text.chars().count();
        (piece, at)
    })
}

fn rejections(headers: &TraceHeaders) -> Vec<(Format, Rejection)> {
    headers.formats().into_iter().filter_map(|format| Some((format, headers.context(format)?.err()?))).collect()
}

/// A button that copies the header's value, which stands before it unless only its beginning does; a script does it.
fn copy(name: &str, value: &str) -> Markup {
    let is_cut = value.chars().nth(SHOWN_CHARACTERS).is_some();
    let text = is_cut.then(|| beginning(value, COPIED_CHARACTERS));
    html! { button.copy type="button" data-copy=(text.unwrap_or_default()) aria-label=(format!("Copy {name}")) { "Copy" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_any_size_has_a_bounded_page() {
        let baggage = (0..100_000).map(|key| format!("key{key}=value{}", "x".repeat(9))).collect::<Vec<_>>().join(",");
        let traceparent = "aA".repeat(100_000);
        let headers = [("baggage", baggage), ("traceparent", traceparent)];
        let headers: TraceHeaders = headers.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect();
        let evidence = ClaimEvidence::default();
        for judges in [true, false] {
            let known = Known { evidence: &evidence, judges };
            let parts = known.of_span(&headers).into_string();
            assert!(parts.len() < 50_000, "{} bytes", parts.len());
            assert!(parts.contains("parts left out: 99940"), "what is left out is counted");
            assert_eq!(parts.contains("is not valid"), judges, "a rule that is broken can be the cause");
            let line = known.line("traceparent", headers.get("traceparent").first().unwrap(), None).into_string();
            assert!(line.len() < 50_000, "{} bytes", line.len());
        }
    }
}
