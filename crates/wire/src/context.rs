//! What the headers of a format say.

use crate::id::{SpanId, TraceId, TraceRef};

/// The trace context that headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace_id: TraceRef,
    /// The span that becomes the receiver's parent.
    pub span_id: SpanId,
    /// The sampled bit; `None` if the headers leave the decision to the receiver.
    pub sampled: Option<bool>,
    /// Whether they say that the trace id was made at random; only W3C's can.
    pub random: bool,
    /// Whether they ask that the trace be recorded whatever samplers say; only B3 can.
    pub debug: bool,
}

// === impl Context ===

impl Context {
    /// Whether it names this span of this trace.
    #[must_use]
    pub fn names(&self, trace_id: TraceId, span_id: SpanId) -> bool {
        self.span_id == span_id && self.trace_id.matches(trace_id)
    }
}
