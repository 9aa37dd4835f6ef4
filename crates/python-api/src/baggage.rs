//! Baggage as the Python SDK has it: a space is `+`, as in forms, and not `%20` as everywhere else. What it sends, others read
//! as a plus; and a plus that others send, it reads as a space.

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::Context;

const HEADER: &str = "baggage";

/// Injects by the propagator of this process.
pub(crate) fn inject(cx: &Context, headers: &mut HeaderMap) {
    telemetry::client::inject(cx, headers);
    rewrite(headers, |value| value.replace('+', "%2B").replace("%20", "+"));
}

/// Extracts by the propagator of this process.
pub(crate) fn extract(headers: &HeaderMap) -> Context {
    let mut headers = headers.clone();
    rewrite(&mut headers, |value| value.replace('+', "%20"));
    telemetry::server::extract(&headers)
}

fn rewrite(headers: &mut HeaderMap, by: impl Fn(&str) -> String) {
    let value = headers.get(HEADER).and_then(|value| value.to_str().ok()).map(by);
    if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
        headers.insert(HEADER, value);
    }
}
