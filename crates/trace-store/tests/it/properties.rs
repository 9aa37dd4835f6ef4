//! What holds for any input.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{Request, header};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use trace_store::{Limits, Store, grpc_router, otlp_http_app, query_app};

use crate::support::{MAX_BYTES, ask, attribute, get, request, span};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().enable_all().build().unwrap());

/// Any bytes, and requests that exporters send after some edits, which get further.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let sent = request("sender", vec![span(1, 1, 0), span(1, 2, 1)]);
    let recorded = [&include_bytes!("../data/tempo/0.otlp.pb")[..], include_bytes!("../data/tempo/1.otlp.pb")];
    let corpus = [sent.encode_to_vec(), serde_json::to_vec(&sent).unwrap()].into_iter();
    let corpus = select(corpus.chain(recorded.map(<[u8]>::to_vec)).collect::<Vec<_>>());
    let edit = (any::<prop::sample::Index>(), 0..8_usize, prop::collection::vec(any::<u8>(), 0..8));
    let edited = (corpus, prop::collection::vec(edit, 0..6)).prop_map(|(mut bytes, edits)| {
        for (at, removed, inserted) in edits {
            let start = at.index(bytes.len() + 1);
            bytes.splice(start..(start + removed).min(bytes.len()), inserted);
        }
        bytes
    });
    prop_oneof![1 => any::<Vec<u8>>(), 3 => edited]
}

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/edited.rs"));

const QUERIES: &[&str] = &[
    "{}",
    r#"{ span.insurewatch.claim.id = "CLM-1" }"#,
    r#"{ .a != 1 && resource.service.name = "sender" && name = "span 1" }"#,
    "{ kind = server && status = error && nestedSetParent < 0 }",
    r#"{ span."a b" = `c` && .d = -1.5e3 && .e = true }"#,
    r#"service.name=sender name="span \"1\"" a=b"#,
    "abc",
    "00000000000000000000000000000abc",
    "1700000000",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![1 => any::<String>(), 3 => edited(QUERIES)]
}

/// Values that can equal each other, each as TraceQL writes it.
fn value() -> impl Strategy<Value = (Attribute, &'static str)> {
    select(vec![
        (Attribute::StringValue("a".to_owned()), "\"a\""),
        (Attribute::StringValue("1".to_owned()), "\"1\""),
        (Attribute::StringValue(String::new()), "\"\""),
        (Attribute::BoolValue(true), "true"),
        (Attribute::IntValue(1), "1"),
        (Attribute::DoubleValue(1.0), "1.0"),
        (Attribute::IntValue(0), "0"),
        (Attribute::DoubleValue(-0.0), "-0.0"),
        // As doubles, these two are one.
        (Attribute::IntValue((1 << 53) + 1), "9007199254740993"),
        (Attribute::DoubleValue(9_007_199_254_740_992.0), "9007199254740992.0"),
    ])
}

/// By what the documentation of TraceQL says, not by how the store does it.
fn equal(held: &Attribute, asked: &Attribute) -> bool {
    match (held, asked) {
        (Attribute::ArrayValue(array), asked) => {
            array.values.iter().any(|held| equal(held.value.as_ref().unwrap(), asked))
        }
        (Attribute::IntValue(held), Attribute::DoubleValue(asked)) => *held as f64 == *asked,
        (Attribute::DoubleValue(held), Attribute::IntValue(asked)) => *held == *asked as f64,
        (held, asked) => held == asked,
    }
}

