//! What each hop sent and received.

use std::collections::BTreeMap;

use chain::vocabulary::RECORDING_SCOPE;
use chain::{CarrierKind, Hop, ParentUsed, Transit, route};
use serde::{Deserialize, Serialize};

use crate::claim::ClaimEvidence;
use crate::headers::recorded;
use crate::span::Span;
use wire::{BaggageMember, Context, Format, SpanId, TraceHeaders, TraceId};

/// One hop of the claim, as its two spans record it; a third party has no span, but a record of its own.
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
    /// Whether the receiver's span, or one of its service above it, links to the sender's.
    pub linked: bool,
    /// The sampled bit of what arrived; `None` if nothing readable is on record.
    pub sampled: Option<bool>,
}

/// One end of a hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// What is known of its headers.
    pub state: SideState,
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

// === impl HopRow ===

impl HopRow {
    pub(crate) fn new(evidence: &ClaimEvidence, hop: &'static Hop) -> Self {
        let receiver = evidence
            .receivers(hop.to.name())
            .filter(|span| span.name == hop.receiver_span)
            .min_by_key(|span| span.start_unix_nano);
        let parent = receiver.and_then(|span| evidence.span(span.trace_id, span.parent_span_id?));
        let parent_sender = parent.filter(|parent| parent.sends() && parent.service == hop.from.name());
        let sender = parent_sender.or_else(|| find_sender(evidence, hop, receiver));

        let received = match (receiver, &evidence.third_party) {
            (Some(span), _) => Side::of_span(span),
            (None, Some(record)) if !hop.to.has_sdk() => Side::new(SideState::Recorded, None, record.clone()),
            (None, _) => Side::absent(),
        };
        let sent = sender.map_or_else(Side::absent, |span| Side::of_span(span).unless_contradicted_by(&received));
        let transit = |baggage| {
            let (sent, received) = (sent.recorded()?, received.recorded()?);
            compare(&sent.joined(baggage), &received.joined(baggage))
        };
        Self {
            hop,
            transit: transit(false),
            baggage_transit: transit(true),
            parent: receiver.map(|span| match (span.parent_span_id, parent_sender) {
                (None, _) => ParentUsed::Nobody,
                (Some(_), Some(_)) => ParentUsed::Sender,
                (Some(_), None) => ParentUsed::Other,
            }),
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
        let changed = |baggage| {
            let received = received.joined(baggage);
            let sent = sent.joined(baggage).into_iter();
            sent.filter(move |(name, value)| received.get(name) != Some(value)).map(|(name, _)| name)
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
        let recorded = span.records_everything() || headers.iter().next().is_some();
        let state = if recorded { SideState::Recorded } else { SideState::NotOnRecord };
        Self::new(state, Some(SideSpan { trace_id, span_id, parent_span_id }), headers)
    }

    fn new(state: SideState, span: Option<SideSpan>, headers: TraceHeaders) -> Self {
        Self { state, span, formats: headers.formats(), baggage: headers.baggage(), headers }
    }

    fn absent() -> Self {
        Self::new(SideState::NoSpan, None, TraceHeaders::default())
    }

    /// If what arrived names this very span, this span sent it, whatever its record shows: some clients write down their
    /// headers before the context is injected, and then show none, or the ids of the span above.
    fn unless_contradicted_by(self, received: &Self) -> Self {
        let arrived = received.headers.contexts().any(|(_, context)| self.is_named_by(context));
        let recorded = self.headers.contexts().any(|(_, context)| self.is_named_by(context));
        match arrived && !recorded && !self.headers.identities().is_empty() {
            true => Self::new(SideState::NotOnRecord, self.span, TraceHeaders::default()),
            false => self,
        }
    }

    /// The headers, if they are on record.
    #[must_use]
    pub fn recorded(&self) -> Option<&TraceHeaders> {
        (self.state == SideState::Recorded).then_some(&self.headers)
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

fn links(evidence: &ClaimEvidence, receiver: &Span, sender: &Span) -> bool {
    let own = evidence.lineage(receiver).take_while(|span| span.service == receiver.service);
    own.flat_map(|span| &span.links).any(|link| (link.trace_id, link.span_id) == (sender.trace_id, sender.span_id))
}

fn compare(sent: &BTreeMap<&str, String>, received: &BTreeMap<&str, String>) -> Option<Transit> {
    match (sent.is_empty(), received.is_empty()) {
        (true, true) => None,
        (false, true) => Some(Transit::Lost),
        _ if sent == received => Some(Transit::Intact),
        _ => Some(Transit::Altered),
    }
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

/// Whether a sending span's request is the one that the hop's receiver is named for, as in `GET /policies/:id`, or its
/// message is this claim's and went to the hop's queue: messages have the claim's id.
fn fits_receiver(span: &Span, hop: &Hop, claim_id: &str) -> bool {
    let text = |key: &str| span.attributes.get(key).and_then(serde_json::Value::as_str);
    if let CarrierKind::Queue { destination, .. } = hop.carrier {
        let there = text("messaging.destination.name").is_none_or(|name| name == destination);
        let ours = text("messaging.message.id").or(span.claim_id()) == Some(claim_id);
        return span.kind == hop.carrier.sender_kind() && there && ours;
    }
    let Some((method, route)) = hop.receiver_span.split_once(' ') else { return false };
    let Some(path) = text("url.path").or_else(|| text("url.full").map(path_of)) else { return false };
    text("http.request.method") == Some(method) && route::fits(path, route)
}

fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use chain::SpanKind;

    use super::*;
    use crate::span::CLAIM_ID;
    use crate::testing::*;

    fn first(spans: Vec<Span>) -> HopRow {
        row(spans, GATEWAY)
    }

    #[test]
    fn a_whole_hop_is_intact() {
        for row in rows(whole_chain()).into_iter().filter(|row| row.hop.to.has_sdk()) {
            assert_eq!((row.transit, row.baggage_transit), (Some(Transit::Intact), Some(Transit::Intact)), "{row:?}");
            assert_eq!((row.parent, row.sampled), (Some(ParentUsed::Sender), Some(true)), "{}", row.hop);
            let received = row.received;
            assert_eq!(received.formats, [Format::TraceContext, Format::Baggage], "{}", row.hop);
            assert_eq!(received.baggage["tenant.id"].bytes, "acme corp".len(), "the decoded value is measured");
        }
    }

    #[test]
    fn the_sender_is_found_across_traces() {
        let row = first(lab_1());
        let (sent, received) = (row.sent, row.received);
        assert_eq!(sent.span.unwrap().span_id, span_id(CALL_CLAIMS), "the call with the receiver's method and path");
        assert_eq!((sent.formats, received.formats), (vec![Format::B3], vec![Format::B3]), "b3 left and arrived");
        assert_eq!((row.transit, row.parent), (Some(Transit::Intact), Some(ParentUsed::Nobody)), "and was not used");
    }

    #[test]
    fn transit_and_parent_are_judged_by_what_arrived() {
        use ParentUsed::{Nobody, Other, Sender};
        let stripped = chain_with(CLAIMS, |span| span.without_headers().orphan());
        let mesh = chain_with(CLAIMS, |span| {
            let span = span.header("traceparent", traceparent(TRACE_A, 0x99, 1));
            Span { parent_span_id: Some(span_id(0x99)), ..span }
        });
        let state_dropped = chain_with(CALL_CLAIMS, |span| span.header("tracestate", "vendor=1"));
        let baggage_dropped = chain_with(CLAIMS, |mut span| {
            span.attributes.remove("http.request.header.baggage");
            span
        });
        let silent = chain_with(CALL_CLAIMS, Span::without_headers);
        let unsampled = chain_with(CLAIMS, |span| span.header("traceparent", traceparent(TRACE_A, CALL_CLAIMS, 2)));
        let cases = [
            (stripped, Some(Transit::Lost), Some(Transit::Lost), Nobody, None, "a proxy strips both headers"),
            (mesh, Some(Transit::Altered), Some(Transit::Intact), Other, Some(true), "a proxy has a span of its own"),
            (state_dropped, Some(Transit::Altered), Some(Transit::Intact), Sender, Some(true), "tracestate is gone"),
            (baggage_dropped, Some(Transit::Intact), Some(Transit::Lost), Sender, Some(true), "baggage is gone"),
            (silent, Some(Transit::Altered), Some(Transit::Altered), Sender, Some(true), "more arrived than was sent"),
            (unsampled, Some(Transit::Altered), Some(Transit::Intact), Sender, Some(false), "02 is unsampled"),
        ];
        for (spans, transit, baggage, parent, sampled, why) in cases {
            let row = first(spans);
            let seen = (row.transit, row.baggage_transit, row.parent, row.sampled);
            assert_eq!(seen, (transit, baggage, Some(parent), sampled), "{why}");
        }
    }

    #[test]
    fn an_absent_side_is_said_to_be_absent() {
        let row = first(chain_without(&[FRONT, CALL_CLAIMS, CLAIMS]));
        assert!(row.is_unseen() && row.transit.is_none() && row.parent.is_none(), "neither span arrived: {row:?}");
        let row = first(chain_without(&[CALL_CLAIMS]));
        assert!(!row.sent.is_seen() && row.transit.is_none(), "without the sender nothing is known of the transit");
        assert_eq!(row.parent, Some(ParentUsed::Other), "a parent that is not seen is not the sender");
        let row = first(chain_without(&[CLAIMS]));
        assert!(row.sent.is_seen() && !row.received.is_seen(), "the call fits the route though nobody received it");
    }

    #[test]
    fn the_call_of_another_claim_is_not_the_sender() {
        let mut spans = chain_with(CLAIMS, Span::orphan);
        let mut other = spans[1].clone();
        other.span_id = span_id(0x20);
        other.parent_span_id = Some(span_id(0x10));
        other.start_unix_nano = spans[2].start_unix_nano;
        let root = Span { span_id: span_id(0x10), ..spans[0].clone() }.with(CLAIM_ID, "c-2");
        spans.extend([other, root]);
        let ids = |row: HopRow| row.sent.span.map(|span| span.span_id);
        assert_eq!(ids(first(spans.clone())), Some(span_id(CALL_CLAIMS)), "nearer in time, but of claim c-2");
        spans.retain(|span| span.span_id != span_id(CALL_CLAIMS));
        assert_eq!(ids(first(spans)), None, "without a call of our own there is no sender");
    }

    #[test]
    fn a_message_is_found_by_its_claim() {
        let row = |spans| row(spans, QUEUE);
        let mut spans = whole_chain();
        split(&mut spans, PROCESS, TRACE_B);
        let other = spans[5].clone().with("messaging.message.id", "c-2").with(CLAIM_ID, "c-2");
        spans.push(Span { span_id: span_id(0x60), start_unix_nano: spans[6].start_unix_nano, ..other });
        let lost = row(spans.clone());
        assert_eq!(lost.sent.span.unwrap().span_id, span_id(SEND), "the message of this claim");
        assert_eq!((lost.parent, lost.linked), (Some(ParentUsed::Nobody), false), "it is not joined: {lost:?}");

        let batch = span(0x61, None, "claims-worker", SpanKind::Consumer, "process batch", (13, 21));
        spans.push(batch.in_trace(TRACE_B).link(TRACE_A, SEND));
        spans[6].parent_span_id = Some(span_id(0x61));
        let joined = row(spans.clone());
        assert_eq!((joined.parent, joined.linked), (Some(ParentUsed::Other), true), "the batch links to it");
        spans.last_mut().unwrap().links[0].span_id = span_id(0x60);
        assert!(!row(spans).linked, "a link to another message ties nothing");
    }

    #[test]
    fn the_third_party_is_known_by_its_record() {
        let row = |record| {
            let evidence = ClaimEvidence { third_party: record, ..evidence(whole_chain()) };
            read(evidence, |reading| reading.rows().iter().find(|row| !row.hop.to.has_sdk()).cloned()).unwrap()
        };
        let unasked = row(None);
        assert!(unasked.sent.is_seen() && !unasked.received.is_seen(), "nobody asked: {unasked:?}");
        let known = row(Some(partner_record()));
        assert_eq!((known.transit, known.parent), (Some(Transit::Intact), None), "it has no span, so no parent");
        assert_eq!(known.received.span, None, "headers are all there is");
    }

    #[test]
    fn a_service_may_receive_twice() {
        let received = |hop| row(whole_chain(), hop).received.span.unwrap().span_id;
        assert_eq!(
            (received(GATEWAY), received(REPORTING)),
            (span_id(CLAIMS), span_id(REPORTED)),
            "told apart by the span's name"
        );
    }

    #[test]
    fn changed_headers_are_those_that_did_not_arrive_as_sent() {
        let other = |span: Span| span.header("traceparent", traceparent(TRACE_A, 0x99, 1));
        let cases = [
            (whole_chain(), vec![], "nothing changed"),
            (chain_with(CLAIMS, |span| span.header("b3", "0")), vec![], "what nobody sent is no change to what was"),
            (chain_with(CLAIMS, other), vec!["traceparent"], "another span"),
            (chain_with(CLAIMS, Span::without_headers), vec!["traceparent", "baggage"], "all are gone"),
        ];
        for (spans, changed, why) in cases {
            assert_eq!(first(spans).changed_headers(), changed, "{why}");
        }
    }

    #[test]
    fn the_path_of_a_url_is_found() {
        for (url, path) in [("http://h:1/a/b?q#f", "/a/b"), ("http://h", "/"), ("/a", "/a"), ("", "/")] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
