//! A header's value in pieces: which part of it says what, and which part breaks a rule. Each format splits and judges its
//! own, by the rules that it reads with.

use crate::format::Format;
use crate::id::{SpanId, TraceRef};
use crate::rejection::Rejection;

/// A part of a header's value. All parts in their order are the value.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// The part, as it stands.
    pub text: &'a str,
    /// What it is.
    pub role: Role,
    /// What it says, or the rule that it breaks.
    pub says: Result<Says, Rejection>,
    may_hold: fn(char) -> bool,
}

/// What a part of a header's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// What stands between two others.
    Separator,
    /// The version of the format.
    Version,
    /// The id of a trace.
    TraceId,
    /// The id of the span that becomes the receiver's parent.
    SpanId,
    /// The id of that span's parent.
    ParentSpanId,
    /// Flags as a number.
    Flags,
    /// A sampling decision.
    Decision,
    /// The key of a member.
    Key,
    /// The value of a member.
    Value,
    /// A property of a member.
    Property,
    /// Anything else.
    Other,
}

/// What a part says that other parts of a claim can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It names a trace.
    Trace(TraceRef),
    /// It names a span.
    Span(SpanId),
    /// Something else, or nothing.
    Other,
}

/// How a format judges one of its parts.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) role: Role,
    pub(crate) may_hold: fn(char) -> bool,
    pub(crate) read: fn(&str) -> Result<Says, Rejection>,
}

/// The pieces of one header's value; of a header that belongs to no format there is one.
#[must_use]
pub fn pieces<'a>(header: &str, value: &'a str) -> Vec<Piece<'a>> {
    Format::of(header).map_or_else(|| vec![Piece::new(Role::Other, value)], |format| format.pieces(header, value))
}

// === impl Role ===

impl Role {
    /// What it is called where headers are explained.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Separator => "separator",
            Self::Version => "version",
            Self::TraceId => "trace id",
            Self::SpanId => "parent id",
            Self::ParentSpanId => "the parent's parent id",
            Self::Flags => "flags",
            Self::Decision => "sampling decision",
            Self::Key => "key",
            Self::Value => "value",
            Self::Property => "property",
            Self::Other => "other",
        }
    }
}

// === impl Piece ===

impl<'a> Piece<'a> {
    pub(crate) fn new(role: Role, text: &'a str) -> Self {
        Self { text, role, says: Ok(Says::Other), may_hold: |_| true }
    }

    /// The text in runs, each with whether it breaks a rule: of a part that is rejected the characters that it may not hold,
    /// or all of it where each is allowed by itself.
    #[must_use]
    pub fn runs(&self) -> Vec<(&'a str, bool)> {
        let odd = |character: char| !(self.may_hold)(character);
        if self.says.is_ok() || !self.text.contains(odd) {
            return vec![(self.text, self.says.is_err())];
        }
        let mut runs = Vec::new();
        let mut rest = self.text;
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|character| odd(character) != odd(first)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            runs.push((run, odd(first)));
            rest = after;
        }
        runs
    }
}

// === impl Field ===

impl Field {
    pub(crate) fn piece(self, text: &str) -> Piece<'_> {
        Piece { text, role: self.role, says: (self.read)(text), may_hold: self.may_hold }
    }
}

/// The pieces of a value whose fields have places; what comes after the last of them is `beyond`.
pub(crate) fn in_places<'a>(
    value: &'a str,
    separators: &[&str],
    fields: &[Field],
    beyond: &Result<Says, Rejection>,
) -> Vec<Piece<'a>> {
    let mut fields = fields.iter();
    let mut field = |text| match fields.next() {
        Some(field) => field.piece(text),
        None => Piece { says: beyond.clone(), ..Piece::new(Role::Other, text) },
    };
    let mut pieces = Vec::new();
    let mut rest = value;
    let next = |rest: &'a str| {
        let found = separators.iter().filter_map(|separator| Some((rest.find(separator)?, separator.len())));
        let (at, length) = found.min()?;
        let (text, from) = rest.split_at_checked(at)?;
        let (separator, after) = from.split_at_checked(length)?;
        Some((text, separator, after))
    };
    while let Some((text, separator, after)) = next(rest) {
        pieces.extend([field(text), Piece::new(Role::Separator, separator)]);
        rest = after;
    }
    pieces.push(field(rest));
    pieces
}

/// The parts of a list with the separators between them, each part taken apart by `part`.
pub(crate) fn listed<'a>(
    value: &'a str,
    separator: char,
    mut part: impl FnMut(&'a str, &mut Vec<Piece<'a>>),
) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for text in value.split_inclusive(separator) {
        let (text, end) = match text.strip_suffix(separator) {
            Some(before) => (before, text.get(before.len()..).unwrap_or_default()),
            None => (text, ""),
        };
        // Space beside a separator belongs to it.
        let inner = text.trim_matches([' ', '\t']);
        let start = text.len() - text.trim_start_matches([' ', '\t']).len();
        let (before, rest) = text.split_at_checked(start).unwrap_or(("", text));
        let after = rest.get(inner.len()..).unwrap_or_default();
        let space = |text: &'a str, pieces: &mut Vec<Piece<'a>>| {
            if !text.is_empty() {
                pieces.push(Piece::new(Role::Separator, text));
            }
        };
        space(before, &mut pieces);
        if !inner.is_empty() {
            part(inner, &mut pieces);
        }
        space(after, &mut pieces);
        space(end, &mut pieces);
    }
    pieces
}