proptest! {
    #[test]
    fn an_equality_finds_what_holds_it_and_nothing_else(
        sent in prop::collection::vec((1_u128..600, select(vec!["a", "b"]), value(), any::<bool>()), 1..40),
        filling in 0_u128..600,
        (key, (asked, literal)) in (select(vec!["a", "b"]), value()),
        max_bytes in select(vec![20_000_usize, MAX_BYTES]),
    ) {
        let store = Store::new(max_bytes);
        // So that traces are in several blocks of the index, and the small store has evicted some.
        for id in 1..=filling {
            store.insert(request("sender", vec![span(id, 1_000, 0)]));
        }
        for (id, (trace, key, (value, _), in_array)) in (1..).zip(&sent) {
            let mut span = span(*trace, id, 0);
            let value = match in_array {
                true => Attribute::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(value.clone()) }] }),
                false => value.clone(),
            };
            span.attributes = vec![attribute(key, value)];
            store.insert(request("sender", vec![span]));
        }
        let ids = |query: &str| {
            let encoded = query.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let uri = format!("/api/search?limit=10000&q={encoded}");
            let answer = RUNTIME.block_on(get(&store, &uri, "")).json();
            let traces = answer["traces"].as_array().cloned().unwrap_or_default();
            let ids = traces.iter().map(|trace| u128::from_str_radix(trace["traceID"].as_str().unwrap(), 16).unwrap());
            ids.collect::<BTreeSet<_>>()
        };
        let held = ids("{}");
        let expected = (1_u64..).zip(&sent).filter(|(id, (trace, sent_key, (value, _), _))| {
            // A small store has evicted spans, maybe not the trace, which arrived again.
            let name = format!("span {id}");
            *sent_key == key && equal(value, &asked) && held.contains(trace) && ids(&format!("{{ name = `{name}` }}")).contains(trace)
        });
        let expected = expected.map(|(_, (trace, ..))| *trace).collect::<BTreeSet<_>>();
        prop_assert_eq!(ids(&format!("{{ span.{key} = {literal} }}")), expected.clone(), "span.{} = {}", key, literal);
        prop_assert_eq!(ids(&format!("{{ .{key} = {literal} && .{key} != \"x\" }}")).is_subset(&expected), true);
    }

    #[test]
    fn fuzz_otlp_over_http(
        body in body(),
        content_type in select(vec!["application/x-protobuf", "application/json", "text/plain"]),
        encoding in select(vec!["identity", "gzip", "deflate", "br"]),
    ) {
        let store = Store::new(MAX_BYTES);
        let request = Request::post("/v1/traces")
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_ENCODING, encoding)
            .body(Body::from(body))
            .unwrap();
        let answer = RUNTIME.block_on(ask(otlp_http_app(store.clone()), request));
        prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.text());
        // What was taken can also be read.
        let read = Request::get("/api/search?q=%7B%7D").body(Body::empty()).unwrap();
        prop_assert_eq!(RUNTIME.block_on(ask(query_app(store), read)).status.as_u16(), 200);
    }

    #[test]
    fn fuzz_otlp_over_grpc(body in body(), compressed in any::<bool>()) {
        let mut framed = vec![u8::from(compressed)];
        framed.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        framed.extend(body);
        let request = Request::post("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            .header(header::CONTENT_TYPE, "application/grpc")
            .header("grpc-encoding", "gzip")
            .body(Body::from(framed))
            .unwrap();
        let answer = RUNTIME.block_on(ask(grpc_router(Store::new(MAX_BYTES)), request));
        prop_assert_eq!(answer.status.as_u16(), 200, "gRPC tells errors in grpc-status");
    }

    #[test]
    fn fuzz_traceql_and_parameters(text in text(), path in select(vec![
        "/api/traces/", "/api/v2/traces/", "/api/search?q=", "/api/search?tags=", "/api/search?limit=",
    ])) {
        let store = Store::new(MAX_BYTES);
        store.insert(request("sender", vec![span(1, 1, 0)]));
        let encoded = text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let request = Request::get(format!("{path}{encoded}")).body(Body::empty()).unwrap();
        let answer = RUNTIME.block_on(ask(query_app(store), request));
        prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.text());
    }

    #[test]
    fn counters_always_add_up(
        exports in prop::collection::vec(prop::collection::vec((0u128..6, 0u64..6), 0..6), 0..20),
        max_bytes in 0usize..8000,
        max_trace_bytes in 0usize..4000,
    ) {
        let store = Store::with_limits(Limits { max_bytes, max_trace_bytes });
        for export in exports {
            store.insert(request("sender", export.iter().map(|(trace, id)| span(*trace, *id, 0)).collect()));
            let counters = store.counters();
            prop_assert_eq!(
                counters.spans_received,
                counters.spans_held + counters.spans_evicted + counters.spans_duplicate + counters.spans_rejected.total(),
                "every span is somewhere: {:?}", counters
            );
            prop_assert!(counters.bytes_held <= max_bytes as u64, "the bound holds: {:?}", counters);
            prop_assert_eq!(counters.traces_held == 0, counters.spans_held == 0, "no trace is empty: {:?}", counters);
            prop_assert_eq!(counters.bytes_held == 0, counters.spans_held == 0, "bytes are spans': {:?}", counters);
        }
    }
}
