//! What holds for any input.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{Request, header};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use trace_store::{Limits, Store, grpc_router, otlp_http_app, query_app};

use crate::support::{MAX_BYTES, ask, request, span};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_multi_thread().enable_all().build().unwrap());

/// Any bytes, and requests with one byte changed, which get further.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let sent = request("sender", vec![span(1, 1, 0), span(1, 2, 1)]);
    let valid = select(vec![sent.encode_to_vec(), serde_json::to_vec(&sent).unwrap()]);
    let damaged = (valid, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, index, byte)| {
        *index.get_mut(&mut bytes) = byte;
        bytes
    });
    prop_oneof![any::<Vec<u8>>(), damaged]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[{}&|=!<.a-z "`\\0-9é-]{0,40}"#, r#"\{ (span\.|\.)?[a-zA-Z"]{1,9} !?= .{0,9} \}"#]
}

proptest! {
    #[test]
    fn no_export_is_a_server_error(
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
    fn no_grpc_message_stops_the_service(body in body(), compressed in any::<bool>()) {
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
    fn no_question_is_a_server_error(text in text(), path in select(vec![
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
