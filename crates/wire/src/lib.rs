//! Trace context on the wire: ids, headers and every format, each with how it is read, why it is rejected and how it is
//! written.
//!
//! - [`id`]: the ids of traces and spans
//! - [`mod@format`]: the table of formats; the one place that lists them
//! - [`headers`]: the trace headers of one request, and what they say
//! - [`rejection`]: why a header says no context
//! - one module per format
//!
//! It knows no SDK: `telemetry` adapts it to OpenTelemetry's propagators. A new format is one module and one row.

pub mod format;
pub mod headers;
pub mod id;
pub mod rejection;

pub mod b3;
pub mod b3multi;
pub mod baggage;
pub mod jaeger;
pub mod tracecontext;
pub mod tracestate;
pub mod xray;

pub use baggage::BaggageMember;
pub use format::{Carrier, Format, trace_headers};
pub use headers::{Context, TraceHeaders};
pub use id::{InvalidId, SpanId, TraceId, TraceRef};
pub use rejection::Rejection;
pub use tracecontext::TraceParent;
