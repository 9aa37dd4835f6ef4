//! Logs as JSON lines on standard output, each with the ids of the span in which it was written.
//!
//! Neither logs nor spans carry module paths, source locations, threads or timings of their own making: in a lab about
//! faults a file name can be the answer.

use std::fmt;

use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt as lines};

/// Foreign text may be long; more of a field than this is cut.
const LONGEST_FIELD_BYTES: usize = 4096;

/// Writes an event as one line of JSON.
#[derive(Debug)]
struct JsonLine {
    service: String,
}

#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

/// Installs the subscriber: logs at `RUST_LOG` (by default `info`), and spans through `tracer` if there is one.
///
/// # Errors
/// A subscriber was installed before.
pub fn init(service: &str, tracer: Option<opentelemetry_sdk::trace::SdkTracer>) -> Result<(), TryInitError> {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse::<Targets>().ok());
    let levels = wanted.unwrap_or_else(|| {
        Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("opentelemetry", LevelFilter::WARN)
            // It warns that data is lost when the exporter around it still tries again, which logs what is lost.
            .with_target("opentelemetry-otlp", LevelFilter::ERROR)
    });
    let logs = lines::layer().event_format(JsonLine { service: service.to_owned() }).with_filter(levels);
    let spans = tracer.map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_level(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && *metadata.level() <= tracing::Level::INFO))
    });
    tracing_subscriber::registry().with(logs).with(spans).try_init()
}

// === impl JsonLine ===

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Fields::default();
        line.0.insert("time".into(), jiff::Timestamp::now().to_string().into());
        line.0.insert("level".into(), event.metadata().level().as_str().into());
        line.0.insert("service".into(), self.service.as_str().into());
        let cx = opentelemetry::Context::current();
        let span = cx.span();
        let span = span.span_context();
        if span.is_valid() {
            line.0.insert("trace_id".into(), span.trace_id().to_string().into());
            line.0.insert("span_id".into(), span.span_id().to_string().into());
        }
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

// === impl Fields ===

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let end = value.floor_char_boundary(LONGEST_FIELD_BYTES);
        let text = match value.get(..end) {
            Some(beginning) if end < value.len() => format!("{beginning}… ({} bytes)", value.len()),
            _ => value.to_owned(),
        };
        self.0.insert(field.name().into(), text.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().into(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().into(), value.into());
    }
}
