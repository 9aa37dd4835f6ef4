//! Trace context on the wire: ids, headers and every format, each with how it is read, why it is rejected and how it is
//! written.
//!
//! - [`id`]: the ids of traces and spans
//! - [`mod@format`]: the table of formats, the one place that lists them; and a module for each
//! - [`headers`]: the trace headers of one request; [`context`]: what they say
//! - [`rejection`]: why a header says no context
//! - [`piece`]: a header's value in pieces, for people
//!
//! It knows no SDK: `telemetry` adapts it to OpenTelemetry's propagators. A new format is one module and one row.

pub mod context;
pub mod format;
pub mod headers;
pub mod id;
pub mod piece;
pub mod rejection;

pub use context::Context;
pub use format::baggage::BaggageMember;
pub use format::tracecontext::{TRACEPARENT, TraceParent};
pub use format::tracestate::{self, StateRejection, TRACESTATE};
pub use format::{Carrier, Format, trace_headers};
pub use headers::TraceHeaders;
pub use id::{InvalidId, SpanId, TraceId, TraceRef};
pub use piece::{Piece, Role, Says, pieces};
pub use rejection::{Rejection, TraceParentRejection};
