//! The fragments of one claim, and what was collected of them.

use std::collections::{BTreeMap, BTreeSet};

use chain::Service;
use serde::{Deserialize, Serialize};

use crate::span::Span;
use wire::{Context, SpanId, TraceHeaders, TraceId, TraceParent};

/// Calls nest less deeply, and the parents that foreign spans name may form a cycle.
const MAX_ANCESTORS: usize = 64;
/// How many items of a list are shown: anyone who sends spans can make it long.
pub(crate) const MAX_LISTED: usize = 20;

/// Everything that is known of one claim, as the trace source, the front door and the third party say it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClaimEvidence {
    /// The claim.
    pub claim_id: String,
    /// The traces that it was split into, by start time.
    pub fragments: Vec<Fragment>,
    /// The `traceresponse` header of the front door's answer to the submission, if it was recorded.
    pub traceresponse: Option<String>,
    /// The trace and baggage headers that the third party recorded; `None` if it was not asked, or has no record.
    #[serde(default)]
    pub third_party: Option<TraceHeaders>,
    /// How many spans and links had malformed ids and were left out.
    pub malformed: usize,
    /// Whether spans of a trace were left out: by the source, which says so, or because there are more bytes than are read.
    pub partial: bool,
    /// The number of traces that a search finds at most, if it found as many: there may be others, the claim's own among
    /// them. Anyone who can send spans can send them with any claim's id.
    #[serde(default)]
    pub searched_up_to: Option<usize>,
}

/// One of the traces that a single claim was split into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fragment {
    /// The trace.
    pub trace_id: TraceId,
    /// Its spans in tree order: a parent before its children, siblings by start time.
    pub nodes: Vec<Node>,
    /// Who has spans in it: the services of the chain in their order, then others by name.
    pub services: Vec<String>,
    /// The ids of other claims that its spans carry.
    pub other_claims: Vec<String>,
    /// Whether nothing in it names the claim: it was found by time and target, at a gap of the claim.
    #[serde(default)]
    pub inferred: bool,
}

/// A span and its place in the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The span.
    #[serde(flatten)]
    pub span: Span,
    /// How many ancestors it has; a parent that was not received counts as one.
    pub depth: usize,
    /// How it hangs in the tree.
    pub place: Position,
    /// Whether it is known to belong to the claim, and by what.
    #[serde(default)]
    pub belongs: Belongs,
}

/// Whether a span belongs to the claim, and by what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Belongs {
    /// It carries another claim's id, or is of the lab's own, which carry theirs where they have one.
    #[default]
    No,
    /// It carries the claim's id.
    ByItsId,
    /// It carries none, as spans of real services do, and the spans above or below it are the claim's.
    ByItsPlace,
}

/// How a span hangs in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// It names no parent.
    Root,
    /// Its parent is in the trace.
    Child,
    /// It names a parent that is not in the trace.
    MissingParent,
    /// Its ancestors lead back to it; foreign data may say so.
    Cycle,
}

/// What waiting brought. It is made by [`collect`](crate::collect::collect), completed with the answer and the third party's record, and then
/// read: as long as it lives, its reading can be made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Collected {
    /// What was seen.
    pub evidence: ClaimEvidence,
    /// Whether the evidence was whole and had settled; otherwise the deadline passed, and what is absent, is absent.
    pub complete: bool,
    /// How long it was waited for, in milliseconds.
    pub waited_millis: u64,
    /// How old the claim was at the last look, in milliseconds: since its first span began, at least as long as it was
    /// waited for.
    #[serde(default)]
    pub age_millis: u64,
    /// What the source failed with meanwhile, each error once.
    pub source_errors: Vec<String>,
    /// Whether the last look failed: then nothing can be said about what is absent.
    pub source_down: bool,
}

// === impl Collected ===

impl Collected {
    /// The same with the `traceresponse` header of the claim's submission.
    #[must_use]
    pub fn with_traceresponse(mut self, header: Option<impl Into<String>>) -> Self {
        self.evidence.traceresponse = header.map(Into::into);
        self
    }

    /// The same with what the third party remembers of the claim: the headers that it was sent.
    #[must_use]
    pub fn with_third_party(mut self, record: Option<TraceHeaders>) -> Self {
        self.evidence.third_party = record;
        self
    }
}

