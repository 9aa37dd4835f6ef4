//! PRODUCER and CONSUMER spans, by the [messaging conventions](https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/)
//! (still in development; pinned by the version of the conventions' crate).
//!
//! - *"The span name SHOULD be `{messaging.operation.name} {destination}`."*
//! - `create`: *"a message is created or passed to a client library for sending"*; its span is PRODUCER, and its context
//!   is what the message carries. `send` is the sending to the broker itself: the span that writes a message into an
//!   outbox ends before that, so it is a `create`.
//! - A `send` span *"SHOULD be created"* and link to the `create` span. There is none here: a relay sends later, in the
//!   background, where no context is current, so each of its spans would be a root of one span, beside every claim. What it
//!   would show, the time in the outbox, is the gap between `create` and `process`.
//! - `process` is CONSUMER. *"Exclusively for single messages scenarios, the \"Process\" span MAY use the message's creation
//!   context as its parent"*: [`consume`] does, without the link that the conventions also ask for, since it would name the
//!   parent again. [`consume_batch`] links.
//!
//! The carrier is the message's attributes, names with string values: what Kafka, AMQP and NATS call headers.

use std::collections::BTreeMap;

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt, Tracer};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value, global};
use opentelemetry_semantic_conventions::attribute as semconv;
use wire::trace_headers;

use crate::SCOPE;

/// The carrier of a message: attribute names with string values.
pub type Attributes = BTreeMap<String, String>;

/// What is done with a message.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// As the messaging system calls it.
    pub name: &'static str,
    /// `create`, `send`, `receive`, `process` or `settle`.
    pub kind: &'static str,
    pub system: &'static str,
    pub destination: &'static str,
}

struct Inject<'a>(&'a mut Attributes);
struct Extract<'a>(&'a Attributes);

/// Starts the PRODUCER span of one message, in the current context.
#[must_use]
pub fn create(operation: Operation, message_id: &str) -> Context {
    let current = Context::current();
    start(operation, SpanKind::Producer, message_attribute(message_id), Vec::new(), &current)
}

/// Starts a CONSUMER span for one message, under `parent`, with the message's trace attributes on record.
#[must_use]
pub fn consume(operation: Operation, message_id: &str, attributes: &Attributes, parent: &Context) -> Context {
    let cx = start(operation, SpanKind::Consumer, message_attribute(message_id), Vec::new(), parent);
    record(&cx, attributes);
    cx
}

/// Starts a CONSUMER span for a batch, a root that is linked to the creation of each message.
#[must_use]
pub fn consume_batch(operation: Operation, senders: Vec<SpanContext>, messages: usize) -> Context {
    let count = i64::try_from(messages).unwrap_or(i64::MAX);
    let links = senders.into_iter().filter(SpanContext::is_valid).map(Link::with_context).collect();
    let batch = vec![KeyValue::new(semconv::MESSAGING_BATCH_MESSAGE_COUNT, count)];
    start(operation, SpanKind::Consumer, batch, links, &Context::new())
}

/// Writes `cx` into the attributes of a message, and what was written onto `cx`'s span.
pub fn inject(cx: &Context, attributes: &mut Attributes) {
    global::get_text_map_propagator(|propagator| propagator.inject_context(cx, &mut Inject(attributes)));
    record(cx, attributes);
}

/// Reads the sender's context from the attributes of a message.
#[must_use]
pub fn extract(attributes: &Attributes) -> Context {
    global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &Extract(attributes)))
}

fn start(operation: Operation, kind: SpanKind, more: Vec<KeyValue>, links: Vec<Link>, parent: &Context) -> Context {
    let mut attributes = vec![
        KeyValue::new(semconv::MESSAGING_SYSTEM, operation.system),
        KeyValue::new(semconv::MESSAGING_DESTINATION_NAME, operation.destination),
        KeyValue::new(semconv::MESSAGING_OPERATION_NAME, operation.name),
        KeyValue::new(semconv::MESSAGING_OPERATION_TYPE, operation.kind),
    ];
    attributes.extend(more);
    let tracer = global::tracer(SCOPE);
    let name = format!("{} {}", operation.name, operation.destination);
    let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes).with_links(links);
    parent.with_span(builder.start_with_context(&tracer, parent))
}

fn message_attribute(message_id: &str) -> Vec<KeyValue> {
    vec![KeyValue::new(semconv::MESSAGING_MESSAGE_ID, message_id.to_owned())]
}

/// As `messaging.header.<name>`, a string array like its HTTP sibling.
fn record(cx: &Context, attributes: &Attributes) {
    let span = cx.span();
    for name in trace_headers() {
        if let Some(value) = attributes.get(name) {
            let value = Value::Array(Array::String(vec![StringValue::from(value.clone())]));
            span.set_attribute(KeyValue::new(format!("messaging.header.{name}"), value));
        }
    }
}

// === impl Inject ===

impl Injector for Inject<'_> {
    fn set(&mut self, key: &str, value: String) {
        if !value.is_empty() {
            self.0.insert(key.to_owned(), value);
        }
    }
}

// === impl Extract ===

impl Extractor for Extract<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}
