//! Baggage as the Python SDK writes it: a space is `+`, and not `%20` as everywhere else. Who reads it elsewhere reads a plus.

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::Context;

const HEADER: &str = "baggage";

/// Injects by the propagator of this process.
pub(crate) fn inject(cx: &Context, headers: &mut HeaderMap) {
    telemetry::client::inject(cx, headers);
    let written = headers.get(HEADER).and_then(|value| value.to_str().ok()).map(|value| value.replace("%20", "+"));
    if let Some(Ok(value)) = written.map(HeaderValue::try_from) {
        headers.insert(HEADER, value);
    }
}
