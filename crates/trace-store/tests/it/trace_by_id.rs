//! Traces by id, in both versions and both formats.

use opentelemetry_proto::tonic::trace::v1::{Status, TracesData, span::Link};
use prost::Message;
use serde_json::json;
use trace_store::Store;
use trace_store::tempopb::TraceByIdResponse;

use crate::support::{MAX_BYTES, PROTOBUF, attribute, get, request, span, spans, texts, trace};

const JSON: &str = "application/json";

#[tokio::test]
async fn both_versions_answer_the_same_trace_as_protobuf() {
    let store = Store::new(MAX_BYTES);
    let sent = request("sender", vec![span(0xabc, 1, 0), span(0xabc, 2, 1)]);
    store.insert(sent.clone());
    for accept in [PROTOBUF, "application/json;q=0.1, application/protobuf"] {
        let v1 = get(&store, "/api/traces/abc", accept).await;
        assert_eq!(v1.content_type(), PROTOBUF, "{accept}");
        assert_eq!(TracesData::decode(v1.body).unwrap().resource_spans, sent.resource_spans, "{accept}");
        let v2 = get(&store, "/api/v2/traces/abc", accept).await;
        assert_eq!(v2.content_type(), PROTOBUF, "{accept}");
        let v2 = TraceByIdResponse::decode(v2.body).unwrap();
        assert_eq!(v2.trace.unwrap().resource_spans, sent.resource_spans, "{accept}");
        assert_eq!((v2.status, v2.message.as_str()), (0, ""), "COMPLETE");
        assert!(v2.metrics.unwrap().inspected_bytes > 0, "the trace was looked at");
    }
}

#[tokio::test]
async fn json_is_protobufs_json_not_otlps() {
    let mut span = span(0xabc, 1, 2);
    span.kind = 2;
    span.attributes = vec![attribute("http.request.header.traceparent", texts(&["<b>"]))];
    span.links = vec![Link { trace_id: vec![0xff; 16], span_id: vec![0xff; 8], ..Link::default() }];
    span.status = Some(Status { code: 2, ..Status::default() });
    let store = Store::new(MAX_BYTES);
    store.insert(request("sender", vec![span]));
    let expected = json!([{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "sender" } }] },
        "scopeSpans": [{ "spans": [{
            "traceId": "AAAAAAAAAAAAAAAAAAAKvA==",
            "spanId": "AAAAAAAAAAE=",
            "parentSpanId": "AAAAAAAAAAI=",
            "name": "span 1",
            "kind": "SPAN_KIND_SERVER",
            "startTimeUnixNano": "1000000000",
            "endTimeUnixNano": "2000000000",
            "attributes": [{
                "key": "http.request.header.traceparent",
                "value": { "arrayValue": { "values": [{ "stringValue": "<b>" }] } }
            }],
            "links": [{ "traceId": "/////////////////////w==", "spanId": "//////////8=" }],
            "status": { "code": "STATUS_CODE_ERROR" }
        }] }]
    }]);
    let v1 = get(&store, "/api/traces/abc", JSON).await;
    assert_eq!(v1.content_type(), JSON, "the default");
    assert_eq!(v1.json(), json!({ "batches": expected }), "v1 calls them batches");
    let v2 = get(&store, "/api/v2/traces/abc", "").await.json();
    assert_eq!(v2["trace"], json!({ "resourceSpans": expected }), "v2 calls them resourceSpans");
}

#[tokio::test]
async fn ids_are_padded_and_checked() {
    let store = Store::new(MAX_BYTES);
    store.insert(request("sender", vec![span(0xabc, 1, 0)]));
    for id in ["abc", "ABC", "0abc", "00000000000000000000000000000abc"] {
        assert_eq!(spans(&trace(&store, id).await).len(), 1, "{id} is padded with zeros on the left");
    }
    for (uri, status, message) in [
        ("/api/traces/abd", 404, ""),
        ("/api/traces/0", 404, ""),
        ("/api/traces/xyz", 400, "invalid character 'x' at position 1"),
        ("/api/traces/0xabc", 400, "invalid character 'x' at position 2"),
        ("/api/traces/%C3%A9", 400, "invalid character 'é' at position 1"),
        ("/api/traces/000000000000000000000000000000abc", 400, "can't be larger than 128 bits"),
        ("/api/traces/abc?start=x", 400, "invalid start"),
        ("/api/traces/abc?start=2&end=1", 400, "start must be before end"),
        ("/api/v2/traces/abc?end=1.5", 400, "invalid end"),
        ("/api/v2/traces/-1", 400, "invalid character '-' at position 1"),
        ("/api/traces/abc?start=100&end=200", 200, ""),
    ] {
        let answer = get(&store, uri, PROTOBUF).await;
        assert_eq!(answer.status.as_u16(), status, "{uri}: {}", answer.text());
        assert!(answer.text().contains(message), "{uri}: {}", answer.text());
        assert!(status != 400 || answer.content_type().starts_with("text/plain"), "{uri}: errors are text in Tempo");
    }
}

#[tokio::test]
async fn an_unknown_trace_is_empty_in_v2() {
    let store = Store::new(MAX_BYTES);
    let answer = get(&store, "/api/v2/traces/abc", JSON).await;
    assert_eq!(answer.status, 200, "as in Tempo 3.0, where only v1 answers 404");
    assert_eq!(answer.json(), json!({ "trace": {}, "metrics": {} }), "no spans");
    let answer = get(&store, "/api/v2/traces/abc", PROTOBUF).await;
    let trace = TraceByIdResponse::decode(answer.body).unwrap().trace.expect("present and empty");
    assert_eq!(trace.resource_spans, [], "no spans");
}

#[tokio::test]
async fn probes_are_answered() {
    let store = Store::new(MAX_BYTES);
    assert_eq!(get(&store, "/api/echo", "").await.text(), "echo", "as in Tempo");
    assert_eq!(get(&store, "/ready", "").await.text(), "ready", "as in Tempo");
}

#[tokio::test]
async fn json_is_no_longer_than_what_the_trace_takes() {
    let mut large = span(0xabc, 1, 0);
    large.attributes = vec![attribute("large", texts(&["\u{1}".repeat(2 << 20).as_str()]))];
    let store = Store::new(MAX_BYTES);
    store.insert(request("sender", vec![large]));
    for path in ["/api/traces/abc", "/api/v2/traces/abc"] {
        let answer = get(&store, path, JSON).await;
        assert_eq!(answer.status, 400, "{path}: 2 MiB become 12");
        assert!(answer.text().contains("request it with `Accept: application/protobuf`"), "{}", answer.text());
        assert_eq!(get(&store, path, PROTOBUF).await.status, 200, "{path}: protobuf has them as they came");
    }
}
