//! What each hop sent and received.

use chain::{ParentUsed, SpanKind, Transit};
use evidence::span::CLAIM_ID;
use evidence::{ClaimEvidence, HopRow, Span};
use wire::Format;

use crate::support::*;

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
        assert_eq!(received.baggage["tenant.id"].bytes, "acme%20corp".len(), "what is on the wire is measured");
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
        span.below(0x99)
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
        (mesh, Some(Transit::Altered), Some(Transit::Intact), Other, Some(true), "a proxy has its own span"),
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
    assert_eq!(row.parent, Some(ParentUsed::NotReceived), "the header names a parent, which was not received");
    let mut spans = chain_without(&[CALL_CLAIMS]);
    change(&mut spans, CLAIMS, Span::without_headers);
    assert_eq!(first(spans).parent, Some(ParentUsed::Other), "nothing says that this parent is the sender's");
    let row = first(chain_without(&[CLAIMS]));
    assert!(row.sent.is_seen() && !row.received.is_seen(), "the call fits the route though nobody received it");
}

#[test]
fn the_call_of_another_claim_is_not_the_sender() {
    let mut spans = chain_with(CLAIMS, Span::orphan);
    let call = find(&spans, CALL_CLAIMS).below(0x10);
    let other = Span { span_id: span_id(0x20), start_unix_nano: find(&spans, CLAIMS).start_unix_nano, ..call };
    let root = Span { span_id: span_id(0x10), ..find(&spans, FRONT) }.with(CLAIM_ID, "c-2");
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
    let other = find(&spans, SEND).with("messaging.message.id", "c-2").with(CLAIM_ID, "c-2");
    spans.push(Span { span_id: span_id(0x60), start_unix_nano: find(&spans, PROCESS).start_unix_nano, ..other });
    let lost = row(spans.clone());
    assert_eq!(lost.sent.span.unwrap().span_id, span_id(SEND), "the message of this claim");
    assert_eq!((lost.parent, lost.linked), (Some(ParentUsed::Nobody), false), "it is not joined: {lost:?}");

    let batch = span(0x61, None, "claims-worker", SpanKind::Consumer, "process_batch claims", (13, 21));
    spans.push(batch.in_trace(TRACE_B).link(TRACE_A, SEND));
    change(&mut spans, PROCESS, |span| span.below(0x61));
    let joined = row(spans.clone());
    assert_eq!((joined.parent, joined.linked), (Some(ParentUsed::Other), true), "the batch links to it");
    change(&mut spans, 0x61, |span| Span { links: Vec::new(), ..span }.link(TRACE_A, 0x60));
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
