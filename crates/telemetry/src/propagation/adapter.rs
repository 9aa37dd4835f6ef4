//! A format of `wire` as a propagator of the SDK.

use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
use wire::{Carrier, Format, SpanId, TRACESTATE, TraceId, TraceParent, tracestate};

/// One format that names a trace. W3C's has a companion: the state of vendors.
#[derive(Debug)]
pub(super) struct FormatPropagator {
    format: Format,
    fields: Vec<String>,
}

/// Reads what `wire` asks for from a carrier of the SDK.
pub(crate) struct Extracted<'a>(pub(crate) &'a dyn Extractor);

/// Kept in the context beside an extracted remote parent: what later injection needs to know of the trace's origin.
#[derive(Clone, Debug)]
struct Arrived {
    trace_id: TraceId,
    random: bool,
    /// B3 asked for debugging, which every request of the trace must ask for too.
    debug: bool,
    tracestate: String,
}

/// What `cx`'s active span would send; `None` without a valid one.
///
/// The random flag is passed on if the caller had set it, and set on traces that began here (our SDK makes ids at
/// random); [§ 3.2.2.5.2] forbids setting it on another party's trace.
///
/// [§ 3.2.2.5.2]: https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
#[must_use]
pub(crate) fn traceparent(cx: &Context) -> Option<TraceParent> {
    let span = cx.span();
    let span = span.span_context();
    let trace_id = TraceId::from_bytes(&span.trace_id().to_bytes())?;
    let parent_id = SpanId::from_bytes(&span.span_id().to_bytes())?;
    let random = Arrived::with(cx, trace_id).is_none_or(|arrived| arrived.random);
    Some(TraceParent { trace_id, parent_id, sampled: span.is_sampled(), random })
}

// === impl FormatPropagator ===

impl FormatPropagator {
    pub(super) fn new(format: Format) -> Self {
        let state = (format == Format::TraceContext).then_some(TRACESTATE);
        Self { format, fields: format.headers().iter().copied().chain(state).map(str::to_owned).collect() }
    }
}

impl TextMapPropagator for FormatPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let Some(context) = traceparent(cx) else { return };
        let arrived = Arrived::with(cx, context.trace_id);
        let debug = arrived.is_some_and(|arrived| arrived.debug);
        for (header, value) in self.format.write(&wire::Context { debug, ..context.into() }) {
            injector.set(header, value);
        }
        if self.format == Format::TraceContext {
            let own = cx.span().span_context().trace_state().header();
            let state = match arrived {
                // The API's `TraceState` refuses keys that level 2 allows; such a list travels beside it.
                Some(arrived) if own.is_empty() => arrived.tracestate.clone(),
                _ => own,
            };
            if !state.is_empty() {
                injector.set(TRACESTATE, state);
            }
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let carrier = Extracted(extractor);
        let Some((context, sampled)) = self.format.extract(&carrier) else { return cx.clone() };
        let trace_id = context.trace_id.padded();
        let is_w3c = self.format == Format::TraceContext;
        let tracestate = if is_w3c { tracestate::read(&carrier).unwrap_or_default() } else { String::new() };
        let span = SpanContext::new(
            trace_id.get().into(),
            context.span_id.get().into(),
            // The random flag stays with `Arrived`: to the SDK its bit says nothing.
            if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED },
            true,
            TraceState::from_str(&tracestate).unwrap_or_default(),
        );
        // No format takes away what another one said of the same trace and it cannot say.
        let arrived = match Arrived::with(cx, trace_id) {
            Some(before) if is_w3c => Arrived { debug: before.debug, trace_id, random: context.random, tracestate },
            Some(before) => Arrived { debug: before.debug || context.debug, ..before.clone() },
            None => Arrived { trace_id, random: context.random, debug: context.debug, tracestate },
        };
        cx.with_value(arrived).with_remote_span_context(span)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

// === impl Arrived ===

impl Arrived {
    /// What arrived of this trace.
    fn with(cx: &Context, trace_id: TraceId) -> Option<&Self> {
        cx.get::<Self>().filter(|arrived| arrived.trace_id == trace_id)
    }
}

// === impl Extracted ===

impl Carrier for Extracted<'_> {
    fn lines(&self, header: &str) -> Vec<&str> {
        self.0.get_all(header).unwrap_or_default()
    }
}
