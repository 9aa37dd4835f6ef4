//! Where a claim goes on in another trace: seen at the spans alone, and whatever the reason.

use chain::Service;
use wire::{SpanId, TraceId};

use crate::claim::Belongs;
use crate::reading::Reading;
use crate::span::Span;

/// A span in whose trace the span that it is the work of is not.
///
/// Links by design are none, and neither is a span whose sender cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// The span before the break.
    pub from: (TraceId, SpanId),
    /// The first span after it.
    pub to: (TraceId, SpanId),
    /// How the two belong together.
    pub tie: Tie,
    /// Whether the second is a root, so that its trace begins with it.
    pub begins: bool,
}

/// How the spans at both sides of a break belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// The first sent what the second received.
    Sent,
    /// The first is what its service had received and was working on; no span of a call is between them.
    During,
    /// The same, and the first had ended before the second began.
    After,
}

// === impl Tie ===

impl Tie {
    /// What the span before the break has to do with it, in front of its name.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Sent => "sent by",
            Self::During => "begun during",
            Self::After => "begun after",
        }
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// Every break: at hops, then inside services.
    #[must_use]
    pub fn breaks(&self) -> Vec<Break> {
        let at_hops = self.inner_rows().filter(|row| !row.is_joined()).filter_map(|row| {
            let receiver = self.receiver(row)?;
            match self.sender(row) {
                Some(sender) => Break::between(sender, receiver, Tie::Sent),
                None => Break::inside(self.working_on(row.hop.from, receiver)?, receiver),
            }
        });
        let inside = self.topology.instrumented().flat_map(|service| {
            let ours = |span: &Span| span.claim_id().is_none_or(|_| self.evidence().owns(span));
            let stale = self.stale(service).map(|(span, _)| span).filter(|span| ours(span));
            let begun = self.roots_inside(service).chain(stale);
            begun.filter_map(move |span| Break::inside(self.working_on(service, span)?, span))
        });
        at_hops.chain(inside).collect()
    }

    /// What a service had received of this claim and was working on when a span began: the one that had not ended, or the
    /// only one that had begun. Of several it cannot be told.
    fn working_on(&self, service: Service, begun: &Span) -> Option<&Span> {
        let nodes = self.evidence().fragments.iter().flat_map(|fragment| &fragment.nodes);
        let ours = nodes.filter(|node| node.belongs != Belongs::No).map(|node| &node.span);
        let received = ours.filter(|span| span.service == service.name() && span.receives());
        let earlier: Vec<_> = received.filter(|span| span.start_unix_nano <= begun.start_unix_nano).collect();
        let mut open = earlier.iter().filter(|span| span.end_unix_nano >= begun.start_unix_nano);
        match (open.next(), open.next(), earlier.as_slice()) {
            (Some(only), None, _) => Some(only),
            (None, _, [only]) => Some(only),
            _ => None,
        }
    }
}

// === impl Break ===

impl Break {
    /// What is seen at the first span after it: that, and not why.
    #[must_use]
    pub const fn words(&self) -> &'static str {
        if self.begins { "new trace starts here" } else { "goes on here, from another trace" }
    }

    fn inside(received: &Span, begun: &Span) -> Option<Self> {
        let has_ended = received.end_unix_nano < begun.start_unix_nano;
        Self::between(received, begun, if has_ended { Tie::After } else { Tie::During })
    }

    fn between(from: &Span, to: &Span, tie: Tie) -> Option<Self> {
        let ids = |span: &Span| (span.trace_id, span.span_id);
        let begins = to.parent_span_id.is_none();
        (from.trace_id != to.trace_id).then(|| Self { from: ids(from), to: ids(to), tie, begins })
    }
}
