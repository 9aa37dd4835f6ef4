//! B3, on top of `opentelemetry-propagator-b3`, with the [specification]'s behaviour where that crate differs.
//!
//! [specification]: https://opentelemetry.io/docs/specs/otel/context/api-propagators/#b3-requirements

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags};
use opentelemetry_propagator_b3::{B3Encoding, Propagator};

/// Sends one encoding and reads both.
#[derive(Debug)]
pub(super) struct B3Propagator {
    inner: Propagator,
    fields: Vec<String>,
}

/// Lets only some headers through.
struct Only<'a> {
    fields: &'a [String],
    injector: &'a mut dyn Injector,
}

// === impl B3Propagator ===

impl B3Propagator {
    pub(super) fn single() -> Self {
        Self { inner: Propagator::with_encoding(B3Encoding::SingleHeader), fields: vec!["b3".to_owned()] }
    }

    pub(super) fn multi() -> Self {
        Self {
            inner: Propagator::with_encoding(B3Encoding::MultipleHeader),
            fields: ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"].map(str::to_owned).into(),
        }
    }
}

impl TextMapPropagator for B3Propagator {
    /// The single encoding must send `b3` alone (the crate adds `x-b3-*`), and without a span there is nothing to say
    /// (the crate sends `b3: 0`, a decision nobody took).
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        if cx.span().span_context().is_valid() {
            self.inner.inject_context(cx, &mut Only { fields: &self.fields, injector });
        }
    }

    /// A sender that left the decision to us, or asks for debugging, gets a sampled trace; the crate would have a
    /// parent-based sampler drop both, since its bits for them are not W3C's sampled bit.
    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        // Each encoding reads both, but only one understands `d`, and only the other `true`.
        let mut extracted = cx.clone();
        for encoding in [B3Encoding::MultipleHeader, B3Encoding::SingleHeader] {
            extracted = Propagator::with_encoding(encoding).extract_with_context(&extracted, extractor);
        }
        let span = extracted.span().span_context().clone();
        if span == *cx.span().span_context() || span.trace_flags() == TraceFlags::NOT_SAMPLED {
            return extracted;
        }
        extracted.with_remote_span_context(SpanContext::new(
            span.trace_id(),
            span.span_id(),
            TraceFlags::SAMPLED,
            true,
            span.trace_state().clone(),
        ))
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

// === impl Only ===

impl Injector for Only<'_> {
    fn set(&mut self, key: &str, value: String) {
        if self.fields.iter().any(|field| field == key) {
            self.injector.set(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn reads_both_encodings_whichever_it_sends() {
        const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
        const SPAN: &str = "b7ad6b7169203331";
        let single = |value: String| HashMap::from([("b3".to_owned(), value)]);
        let multi = |sampled: Option<&str>| {
            let mut carrier = HashMap::from([
                ("x-b3-traceid".to_owned(), TRACE.to_owned()),
                ("x-b3-spanid".to_owned(), SPAN.to_owned()),
            ]);
            carrier.extend(sampled.map(|sampled| ("x-b3-sampled".to_owned(), sampled.to_owned())));
            carrier
        };
        let table = [
            (single(format!("{TRACE}-{SPAN}-1")), Some(true), "single, accepted"),
            (single(format!("{TRACE}-{SPAN}-0")), Some(false), "single, denied"),
            (single(format!("{TRACE}-{SPAN}-d")), Some(true), "single, debug"),
            (single(format!("{TRACE}-{SPAN}")), Some(true), "single, decision left to us"),
            (single(format!("{TRACE}-{SPAN}-1-{SPAN}")), Some(true), "single, with the parent's parent"),
            (single("0".to_owned()), None, "a bare decision names no parent"),
            (multi(Some("1")), Some(true), "multi, accepted"),
            (multi(Some("0")), Some(false), "multi, denied"),
            (multi(Some("true")), Some(true), "multi, accepted by an old sender"),
            (multi(None), Some(true), "multi, decision left to us"),
        ];
        for propagator in [B3Propagator::single(), B3Propagator::multi()] {
            for (carrier, sampled, why) in &table {
                let cx = propagator.extract(carrier);
                let span = cx.span().span_context().clone();
                assert_eq!(span.is_valid().then(|| span.is_sampled()), *sampled, "{why}");
            }
        }
    }
}
