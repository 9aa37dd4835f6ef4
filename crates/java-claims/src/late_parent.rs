//! A SERVER span whose parent is set after the span has started, when that is an error, which is ignored.

use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::TraceContextExt;
use telemetry::server::{Entry, Started};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The caller's baggage is there, its span is not the parent.
pub(crate) fn start(Entry { name, attributes, caller }: Entry) -> Started {
    let outside = Context::new().with_baggage(telemetry::baggage::members(&caller, |_| true));
    let _attached = outside.attach();
    let span = tracing::info_span!("request", otel.name = name, otel.kind = "server");
    // The context is asked for, which starts the span; only then the parent is set.
    let cx = span.context();
    let _ = span.set_parent(caller);
    cx.span().set_attributes(attributes);
    Started { cx, bridged: Some(span) }
}
