//! The trace headers that a span has on record.

use serde_json::Value;
use wire::{Format, TraceHeaders};

use crate::span::Attributes;

/// The trace headers among a span's attributes: `http.request.header.<name>` and `messaging.header.<name>`
/// (<https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/>). Some SDKs, Python's among them, write the
/// name with `_` for `-`.
#[must_use]
pub fn recorded(attributes: &Attributes) -> TraceHeaders {
    attributes
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix("http.request.header.").or_else(|| key.strip_prefix("messaging.header."))?;
            let values = match value {
                Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
                other => Vec::from_iter(other.as_str()),
            };
            Some((name.replace('_', "-"), values.into_iter().map(str::to_owned).collect()))
        })
        .collect()
}

/// The formats in words.
pub(crate) fn format_names(formats: &[Format]) -> String {
    let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
    if names.is_empty() { "no trace headers".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trace_headers_with_content_are_taken() {
        let attributes: Attributes = serde_json::from_value(serde_json::json!({
            "http.request.header.traceparent": ["00-x"],
            "http.request.header.tracestate": [""],
            "http.request.header.accept": ["*/*"],
            "messaging.header.b3": "0",
            "http.request.header.baggage": 7,
        }))
        .unwrap();
        let headers = recorded(&attributes);
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b3", "traceparent"], "an empty tracestate is absent, other headers do not matter");
    }

    #[test]
    fn names_with_underscores_are_read_too() {
        let attributes: Attributes = serde_json::from_value(serde_json::json!({
            "http.request.header.x_b3_traceid": ["7f3b8a2c4d5e6f7a8b9c0d1e2f3a4b5c"],
            "http.request.header.x_b3_spanid": ["a1b2c3d4e5f6a7b8"],
        }))
        .unwrap();
        let headers = recorded(&attributes);
        assert_eq!(headers.contexts().map(|(format, _)| format).collect::<Vec<_>>(), [Format::B3Multi]);
    }
}