// === impl ClaimEvidence ===

impl ClaimEvidence {
    /// Sorts spans into fragments. All of them count: the caller passes the traces of one claim.
    #[must_use]
    pub fn from_spans(claim_id: impl Into<String>, spans: impl IntoIterator<Item = Span>) -> Self {
        let claim_id = claim_id.into();
        let mut traces = BTreeMap::<TraceId, Vec<Span>>::new();
        for span in spans {
            traces.entry(span.trace_id).or_default().push(span);
        }
        let mut fragments: Vec<_> =
            traces.into_iter().map(|(trace_id, spans)| Fragment::new(trace_id, spans, &claim_id)).collect();
        fragments.sort_by_key(|fragment| fragment.spans().map(|span| span.start_unix_nano).min());
        Self { claim_id, fragments, ..Self::default() }
    }

    /// Whether there may be spans of the claim that are not here, however long one waits.
    pub(crate) const fn leaves_out(&self) -> bool {
        self.partial || self.searched_up_to.is_some()
    }

    /// Every span of every fragment.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.fragments.iter().flat_map(Fragment::spans)
    }

    /// The span with these ids.
    #[must_use]
    pub fn span(&self, trace_id: TraceId, span_id: SpanId) -> Option<&Span> {
        self.spans().find(|span| span.span_id == span_id && span.trace_id == trace_id)
    }

    /// Every span that names a parent which is not there.
    pub fn missing_parents(&self) -> impl Iterator<Item = &Span> {
        self.fragments.iter().flat_map(|fragment| fragment.placed(Position::MissingParent))
    }

    /// Every span that names no parent.
    pub fn roots(&self) -> impl Iterator<Item = &Span> {
        self.fragments.iter().flat_map(Fragment::roots)
    }

    /// Whether the span carries this claim's id.
    pub(crate) fn owns(&self, span: &Span) -> bool {
        span.claim_id() == Some(self.claim_id.as_str())
    }

    /// The span, its parent, that one's parent and so on, up to the first that was not received.
    pub(crate) fn lineage<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = &'a Span> {
        let parent = |span: &&'a Span| self.span(span.trace_id, span.parent_span_id?);
        std::iter::successors(Some(span), parent).take(MAX_ANCESTORS)
    }

    /// What the front door's `traceresponse` says, which has the form of a `traceparent`; `None` if there is no readable one.
    #[must_use]
    pub fn response_context(&self) -> Option<Context> {
        self.traceresponse.as_deref()?.parse().ok().map(|parent: TraceParent| parent.into())
    }

    /// The receiving spans of a service that belong to this claim.
    pub(crate) fn receivers<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Span> {
        let nodes = self.fragments.iter().flat_map(|fragment| &fragment.nodes);
        let ours = nodes.filter(|node| node.belongs != Belongs::No).map(|node| &node.span);
        ours.filter(move |span| span.service == service && span.receives())
    }

    /// By what a span belongs to this claim.
    pub(crate) fn belongs(&self, span: &Span) -> Belongs {
        let mut nodes = self.fragments.iter().flat_map(|fragment| &fragment.nodes);
        let node = nodes.find(|node| (node.span.trace_id, node.span.span_id) == (span.trace_id, span.span_id));
        node.map(|node| node.belongs).unwrap_or_default()
    }
}

// === impl Fragment ===

impl Fragment {
    fn new(trace_id: TraceId, spans: Vec<Span>, claim_id: &str) -> Self {
        let mut services: Vec<_> =
            spans.iter().map(|span| span.service.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        services.sort_by_key(|name| Service::ALL.iter().position(|it| it.name() == name).unwrap_or(usize::MAX));
        let other_claims: BTreeSet<_> =
            spans.iter().filter_map(Span::claim_id).filter(|id| *id != claim_id).map(str::to_owned).collect();
        let mut nodes = in_tree_order(spans);
        mark_belonging(&mut nodes, claim_id, other_claims.is_empty());
        Self { trace_id, nodes, services, other_claims: other_claims.into_iter().collect(), inferred: false }
    }

    /// Its spans in tree order.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.nodes.iter().map(|node| &node.span)
    }

    /// Its spans without a parent.
    pub fn roots(&self) -> impl Iterator<Item = &Span> {
        self.placed(Position::Root)
    }

