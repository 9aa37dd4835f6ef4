//! What messages take in memory: reckoned before they are decoded, and charged once they are held.
//!
//! A message of two bytes on the wire is up to 300 decoded, so the length of a request says little. Each message costs its
//! encoded length and a fixed sum by its kind: the struct, with the room that a growing list reserves, and the index.

use axum::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::budget::MAX_DECODED_BYTES;

/// Bytes charged for each span on top of its encoded length, and for those of the messages below that it holds.
pub const SPAN_OVERHEAD_BYTES: usize = 512;
/// Bytes charged for each attribute, of whatever message.
pub const ATTRIBUTE_OVERHEAD_BYTES: usize = 192;
/// Bytes charged once for the spans of a trace that came in one request from one resource and scope.
pub const BATCH_OVERHEAD_BYTES: usize = 512;
const ELEMENT_OVERHEAD_BYTES: usize = 128;
const EVENT_OVERHEAD_BYTES: usize = 192;
const LINK_OVERHEAD_BYTES: usize = 256;
/// As deep as prost goes; it fails where this stops.
const MAX_DEPTH: usize = 100;

/// Why a request cannot be decoded.
#[derive(Debug, thiserror::Error, PartialEq)]
pub(crate) enum DecodeError {
    #[error(
        "the request would take {0} bytes decoded, more than {MAX_DECODED_BYTES}: send fewer spans, events, links and \
         attributes at once"
    )]
    TooLarge(usize),
    #[error(transparent)]
    Malformed(#[from] prost::DecodeError),
}

/// The messages of a request that can be many.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceSpans,
    Resource,
    EntityRef,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    KeyValue,
    AnyValue,
    Array,
    KvList,
    Text,
}

/// Decodes what is no larger than [`MAX_DECODED_BYTES`].
pub(crate) fn decode(wire: Bytes) -> Result<ExportTraceServiceRequest, DecodeError> {
    bounded(overheads(Kind::Request, &wire, 0)?)?;
    Ok(ExportTraceServiceRequest::decode(wire)?)
}

/// Whether a request in JSON is no larger than [`MAX_DECODED_BYTES`]: an upper bound, for which objects count by depth.
pub(crate) fn check_json(json: &[u8]) -> Result<(), DecodeError> {
    /// Request, resource spans, scope spans, span.
    const SPAN_DEPTH: usize = 4;
    let (mut depth, mut sum, mut in_text, mut is_escaped) = (0_usize, 0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' => {
                depth += 1;
                sum += if depth <= SPAN_DEPTH { SPAN_OVERHEAD_BYTES } else { ATTRIBUTE_OVERHEAD_BYTES };
            }
            b'}' => depth = depth.saturating_sub(1),
            // Texts in a list, such as the keys of an entity.
            b',' => sum += size_of::<String>(),
            _ => {}
        }
    }
    bounded(sum)
}

fn bounded(bytes: usize) -> Result<(), DecodeError> {
    if bytes > MAX_DECODED_BYTES { Err(DecodeError::TooLarge(bytes)) } else { Ok(()) }
}

/// The sum of the overheads of a message's fields.
fn overheads(kind: Kind, mut wire: &[u8], depth: usize) -> Result<usize, prost::DecodeError> {
    let mut sum = 0;
    let is_message = !matches!(kind, Kind::Text);
    while is_message && !wire.is_empty() && depth < MAX_DEPTH {
        let (tag, wire_type) = decode_key(&mut wire)?;
        match kind.field(tag) {
            Some((field, overhead)) if wire_type == WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut wire)?).unwrap_or(usize::MAX);
                // What is cut off here cannot be decoded either.
                let (content, rest) = wire.split_at_checked(length).unwrap_or((wire, &[]));
                sum += overhead + overheads(field, content, depth + 1)?;
                wire = rest;
            }
            _ => skip_field(wire_type, tag, &mut wire, DecodeContext::default())?,
        }
    }
    Ok(sum)
}

/// What a span takes while it is held.
pub(crate) fn of_span(span: &Span) -> usize {
    let events = span.events.iter().map(|event| EVENT_OVERHEAD_BYTES + attributes(&event.attributes));
    let links = span.links.iter().map(|link| LINK_OVERHEAD_BYTES + attributes(&link.attributes));
    let nested = events.chain(links).sum::<usize>() + attributes(&span.attributes);
    span.encoded_len() + SPAN_OVERHEAD_BYTES + nested
}

/// What a resource without its spans takes.
pub(crate) fn of_resource(spans: &ResourceSpans) -> usize {
    let nested = spans.resource.as_ref().map_or(0, |resource| {
        let keys = resource.entity_refs.iter().map(|entity| 1 + entity.id_keys.len() + entity.description_keys.len());
        attributes(&resource.attributes) + ELEMENT_OVERHEAD_BYTES * keys.sum::<usize>()
    });
    spans.encoded_len() + nested
}

/// What a scope without its spans takes.
pub(crate) fn of_scope(spans: &ScopeSpans) -> usize {
    spans.encoded_len() + spans.scope.as_ref().map_or(0, |scope| attributes(&scope.attributes))
}

fn attributes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(|pair| ATTRIBUTE_OVERHEAD_BYTES + pair.value.as_ref().map_or(0, value)).sum()
}

