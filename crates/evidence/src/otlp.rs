//! The messages of OTLP and of Tempo's query API, with the fields that evidence reads; a decoder skips every other field.
//!
//! `opentelemetry-proto` has them all, and brings the SDK. The field numbers are those of
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto> and its
//! neighbours.

use prost::{Message, Oneof};

/// `tempopb.TraceByIDResponse` (<https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto>); its `Trace` has
/// the wire shape of [`TracesData`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) trace: Option<TracesData>,
    /// 1 means partial.
    #[prost(int32, tag = "3")]
    pub(crate) status: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TracesData {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct InstrumentationScope {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    /// 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    #[prost(int32, tag = "6")]
    pub(crate) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(crate) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) events: Vec<Event>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    pub(crate) status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    #[prost(fixed64, tag = "1")]
    pub(crate) time_unix_nano: u64,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Link {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) span_id: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    /// 0 unset, 1 ok, 2 error.
    #[prost(int32, tag = "3")]
    pub(crate) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<Any>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Any {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    List(KeyValueList),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<KeyValue>,
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1 as common;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::resource::v1 as resource;
    use opentelemetry_proto::tonic::trace::v1 as trace;
    use serde_json::json;

    use super::*;
    use crate::span::Decoded;

    fn attribute(key: &str, value: Value) -> common::KeyValue {
        let value = Some(common::AnyValue { value: Some(value) });
        common::KeyValue { key: key.to_owned(), value, ..Default::default() }
    }

    /// Every field that evidence reads, each with its own value.
    fn written() -> trace::TracesData {
        let text = |text: &str| Value::StringValue(text.to_owned());
        let any = |value| common::AnyValue { value: Some(value) };
        let span = trace::Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: vec![3; 8],
            name: "GET /claims".to_owned(),
            kind: trace::span::SpanKind::Consumer.into(),
            start_time_unix_nano: 4,
            end_time_unix_nano: 5,
            attributes: vec![
                attribute("text", text("a")),
                attribute("flag", Value::BoolValue(true)),
                attribute("whole", Value::IntValue(-6)),
                attribute("broken", Value::DoubleValue(0.5)),
                attribute("several", Value::ArrayValue(common::ArrayValue { values: vec![any(text("b"))] })),
                attribute(
                    "nested",
                    Value::KvlistValue(common::KeyValueList { values: vec![attribute("deep", text("c"))] }),
                ),
                attribute("raw", Value::BytesValue(vec![0xab])),
                common::KeyValue { key: "none".to_owned(), ..Default::default() },
            ],
            events: vec![trace::span::Event {
                time_unix_nano: 7,
                name: "exception".to_owned(),
                attributes: vec![attribute("event", text("d"))],
                ..Default::default()
            }],
            links: vec![trace::span::Link {
                trace_id: vec![8; 16],
                span_id: vec![9; 8],
                attributes: vec![attribute("link", text("e"))],
                ..Default::default()
            }],
            status: Some(trace::Status {
                message: "no policy".to_owned(),
                code: trace::status::StatusCode::Error.into(),
            }),
            ..Default::default()
        };
        let scope = common::InstrumentationScope { name: "scope".to_owned(), ..Default::default() };
        trace::TracesData {
            resource_spans: vec![trace::ResourceSpans {
                resource: Some(resource::Resource {
                    attributes: vec![attribute("service.name", text("java-claims"))],
                    ..Default::default()
                }),
                scope_spans: vec![trace::ScopeSpans { scope: Some(scope), spans: vec![span], ..Default::default() }],
                ..Default::default()
            }],
        }
    }

    #[test]
    fn reads_what_opentelemetry_proto_writes() {
        let read = TracesData::decode(written().encode_to_vec().as_slice()).unwrap();
        let again = trace::TracesData::decode(read.encode_to_vec().as_slice()).unwrap();
        assert_eq!(again, written(), "nothing is lost");

        let expected = json!({
            "trace_id": "01".repeat(16), "span_id": "02".repeat(8), "parent_span_id": "03".repeat(8),
            "service": "java-claims", "resource": { "service.name": "java-claims" }, "scope": "scope",
            "name": "GET /claims", "kind": "consumer", "start_unix_nano": 4, "end_unix_nano": 5,
            "status": { "error": "no policy" },
            "attributes": {
                "text": "a", "flag": true, "whole": -6, "broken": 0.5, "several": ["b"], "nested": { "deep": "c" },
                "raw": "ab", "none": null,
            },
            "events": [{ "unix_nano": 7, "name": "exception", "attributes": { "event": "d" } }],
            "links": [{ "trace_id": "08".repeat(16), "span_id": "09".repeat(8), "attributes": { "link": "e" } }],
        });
        let Decoded { spans, malformed } = read.into();
        assert_eq!((serde_json::to_value(&spans).unwrap(), malformed), (json!([expected]), 0));
    }

    #[test]
    fn skips_what_it_does_not_read() {
        let mut more = written();
        let resource = &mut more.resource_spans[0];
        resource.schema_url = "https://opentelemetry.io/schemas/1.40.0".to_owned();
        let span = &mut resource.scope_spans[0].spans[0];
        span.trace_state = "vendor=1".to_owned();
        span.flags = 0x301;
        span.dropped_events_count = 2;
        let read = |traces: &trace::TracesData| TracesData::decode(traces.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read(&more), read(&written()));
    }
}
