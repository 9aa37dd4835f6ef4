//! What each hop sent and received.

use std::collections::{BTreeMap, BTreeSet};

use chain::vocabulary::RECORDING_SCOPE;
use chain::{CarrierKind, Hop, ParentUsed, Service, Transit, route};
use serde::{Deserialize, Serialize};

use crate::claim::{Belongs, ClaimEvidence};
use crate::headers::recorded;
use crate::span::Span;
use wire::{BaggageMember, Context, Format, SpanId, TraceHeaders, TraceId};

/// One hop of the claim, as its two spans record it; a third party has no span, but its own record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopRow {
    /// The hop, written `from -> to`.
    #[serde(with = "chain::hop")]
    pub hop: &'static Hop,
    /// The sender's side.
    pub sent: Side,
    /// The receiver's side.
    pub received: Side,
    /// What happened to the trace headers other than `baggage`; `None` if there were none, or a side is not on record.
    pub transit: Option<Transit>,
    /// What happened to `baggage`; `None` if there was none, or a side is not on record.
    pub baggage_transit: Option<Transit>,
    /// Whom the receiver's span names as its parent; `None` if it was not received.
    pub parent: Option<ParentUsed>,
    /// How the receiver's span was found; `None` if it was not received.
    #[serde(default)]
    pub found_by: Option<FoundBy>,
    /// Whether the receiver's span, or one of its service above it, links to the sender's.
    pub linked: bool,
    /// The sampled bit of what arrived; `None` if nothing readable is on record.
    pub sampled: Option<bool>,
}

/// How a span was found to be the claim's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// It carries the claim's id.
    ItsClaimId,
    /// It carries none, and stands above or below spans of the claim.
    ItsPlace,
    /// Nothing in its trace names the claim, but it received such a request while the sender waited for the answer to one,
    /// and no other span did.
    TimeAndTarget,
}

/// One end of a hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// What is known of its headers.
    pub state: SideState,
    /// Whether a header that is not on record was not there: the lab's own spans and the third party record every one.
    pub complete: bool,
    /// Its span; a third party has none.
    pub span: Option<SideSpan>,
    /// The trace headers on record, raw.
    pub headers: TraceHeaders,
    /// The formats among them.
    pub formats: Vec<Format>,
    /// The baggage among them, by key.
    pub baggage: BTreeMap<String, BaggageMember>,
}

/// What is known of the headers at one end of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SideState {
    /// They are on record; without any, none was there.
    Recorded,
    /// There is a span, and it does not say what its headers were: many SDKs leave them out, and some write them down
    /// before they inject. Nothing follows from it.
    NotOnRecord,
    /// No span of this side was received.
    NoSpan,
}

/// The span at one end of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideSpan {
    /// The trace that it is in.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// The parent that it names.
    pub parent_span_id: Option<SpanId>,
}

// === impl SideState ===

impl SideState {
    /// What is said in place of headers; of a side that is recorded, where there are none.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Recorded => "recorded, no trace header and no baggage",
            Self::NotOnRecord => "not on record",
            Self::NoSpan => "no span received",
        }
    }
}

// === impl HopRow ===

impl HopRow {
    pub(crate) fn new(evidence: &ClaimEvidence, hop: &'static Hop) -> Self {
        let receiver = evidence
            .receivers(hop.to.name())
            .filter(|span| is_receiver(span, hop))
            .min_by_key(|span| span.start_unix_nano);
        let call = find_sender(evidence, hop, receiver);
        let parent_sender = receiver.and_then(|span| calling_parent(evidence, hop, span, call.is_some()));
        let sender = parent_sender.or(call);

        let received = match (receiver, &evidence.third_party) {
            (Some(span), _) => Side::of_span(span),
            (None, Some(record)) if !hop.to.has_sdk() => Side::of_record(record.clone()),
            (None, _) => Side::absent(),
        };
        let sent = sender.map_or_else(Side::absent, |span| Side::of_span(span).unless_contradicted_by(&received));
        let complete = sent.complete && received.complete;
        let transit = |baggage| {
            let (sent, received) = (sent.recorded()?, received.recorded()?);
            compare(sent.joined(baggage), received.joined(baggage), complete)
        };
        Self {
            hop,
            transit: transit(false),
            baggage_transit: transit(true),
            parent: receiver.map(|span| match (span.parent_span_id, parent_sender) {
                (None, _) => ParentUsed::Nobody,
                (Some(_), Some(_)) => ParentUsed::Sender,
                (Some(parent), None) => {
                    let named = |context: Context| context.names(span.trace_id, parent);
                    let by_header = received.headers.contexts().any(|(_, context)| named(context));
                    if by_header && !sent.is_seen() { ParentUsed::NotReceived } else { ParentUsed::Other }
                }
            }),
            found_by: receiver.map(|span| found_by(evidence, span)),
            linked: receiver.zip(sender).is_some_and(|(receiver, sender)| links(evidence, receiver, sender)),
            sampled: received.headers.sampled(),
            sent,
            received,
        }
    }

