//! Jaeger's [propagation format](https://www.jaegertracing.io/sdk-migration/#propagation-format), without its baggage.

use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};

const HEADER: &str = "uber-trace-id";

/// Reads and writes `uber-trace-id: {trace-id}:{span-id}:{parent-span-id}:{flags}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct JaegerPropagator;

// === impl JaegerPropagator ===

impl TextMapPropagator for JaegerPropagator {
    /// The deprecated parent field is sent as 0, as by the SDKs of Java and Node.
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        let span = span.span_context();
        if span.is_valid() {
            let sampled = u8::from(span.is_sampled());
            injector.set(HEADER, format!("{}:{}:0:{sampled}", span.trace_id(), span.span_id()));
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        extractor.get(HEADER).and_then(parse).map_or_else(|| cx.clone(), |span| cx.with_remote_span_context(span))
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<[String; 1]> = LazyLock::new(|| [HEADER.to_owned()]);
        FieldIter::new(FIELDS.as_slice())
    }
}

/// The value may be URL-encoded, ids may lack leading zeros; flag 1 is sampled, flag 2 is debug, which implies it.
fn parse(header: &str) -> Option<SpanContext> {
    let decoded = header.trim().replace("%3A", ":").replace("%3a", ":");
    let mut fields = decoded.split(':');
    let (trace, span, _parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |id: &str, digits| (1..=digits).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fields.next().is_some() || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let flags = match u8::from_str_radix(flags, 16).ok()? & 0x03 {
        0 => TraceFlags::NOT_SAMPLED,
        _ => TraceFlags::SAMPLED,
    };
    let span = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags,
        true,
        TraceState::default(),
    );
    span.is_valid().then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_sdks_send() {
        let table = [
            ("0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1", Some(true), "Java"),
            ("0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:00f067aa0ba902b7:03", Some(true), "Python"),
            ("0af7651916cd43dd8448eb211c80319c%3Ab7ad6b7169203331%3A0%3A0", Some(false), "URL-encoded, not sampled"),
            ("af7651916cd43dd:1:0:1", Some(true), "short ids are padded"),
            ("0:1:0:1", None, "a trace id of zeros"),
            ("af:0:0:1", None, "a span id of zeros"),
            ("af:1:0", None, "a field is missing"),
            ("af:1:0:1:9", None, "a field too many"),
            ("xyz:1:0:1", None, "not hex"),
            ("+f:1:0:1", None, "a sign is not hex"),
            ("0af7651916cd43dd8448eb211c80319c0:1:0:1", None, "33 digits"),
            ("", None, "empty"),
        ];
        for (header, sampled, why) in table {
            assert_eq!(parse(header).map(|span| span.is_sampled()), sampled, "{why}: {header:?}");
        }
    }
}
