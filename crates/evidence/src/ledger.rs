//! What each hop sent and received.

use std::collections::BTreeMap;

use chain::{CarrierKind, Hop, ParentUsed, SpanKind, Topology, Transit};
use serde::{Deserialize, Serialize};
use wire::{BaggageMember, Format, SpanId, TraceHeaders, TraceId};

use crate::claim::ClaimEvidence;
use crate::headers::recorded;
use crate::span::Span;

/// One hop of the claim, as its two spans tell it; a third party has no span, but a record of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopRow {
    /// The hop, written `from -> to`.
    pub hop: String,
    /// The sender's span; `None` if none was seen.
    pub sent: Option<Side>,
    /// The receiver's span or record; `None` if none was seen.
    pub received: Option<Side>,
    /// What happened to the trace headers other than `baggage`; `None` if there were none, or a side was not seen.
    pub transit: Option<Transit>,
    /// What happened to `baggage`; `None` if there was none, or a side was not seen.
    pub baggage_transit: Option<Transit>,
    /// Whom the receiver's span names as its parent; `None` if it was not seen.
    pub parent: Option<ParentUsed>,
    /// Whether the receiver's span, or one of its service above it, links to the sender's.
    pub linked: bool,
    /// The sampled bit of what arrived; `None` if nothing readable did.
    pub sampled: Option<bool>,
}

/// One end of a hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its span; a third party has none.
    pub span: Option<SideSpan>,
    /// The trace headers on record, raw.
    pub headers: TraceHeaders,
    /// The formats among them.
    pub formats: Vec<Format>,
    /// The baggage among them, by key.
    pub baggage: BTreeMap<String, BaggageMember>,
}

/// The span at one end of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideSpan {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// The parent that it names.
    pub parent_span_id: Option<SpanId>,
}

/// The ledger of a claim: one row for each hop of the chain, in its order.
#[must_use]
pub fn ledger(evidence: &ClaimEvidence) -> Vec<HopRow> {
    Topology::LAB.hops.iter().map(|hop| HopRow::new(evidence, hop)).collect()
}

// === impl HopRow ===

impl HopRow {
    fn new(evidence: &ClaimEvidence, hop: &Hop) -> Self {
        let receiver = evidence
            .receivers(hop.to.name())
            .filter(|span| span.name == hop.receiver_span)
            .min_by_key(|span| span.start_unix_nano);
        let parent = receiver.and_then(|span| evidence.span(span.trace_id, span.parent_span_id?));
        let parent_sender = parent.filter(|parent| parent.sends() && parent.service == hop.from.name());
        let sender = parent_sender.or_else(|| find_sender(evidence, hop, receiver));

        let sent = sender.map(Side::of_span);
        let record = || evidence.third_party.clone().filter(|_| !hop.to.has_sdk()).map(|it| Side::new(None, it));
        let received = receiver.map(Side::of_span).or_else(record);
        let transit = |baggage| {
            let (sent, received) = (sent.as_ref()?, received.as_ref()?);
            compare(&sent.headers.joined(baggage), &received.headers.joined(baggage))
        };
        Self {
            hop: hop.to_string(),
            transit: transit(false),
            baggage_transit: transit(true),
            parent: receiver.map(|span| match (span.parent_span_id, parent_sender) {
                (None, _) => ParentUsed::Nobody,
                (Some(_), Some(_)) => ParentUsed::Sender,
                (Some(_), None) => ParentUsed::Other,
            }),
            linked: receiver.zip(sender).is_some_and(|(receiver, sender)| links(evidence, receiver, sender)),
            sampled: received.as_ref().and_then(|side| side.headers.sampled()),
            sent,
            received,
        }
    }

    /// Whether the receiver hangs below the sender, or is tied to it by a link instead.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.parent == Some(ParentUsed::Sender) || self.linked
    }

    /// The headers that were sent and did not arrive as they were sent.
    #[must_use]
    pub fn changed_headers(&self) -> Vec<&str> {
        let (Some(sent), Some(received)) = (&self.sent, &self.received) else { return Vec::new() };
        let changed = |baggage| {
            let received = received.headers.joined(baggage);
            let sent = sent.headers.joined(baggage).into_iter();
            sent.filter(move |(name, value)| received.get(name) != Some(value)).map(|(name, _)| name)
        };
        changed(false).chain(changed(true)).collect()
    }

    /// Whether neither end was seen.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.sent.is_none() && self.received.is_none()
    }
}

// === impl Side ===

impl Side {
    fn of_span(span: &Span) -> Self {
        let Span { trace_id, span_id, parent_span_id, .. } = *span;
        let ids = SideSpan { trace_id, span_id, parent_span_id };
        Self::new(Some(ids), recorded(&span.attributes))
    }