    /// Whether the receiver hangs below the sender, or is tied to it by a link instead.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.parent == Some(ParentUsed::Sender) || self.linked
    }

    /// The headers that were sent and did not arrive as they were sent; none where a side is not on record.
    #[must_use]
    pub fn changed_headers(&self) -> Vec<&str> {
        let (Some(sent), Some(received)) = (self.sent.recorded(), self.received.recorded()) else { return Vec::new() };
        let complete = self.received.complete;
        let changed = |baggage| {
            let received = received.joined(baggage);
            let sent = sent.joined(baggage).into_iter();
            let differs = move |name: &str, value: &str| match received.get(name) {
                None => complete,
                Some(arrived) => !keeps(name, value, arrived),
            };
            sent.filter(move |(name, value)| differs(name, value)).map(|(name, _)| name)
        };
        changed(false).chain(changed(true)).collect()
    }

    /// Whether neither end was received.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        !self.sent.is_seen() && !self.received.is_seen()
    }
}

// === impl Side ===

impl Side {
    fn of_span(span: &Span) -> Self {
        let Span { trace_id, span_id, parent_span_id, .. } = *span;
        let headers = recorded(&span.attributes);
        let complete = span.records_everything();
        let recorded = complete || !headers.identities().is_empty();
        let state = if recorded { SideState::Recorded } else { SideState::NotOnRecord };
        Self::new(state, complete, Some(SideSpan { trace_id, span_id, parent_span_id }), headers)
    }

    fn of_record(headers: TraceHeaders) -> Self {
        Self::new(SideState::Recorded, true, None, headers)
    }

    fn new(state: SideState, complete: bool, span: Option<SideSpan>, headers: TraceHeaders) -> Self {
        Self { state, complete, span, formats: headers.formats(), baggage: headers.baggage(), headers }
    }

    fn absent() -> Self {
        Self::new(SideState::NoSpan, false, None, TraceHeaders::default())
    }

    /// Some clients write down their headers before the context is injected, and then show none, or the ids of the span
    /// above. So a record that does not name its own span proves nothing if what arrived does name it, or if the span is
    /// not of the lab's own instrumentation.
    fn unless_contradicted_by(self, received: &Self) -> Self {
        let arrived = received.headers.contexts().any(|(_, context)| self.is_named_by(context));
        let recorded = self.headers.contexts().any(|(_, context)| self.is_named_by(context));
        let misrecorded = !recorded && !self.headers.identities().is_empty();
        match misrecorded && (arrived || !self.complete) {
            true => Self::new(SideState::NotOnRecord, false, self.span, TraceHeaders::default()),
            false => self,
        }
    }

    /// The headers, if they are on record.
    #[must_use]
    pub fn recorded(&self) -> Option<&TraceHeaders> {
        (self.state == SideState::Recorded).then_some(&self.headers)
    }

    /// What is said in place of headers; none where there are some to show.
    #[must_use]
    pub fn without_headers(&self) -> Option<&'static str> {
        self.recorded().is_none_or(TraceHeaders::is_empty).then(|| self.state.words())
    }

    /// Whether a span or a record of this side was received.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.state != SideState::NoSpan
    }

    /// Whether a context names the span of this side.
    #[must_use]
    pub fn is_named_by(&self, context: Context) -> bool {
        self.span.is_some_and(|span| context.names(span.trace_id, span.span_id))
    }
}

// === impl Span ===

impl Span {
    /// Whether its silence counts: nothing that it could have put on record is left out.
    #[must_use]
    pub fn records_everything(&self) -> bool {
        self.scope == RECORDING_SCOPE
    }
}

fn found_by(evidence: &ClaimEvidence, span: &Span) -> FoundBy {
    let fragment = evidence.fragments.iter().find(|fragment| fragment.trace_id == span.trace_id);
    match evidence.belongs(span) {
        Belongs::ByItsId => FoundBy::ItsClaimId,
        _ if fragment.is_some_and(|fragment| fragment.inferred) => FoundBy::TimeAndTarget,
        Belongs::ByItsPlace | Belongs::No => FoundBy::ItsPlace,
    }
}

fn links(evidence: &ClaimEvidence, receiver: &Span, sender: &Span) -> bool {
    let own = evidence.lineage(receiver).take_while(|span| span.service == receiver.service);
    own.flat_map(|span| &span.links).any(|link| (link.trace_id, link.span_id) == (sender.trace_id, sender.span_id))
}

