//! The ledger of a claim as text: what each hop sent and received, header by header.

use std::collections::BTreeSet;
use std::ops::Range;

use anstyle::{AnsiColor, Effects};
use chain::ParentUsed;

use crate::ledger::{HopRow, Side};
use crate::reading::Reading;
use crate::waterfall::{Style, clean, columns, cut};
use wire::format::baggage::BAGGAGE;

const SIDE_COLUMNS: usize = "received".len();
const NAME_COLUMNS: usize = 14;
const BYTES_COLUMNS: usize = 8;
/// Of a member of long baggage.
const MEMBER_COLUMNS: usize = 20;

/// Draws the ledger: for each hop its headers as they were sent and as they arrived, and what the receiver did with them. A
/// header that arrived unchanged has one line; of another, the characters that differ are marked. No line is wider than the
/// style says, and nothing that a service wrote reaches the terminal as a control character.
#[must_use]
pub fn ledger(reading: &Reading<'_>, style: &Style) -> String {
    let style = Style { width: style.width.clamp(60, 200), ..*style };
    let mut lines = Vec::new();
    for row in reading.rows() {
        let bold = anstyle::Style::new().effects(Effects::BOLD);
        lines.push(String::new());
        lines.push(style.paint(&row.hop.to_string(), bold));
        lines.extend(style.headers(row));
        lines.extend(parent(row).map(|words| format!("  {words}")));
    }
    lines.iter().skip(1).map(|line| format!("{}\n", line.trim_end())).collect()
}

// === impl Style ===

impl Style {
    fn headers(self, row: &HopRow) -> Vec<String> {
        let (sent, received) = (row.sent.recorded(), row.received.recorded());
        let names: BTreeSet<&str> =
            [sent, received].into_iter().flatten().flat_map(|side| side.iter().map(|(name, _)| name)).collect();
        let value = |side: &Side, name: &str| side.headers.get(name).join(", ");
        let mut lines = Vec::new();
        let without = |side: &str, words: &str| format!("  {side:<SIDE_COLUMNS$}  ({words})");
        lines.extend(row.sent.without_headers().map(|words| without("sent", words)));
        for name in names {
            let (left, arrived) = (value(&row.sent, name), value(&row.received, name));
            match (sent.is_some() && !left.is_empty(), received.is_some() && !arrived.is_empty()) {
                (true, true) if left == arrived => lines.push(self.header("both", name, &left)),
                (true, true) => {
                    lines.push(self.header("sent", name, &left));
                    lines.push(self.header("received", name, &arrived));
                    let (left, arrived) = (self.shortened(name, &left), self.shortened(name, &arrived));
                    lines.push(self.paint(&self.difference(&left, &arrived), AnsiColor::Yellow.on_default()));
                }
                (true, false) => {
                    lines.push(self.header("sent", name, &left));
                    if received.is_some() && !row.received.headers.is_empty() {
                        lines.push(self.paint(&label("received", name, "not there"), AnsiColor::Yellow.on_default()));
                    }
                }
                (false, _) => lines.push(self.header("received", name, &arrived)),
            }
        }
        lines.extend(row.received.without_headers().map(|words| without("received", words)));
        lines
    }

    fn header(self, side: &str, name: &str, value: &str) -> String {
        let start = label(side, name, &format!("{} B", value.len()));
        format!("{start}{}", cut(&self.shortened(name, value), self.room(), self.unicode))
    }

    /// The columns for a value.
    fn room(self) -> usize {
        self.width.saturating_sub(columns(&label("", "", "0 B")))
    }

    /// Of baggage that is too long for its line each member is cut, so that the keys are seen.
    fn shortened(self, name: &str, value: &str) -> String {
        if name != BAGGAGE || columns(&clean(value, self.unicode)) <= self.room() {
            return value.to_owned();
        }
        let members = value.split(',').map(|member| cut(member.trim(), MEMBER_COLUMNS, self.unicode));
        members.collect::<Vec<_>>().join(",")
    }

    /// Marks below two values from the first character that differs to the last.
    fn difference(self, one: &str, other: &str) -> String {
        let (one, other) = (clean(one, self.unicode), clean(other, self.unicode));
        let (left, right) = (differing(&one, &other), differing(&other, &one));
        let before = left.start;
        let start = columns(&label("", "", "0 B"));
        let until = left.end.max(right.end).max(before + 1).min(self.room());
        let marks = until.saturating_sub(before);
        if marks == 0 || one == other {
            return format!("{}(they differ beyond this line)", " ".repeat(start));
        }
        format!("{}{}", " ".repeat(start + before), "^".repeat(marks))
    }
}

/// Where a text differs from another: from the first character that does to the last, counted in characters. Empty where
/// the other only has more.
#[must_use]
pub fn differing(text: &str, other: &str) -> Range<usize> {
    let equal = |(a, b): &(char, char)| a == b;
    let (length, others) = (text.chars().count(), other.chars().count());
    let before = text.chars().zip(other.chars()).take_while(equal).count();
    let rest = length.min(others) - before;
    let after = text.chars().rev().zip(other.chars().rev()).take(rest).take_while(equal).count();
    before..length - after
}

fn label(side: &str, name: &str, bytes: &str) -> String {
    format!("  {side:<SIDE_COLUMNS$}  {name:<NAME_COLUMNS$} {bytes:>BYTES_COLUMNS$}  ")
}

/// The parent that the receiver's span has, in words; none where no span of the receiver was received.
fn parent(row: &HopRow) -> Option<String> {
    if !row.hop.to.has_sdk() {
        return Some(format!("{} is a third party: it creates no spans of this trace", row.hop.to));
    }
    if row.linked {
        return Some(format!("a span of {} links to the sender's span", row.hop.to));
    }
    let words = row.parent?.words();
    let parent = match row.parent? {
        ParentUsed::Sender | ParentUsed::Nobody => words.to_owned(),
        ParentUsed::NotReceived | ParentUsed::Other => format!("{words} ({})", row.received.span?.parent_span_id?),
    };
    Some(format!("parent of the receiver's span: {parent}"))
}
