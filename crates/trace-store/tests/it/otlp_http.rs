//! OTLP over HTTP, by hand.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::{Value, json};
use trace_store::{MAX_REQUEST_BYTES, NotKept, Store, otlp_http_app};

use crate::support::{Answer, MAX_BYTES, Small, ask, request, small_messages, span, spans, text, trace};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

async fn post(store: &Store, content_type: &str, encoding: &str, body: impl Into<Body>) -> Answer {
    post_to("/v1/traces", store, content_type, encoding, body).await
}

async fn post_to(path: &str, store: &Store, content_type: &str, encoding: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_ENCODING, encoding)
        .body(body.into())
        .unwrap();
    ask(otlp_http_app(store.clone()), request).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn json_request() -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "sender" } }] },
        "scopeSpans": [{
            "scope": { "name": "by-hand", "version": "1" },
            "spans": [{
                "traceId": "5b8efff798038103d269b633813fc60c",
                "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "eee19b7ec3c1b173",
                "traceState": "vendor=1",
                "flags": 257,
                "name": "<img src=x onerror=alert(1)>",
                "kind": 2,
                "startTimeUnixNano": "1544712660000000000",
                "endTimeUnixNano": "1544712661000000000",
                "attributes": [{ "key": "count", "value": { "intValue": "9007199254740993" } }],
                "events": [{ "name": "asked", "timeUnixNano": "1544712660500000000" }],
                "links": [{ "traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175", "flags": 1 }],
                "status": { "code": 2, "message": "no" },
                "aFieldOfTomorrow": { "is": "ignored" }
            }]
        }]
    }] })
}

