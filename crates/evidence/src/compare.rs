//! Two claims beside each other: their spans paired by what they are, whatever traces and places they are in, and what
//! differs within a pair.

use std::collections::{BTreeMap, BTreeSet};

use chain::SpanKind;
use serde_json::Value;
use wire::TraceHeaders;

use crate::claim::{ClaimEvidence, Node, Position};
use crate::headers::recorded;
use crate::span::{Attributes, Span, Status};

/// Attributes that hold captured headers, which are compared as headers: part by part, without ids.
const CAPTURED: [&str; 2] = ["http.request.header.", "messaging.header."];

/// Attributes that any two claims have with other values, by what they are: they say nothing of a fault.
const NOT_COMPARED: [(&str, &[&str]); 4] = [
    ("ids of the claim and of its message", &["insurewatch.claim.id", "messaging.message.id"]),
    (
        "addresses and ports",
        &["client.", "server.", "network.peer.", "network.local.", "net.", "http.client_ip", "http.host"],
    ),
    ("whole URLs, which contain ids and ports", &["url.full", "url.path", "url.query", "http.url", "http.target"]),
    (
        "threads, and sizes of bodies",
        &[
            "thread.",
            "http.request.body.size",
            "http.response.body.size",
            "http.response_content_length",
            "http.request_content_length",
        ],
    ),
];

/// The spans of two claims in one order: that of the second, and what only the first has after its parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison<'a> {
    /// The pairs.
    pub pairs: Vec<Pair<'a>>,
}

/// A span that both claims have, or one of them has.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair<'a> {
    /// The span of the first claim.
    pub one: Option<Compared<'a>>,
    /// The span of the second claim.
    pub other: Option<Compared<'a>>,
    /// What the first has otherwise than the second; nothing where one of them has no such span.
    pub differences: Vec<Difference>,
}

/// A span of one of the claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared<'a> {
    /// The span and its place in the tree.
    pub node: &'a Node,
    /// Its trace, by its place among the claim's fragments.
    pub trace: usize,
}

/// What the first claim's span has otherwise than the second's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It is in another trace, counted in the order in which the claim's traces begin.
    Trace,
    /// It has another parent.
    Parent {
        /// The first claim's.
        one: Above,
        /// The second's.
        other: Above,
    },
    /// It has other headers on record. Ids do not count, which no two claims share.
    Headers {
        /// Those that only the first has.
        more: Vec<String>,
        /// Those that only the second has.
        fewer: Vec<String>,
        /// Those that both have, with another decision or other members.
        changed: Vec<OtherHeader>,
    },
    /// It has other attributes, without those that differ between any two claims.
    Attributes(Vec<OtherAttribute>),
    /// Only one of the two failed.
    Failed {
        /// Whether it is the first.
        one: bool,
    },
    /// It has another number of links.
    Links {
        /// The first's.
        one: usize,
        /// The second's.
        other: usize,
    },
}

/// An attribute that only one of two spans has, or both with other values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherAttribute {
    /// Its key.
    pub key: String,
    /// The first claim's value, as text.
    pub one: Option<String>,
    /// The second's.
    pub other: Option<String>,
}

/// A header that both spans have, and what of it only one of them has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherHeader {
    /// Its name.
    pub name: String,
    /// The parts that only the first has, as "flags 01" or "tenant.id acme".
    pub one: Vec<String>,
    /// Those that only the second has.
    pub other: Vec<String>,
}

/// What is above a span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Above {
    /// Nothing: it is a root.
    Nothing,
    /// A parent that was not received.
    NotReceived,
    /// A span of the claim, in words.
    Span(String),
    /// A span of another claim.
    AnotherClaim(String),
    /// The spans above it lead back to it.
    Cycle,
}

/// What makes two spans the same work: service, kind and name.
type Work<'a> = (&'a str, SpanKind, &'a str);

/// The spans of one claim, in order.
struct Side<'a> {
    evidence: &'a ClaimEvidence,
    spans: Vec<Compared<'a>>,
}

/// Which attributes are not compared, since any two claims have other values, in words.
pub fn not_compared() -> impl Iterator<Item = &'static str> {
    NOT_COMPARED.iter().map(|(what, _)| *what)
}

/// Whether another value of this attribute is a difference.
#[must_use]
pub fn is_compared(key: &str) -> bool {
    // A name that ends with a dot stands for all below it.
    let covers = |name: &&str| if name.ends_with('.') { key.starts_with(*name) } else { key == *name };
    !CAPTURED.iter().chain(NOT_COMPARED.iter().flat_map(|(_, names)| *names)).any(covers)
}