fn value(any: &AnyValue) -> usize {
    match &any.value {
        Some(any_value::Value::ArrayValue(array)) => {
            array.values.iter().map(|element| ELEMENT_OVERHEAD_BYTES + value(element)).sum()
        }
        Some(any_value::Value::KvlistValue(list)) => attributes(&list.values),
        _ => 0,
    }
}

// === impl Kind ===

impl Kind {
    /// The kind of a field and its overhead, by
    /// <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>.
    const fn field(self, tag: u32) -> Option<(Self, usize)> {
        Some(match (self, tag) {
            (Self::Request, 1) => (Self::ResourceSpans, BATCH_OVERHEAD_BYTES),
            (Self::ResourceSpans, 1) => (Self::Resource, 0),
            (Self::ResourceSpans, 2) => (Self::ScopeSpans, BATCH_OVERHEAD_BYTES),
            (Self::Resource, 3) => (Self::EntityRef, ELEMENT_OVERHEAD_BYTES),
            (Self::EntityRef, 3 | 4) => (Self::Text, ELEMENT_OVERHEAD_BYTES),
            (Self::ScopeSpans, 1) => (Self::Scope, 0),
            (Self::ScopeSpans, 2) => (Self::Span, SPAN_OVERHEAD_BYTES),
            (Self::Span, 11) => (Self::Event, EVENT_OVERHEAD_BYTES),
            (Self::Span, 13) => (Self::Link, LINK_OVERHEAD_BYTES),
            (Self::Resource | Self::KvList, 1) | (Self::Scope | Self::Event, 3) | (Self::Link, 4) | (Self::Span, 9) => {
                (Self::KeyValue, ATTRIBUTE_OVERHEAD_BYTES)
            }
            (Self::KeyValue, 2) => (Self::AnyValue, 0),
            (Self::Array, 1) => (Self::AnyValue, ELEMENT_OVERHEAD_BYTES),
            (Self::AnyValue, 5) => (Self::Array, 0),
            (Self::AnyValue, 6) => (Self::KvList, 0),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, EntityRef, InstrumentationScope, KeyValueList};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

    use super::*;

    /// A request with one of everything that can be many, and two spans.
    fn request() -> ExportTraceServiceRequest {
        let any = |value| Some(AnyValue { value: Some(value) });
        let list = any(any_value::Value::KvlistValue(KeyValueList { values: vec![KeyValue::default()] }));
        let array = any(any_value::Value::ArrayValue(ArrayValue { values: vec![list.clone().unwrap()] }));
        let attributes = vec![KeyValue { value: array, ..KeyValue::default() }];
        let event = Event { attributes: attributes.clone(), ..Event::default() };
        let link = Link { attributes: attributes.clone(), ..Link::default() };
        let span = Span { attributes: attributes.clone(), events: vec![event], links: vec![link], ..Span::default() };
        let scope = InstrumentationScope { attributes: attributes.clone(), ..InstrumentationScope::default() };
        let entity =
            EntityRef { id_keys: vec!["a".into()], description_keys: vec!["b".into()], ..EntityRef::default() };
        let resource = Resource { attributes, entity_refs: vec![entity], ..Resource::default() };
        let scope_spans =
            vec![ScopeSpans { scope: Some(scope), spans: vec![span.clone(), span], ..ScopeSpans::default() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }],
        }
    }

    #[test]
    fn what_is_reckoned_before_is_what_is_charged_after() {
        let reckoned = overheads(Kind::Request, &request().encode_to_vec(), 0).unwrap();
        let mut resource = request().resource_spans.remove(0);
        let mut scope = resource.scope_spans.remove(0);
        let spans = std::mem::take(&mut scope.spans);
        let charged = of_resource(&resource) - resource.encoded_len() + of_scope(&scope) - scope.encoded_len()
            + spans.iter().map(|span| of_span(span) - span.encoded_len()).sum::<usize>();
        assert_eq!(reckoned, charged + 2 * BATCH_OVERHEAD_BYTES, "a field that one of them forgets would be free");
    }

    #[test]
    fn the_charge_covers_the_structs() {
        for (charged, taken, what) in [
            (SPAN_OVERHEAD_BYTES, size_of::<Span>(), "a span"),
            (ATTRIBUTE_OVERHEAD_BYTES, 2 * size_of::<KeyValue>(), "an attribute of a list that has just grown"),
            (ELEMENT_OVERHEAD_BYTES, 2 * size_of::<AnyValue>(), "an element of such a list"),
            (EVENT_OVERHEAD_BYTES, 2 * size_of::<Event>(), "an event of such a list"),
            (LINK_OVERHEAD_BYTES, 2 * size_of::<Link>(), "a link of such a list"),
        ] {
            assert!(charged >= taken, "{what} takes {taken} bytes and is charged {charged}");
        }
    }

    #[test]
    fn nesting_ends_where_prost_ends() {
        let mut wire = Vec::new();
        for _ in 0..10_000 {
            let mut around = vec![(1 << 3) | 2];
            prost::encoding::encode_varint(wire.len() as u64, &mut around);
            around.append(&mut wire);
            wire = around;
            let mut array = vec![(5 << 3) | 2];
            prost::encoding::encode_varint(wire.len() as u64, &mut array);
            array.append(&mut wire);
            wire = array;
        }
        let sum = overheads(Kind::AnyValue, &wire, 0).unwrap();
        assert!(sum <= MAX_DEPTH * ELEMENT_OVERHEAD_BYTES, "no stack overflows, and nothing below is decoded: {sum}");
    }
}
