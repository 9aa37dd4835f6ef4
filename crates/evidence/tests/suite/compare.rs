//! Two claims compared.

use evidence::compare::{Above, Comparison, Difference, OtherAttribute, OtherHeader, is_compared};
use evidence::{ClaimEvidence, Span};

use crate::support::*;

/// The rows in which a claim differs from a healthy one: the span's id in either, and what differs.
fn differing(spans: Vec<Span>) -> Vec<(Option<u64>, Option<u64>, Vec<Difference>)> {
    let (one, other) = (evidence(spans), evidence(whole_chain()));
    let comparison = Comparison::of(&one, &other);
    let rows = comparison.pairs.iter().filter(|pair| pair.differs()).map(|pair| {
        let id = |it: Option<evidence::compare::Compared<'_>>| it.map(|it| it.node.span.span_id.get());
        (id(pair.one), id(pair.other), pair.differences.clone())
    });
    rows.collect()
}

/// The same spans with other ids, times and order.
fn renumbered(mut spans: Vec<Span>) -> Vec<Span> {
    for span in &mut spans {
        span.parent_span_id = span.parent_span_id.map(|id| span_id(id.get() + 0x100));
        span.span_id = span_id(span.span_id.get() + 0x100);
        span.trace_id = trace_id(span.trace_id.get() + 0x1000);
        span.start_unix_nano += 5_000_000_000;
        span.end_unix_nano += 5_000_000_000;
    }
    spans.reverse();
    spans
}

#[test]
fn the_same_claim_again_differs_in_nothing() {
    assert_eq!(differing(renumbered(whole_chain())), [], "ids, times and the order of arrival do not count");
}

#[test]
fn a_split_claim_differs_where_it_is_split() {
    let rows = differing(lab_1());
    let root = |differences: &[Difference]| {
        differences.iter().any(|it| matches!(it, Difference::Parent { one: Above::Nothing, other: Above::Span(call) } if call == "python-api POST"))
    };
    let roots: Vec<_> = rows.iter().filter(|(.., differences)| root(differences)).map(|(one, ..)| *one).collect();
    assert_eq!(roots, [Some(CLAIMS)], "one span lost its parent: {rows:#?}");
    let trace = |row: &&(_, _, Vec<Difference>)| row.2.contains(&Difference::Trace);
    let elsewhere = rows.iter().filter(trace).count();
    assert_eq!(elsewhere, 9, "all below it are in another trace");
    let (.., call) = rows.iter().find(|(one, ..)| *one == Some(CALL_CLAIMS)).expect("its headers differ");
    let headers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected =
        Difference::Headers { more: headers(&["b3"]), fewer: headers(&["baggage", "traceparent"]), changed: vec![] };
    assert_eq!(call, &[expected], "other headers were sent");
}

#[test]
fn spans_that_one_claim_lacks_have_a_row() {
    let rows = differing(chain_without(&[CALL_POLICY]));
    assert!(rows.contains(&(None, Some(CALL_POLICY), vec![])), "the call has no span: {rows:#?}");
    let mut more = whole_chain();
    more.push(span(0x20, Some(CLAIMS), "java-claims", chain::SpanKind::Internal, "extra", (3, 4)));
    let (one, other) = (evidence(more), evidence(whole_chain()));
    let pairs = Comparison::of(&one, &other).pairs;
    let place = pairs.iter().position(|pair| pair.other.is_none()).expect("it has a row");
    let above = pairs[place - 1].one.unwrap();
    assert_eq!(above.node.span.span_id, span_id(CLAIMS), "below its parent");
}

#[test]
fn what_a_span_does_not_record_is_no_difference() {
    let silent = chain_with(CALL_CLAIMS, |span| Span { scope: "requests".to_owned(), ..span.without_headers() });
    assert_eq!(differing(silent), [], "its instrumentation may leave headers out");
    let baggage = chain_with(POLICY, |span| span.header("baggage", "tenant.id=other"));
    let changed = |name: &str, one: &[&str], other: &[&str]| {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let header = OtherHeader { name: name.to_owned(), one: texts(one), other: texts(other) };
        vec![Difference::Headers { more: vec![], fewer: vec![], changed: vec![header] }]
    };
    let told = changed("baggage", &["tenant.id other"], &["tenant.id acme%20corp"]);
    assert_eq!(differing(baggage), [(Some(POLICY), Some(POLICY), told)], "another value is one");
    let flags = chain_with(POLICY, |span| span.header("traceparent", traceparent(TRACE_A, CALL_POLICY, 0)));
    let told = changed("traceparent", &["flags 00"], &["flags 01"]);
    assert_eq!(differing(flags), [(Some(POLICY), Some(POLICY), told)], "so are other flags");
    let upper =
        chain_with(POLICY, |span| span.header("traceparent", traceparent(TRACE_A, CALL_POLICY, 1).to_uppercase()));
    let id = format!("{TRACE_A:032x}");
    let told = changed("traceparent", &[&format!("trace id {}", id.to_uppercase())], &[&format!("trace id {id}")]);
    assert_eq!(differing(upper), [(Some(POLICY), Some(POLICY), told)], "and an id that cannot be read");
}

#[test]
fn other_attributes_are_told_and_what_always_differs_is_not() {
    let other = |key: &str, one: Option<&str>, other: Option<&str>| OtherAttribute {
        key: key.to_owned(),
        one: one.map(str::to_owned),
        other: other.map(str::to_owned),
    };
    let changed = chain_with(POLICY, |span| {
        span.with("url.full", "http://h:1/p").with("thread.id", 7).with("tenant.id", "other")
    });
    let tenant = evidence(whole_chain())
        .spans()
        .find(|span| span.span_id == span_id(POLICY))
        .and_then(|span| span.attributes.get("tenant.id").cloned());
    let tenant = tenant.map(|value| evidence::compare::text(&value));
    let expected = Difference::Attributes(vec![other("tenant.id", Some("other"), tenant.as_deref())]);
    assert_eq!(
        differing(changed),
        [(Some(POLICY), Some(POLICY), vec![expected])],
        "ids, ports and threads do not count"
    );
    let more = chain_with(POLICY, |span| span.with("db.rows", 3));
    let expected = Difference::Attributes(vec![other("db.rows", Some("3"), None)]);
    assert_eq!(differing(more), [(Some(POLICY), Some(POLICY), vec![expected])], "one that only one of them has does");
    assert!(is_compared("http.route") && !is_compared("server.port"), "what is not compared is named");
}

#[test]
fn spans_of_other_claims_are_left_out() {
    let mut mixed = whole_chain();
    mixed.push(
        span(0x20, Some(FRONT), "java-claims", chain::SpanKind::Internal, "work", (3, 4))
            .with("insurewatch.claim.id", "c-0"),
    );
    let (one, other): (ClaimEvidence, _) = (evidence(mixed), evidence(whole_chain()));
    assert!(Comparison::of(&one, &other).pairs.iter().all(|pair| !pair.differs()), "it is no part of this claim");
}