/// An attribute's value as text.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

// === impl Comparison ===

impl<'a> Comparison<'a> {
    /// Compares a claim with another. A span is paired with one of the same service, kind and name: first with one below the
    /// same parent, then with any; among several in the order of their starts.
    #[must_use]
    pub fn of(one: &'a ClaimEvidence, other: &'a ClaimEvidence) -> Self {
        let (one, other) = (Side::of(one), Side::of(other));
        let mut partner = BTreeMap::<usize, usize>::new();
        let mut taken = BTreeSet::new();
        for exact in [true, false] {
            let mut free = BTreeMap::<_, Vec<usize>>::new();
            for (at, span) in by_start(&one.spans) {
                if !taken.contains(&at) {
                    free.entry(one.shape(span, exact)).or_default().push(at);
                }
            }
            for (at, span) in by_start(&other.spans) {
                let Some(same) = free.get_mut(&other.shape(span, exact)).filter(|_| !partner.contains_key(&at)) else {
                    continue;
                };
                if !same.is_empty() {
                    let found = same.remove(0);
                    partner.insert(at, found);
                    taken.insert(found);
                }
            }
        }
        let mut rows: Vec<(Option<usize>, Option<usize>)> =
            (0..other.spans.len()).map(|at| (partner.get(&at).copied(), Some(at))).collect();
        // What only the first has stands below what is above it there.
        for (at, span) in one.spans.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            let parent = span.node.span.parent_span_id.map(|id| (span.node.span.trace_id, id));
            let is_parent = |row: &(Option<usize>, Option<usize>)| {
                let above = row.0.and_then(|at| one.spans.get(at)).map(|above| &above.node.span);
                above.is_some_and(|above| Some((above.trace_id, above.span_id)) == parent)
            };
            let below = rows.iter().position(is_parent).map_or(rows.len(), |place| place + 1);
            rows.insert(below, (Some(at), None));
        }
        let pair = |(left, right): (Option<usize>, Option<usize>)| {
            let (left, right) = (left.and_then(|at| one.spans.get(at)), right.and_then(|at| other.spans.get(at)));
            let both = left.zip(right);
            let differences = both.map(|(left, right)| differences((&one, left), (&other, right))).unwrap_or_default();
            Pair { one: left.copied(), other: right.copied(), differences }
        };
        Self { pairs: rows.into_iter().map(pair).collect() }
    }
}

// === impl Pair ===

impl Pair<'_> {
    /// Whether the two claims differ here.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.one.is_none() || self.other.is_none() || !self.differences.is_empty()
    }

    /// The span to name it by.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.other.or(self.one).map(|span| span.node)
    }
}

// === impl Side ===

impl<'a> Side<'a> {
    /// Without what is known to be another claim's: a trace may hold several.
    fn of(evidence: &'a ClaimEvidence) -> Self {
        let ours = |span: &Span| {
            let owner = evidence.lineage(span).find_map(Span::claim_id);
            owner.is_none_or(|owner| owner == evidence.claim_id)
        };
        let fragments = evidence.fragments.iter().enumerate();
        let spans = fragments.flat_map(|(trace, it)| it.nodes.iter().map(move |node| Compared { node, trace }));
        Self { evidence, spans: spans.filter(|it| ours(&it.node.span)).collect() }
    }

    fn above(&self, node: &Node) -> Above {
        let parent = node.span.parent_span_id.and_then(|id| self.evidence.span(node.span.trace_id, id));
        match (node.place, parent) {
            (Position::Root, _) => Above::Nothing,
            (Position::Cycle, _) => Above::Cycle,
            (_, None) => Above::NotReceived,
            (_, Some(parent)) => {
                let name = format!("{} {}", parent.service, parent.name);
                let owner = self.evidence.lineage(parent).find_map(Span::claim_id);
                match owner.is_none_or(|owner| owner == self.evidence.claim_id) {
                    true => Above::Span(name),
                    false => Above::AnotherClaim(name),
                }
            }
        }
    }

    fn shape(&self, span: &Compared<'a>, exact: bool) -> (Work<'a>, Option<Above>) {
        let Span { service, kind, name, .. } = &span.node.span;
        ((service, *kind, name), exact.then(|| self.above(span.node)))
    }
}