    /// Its id, its roots and its services, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let roots: Vec<_> = self.roots().map(Span::describe).collect();
        let root = if roots.is_empty() { "none".to_owned() } else { listed(&roots) };
        format!("{} (root: {root}; services: {})", self.trace_id, listed(&self.services))
    }

    /// Its spans that hang in the tree in this way.
    pub fn placed(&self, place: Position) -> impl Iterator<Item = &Span> {
        self.nodes.iter().filter(move |node| node.place == place).map(|node| &node.span)
    }
}

/// The first items of a list, and how many are left out.
#[must_use]
pub fn listed<T: AsRef<str>>(items: &[T]) -> String {
    let shown: Vec<_> = items.iter().take(MAX_LISTED).map(AsRef::as_ref).collect();
    match items.len().saturating_sub(MAX_LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Marks the spans that belong to the claim, given a tree in order: a span without an id belongs where the nearest span above
/// it does that carries one, else where all below it do that carry one; and if none does, the trace is the claim's, which
/// was brought because some span of it is.
fn mark_belonging(nodes: &mut [Node], claim_id: &str, alone: bool) {
    // Of each span: whose the nearest span with an id is, at it or above it.
    let mut above = BTreeMap::<SpanId, bool>::new();
    for node in &*nodes {
        let own = node.span.claim_id().map(|id| id == claim_id);
        let parent = node.span.parent_span_id.filter(|_| node.place == Position::Child);
        if let Some(ours) = own.or_else(|| above.get(&parent?).copied()) {
            above.insert(node.span.span_id, ours);
        }
    }
    // Whether all below it that carry an id carry this one.
    let mut below = BTreeMap::<SpanId, bool>::new();
    for node in nodes.iter().rev() {
        let own = node.span.claim_id().map(|id| id == claim_id);
        if let (Some(ours), Some(parent)) =
            (own.or_else(|| below.get(&node.span.span_id).copied()), node.span.parent_span_id)
        {
            below.entry(parent).and_modify(|all| *all &= ours).or_insert(ours);
        }
    }
    for node in nodes {
        let id = node.span.span_id;
        node.belongs = match node.span.claim_id() {
            Some(own) if own == claim_id => Belongs::ByItsId,
            Some(_) => Belongs::No,
            None if claim_id.is_empty() || node.span.records_everything() => Belongs::No,
            None => match above.get(&id).or_else(|| below.get(&id)).copied().unwrap_or(alone) {
                true => Belongs::ByItsPlace,
                false => Belongs::No,
            },
        };
    }
}

/// Puts spans in tree order. A span id that comes twice is kept once; a cycle is entered at its earliest span.
fn in_tree_order(mut spans: Vec<Span>) -> Vec<Node> {
    spans.sort_by(|a, b| {
        (a.start_unix_nano, a.span_id, &a.service, &a.name).cmp(&(b.start_unix_nano, b.span_id, &b.service, &b.name))
    });
    let mut known = BTreeSet::new();
    spans.retain(|span| known.insert(span.span_id));

    let mut tops = Vec::new();
    let mut children = BTreeMap::<SpanId, Vec<SpanId>>::new();
    let mut by_start = Vec::new();
    let mut waiting = BTreeMap::new();
    for span in spans {
        match span.parent_span_id {
            None => tops.push((span.span_id, 0, Position::Root)),
            Some(parent) if known.contains(&parent) => children.entry(parent).or_default().push(span.span_id),
            Some(_) => tops.push((span.span_id, 1, Position::MissingParent)),
        }
        by_start.push(span.span_id);
        waiting.insert(span.span_id, span);
    }

    let mut nodes = Vec::with_capacity(waiting.len());
    // Spans that no top leads to are in a cycle or below one.
    let rest = by_start.into_iter().map(|id| (id, 0, Position::Cycle));
    for top in tops.into_iter().chain(rest) {
        let mut stack = vec![top];
        while let Some((id, depth, place)) = stack.pop() {
            let Some(span) = waiting.remove(&id) else { continue };
            nodes.push(Node { span, depth, place, belongs: Belongs::No });
            let below = children.remove(&id).unwrap_or_default();
            stack.extend(below.into_iter().rev().map(|child| (child, depth + 1, Position::Child)));
        }
    }
    nodes
}
