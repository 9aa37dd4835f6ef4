//! A `traceparent` written by hand instead of by a propagator.

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;

/// Its ids are formatted in upper case, which every receiver must reject:
/// <https://www.w3.org/TR/trace-context-2/#traceparent-header-field-values>.
pub(crate) fn inject(cx: &Context, headers: &mut HeaderMap) {
    let span = cx.span().span_context().clone();
    let value = format!("00-{}-{}-01", span.trace_id(), span.span_id()).to_uppercase();
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert("traceparent", value);
    }
}
