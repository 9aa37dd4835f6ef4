//! Protobuf's JSON as Tempo writes it: ids in base64, 64 bit numbers as text, enums by name, defaults left out.
//!
//! This is not OTLP/JSON, which writes ids in hex and enums as numbers. It is written as it is read, without a tree in
//! between, which would take many times the text. <https://protobuf.dev/programming-guides/json/>

use std::io::{self, Write};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode};
use serde::Serialize;

use crate::store::{Batch, StoredTrace};
use crate::tempopb::{PartialStatus, TraceByIdResponse};

/// A JSON text of bounded length.
#[derive(Debug)]
pub(crate) struct Json {
    text: Vec<u8>,
    max_bytes: usize,
    is_too_long: bool,
}

/// A JSON object that leaves out what has its default value; closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Object<'j> {
    json: &'j mut Json,
    is_empty: bool,
}

// === impl Json ===

impl Json {
    pub(crate) const fn new(max_bytes: usize) -> Self {
        Self { text: Vec::new(), max_bytes, is_too_long: false }
    }

    /// The text; `None` if it would have been longer than it may be.
    pub(crate) fn into_bytes(self) -> Option<Vec<u8>> {
        (!self.is_too_long).then_some(self.text)
    }

    pub(crate) fn object(&mut self) -> Object<'_> {
        self.put(b"{");
        Object { json: self, is_empty: true }
    }

    pub(crate) fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Self, T)) {
        self.put(b"[");
        for (index, it) in items.into_iter().enumerate() {
            if index > 0 {
                self.put(b",");
            }
            if self.is_too_long {
                break;
            }
            item(self, it);
        }
        self.put(b"]");
    }

    fn value(&mut self, value: impl Serialize) {
        // What is too long was noted where it was.
        let _ = serde_json::to_writer(self, &value);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.is_too_long |= self.text.len() + bytes.len() > self.max_bytes;
        if !self.is_too_long {
            self.text.extend_from_slice(bytes);
        }
    }
}

impl Write for Json {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        if self.is_too_long { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Object ===

impl Object<'_> {
    /// Where to write the value of a key.
    pub(crate) fn field(&mut self, key: &str) -> &mut Json {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.json.put(b",");
        }
        self.json.value(key);
        self.json.put(b":");
        self.json
    }

    pub(crate) fn set(mut self, key: &str, value: impl Serialize) -> Self {
        self.field(key).value(value);
        self
    }

    pub(crate) fn text(self, key: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.set(key, text) }
    }

    pub(crate) fn u32(self, key: &str, number: u32) -> Self {
        if number == 0 { self } else { self.set(key, number) }
    }

    pub(crate) fn u64(self, key: &str, number: u64) -> Self {
        if number == 0 { self } else { self.set(key, number.to_string()) }
    }

    pub(crate) fn list<T>(mut self, key: &str, items: &[T], item: impl Fn(&mut Json, &T)) -> Self {
        if !items.is_empty() {
            self.field(key).list(items, item);
        }
        self
    }

    fn some<T>(mut self, key: &str, value: Option<T>, write: impl FnOnce(&mut Json, T)) -> Self {
        if let Some(value) = value {
            write(self.field(key), value);
        }
        self
    }

    fn bytes(self, key: &str, bytes: &[u8]) -> Self {
        if bytes.is_empty() { self } else { self.set(key, BASE64_STANDARD.encode(bytes)) }
    }

    /// A number without a name stays a number.
    fn name(self, key: &str, number: i32, name: impl Fn(i32) -> Option<&'static str>) -> Self {
        match (number, name(number)) {
            (0, _) => self,
            (_, Some(name)) => self.set(key, name),
            (number, None) => self.set(key, number),
        }
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.json.put(b"}");
    }
}

// === messages ===

/// The answer, with this trace instead.
pub(crate) fn trace_by_id_response(json: &mut Json, response: &TraceByIdResponse, trace: Option<&StoredTrace>) {
    let mut object = json.object();
    match trace {
        Some(trace) => self::trace(object.field("trace"), "resourceSpans", trace),
        None => drop(object.field("trace").object()),
    }
    if let Some(metrics) = response.metrics {
        object.field("metrics").object().u64("inspectedBytes", metrics.inspected_bytes);
    }
    let is_partial = response.status == PartialStatus::Partial as i32;
    object.text("status", if is_partial { "PARTIAL" } else { "" }).text("message", &response.message);
}

/// A `tempopb.Trace`; Tempo calls its list `batches` in v1 and `resourceSpans` in v2.
pub(crate) fn trace(json: &mut Json, list_key: &str, trace: &StoredTrace) {
    let resources = trace.by_resource().collect::<Vec<_>>();
    json.object().list(list_key, &resources, |json, batches| resource_spans(json, batches));
}

