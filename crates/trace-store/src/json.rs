//! Protobuf's JSON as Tempo writes it: ids in base64, 64 bit numbers as text, enums by name, defaults left out.
//!
//! This is not OTLP/JSON, which writes ids in hex and enums as numbers.
//! <https://protobuf.dev/programming-guides/json/>

use base64::prelude::{BASE64_STANDARD, Engine as _};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use serde_json::{Map, Value, json};

use crate::tempopb::{PartialStatus, TraceByIdResponse};

/// A JSON object that leaves out what has its default value.
#[derive(Default)]
pub(crate) struct Object(Map<String, Value>);

// === impl Object ===

impl Object {
    pub(crate) fn set(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    pub(crate) fn option(self, key: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    pub(crate) fn text(self, key: &str, text: &str) -> Self {
        self.option(key, (!text.is_empty()).then(|| text.into()))
    }

    pub(crate) fn u32(self, key: &str, number: u32) -> Self {
        self.option(key, (number != 0).then(|| number.into()))
    }

    pub(crate) fn u64(self, key: &str, number: u64) -> Self {
        self.option(key, (number != 0).then(|| number.to_string().into()))
    }

    pub(crate) fn list<T>(self, key: &str, items: &[T], item: impl Fn(&T) -> Value) -> Self {
        self.option(key, (!items.is_empty()).then(|| items.iter().map(item).collect()))
    }

    fn bytes(self, key: &str, bytes: &[u8]) -> Self {
        self.text(key, &BASE64_STANDARD.encode(bytes))
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

// === messages ===

pub(crate) fn trace_by_id_response(response: &TraceByIdResponse) -> Value {
    let trace = response.trace.as_ref().map(|trace| trace_object("resourceSpans", &trace.resource_spans));
    let metrics = response.metrics.map(|metrics| Object::default().u64("inspectedBytes", metrics.inspected_bytes));
    let is_partial = response.status == PartialStatus::Partial as i32;
    Object::default()
        .option("trace", trace)
        .option("metrics", metrics.map(Value::from))
        .option("status", is_partial.then(|| "PARTIAL".into()))
        .text("message", &response.message)
        .into()
}

/// A `tempopb.Trace`; Tempo calls its list `batches` in v1 and `resourceSpans` in v2.
pub(crate) fn trace_object(list_key: &str, resource_spans: &[ResourceSpans]) -> Value {
    Object::default().list(list_key, resource_spans, resource_spans_object).into()
}

fn resource_spans_object(spans: &ResourceSpans) -> Value {
    Object::default()
        .option("resource", spans.resource.as_ref().map(resource))
        .list("scopeSpans", &spans.scope_spans, scope_spans)
        .text("schemaUrl", &spans.schema_url)
        .into()
}

fn resource(resource: &Resource) -> Value {
    Object::default()
        .list("attributes", &resource.attributes, key_value)
        .u32("droppedAttributesCount", resource.dropped_attributes_count)
        .into()
}

fn scope_spans(spans: &ScopeSpans) -> Value {
    Object::default()
        .option("scope", spans.scope.as_ref().map(scope))
        .list("spans", &spans.spans, span)
        .text("schemaUrl", &spans.schema_url)
        .into()
}

fn scope(scope: &InstrumentationScope) -> Value {
    Object::default()
        .text("name", &scope.name)
        .text("version", &scope.version)
        .list("attributes", &scope.attributes, key_value)
        .u32("droppedAttributesCount", scope.dropped_attributes_count)
        .into()
}

fn span(span: &Span) -> Value {
    Object::default()
        .bytes("traceId", &span.trace_id)
        .bytes("spanId", &span.span_id)
        .text("traceState", &span.trace_state)
        .bytes("parentSpanId", &span.parent_span_id)
        .u32("flags", span.flags)
        .text("name", &span.name)
        .option("kind", enum_name(span.kind, |kind| SpanKind::try_from(kind).ok().map(|kind| kind.as_str_name())))
        .u64("startTimeUnixNano", span.start_time_unix_nano)
        .u64("endTimeUnixNano", span.end_time_unix_nano)
        .list("attributes", &span.attributes, key_value)
        .u32("droppedAttributesCount", span.dropped_attributes_count)
        .list("events", &span.events, event)
        .u32("droppedEventsCount", span.dropped_events_count)
        .list("links", &span.links, link)
        .u32("droppedLinksCount", span.dropped_links_count)
        .option("status", span.status.as_ref().map(status))
        .into()
}

fn event(event: &Event) -> Value {
    Object::default()
        .u64("timeUnixNano", event.time_unix_nano)
        .text("name", &event.name)
        .list("attributes", &event.attributes, key_value)
        .u32("droppedAttributesCount", event.dropped_attributes_count)
        .into()
}

fn link(link: &Link) -> Value {
    Object::default()
        .bytes("traceId", &link.trace_id)
        .bytes("spanId", &link.span_id)
        .text("traceState", &link.trace_state)
        .list("attributes", &link.attributes, key_value)
        .u32("droppedAttributesCount", link.dropped_attributes_count)
        .u32("flags", link.flags)
        .into()
}

fn status(status: &Status) -> Value {
    Object::default()
        .text("message", &status.message)
        .option("code", enum_name(status.code, |code| StatusCode::try_from(code).ok().map(|code| code.as_str_name())))
        .into()
}

/// The default is left out, a number without a name stays a number.
fn enum_name(number: i32, name: impl Fn(i32) -> Option<&'static str>) -> Option<Value> {
    (number != 0).then(|| name(number).map_or_else(|| number.into(), Value::from))
}

pub(crate) fn key_value(pair: &KeyValue) -> Value {
    Object::default().text("key", &pair.key).option("value", pair.value.as_ref().map(any_value)).into()
}

fn any_value(value: &AnyValue) -> Value {
    value.value.as_ref().map_or_else(|| json!({}), any_value_inner)
}

/// One of protobuf's `oneof` is always written, be it the default or not.
pub(crate) fn any_value_inner(value: &any_value::Value) -> Value {
    match value {
        any_value::Value::StringValue(text) => json!({ "stringValue": text }),
        any_value::Value::BoolValue(flag) => json!({ "boolValue": flag }),
        any_value::Value::IntValue(number) => json!({ "intValue": number.to_string() }),
        any_value::Value::DoubleValue(number) => json!({ "doubleValue": double(*number) }),
        any_value::Value::BytesValue(bytes) => json!({ "bytesValue": BASE64_STANDARD.encode(bytes) }),
        any_value::Value::ArrayValue(array) => {
            json!({ "arrayValue": Value::from(Object::default().list("values", &array.values, any_value)) })
        }
        any_value::Value::KvlistValue(list) => {
            json!({ "kvlistValue": Value::from(Object::default().list("values", &list.values, key_value)) })
        }
        // An index into a string table that traces do not have; Tempo does not know the field.
        any_value::Value::StringValueStrindex(_) => json!({}),
    }
}

fn double(number: f64) -> Value {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        number.into()
    }
}