/// Where a side leaves headers out, only those count that both have.
fn compare<'a>(
    mut sent: BTreeMap<&'a str, String>,
    mut received: BTreeMap<&'a str, String>,
    complete: bool,
) -> Option<Transit> {
    if !complete {
        sent.retain(|name, _| received.contains_key(name));
        received.retain(|name, _| sent.contains_key(name));
    }
    match (sent.is_empty(), received.is_empty()) {
        (true, true) => None,
        (false, true) => Some(Transit::Lost),
        _ if sent == received => Some(Transit::Intact),
        _ => Some(Transit::Altered),
    }
}

/// Whether a header arrived with all that was sent. A receiver in between may add members to `tracestate` and `baggage`
/// (<https://www.w3.org/TR/trace-context-2/#mutating-the-tracestate-field>), and move those of the first.
fn keeps(name: &str, sent: &str, received: &str) -> bool {
    let members = |list: &str| list.split(',').map(|member| member.trim().to_owned()).collect::<BTreeSet<_>>();
    sent == received || (matches!(name, "tracestate" | "baggage") && members(sent).is_subset(&members(received)))
}

/// The sender's span above a receiver: its parent, or the first ancestor beyond spans of proxies. Where no
/// call of the sender fits the receiver, its context may have been injected without a CLIENT span: then any span of the
/// sender will do.
fn calling_parent<'a>(evidence: &'a ClaimEvidence, hop: &Hop, receiver: &'a Span, has_call: bool) -> Option<&'a Span> {
    let passes_on = |span: &&Span| Service::named(&span.service).is_none_or(|service| !service.has_sdk());
    let above = evidence.lineage(receiver).skip(1).find(|span| !passes_on(span))?;
    let injects = above.sends() || !has_call;
    (above.service == hop.from.name() && injects && !std::ptr::eq(above, receiver)).then_some(above)
}

/// The sender's span of a hop whose receiver does not name it: the call or message that fits the receiver, not known to
/// be another claim's, not already the parent of another receiver, and nearest in time.
fn find_sender<'a>(evidence: &'a ClaimEvidence, hop: &Hop, receiver: Option<&Span>) -> Option<&'a Span> {
    let calls = evidence.spans().filter(|span| span.sends() && span.service == hop.from.name());
    let calls = calls.filter(|span| fits_receiver(span, hop, &evidence.claim_id));
    let owned = calls.map(|call| (call, evidence.lineage(call).find_map(Span::claim_id)));
    let not_anothers = owned.filter(|(_, owner)| owner.is_none_or(|owner| owner == evidence.claim_id));
    let nearest = not_anothers.min_by_key(|(call, owner)| {
        let taken = evidence.spans().any(|span| {
            span.receives()
                && span.trace_id == call.trace_id
                && span.parent_span_id == Some(call.span_id)
                && receiver.is_none_or(|receiver| receiver.span_id != span.span_id)
        });
        let distance = receiver.map_or(0, |receiver| receiver.start_unix_nano.abs_diff(call.start_unix_nano));
        (owner.is_none(), taken, distance)
    });
    nearest.map(|(call, _)| call)
}

/// Whether a span is the receiver that the hop is named for: by its name, or, whatever frameworks call it, by the method and
/// the shape of its route, or without one by its path.
pub(crate) fn is_receiver(span: &Span, hop: &Hop) -> bool {
    if span.service != hop.to.name() || span.kind != hop.carrier.receiver_kind() {
        return false;
    }
    if span.name == hop.receiver_span {
        return true;
    }
    let Some((method, route)) = hop.receiver_span.split_once(' ').filter(|_| hop.carrier == CarrierKind::Http) else {
        return false;
    };
    let there = match span.text("http.route") {
        Some(own) => route::same_shape(own, route),
        None => span.path().is_some_and(|path| route::fits(path, route)),
    };
    span.method() == Some(method) && there
}

/// Whether a sending span's request is the one that the hop's receiver is named for, as in `GET /policies/:id`, or its
/// message is this claim's and went to the hop's queue: messages have the claim's id.
pub(crate) fn fits_receiver(span: &Span, hop: &Hop, claim_id: &str) -> bool {
    if let CarrierKind::Queue { destination, .. } = hop.carrier {
        let there = span.text("messaging.destination.name").is_none_or(|name| name == destination);
        let ours = span.text("messaging.message.id").or(span.claim_id()) == Some(claim_id);
        return span.kind == hop.carrier.sender_kind() && there && ours;
    }
    let Some((method, route)) = hop.receiver_span.split_once(' ') else { return false };
    span.method() == Some(method) && span.path().is_some_and(|path| route::fits(path, route))
}