fn by_start<'a, 'b>(spans: &'b [Compared<'a>]) -> Vec<(usize, &'b Compared<'a>)> {
    let mut all: Vec<_> = spans.iter().enumerate().collect();
    all.sort_by_key(|(_, span)| span.node.span.start_unix_nano);
    all
}

fn differences((one, left): (&Side<'_>, &Compared<'_>), (other, right): (&Side<'_>, &Compared<'_>)) -> Vec<Difference> {
    let (mine, theirs) = (&left.node.span, &right.node.span);
    let trace = (left.trace != right.trace).then_some(Difference::Trace);
    let (above, before) = (one.above(left.node), other.above(right.node));
    let parent = (above != before).then_some(Difference::Parent { one: above, other: before });
    let failed = |span: &Span| matches!(span.status, Status::Error(_));
    let failed = (failed(mine) != failed(theirs)).then(|| Difference::Failed { one: failed(mine) });
    let (links, before) = (mine.links.len(), theirs.links.len());
    let links = (links != before).then_some(Difference::Links { one: links, other: before });
    // What both received from outside is the caller's matter.
    let outside = mine.receives() && matches!((&parent, left.node.place), (None, Position::Root));
    let headers = headers(mine, theirs).filter(|_| !outside);
    let attributes = attributes(&mine.attributes, &theirs.attributes);
    let attributes = (!attributes.is_empty()).then_some(Difference::Attributes(attributes));
    [trace, parent, headers, attributes, failed, links].into_iter().flatten().collect()
}

fn attributes(mine: &Attributes, theirs: &Attributes) -> Vec<OtherAttribute> {
    let keys: BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
    let differing = keys.into_iter().filter(|key| is_compared(key) && mine.get(*key) != theirs.get(*key));
    let of = |key: &String| OtherAttribute {
        key: key.clone(),
        one: mine.get(key).map(text),
        other: theirs.get(key).map(text),
    };
    differing.map(of).collect()
}

/// Where one of the two may have left headers out, its silence is no difference.
fn headers(mine: &Span, theirs: &Span) -> Option<Difference> {
    let (one, other) = (recorded(&mine.attributes), recorded(&theirs.attributes));
    let without = |headers: &TraceHeaders, than: &TraceHeaders, silence: bool| {
        let missing = than.iter().map(|(name, _)| name).filter(|name| silence && headers.get(name).is_empty());
        missing.map(str::to_owned).collect::<Vec<_>>()
    };
    let fewer = without(&one, &other, mine.records_everything());
    let more = without(&other, &one, theirs.records_everything());
    let both = one.iter().filter(|(name, _)| !other.get(name).is_empty());
    let changed: Vec<_> = both.filter_map(|(name, _)| OtherHeader::of(name, &one, &other)).collect();
    let differs = !(more.is_empty() && fewer.is_empty() && changed.is_empty());
    differs.then_some(Difference::Headers { more, fewer, changed })
}

/// What a header says apart from ids, each part with the words for it. The order of members says nothing.
fn said(name: &str, headers: &TraceHeaders) -> BTreeMap<String, String> {
    use wire::{Role, pieces};
    let mut said = BTreeMap::new();
    for value in headers.get(name) {
        let mut key = None;
        for piece in pieces(name, value) {
            let what = match piece.role {
                Role::Separator => continue,
                Role::Key => {
                    key = Some(piece.text);
                    continue;
                }
                Role::Property | Role::Version | Role::ParentSpanId | Role::Other => piece.role.name(),
                Role::TraceId | Role::SpanId | Role::Flags | Role::Decision | Role::Value => {
                    key.take().unwrap_or(piece.role.name())
                }
            };
            let words = format!("{what} {}", piece.text);
            let is_id = matches!(piece.role, Role::TraceId | Role::SpanId | Role::ParentSpanId);
            // An id that breaks a rule is told from one that does not.
            let says = if is_id { format!("{what}, valid: {}", piece.says.is_ok()) } else { words.clone() };
            said.insert(says, words);
        }
    }
    said
}

// === impl OtherHeader ===

impl OtherHeader {
    fn of(name: &str, one: &TraceHeaders, other: &TraceHeaders) -> Option<Self> {
        let (one, other) = (said(name, one), said(name, other));
        let only = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
            let only = these.iter().filter(|(says, _)| !those.contains_key(*says));
            only.map(|(_, words)| words.clone()).collect::<Vec<_>>()
        };
        let differing = Self { name: name.to_owned(), one: only(&one, &other), other: only(&other, &one) };
        (!differing.one.is_empty() || !differing.other.is_empty()).then_some(differing)
    }
}