/// Batches that came from one resource.
fn resource_spans(json: &mut Json, batches: &[Arc<Batch>]) {
    let Some(first) = batches.first() else { return };
    json.object()
        .some("resource", first.resource.resource.as_ref(), resource)
        .list("scopeSpans", batches, |json, batch| scope_spans(json, batch))
        .text("schemaUrl", &first.resource.schema_url);
}

fn resource(json: &mut Json, resource: &Resource) {
    json.object()
        .list("attributes", &resource.attributes, key_value)
        .u32("droppedAttributesCount", resource.dropped_attributes_count);
}

fn scope_spans(json: &mut Json, batch: &Batch) {
    json.object()
        .some("scope", batch.scope.scope.as_ref(), scope)
        .list("spans", &batch.spans, span)
        .text("schemaUrl", &batch.scope.schema_url);
}

fn scope(json: &mut Json, scope: &InstrumentationScope) {
    json.object()
        .text("name", &scope.name)
        .text("version", &scope.version)
        .list("attributes", &scope.attributes, key_value)
        .u32("droppedAttributesCount", scope.dropped_attributes_count);
}

fn span(json: &mut Json, span: &Span) {
    json.object()
        .bytes("traceId", &span.trace_id)
        .bytes("spanId", &span.span_id)
        .text("traceState", &span.trace_state)
        .bytes("parentSpanId", &span.parent_span_id)
        .u32("flags", span.flags)
        .text("name", &span.name)
        .name("kind", span.kind, |kind| SpanKind::try_from(kind).ok().map(|kind| kind.as_str_name()))
        .u64("startTimeUnixNano", span.start_time_unix_nano)
        .u64("endTimeUnixNano", span.end_time_unix_nano)
        .list("attributes", &span.attributes, key_value)
        .u32("droppedAttributesCount", span.dropped_attributes_count)
        .list("events", &span.events, event)
        .u32("droppedEventsCount", span.dropped_events_count)
        .list("links", &span.links, link)
        .u32("droppedLinksCount", span.dropped_links_count)
        .some("status", span.status.as_ref(), status);
}

fn event(json: &mut Json, event: &Event) {
    json.object()
        .u64("timeUnixNano", event.time_unix_nano)
        .text("name", &event.name)
        .list("attributes", &event.attributes, key_value)
        .u32("droppedAttributesCount", event.dropped_attributes_count);
}

fn link(json: &mut Json, link: &Link) {
    json.object()
        .bytes("traceId", &link.trace_id)
        .bytes("spanId", &link.span_id)
        .text("traceState", &link.trace_state)
        .list("attributes", &link.attributes, key_value)
        .u32("droppedAttributesCount", link.dropped_attributes_count)
        .u32("flags", link.flags);
}

fn status(json: &mut Json, status: &Status) {
    json.object()
        .text("message", &status.message)
        .name("code", status.code, |code| StatusCode::try_from(code).ok().map(|code| code.as_str_name()));
}

fn key_value(json: &mut Json, pair: &KeyValue) {
    json.object().text("key", &pair.key).some("value", pair.value.as_ref(), any_value);
}

fn any_value(json: &mut Json, value: &AnyValue) {
    match &value.value {
        Some(value) => any_value_inner(json, value),
        None => drop(json.object()),
    }
}

/// One of protobuf's `oneof` is always written, be it the default or not.
pub(crate) fn any_value_inner(json: &mut Json, value: &any_value::Value) {
    let mut object = json.object();
    match value {
        any_value::Value::StringValue(text) => object.field("stringValue").value(text),
        any_value::Value::BoolValue(flag) => object.field("boolValue").value(flag),
        any_value::Value::IntValue(number) => object.field("intValue").value(number.to_string()),
        any_value::Value::DoubleValue(number) => double(object.field("doubleValue"), *number),
        any_value::Value::BytesValue(bytes) => object.field("bytesValue").value(BASE64_STANDARD.encode(bytes)),
        any_value::Value::ArrayValue(array) => {
            object.field("arrayValue").object().list("values", &array.values, any_value);
        }
        any_value::Value::KvlistValue(list) => {
            object.field("kvlistValue").object().list("values", &list.values, key_value);
        }
        // An index into a string table that traces do not have; Tempo does not know the field.
        any_value::Value::StringValueStrindex(_) => {}
    }
}

fn double(json: &mut Json, number: f64) {
    if number.is_nan() {
        json.value("NaN");
    } else if number.is_infinite() {
        json.value(if number > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        json.value(number);
    }
}