/// `key=value`, each judged by its field; what has no `=` is rejected by `without`.
pub(crate) fn member<'a>(
    text: &'a str,
    [key, value]: [Field; 2],
    without: Result<Says, Rejection>,
    pieces: &mut Vec<Piece<'a>>,
) {
    let Some(at) = text.find('=') else {
        pieces.push(Piece { says: without, ..Piece::new(Role::Other, text) });
        return;
    };
    let (before, rest) = text.split_at(at);
    let (equals, after) = rest.split_at(1);
    pieces.extend([key.piece(before), Piece::new(Role::Separator, equals), value.piece(after)]);
}

pub(crate) const fn lower_hex(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, 'a'..='f')
}

pub(crate) const fn any_hex(character: char) -> bool {
    character.is_ascii_hexdigit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    /// The pieces that say something, and in brackets what breaks a rule.
    fn shown(header: &str, value: &str) -> String {
        let pieces = pieces(header, value);
        let parts = pieces.iter().filter(|piece| piece.role != Role::Separator).map(|piece| {
            let runs = piece.runs().into_iter().map(|(run, odd)| if odd { format!("[{run}]") } else { run.to_owned() });
            format!("{} {}", piece.role.name(), runs.collect::<String>())
        });
        parts.collect::<Vec<_>>().join(" | ").replace(TRACE, "TRACE").replace(SPAN, "SPAN")
    }

    #[test]
    fn every_format_names_its_parts() {
        let xray = format!("Root=1-0af76519-16cd43dd8448eb211c80319c;Parent={SPAN};Sampled=1");
        let table = [
            ("traceparent", format!("00-{TRACE}-{SPAN}-01"), "version 00 | trace id TRACE | parent id SPAN | flags 01"),
            ("b3", format!("{TRACE}-{SPAN}-1"), "trace id TRACE | parent id SPAN | sampling decision 1"),
            (
                "b3",
                format!("{TRACE}-{SPAN}-d-{SPAN}"),
                "trace id TRACE | parent id SPAN | sampling decision d | the parent's parent id SPAN",
            ),
            ("b3", "0".to_owned(), "sampling decision 0"),
            ("x-b3-traceid", TRACE.to_owned(), "trace id TRACE"),
            ("x-b3-spanid", SPAN.to_owned(), "parent id SPAN"),
            ("x-b3-sampled", "1".to_owned(), "sampling decision 1"),
            ("x-b3-flags", "1".to_owned(), "flags 1"),
            (
                "uber-trace-id",
                format!("{TRACE}:{SPAN}:0:1"),
                "trace id TRACE | parent id SPAN | the parent's parent id 0 | flags 1",
            ),
            (
                "uber-trace-id",
                format!("{TRACE}%3A{SPAN}%3a0%3A1"),
                "trace id TRACE | parent id SPAN | the parent's parent id 0 | flags 1",
            ),
            (
                "x-amzn-trace-id",
                xray,
                "key Root | trace id 1-0af76519-16cd43dd8448eb211c80319c | key Parent | parent id SPAN | key Sampled | \
                 sampling decision 1",
            ),
            ("tracestate", "rojo=1, congo=t61".to_owned(), "key rojo | value 1 | key congo | value t61"),
            ("baggage", "tenant.id=acme;p=1,x".to_owned(), "key tenant.id | value acme | property p=1 | other x"),
            ("accept", "*/*".to_owned(), "other */*"),
        ];
        for (header, value, expected) in table {
            assert_eq!(shown(header, &value), expected, "{header}: {value}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_marked_and_nothing_else() {
        let upper = TRACE.to_uppercase();
        let table = [
            ("traceparent", format!("00-{upper}-{SPAN}-01"), "0[AF]7651916[CD]43[DD]8448[EB]211[C]80319[C]"),
            (
                "traceparent",
                format!("00-{}-{SPAN}-01", TRACE.trim_start_matches('0')),
                "[af7651916cd43dd8448eb211c80319c]",
            ),
            ("traceparent", format!("00-{TRACE}-{}-01", "0".repeat(16)), "[0000000000000000]"),
            ("traceparent", format!("ff-{TRACE}-{SPAN}-01"), "version [ff]"),
            ("traceparent", format!("00-{TRACE}-{SPAN}-01-x"), "other [x]"),
            ("traceparent", format!("01-{TRACE}-{SPAN}-01-x"), "other x"),
            ("b3", format!("{TRACE}-{SPAN}-yes"), "sampling decision [yes]"),
            ("uber-trace-id", format!("{TRACE}:xyz:0:1"), "parent id [xyz]"),
            ("tracestate", "Foo=1".to_owned(), "key [F]oo"),
            ("tracestate", "foo".to_owned(), "other [foo]"),
        ];
        for (header, value, expected) in table {
            let shown = shown(header, &value);
            assert!(shown.contains(expected), "{header}: {value}: {shown}");
        }
    }
}