#[tokio::test]
async fn every_format_and_encoding_is_taken() {
    let protobuf = |id: u128| request("sender", vec![span(id, 1, 0)]).encode_to_vec();
    let json = json_request().to_string().into_bytes();
    let json_id = "5b8efff798038103d269b633813fc60c";
    for (content_type, encoding, body, id) in [
        (PROTOBUF, "identity", protobuf(1), "1"),
        (PROTOBUF, "gzip", gzip(&protobuf(2)), "2"),
        (PROTOBUF, "deflate", zlib(&protobuf(3)), "3"),
        (JSON, "identity", json.clone(), json_id),
        ("Application/JSON; charset=utf-8", "gzip", gzip(&json), json_id),
        (JSON, "deflate", zlib(&json), json_id),
    ] {
        let store = Store::new(MAX_BYTES);
        let answer = post(&store, content_type, encoding, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{content_type} {encoding}: {}", answer.text());
        if content_type == PROTOBUF {
            assert_eq!(answer.content_type(), PROTOBUF, "the answer is of the request's type");
            let body = ExportTraceServiceResponse::decode(answer.body).unwrap();
            assert_eq!(body.partial_success, None, "unset when nothing was rejected");
        } else {
            assert_eq!(answer.content_type(), JSON, "the answer is of the request's type");
            assert_eq!(answer.json(), json!({}), "unset when nothing was rejected");
        }
        assert_eq!(spans(&trace(&store, id).await).len(), 1, "{content_type} {encoding}: the span is there");
    }
}

#[tokio::test]
async fn all_of_a_span_is_kept_as_it_came() {
    let store = Store::new(MAX_BYTES);
    post(&store, JSON, "identity", json_request().to_string()).await;
    let read = trace(&store, "5b8efff798038103d269b633813fc60c").await;
    let expected: opentelemetry_proto::tonic::trace::v1::TracesData =
        serde_json::from_value(json_request()).expect("the request is OTLP/JSON");
    assert_eq!(read, expected, "resource, scope, events, links, flags and trace state among them");
    let span = spans(&read)[0];
    assert_eq!(span.name, "<img src=x onerror=alert(1)>", "markup is data; a page that shows it must escape it");
    assert_eq!((span.flags, span.links[0].flags, span.trace_state.as_str()), (257, 1, "vendor=1"), "not defaults");
    assert_eq!(read.resource_spans[0].scope_spans[0].scope.as_ref().unwrap().version, "1", "not a default");
    assert_eq!(
        span.attributes[0].value.as_ref().unwrap().value,
        Some(opentelemetry_proto::tonic::common::v1::any_value::Value::IntValue(9_007_199_254_740_993)),
        "64 bit numbers do not pass through a float"
    );
    assert_ne!(read.resource_spans[0].resource.as_ref().unwrap().attributes[0].value.as_ref().unwrap().value, None);
    assert_eq!(
        read.resource_spans[0].resource.as_ref().unwrap().attributes[0].value.as_ref().unwrap().value,
        Some(text("sender")),
        "the resource is the sender's"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_a_reason() {
    let valid = request("sender", vec![span(1, 1, 0)]).encode_to_vec();
    let nested = r#"{"resourceSpans":[{"scope_spans":[{"spans":[]}]}]}"#;
    let truncated = gzip(&valid)[..20].to_vec();
    for (content_type, encoding, body, status, reason) in [
        (JSON, "identity", br#"{"resource_spans":[]}"#.to_vec(), 400, "unknown field `resource_spans`"),
        (JSON, "identity", br#"{"resourceSpans":[],"spans":[]}"#.to_vec(), 400, "unknown field `spans`"),
        (JSON, "identity", nested.into(), 400, "`scope_spans`: keys must be in lowerCamelCase"),
        (JSON, "identity", b"[]".to_vec(), 400, "not an ExportTraceServiceRequest in OTLP/JSON"),
        (JSON, "identity", b"{".to_vec(), 400, "EOF"),
        (JSON, "identity", b"".to_vec(), 400, "EOF"),
        (PROTOBUF, "identity", b"\xff\xff\xff".to_vec(), 400, "not an ExportTraceServiceRequest in protobuf"),
        (PROTOBUF, "gzip", valid.clone(), 400, "cannot be read"),
        (PROTOBUF, "gzip", truncated, 400, "cannot be read"),
        (PROTOBUF, "br", valid.clone(), 415, "Content-Encoding"),
        ("text/plain", "identity", valid.clone(), 415, "Content-Type"),
        ("", "identity", valid.clone(), 415, "Content-Type"),
        (PROTOBUF, "identity", vec![0; MAX_REQUEST_BYTES + 1], 413, "larger than 8388608 bytes"),
        (PROTOBUF, "gzip", gzip(&vec![0; MAX_REQUEST_BYTES + 1]), 413, "larger than 8388608 bytes"),
        (JSON, "deflate", zlib(&vec![b' '; MAX_REQUEST_BYTES + 1]), 413, "larger than 8388608 bytes"),
        // Eight of each once took the store to gigabytes.
        (PROTOBUF, "gzip", gzip(&small_messages(Small::Links)), 413, "more than 33554432: send fewer spans"),
        (PROTOBUF, "gzip", gzip(&small_messages(Small::Spans)), 413, "more than 33554432: send fewer spans"),
        (JSON, "gzip", gzip(&small_messages(Small::JsonSpans)), 413, "more than 33554432: send fewer spans"),
    ] {
        let store = Store::new(MAX_BYTES);
        let answer = post(&store, content_type, encoding, body).await;
        assert_eq!(answer.status.as_u16(), status, "{reason}: {}", answer.text());
        let message = if content_type == PROTOBUF {
            assert_eq!(answer.content_type(), PROTOBUF, "errors are of the request's type");
            RpcStatus::decode(answer.body).unwrap().message
        } else {
            answer.json()["message"].as_str().unwrap().to_owned()
        };
        assert!(message.contains(reason), "{reason}: {message}");
        assert_eq!(store.counters().spans_received, 0, "{reason}: nothing was taken");
    }
}

#[tokio::test]
async fn refused_spans_are_told_in_the_requests_format() {
    let mut short_trace_id = span(1, 1, 0);
    short_trace_id.trace_id.pop();
    let mut long_span_id = span(1, 2, 0);
    long_span_id.span_id.push(1);
    let request = request("sender", vec![short_trace_id, long_span_id, span(0, 3, 0), span(1, 0, 0), span(1, 5, 0)]);

    let store = Store::new(MAX_BYTES);
    let answer = post(&store, PROTOBUF, "identity", request.encode_to_vec()).await;
    let partial = ExportTraceServiceResponse::decode(answer.body).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 4, "all but the last have a bad id");
    let reason = "2 with an invalid trace id, 2 with an invalid span id";
    assert!(partial.error_message.contains(reason), "{}", partial.error_message);
    assert_eq!(store.counters().spans_held, 1, "the good one was taken");

    let store = Store::new(MAX_BYTES);
    let answer = post(&store, JSON, "identity", serde_json::to_vec(&request).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "partial success is success");
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], "4", "protobuf's JSON writes int64 as text");
}

#[tokio::test]
async fn other_signals_are_counted_and_not_kept() {
    let store = Store::new(MAX_BYTES);
    for path in ["/v1/metrics", "/v1/logs"] {
        let answer = post_to(path, &store, PROTOBUF, "identity", Vec::new()).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0), "{path}: an empty success");
        let answer = post_to(path, &store, JSON, "identity", "{}").await;
        assert_eq!(answer.json(), json!({}), "{path}: as JSON when sent as JSON");
        let answer = post_to(path, &store, "text/plain", "identity", "x").await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}: what no exporter sends");
    }
    let counters = store.counters();
    assert_eq!(counters.requests_not_kept, NotKept { metrics: 2, logs: 2 }, "each is counted");
    assert_eq!(counters.spans_received, 0, "and nothing is kept");
}
