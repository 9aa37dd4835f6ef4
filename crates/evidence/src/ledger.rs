//! What each hop sent and received.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use scenario::expectation::{Format, ParentUsed, Transit};
use scenario::topology::{HOPS, Hop};
use serde::{Deserialize, Serialize};

use crate::claim::ClaimEvidence;
use crate::headers::{BaggageMember, TraceHeaders};
use crate::span::{Span, SpanId, TraceId};

/// How far up a call's owner is looked for: calls nest less deeply, and foreign parents may form a cycle.
const MAX_ANCESTORS: usize = 64;

/// One hop of the claim, as its two spans tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopRow {
    /// The hop, written `from -> to`.
    pub hop: String,
    /// The sender's span; `None` if none was seen.
    pub sent: Option<Side>,
    /// The receiver's span; `None` if none was seen.
    pub received: Option<Side>,
    /// What happened to the trace headers other than `baggage`; `None` if there were none, or a side was not seen.
    pub transit: Option<Transit>,
    /// What happened to `baggage`; `None` if there was none, or a side was not seen.
    pub baggage_transit: Option<Transit>,
    /// Whom the receiver's span names as its parent; `None` if it was not seen.
    pub parent: Option<ParentUsed>,
    /// The sampled bit of what arrived; `None` if nothing readable did.
    pub sampled: Option<bool>,
}

/// One end of a hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The trace of its span.
    pub trace_id: TraceId,
    /// Its span.
    pub span_id: SpanId,
    /// The parent that its span names.
    pub parent_span_id: Option<SpanId>,
    /// The trace headers on record, raw.
    pub headers: TraceHeaders,
    /// The formats among them.
    pub formats: Vec<Format>,
    /// The baggage among them, by key.
    pub baggage: BTreeMap<String, BaggageMember>,
}

/// The ledger of a claim: one row for each hop of the chain, in its order.
#[must_use]
pub fn ledger(evidence: &ClaimEvidence) -> Vec<HopRow> {
    HOPS.iter().map(|hop| HopRow::new(evidence, hop)).collect()
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

        let sent = sender.map(Side::new);
        let received = receiver.map(Side::new);
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
            sampled: received.as_ref().and_then(|side| side.headers.sampled()),
            sent,
            received,
        }
    }

    /// Whether neither end was seen.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.sent.is_none() && self.received.is_none()
    }
}

// === impl Side ===

impl Side {
    fn new(span: &Span) -> Self {
        let headers = TraceHeaders::from_attributes(&span.attributes);
        Self {
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            formats: headers.formats(),
            baggage: headers.baggage(),
            headers,
        }
    }
}

fn compare(sent: &BTreeMap<&str, String>, received: &BTreeMap<&str, String>) -> Option<Transit> {
    match (sent.is_empty(), received.is_empty()) {
        (true, true) => None,
        (false, true) => Some(Transit::Lost),
        _ if sent == received => Some(Transit::Intact),
        _ => Some(Transit::Altered),
    }
}

/// The sender's span of a hop whose receiver does not name it: the call that fits the receiver's route, of this claim
/// rather than of another, not already the parent of another receiver, and nearest in time.
fn find_sender<'a>(evidence: &'a ClaimEvidence, hop: &Hop, receiver: Option<&Span>) -> Option<&'a Span> {
    let calls = evidence.spans().filter(|span| span.sends() && span.service == hop.from.name() && calls(span, hop));
    calls.min_by_key(|call| {
        let ours = owner(evidence, call).is_some_and(|claim| claim == evidence.claim_id);
        let taken = evidence.spans().any(|span| {
            span.receives()
                && span.trace_id == call.trace_id
                && span.parent_span_id == Some(call.span_id)
                && receiver.is_none_or(|receiver| receiver.span_id != span.span_id)
        });
        let distance = receiver.map_or(0, |receiver| receiver.start_unix_nano.abs_diff(call.start_unix_nano));
        (Reverse(ours), taken, distance)
    })
}

/// The claim of the nearest span, itself or an ancestor, that carries one.
fn owner<'a>(evidence: &'a ClaimEvidence, span: &'a Span) -> Option<&'a str> {
    let mut current = span;
    for _ in 0..MAX_ANCESTORS {
        if let Some(claim) = current.claim_id() {
            return Some(claim);
        }
        current = evidence.span(current.trace_id, current.parent_span_id?)?;
    }
    None
}

/// Whether a sending span's request or message is the one that the hop's receiver is named for: `GET /policies/:id`.
fn calls(span: &Span, hop: &Hop) -> bool {
    let text = |key: &str| span.attributes.get(key).and_then(serde_json::Value::as_str);
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
        for row in ledger(&evidence(whole_chain())) {
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
        assert_eq!(sent.span_id, span_id(CALL_CLAIMS), "the call with the receiver's method and path");
        assert_eq!((sent.formats, received.formats), (vec![Format::B3], vec![Format::B3]), "b3 left and arrived");
        assert_eq!((row.transit, row.parent), (Some(Transit::Intact), Some(ParentUsed::Nobody)), "and was not used");
    }

    #[test]
    fn transit_and_parent_are_judged_by_what_arrived() {
        use ParentUsed::{Nobody, Other, Sender};
        let orphan = |span: Span| Span { parent_span_id: None, ..span };
        let stripped = chain_with(CLAIMS, |span| orphan(span.without_headers()));
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
        let mut spans = chain_with(CLAIMS, |span| Span { parent_span_id: None, ..span });
        let mut other = spans[1].clone();
        other.span_id = span_id(0x20);
        other.parent_span_id = Some(span_id(0x10));
        other.start_unix_nano = spans[2].start_unix_nano;
        let root = Span { span_id: span_id(0x10), ..spans[0].clone() }.with(CLAIM_ID, "c-2");
        spans.extend([other, root]);
        let row = first(spans);
        assert_eq!(row.sent.unwrap().span_id, span_id(CALL_CLAIMS), "nearer in time, but of claim c-2");
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