    fn new(span: Option<SideSpan>, headers: TraceHeaders) -> Self {
        Self { span, formats: headers.formats(), baggage: headers.baggage(), headers }
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
/// message is this claim's: messages have the claim's id.
fn fits_receiver(span: &Span, hop: &Hop, claim_id: &str) -> bool {
    let text = |key: &str| span.attributes.get(key).and_then(serde_json::Value::as_str);
    if matches!(hop.carrier, CarrierKind::Queue { .. }) {
        return span.kind == SpanKind::Producer && text("messaging.message.id").or(span.claim_id()) == Some(claim_id);
    }
    let Some((method, route)) = hop.receiver_span.split_once(' ') else { return false };
    let Some(path) = text("url.path").or_else(|| text("url.full").map(path_of)) else { return false };
    text("http.request.method") == Some(method) && fits(path, route)
}

fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

fn fits(path: &str, route: &str) -> bool {
    let (mut path, mut route) = (path.split('/'), route.split('/'));
    loop {
        match (path.next(), route.next()) {
            (None, None) => return true,
            (Some(part), Some(pattern)) if pattern.starts_with([':', '{']) && !part.is_empty() => {}
            (Some(part), Some(pattern)) if part == pattern => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::CLAIM_ID;
    use crate::testing::*;

    fn first(spans: Vec<Span>) -> HopRow {
        ledger(&evidence(spans)).remove(0)
    }

    #[test]
    fn a_whole_hop_is_intact() {
        let inner = Topology::LAB.hops.iter().zip(ledger(&evidence(whole_chain()))).filter(|(hop, _)| hop.to.has_sdk());
        for (_, row) in inner {
            assert_eq!((row.transit, row.baggage_transit), (Some(Transit::Intact), Some(Transit::Intact)), "{row:?}");
            assert_eq!((row.parent, row.sampled), (Some(ParentUsed::Sender), Some(true)), "{}", row.hop);
            let received = row.received.unwrap();
            assert_eq!(received.formats, [Format::TraceContext, Format::Baggage], "{}", row.hop);
            assert_eq!(received.baggage["tenant.id"].bytes, "acme corp".len(), "the decoded value is measured");
        }
    }

    #[test]
    fn the_sender_is_found_across_traces() {
        let row = first(lab_1());
        let (sent, received) = (row.sent.unwrap(), row.received.unwrap());
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
        assert!(row.sent.is_none() && row.transit.is_none(), "without the sender nothing is known of the transit");
        assert_eq!(row.parent, Some(ParentUsed::Other), "a parent that is not seen is not the sender");
        let row = first(chain_without(&[CLAIMS]));
        assert!(row.sent.is_some() && row.received.is_none(), "the call fits the route though nobody received it");
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
        let ids = |row: HopRow| row.sent.and_then(|side| side.span).map(|span| span.span_id);
        assert_eq!(ids(first(spans.clone())), Some(span_id(CALL_CLAIMS)), "nearer in time, but of claim c-2");
        spans.retain(|span| span.span_id != span_id(CALL_CLAIMS));
        assert_eq!(ids(first(spans)), None, "without a call of our own there is no sender");
    }

    #[test]
    fn a_message_is_found_by_its_claim() {
        let row = |spans| ledger(&evidence(spans)).remove(2);
        let mut spans = whole_chain();
        split(&mut spans, PROCESS, TRACE_B);
        let other = spans[5].clone().with("messaging.message.id", "c-2").with(CLAIM_ID, "c-2");
        spans.push(Span { span_id: span_id(0x60), start_unix_nano: spans[6].start_unix_nano, ..other });
        let lost = row(spans.clone());
        assert_eq!(lost.sent.as_ref().unwrap().span.unwrap().span_id, span_id(SEND), "the message of this claim");
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
        let row = |record| ledger(&ClaimEvidence { third_party: record, ..evidence(whole_chain()) }).remove(3);
        let unasked = row(None);
        assert!(unasked.sent.is_some() && unasked.received.is_none(), "nobody asked: {unasked:?}");
        let known = row(Some(partner_record()));
        assert_eq!((known.transit, known.parent), (Some(Transit::Intact), None), "it has no span, so no parent");
        assert_eq!(known.received.unwrap().span, None, "headers are all there is");
    }

    #[test]
    fn a_service_may_receive_twice() {
        let rows = ledger(&evidence(whole_chain()));
        let received = |at: usize| rows[at].received.as_ref().unwrap().span.unwrap().span_id;
        assert_eq!((received(0), received(4)), (span_id(CLAIMS), span_id(REPORTED)), "told apart by the span's name");
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
    fn routes_fit_paths() {
        let cases = [
            ("/policies/P-1", "/policies/:id", true),
            ("/policies/P-1", "/policies/{id}", true),
            ("/policies/", "/policies/:id", false),
            ("/policies/P-1/x", "/policies/:id", false),
            ("/policies", "/policies/:id", false),
            ("/api/claims", "/api/claims", true),
        ];
        for (path, route, fit) in cases {
            assert_eq!(fits(path, route), fit, "{path} and {route}");
        }
        for (url, path) in [("http://h:1/a/b?q#f", "/a/b"), ("http://h", "/"), ("/a", "/a"), ("", "/")] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
