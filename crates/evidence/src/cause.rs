//! What went wrong with a claim, as data; `prose` has the sentences.
//!
//! | what is on record | step that failed |
//! |---|---|
//! | no header left the sender, or it names another span | inject |
//! | what was sent did not arrive unchanged | transit |
//! | what arrived is invalid, or of a format that the receiver itself does not propagate | extract |
//! | what arrived is readable, the application read its baggage, and the parent is not used | use |
//! | the sampled bit is clear on arrival, and the receiver recorded all the same | use |
//! | a span that receives nothing is a root, or is below another claim's | use, inside its service |
//!
//! What is not on record proves nothing: then the cause says which steps it may be.

use std::collections::BTreeSet;

use chain::{CarrierKind, Hop, ParentUsed, Place, Service, Step};

use crate::expect::Mismatch;
use crate::ledger::{HopRow, Side, SideState};
use crate::reading::{Reading, TENANT};
use crate::span::Span;
use wire::{Context, Format, SpanId, TraceId};

/// A receiver drops a longer `baggage` header whole: the least that <https://www.w3.org/TR/baggage/#limits> asks for is
/// the most that OpenTelemetry takes.
pub const MAX_BAGGAGE_BYTES: usize = 8192;

/// One thing that went wrong, with all that its sentence needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the variant's sentence contains")]
pub enum Cause {
    /// The sender has spans of the claim, none of this call, and no trace header arrived.
    CallWithoutSpan { hop: &'static Hop },
    /// No trace header arrived, and nothing shows what the sender sent.
    NothingArrived { hop: &'static Hop, sent: SideState },
    /// No trace header left the sender.
    NothingSent { hop: &'static Hop },
    /// No trace attribute left the sender with the message, though it injects elsewhere.
    MessageWithoutAttributes { hop: &'static Hop },
    /// The producer injects nothing into the message.
    ProducerWithoutInjection { hop: &'static Hop },
    /// The outbox of the sender does not keep the message's attributes.
    OutboxWithoutAttributes { service: Service },
    /// What left names no span of this call.
    OtherSpanInjected { hop: &'static Hop, formats: Vec<Format> },
    /// The sender could read baggage and sent none.
    BaggageNotSent { hop: &'static Hop, on_record: bool },

    /// Headers were sent and did not arrive.
    HeadersLost { hop: &'static Hop, names: Vec<String> },
    /// What arrived names another trace than what was sent.
    TraceReplaced { hop: &'static Hop, sent: Context, arrived: Context },
    /// What arrived names another span of the same trace than what was sent.
    SpanReplaced { hop: &'static Hop, sent: Context, arrived: Context },
    /// Headers arrived changed.
    HeadersAltered { hop: &'static Hop, names: Vec<String> },
    /// The front door answered with another trace than the one that arrived.
    OtherTraceArrived { hop: &'static Hop, answered: Context, arrived: Context },
    /// What arrived does not name the sender's span, and what was sent is not on record.
    OtherSpanArrived { hop: &'static Hop, sender: SpanId, format: Format, arrived: Context },
    /// Whatever was sent did not arrive; what it was is not on record.
    LostInTransit { hop: &'static Hop },

    /// What arrived breaks a rule of its format.
    Invalid { hop: &'static Hop, arrived: Vec<Format>, reason: Option<String> },
    /// What arrived is of a format that the receiver does not propagate.
    FormatMismatch { hop: &'static Hop, arrived: Vec<Format>, propagated: Vec<Format> },
    /// What arrived is valid, and the receiver itself sends no trace header at all.
    NoPropagator { hop: &'static Hop, arrived: Vec<Format> },
    /// What arrived is valid, in a format that the receiver propagates (or that is unknown), and is not used.
    NotExtracted { hop: &'static Hop, arrived: Vec<Format>, known_format: bool },
    /// Two formats arrived with different ids, and the wrong one won.
    OtherFormatWon { hop: &'static Hop, right: Option<Format>, used: Format },
    /// More baggage arrived than a receiver takes.
    BaggageTooLong { hop: &'static Hop, bytes: usize },
    /// The receiver neither reads nor sends baggage.
    NoBaggagePropagator { hop: &'static Hop },
    /// Baggage arrived, and the application could not read it.
    BaggageNotExtracted { hop: &'static Hop },
    /// The caller's baggage arrived at the front door and was not read.
    CallersBaggageUnread { service: Service },

    /// The context was extracted (its baggage was read), and the receiver's span is not a child of the span that it names.
    ParentNotUsed { hop: &'static Hop, arrived: Vec<Format> },
    /// The context may have been extracted without being used.
    ExtractedNotUsed { hop: &'static Hop },
    /// The baggage may have been extracted without being looked at.
    BaggageNotLookedAt { hop: &'static Hop },
    /// The sampled bit was clear, and the receiver recorded.
    SamplingNotFollowed { hop: &'static Hop },
    /// A span that receives nothing is a root.
    RootInside { service: Service, span: String },
    /// A span is below one of another claim.
    StaleContext { service: Service, span: String, other_claim: String },

    /// The receiver is not the sender's child, and the record does not say at which step that was lost.
    NotJoined { hop: &'static Hop, parent: Option<SpanId>, sent: SideState, received: SideState },
    /// A span names a parent that was not received, and nothing shows that it was meant to.
    ParentNotReceived { service: Option<Service>, span: String, parent: SpanId },
    /// The claim is in several traces, and the spans at which they part were not received.
    Split { hop: Option<&'static Hop>, traces: usize },
    /// A root that no hop and no service accounts for.
    StrayRoot { service: Option<Service>, span: String },
    /// A trace of the claim also holds another claim's spans.
    SharedTrace { trace_id: TraceId, other_claims: Vec<String> },
    /// The ancestors of a span lead back to it.
    Cycle { trace_id: TraceId },
    /// An expectation beyond the invariants does not hold.
    Unmet(Mismatch),

    /// All four steps succeed, and baggage went where it must not.
    Leak { hop: &'static Hop, keys: Vec<String> },
    /// The same, found by an expectation.
    UnmetLeak(Mismatch),
}

// === impl Cause ===

impl Cause {
    /// Where it is; `None` if it is at no hop and in no service of the chain.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::CallWithoutSpan { hop }
            | Self::NothingArrived { hop, .. }
            | Self::NothingSent { hop }
            | Self::MessageWithoutAttributes { hop }
            | Self::ProducerWithoutInjection { hop }
            | Self::OtherSpanInjected { hop, .. }
            | Self::BaggageNotSent { hop, .. }
            | Self::HeadersLost { hop, .. }
            | Self::TraceReplaced { hop, .. }
            | Self::SpanReplaced { hop, .. }
            | Self::HeadersAltered { hop, .. }
            | Self::OtherTraceArrived { hop, .. }
            | Self::OtherSpanArrived { hop, .. }
            | Self::LostInTransit { hop }
            | Self::Invalid { hop, .. }
            | Self::FormatMismatch { hop, .. }
            | Self::NoPropagator { hop, .. }
            | Self::NotExtracted { hop, .. }
            | Self::OtherFormatWon { hop, .. }
            | Self::BaggageTooLong { hop, .. }
            | Self::NoBaggagePropagator { hop }
            | Self::BaggageNotExtracted { hop }
            | Self::ParentNotUsed { hop, .. }
            | Self::ExtractedNotUsed { hop }
            | Self::BaggageNotLookedAt { hop }
            | Self::SamplingNotFollowed { hop }
            | Self::NotJoined { hop, .. }
            | Self::Leak { hop, .. } => Some(Place::Hop(hop)),
            Self::OutboxWithoutAttributes { service }
            | Self::CallersBaggageUnread { service }
            | Self::RootInside { service, .. }
            | Self::StaleContext { service, .. } => Some(Place::Service(*service)),
            Self::ParentNotReceived { service, .. } | Self::StrayRoot { service, .. } => service.map(Place::Service),
            Self::Split { hop, .. } => hop.map(Place::Hop),
            Self::SharedTrace { .. } | Self::Cycle { .. } | Self::Unmet(_) | Self::UnmetLeak(_) => None,
        }
    }

    /// The first of the four steps that fails; `None` if none does (a leak), or nothing on record says which.
    #[must_use]
    pub const fn step(&self) -> Option<Step> {
        match self {
            Self::CallWithoutSpan { .. }
            | Self::NothingArrived { .. }
            | Self::NothingSent { .. }
            | Self::MessageWithoutAttributes { .. }
            | Self::ProducerWithoutInjection { .. }
            | Self::OutboxWithoutAttributes { .. }
            | Self::OtherSpanInjected { .. }
            | Self::BaggageNotSent { .. } => Some(Step::Inject),
            Self::HeadersLost { .. }
            | Self::TraceReplaced { .. }
            | Self::SpanReplaced { .. }
            | Self::HeadersAltered { .. }
            | Self::OtherTraceArrived { .. }
            | Self::OtherSpanArrived { .. }
            | Self::LostInTransit { .. } => Some(Step::Transit),
            Self::Invalid { .. }
            | Self::FormatMismatch { .. }
            | Self::NoPropagator { .. }
            | Self::NotExtracted { .. }
            | Self::OtherFormatWon { .. }
            | Self::BaggageTooLong { .. }
            | Self::NoBaggagePropagator { .. }
            | Self::BaggageNotExtracted { .. }
            | Self::CallersBaggageUnread { .. } => Some(Step::Extract),
            Self::ParentNotUsed { .. }
            | Self::ExtractedNotUsed { .. }
            | Self::BaggageNotLookedAt { .. }
            | Self::SamplingNotFollowed { .. }
            | Self::RootInside { .. }
            | Self::StaleContext { .. } => Some(Step::Use),
            Self::NotJoined { .. }
            | Self::ParentNotReceived { .. }
            | Self::Split { .. }
            | Self::StrayRoot { .. }
            | Self::SharedTrace { .. }
            | Self::Cycle { .. }
            | Self::Unmet(_)
            | Self::Leak { .. }
            | Self::UnmetLeak(_) => None,
        }
    }

    /// Whether nothing was lost, and something arrived that must not.
    #[must_use]
    pub const fn is_leak(&self) -> bool {
        matches!(self, Self::Leak { .. } | Self::UnmetLeak(_))
    }

    /// Other causes that would leave the same evidence.
    #[must_use]
    pub fn alternatives(&self) -> Vec<Self> {
        match self {
            Self::NothingArrived { hop, .. } | Self::CallWithoutSpan { hop } => vec![Self::LostInTransit { hop }],
            Self::MessageWithoutAttributes { hop } => {
                vec![Self::ProducerWithoutInjection { hop }, Self::OutboxWithoutAttributes { service: hop.from }]
            }
            Self::OtherSpanArrived { hop, format, .. } => {
                vec![Self::OtherSpanInjected { hop, formats: vec![*format] }]
            }
            Self::NotExtracted { hop, .. } => vec![Self::ExtractedNotUsed { hop }],
            Self::BaggageNotExtracted { hop } => vec![Self::BaggageNotLookedAt { hop }],
            Self::BaggageNotSent { hop, on_record: false } => vec![Self::LostInTransit { hop }],
            Self::NothingSent { .. }
            | Self::ProducerWithoutInjection { .. }
            | Self::OutboxWithoutAttributes { .. }
            | Self::OtherSpanInjected { .. }
            | Self::BaggageNotSent { .. }
            | Self::HeadersLost { .. }
            | Self::TraceReplaced { .. }
            | Self::SpanReplaced { .. }
            | Self::HeadersAltered { .. }
            | Self::OtherTraceArrived { .. }
            | Self::LostInTransit { .. }
            | Self::Invalid { .. }
            | Self::FormatMismatch { .. }
            | Self::NoPropagator { .. }
            | Self::OtherFormatWon { .. }
            | Self::BaggageTooLong { .. }
            | Self::NoBaggagePropagator { .. }
            | Self::CallersBaggageUnread { .. }
            | Self::ParentNotUsed { .. }
            | Self::ExtractedNotUsed { .. }
            | Self::BaggageNotLookedAt { .. }
            | Self::SamplingNotFollowed { .. }
            | Self::RootInside { .. }
            | Self::StaleContext { .. }
            | Self::NotJoined { .. }
            | Self::ParentNotReceived { .. }
            | Self::Split { .. }
            | Self::StrayRoot { .. }
            | Self::SharedTrace { .. }
            | Self::Cycle { .. }
            | Self::Unmet(_)
            | Self::Leak { .. }
            | Self::UnmetLeak(_) => Vec::new(),
        }
    }

    /// Whether it is only the likeliest of several causes.
    #[must_use]
    pub fn is_inferred(&self) -> bool {
        let told = !matches!(self, Self::OtherTraceArrived { .. } | Self::NotJoined { .. } | Self::Split { .. });
        !told || !self.alternatives().is_empty()
    }
}

/// Every cause that the reading alone shows, at most one per place, in the order of the chain.
pub(crate) fn find(reading: &Reading<'_>) -> Vec<Cause> {
    let at = |place| match place {
        Place::Hop(hop) => at_hop(reading, reading.row(hop)?),
        Place::Service(service) => inside(reading, service),
    };
    reading.topology.places().into_iter().filter_map(at).collect()
}

fn at_hop(reading: &Reading<'_>, row: &HopRow) -> Option<Cause> {
    if !row.hop.to.has_sdk() {
        return leak(reading, row.hop);
    }
    let receiver = reading.receiver(row)?;
    if row.is_joined() {
        return changed(reading, row).or_else(|| baggage_lost(reading, row));
    }
    let injected = not_injected(reading, row, receiver).or_else(|| changed(reading, row));
    injected.or_else(|| not_used(reading, row, receiver))
}

/// Step 1.
fn not_injected(reading: &Reading<'_>, row: &HopRow, receiver: &Span) -> Option<Cause> {
    let HopRow { hop, sent, received, .. } = row;
    let Some(headers) = sent.recorded() else {
        if !received.recorded()?.identities().is_empty() {
            return None;
        }
        let evidence = reading.evidence();
        let has_spans = evidence.spans().any(|span| span.service == hop.from.name() && evidence.owns(span));
        return Some(match sent.state {
            SideState::NoSpan if has_spans => Cause::CallWithoutSpan { hop },
            state => Cause::NothingArrived { hop, sent: state },
        });
    };
    if headers.identities().is_empty() {
        // A sender that injects nowhere has no propagator: that needs no second explanation.
        let injects = propagated_by(reading, hop.from).is_some_and(|formats| !formats.is_empty());
        let outbox = matches!(hop.carrier, CarrierKind::Queue { outbox: true, .. });
        return Some(match outbox && injects {
            true => Cause::MessageWithoutAttributes { hop },
            false => Cause::NothingSent { hop },
        });
    }
    let mut contexts = headers.contexts().peekable();
    let other = contexts.peek().is_some() && !contexts.any(|(_, context)| sent.is_named_by(context));
    let formats = headers.identities();
    (other && !sender_names_lost_parent(reading, row, receiver)).then_some(Cause::OtherSpanInjected { hop, formats })
}

/// Whether what is on record names the parent that a span names, sampled.
pub(crate) fn names_parent(side: &Side, span: &Span) -> bool {
    let named = |context: Context| span.parent_span_id.is_some_and(|parent| context.names(span.trace_id, parent));
    side.headers.contexts().any(|(_, context)| context.sampled == Some(true) && named(context))
}

/// Whether the sender, in the receiver's trace, sent the parent that the receiver names and that was not received: then
/// it may only not have been exported.
pub(crate) fn sender_names_lost_parent(reading: &Reading<'_>, row: &HopRow, receiver: &Span) -> bool {
    let parent = receiver.parent_span_id.and_then(|parent| reading.evidence().span(receiver.trace_id, parent));
    let same_trace = row.sent.span.is_some_and(|sender| sender.trace_id == receiver.trace_id);
    parent.is_none() && same_trace && names_parent(&row.sent, receiver)
}

/// Step 2.
fn changed(reading: &Reading<'_>, row: &HopRow) -> Option<Cause> {
    let HopRow { hop, sent, received, .. } = row;
    let mut arrived = received.headers.contexts();
    match sent.state {
        SideState::Recorded => {}
        SideState::NotOnRecord => {
            let (format, context) = arrived.next()?;
            let named = received.headers.contexts().any(|(_, context)| sent.is_named_by(context));
            let other = Cause::OtherSpanArrived { hop, sender: sent.span?.span_id, format, arrived: context };
            return (!row.is_joined() && !named).then_some(other);
        }
        SideState::NoSpan => {
            // The front door's answer is the second witness of what its own call was part of.
            let answered = reading.evidence().response_context().filter(|_| hop.from == reading.topology.front_door)?;
            let (_, arrived) = arrived.next()?;
            let other = !arrived.trace_id.matches(answered.trace_id.padded());
            return other.then_some(Cause::OtherTraceArrived { hop, answered, arrived });
        }
    }
    // Spans in between that were received tie the receiver to the sender, so that ids of theirs are no loss.
    let parent = received.span.and_then(|span| span.parent_span_id);
    let tied = row.parent == Some(ParentUsed::Sender) && parent != sent.span.map(|span| span.span_id);
    let identity = |name: &str| Format::of(name).is_some_and(Format::is_identity);
    let changed: Vec<_> = row.changed_headers().into_iter().filter(|name| !(tied && identity(name))).collect();
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let lost: Vec<_> = changed.iter().copied().filter(|name| received.headers.get(name).is_empty()).collect();
    if changed.is_empty() {
        return None;
    }
    let context = |side: &Side| side.headers.context(Format::TraceContext).and_then(Result::ok);
    Some(match (context(sent), context(received)) {
        _ if !lost.is_empty() => Cause::HeadersLost { hop, names: owned(lost) },
        (Some(sent), Some(arrived)) if sent.trace_id != arrived.trace_id => Cause::TraceReplaced { hop, sent, arrived },
        (Some(sent), Some(arrived)) if sent.span_id != arrived.span_id => Cause::SpanReplaced { hop, sent, arrived },
        _ => Cause::HeadersAltered { hop, names: owned(changed) },
    })
}

/// Steps 3 and 4, of a receiver that is not joined to its sender though something arrived.
fn not_used(reading: &Reading<'_>, row: &HopRow, receiver: &Span) -> Option<Cause> {
    let HopRow { hop, sent, received, .. } = row;
    if received.recorded()?.identities().is_empty() {
        return None;
    }
    let of_parent = |context: Context| receiver.parent_span_id.is_some_and(|it| context.names(receiver.trace_id, it));
    let Some((used, context)) = received.headers.contexts().find(|(_, context)| of_parent(*context)) else {
        return Some(not_extracted(reading, row, receiver));
    };
    if context.sampled == Some(false) {
        return Some(Cause::SamplingNotFollowed { hop });
    }
    let right = received.headers.contexts().find(|(_, context)| sent.is_named_by(*context)).map(|(format, _)| format);
    // The parent that is named and was not received may only not have been exported.
    (sent.is_seen() && !names_parent(sent, receiver) || right.is_some()).then_some(Cause::OtherFormatWon {
        hop,
        right,
        used,
    })
}

fn not_extracted(reading: &Reading<'_>, row: &HopRow, receiver: &Span) -> Cause {
    let HopRow { hop, received, .. } = row;
    let headers = &received.headers;
    let arrived = headers.identities();
    let valid: BTreeSet<_> = headers.contexts().map(|(format, _)| format.family()).collect();
    if valid.is_empty() {
        let reason = arrived.iter().find_map(|format| headers.context(*format)?.err());
        return Cause::Invalid { hop, arrived, reason: reason.map(|reason| reason.to_string()) };
    }
    match propagated_by(reading, hop.to) {
        None => Cause::NotExtracted { hop, arrived, known_format: false },
        Some(formats) if formats.is_empty() => Cause::NoPropagator { hop, arrived },
        Some(formats) if formats.is_disjoint(&valid) => {
            Cause::FormatMismatch { hop, arrived, propagated: formats.into_iter().collect() }
        }
        Some(_) if receiver.attributes.contains_key(TENANT) => Cause::ParentNotUsed { hop, arrived },
        Some(_) => Cause::NotExtracted { hop, arrived, known_format: true },
    }
}

/// The formats that a service itself sends on the hops of this claim, B3's two forms as one, since who knows one reads
/// both; `None` if no call of it has its headers on record. The third party counts: it is sent the same headers.
fn propagated_by(reading: &Reading<'_>, service: Service) -> Option<BTreeSet<Format>> {
    let sent: Vec<_> = reading.rows_from(service).filter_map(|row| row.sent.recorded()).collect();
    let formats = sent.iter().flat_map(|headers| headers.contexts()).map(|(format, _)| format.family());
    (!sent.is_empty()).then(|| formats.collect())
}

/// Baggage that the sender's application could read and the receiver's could not, though the trace is joined.
fn baggage_lost(reading: &Reading<'_>, row: &HopRow) -> Option<Cause> {
    reading.tenant_lost(row)?;
    let HopRow { hop, sent, received, .. } = row;
    let sent_tenant = sent.recorded().map(|_| sent.baggage.contains_key(TENANT));
    if sent_tenant.unwrap_or(received.baggage.contains_key(TENANT)) {
        let bytes = received.headers.baggage_bytes();
        let inner = reading.rows_from(hop.to).filter(|row| row.hop.to.has_sdk());
        let mut sides = inner.filter_map(|row| row.sent.recorded().map(|_| &row.sent)).peekable();
        let silent = sides.peek().is_some() && sides.all(|side| side.baggage.is_empty());
        return Some(match (bytes > MAX_BAGGAGE_BYTES, silent) {
            (true, _) => Cause::BaggageTooLong { hop, bytes },
            (false, true) => Cause::NoBaggagePropagator { hop },
            (false, false) => Cause::BaggageNotExtracted { hop },
        });
    }
    Some(Cause::BaggageNotSent { hop, on_record: sent_tenant.is_some() })
}

/// All four steps succeed, too well.
fn leak(reading: &Reading<'_>, hop: &'static Hop) -> Option<Cause> {
    let keys: Vec<_> = reading.leaks().filter(|leak| leak.hop == hop).map(|leak| leak.key.to_owned()).collect();
    (!keys.is_empty()).then_some(Cause::Leak { hop, keys })
}

/// Context that was lost within one service: no header is involved in the parent of such a span.
fn inside(reading: &Reading<'_>, service: Service) -> Option<Cause> {
    if !service.has_sdk() {
        return None;
    }
    if let Some(root) = reading.roots_inside(service).next() {
        return Some(Cause::RootInside { service, span: root.describe() });
    }
    if let Some((span, other)) = reading.stale(service) {
        return Some(Cause::StaleContext { service, span: span.describe(), other_claim: other.to_owned() });
    }
    let door = reading.tenant_unread_at_the_door().filter(|door| door.service == service.name());
    door.map(|_| Cause::CallersBaggageUnread { service })
}

/// The cause of a hop that another of its receivers shows to be not joined.
pub(crate) fn not_joined_again(row: &HopRow, receiver: &Span) -> Cause {
    let Cause::NotJoined { hop, sent, .. } = not_joined(row) else { return not_joined(row) };
    Cause::NotJoined { hop, parent: receiver.parent_span_id, sent, received: SideState::NotOnRecord }
}

/// The cause of a hop that is not joined, where nothing says more.
pub(crate) fn not_joined(row: &HopRow) -> Cause {
    let parent = match row.parent {
        Some(ParentUsed::NotReceived | ParentUsed::Other) => row.received.span.and_then(|span| span.parent_span_id),
        Some(ParentUsed::Nobody | ParentUsed::Sender) | None => None,
    };
    Cause::NotJoined { hop: row.hop, parent, sent: row.sent.state, received: row.received.state }
}
