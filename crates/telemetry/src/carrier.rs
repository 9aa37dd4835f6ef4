//! HTTP headers as carrier, and the record of trace headers on spans.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Array, KeyValue, StringValue, Value};
use wire::trace_headers;

/// Writes context into request headers.
#[derive(Debug)]
pub struct HeaderInjector<'a>(pub &'a mut HeaderMap);

/// Reads context from request headers.
#[derive(Debug)]
pub struct HeaderExtractor<'a>(pub &'a HeaderMap);

// === impl HeaderInjector ===

impl Injector for HeaderInjector<'_> {
    /// An empty value is left out: a format that has nothing to say sends no header.
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::from_str(&value)) {
            self.0.insert(name, value);
        }
    }
}

// === impl HeaderExtractor ===

impl Extractor for HeaderExtractor<'_> {
    /// The first line of that name.
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    /// Every line of that name: there must be only one `traceparent`, `tracestate` may come in several lines. A line that is
    /// not ASCII counts too, as `\u{fffd}`, which no format accepts: left out, it would make a bad header look good.
    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<&str> = self.0.get_all(key).iter().map(|value| value.to_str().unwrap_or("\u{fffd}")).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// The trace headers among `headers`, each as the attribute `http.request.header.<name>`.
///
/// String arrays, as the [semantic conventions] have it; Tempo cuts strings at 2,048 bytes, arrays it leaves whole.
///
/// [semantic conventions]: https://opentelemetry.io/docs/specs/semconv/http/http-spans/
pub fn recorded_headers(headers: &HeaderMap) -> impl Iterator<Item = KeyValue> + '_ {
    trace_headers().filter_map(|name| {
        let lines: Vec<StringValue> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned().into())
            .collect();
        (!lines.is_empty())
            .then(|| KeyValue::new(format!("http.request.header.{name}"), Value::Array(Array::String(lines))))
    })
}

#[cfg(test)]
mod tests {
    use wire::{Format, StateRejection, TraceParentRejection, tracestate};

    use super::*;
    use crate::propagation::Extracted;

    #[test]
    fn a_line_that_is_not_ascii_spoils_the_header() {
        let good = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let bad = HeaderValue::from_bytes(b"foo=\xff").unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("traceparent", good),
            ("traceparent", bad.clone()),
            ("tracestate", HeaderValue::from_static("bar=1")),
            ("tracestate", bad),
        ] {
            headers.append(name, value);
        }
        let headers = HeaderExtractor(&headers);
        let carrier = Extracted(&headers);
        let repeated = Some(Err(TraceParentRejection::Repeated.into()));
        assert_eq!(Format::TraceContext.read(&carrier), repeated, "two lines came");
        assert_eq!(tracestate::read(&carrier), Err(StateRejection::Member), "a list is accepted whole or not");
    }
}
