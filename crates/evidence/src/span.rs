//! One span, and how it is read from OTLP.

use std::collections::BTreeMap;

pub use chain::SpanKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::{SpanId, TraceId};

use chain::Language;
use chain::vocabulary::CAPTURED_CLAIM_IDS;

use crate::otlp::{self, Any, AnyValue, KeyValue, TracesData};

pub use chain::vocabulary::CLAIM_ID;

/// Attributes by key. Bytes are shown in hex; a number that JSON cannot say is null.
pub type Attributes = BTreeMap<String, Value>;

/// One span as it arrived at the trace store.
///
/// Times are integers in JSON as well: a reader that has only doubles loses up to 256 ns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The parent that it names; a root names none.
    pub parent_span_id: Option<SpanId>,
    /// `service.name` of its resource; empty if the resource has none.
    pub service: String,
    /// The attributes of its resource.
    pub resource: Attributes,
    /// The name of its instrumentation scope.
    pub scope: String,
    /// Its name.
    pub name: String,
    /// Its kind; OTLP lets a receiver take an unspecified kind for internal.
    pub kind: SpanKind,
    /// When it started, in nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// When it ended, in nanoseconds since the Unix epoch. Foreign clocks may put it before the start.
    pub end_unix_nano: u64,
    /// How it ended.
    pub status: Status,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its events.
    pub events: Vec<Event>,
    /// Its links.
    pub links: Vec<Link>,
}

/// How a span ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody said.
    #[default]
    Unset,
    /// The application said that it went well.
    Ok,
    /// It failed, with this message, which may be empty.
    Error(String),
}

/// Something that happened during a span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since the Unix epoch.
    pub unix_nano: u64,
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A pointer from one span to another that is not its parent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The trace pointed at.
    pub trace_id: TraceId,
    /// The span pointed at.
    pub span_id: SpanId,
    /// The attributes of the link.
    pub attributes: Attributes,
}

/// What could be read of an OTLP answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// The spans, in the order in which they came.
    pub spans: Vec<Span>,
    /// How many spans and links were left out because an id of theirs is malformed.
    pub malformed: usize,
}

// === impl Span ===

impl Span {
    /// The claim that this span says it belongs to: by the application's attribute, or by a captured header.
    #[must_use]
    pub fn claim_id(&self) -> Option<&str> {
        let captured = || CAPTURED_CLAIM_IDS.iter().find_map(|key| self.text(key)).filter(|id| !id.is_empty());
        self.attributes.get(CLAIM_ID).and_then(Value::as_str).or_else(captured)
    }

    /// An attribute that is a text, or a list that begins with one, as captured headers are.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.attributes.get(key)? {
            Value::Array(values) => values.first()?.as_str(),
            value => value.as_str(),
        }
    }

    /// The method of an HTTP request; the second name is what it was called before the conventions were stable.
    pub(crate) fn method(&self) -> Option<&str> {
        self.text("http.request.method").or_else(|| self.text("http.method"))
    }

    /// The path of an HTTP request.
    pub(crate) fn path(&self) -> Option<&str> {
        let full = self.text("url.full").or_else(|| self.text("http.url"));
        let path = self.text("url.path").or_else(|| self.text("http.target")).or(full);
        path.map(path_of)
    }

    /// The language of its SDK, if it says one that is known.
    #[must_use]
    pub fn language(&self) -> Option<Language> {
        Language::of_attribute(self.resource.get("telemetry.sdk.language")?.as_str()?)
    }

    /// Nanoseconds from start to end; zero if the clock went backwards.
    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// Whether it is the sending side of a hop.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.kind.sends()
    }

    /// Whether it is the receiving side of a hop.
    #[must_use]
    pub fn receives(&self) -> bool {
        self.kind.receives()
    }

    /// The status of an HTTP response that it sent or received.
    #[must_use]
    pub fn response_status(&self) -> Option<u64> {
        let stable = self.attributes.get("http.response.status_code");
        stable.or_else(|| self.attributes.get("http.status_code"))?.as_u64()
    }

    /// Whether no response of it says otherwise.
    pub(crate) fn succeeded(&self) -> bool {
        self.response_status().is_none_or(|status| status < 400)
    }

    /// Its service, name and kind, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} `{}` ({})", self.service, self.name, self.kind.name())
    }

    fn from_otlp(span: otlp::Span, service: &str, resource: &Attributes, scope: &str) -> Option<(Self, usize)> {
        // A malformed parent still names one: read as a root, the span would claim what it does not say.
        let parent_span_id = match span.parent_span_id.iter().all(|byte| *byte == 0) {
            true => None,
            false => Some(SpanId::from_bytes(&span.parent_span_id)?),
        };
        let link_count = span.links.len();
        let links: Vec<_> = span.links.into_iter().filter_map(Link::from_otlp).collect();
        let malformed_links = link_count - links.len();
        let span = Self {
            trace_id: TraceId::from_bytes(&span.trace_id)?,
            span_id: SpanId::from_bytes(&span.span_id)?,
            parent_span_id,
            service: service.to_owned(),
            resource: resource.clone(),
            scope: scope.to_owned(),
            name: span.name,
            kind: match span.kind {
                2 => SpanKind::Server,
                3 => SpanKind::Client,
                4 => SpanKind::Producer,
                5 => SpanKind::Consumer,
                _ => SpanKind::Internal,
            },
            start_unix_nano: span.start_time_unix_nano,
            end_unix_nano: span.end_time_unix_nano,
            status: span.status.map(Status::from).unwrap_or_default(),
            attributes: attributes(span.attributes),
            events: span.events.into_iter().map(Event::from).collect(),
            links,
        };
        Some((span, malformed_links))
    }
}

// === impl Decoded ===

impl From<TracesData> for Decoded {
    /// Reads what can be read; see <https://opentelemetry.io/docs/specs/otlp/>.
    fn from(traces: TracesData) -> Self {
        let mut decoded = Self::default();
        for resource_spans in traces.resource_spans {
            let resource = attributes(resource_spans.resource.map(|it| it.attributes).unwrap_or_default());
            let service = resource.get("service.name").and_then(Value::as_str).unwrap_or_default();
            for scope_spans in resource_spans.scope_spans {
                let scope = scope_spans.scope.map(|scope| scope.name).unwrap_or_default();
                for span in scope_spans.spans {
                    match Span::from_otlp(span, service, &resource, &scope) {
                        Some((span, malformed_links)) => {
                            decoded.malformed += malformed_links;
                            decoded.spans.push(span);
                        }
                        None => decoded.malformed += 1,
                    }
                }
            }
        }
        decoded
    }
}

// === impl Status, Event and Link ===

impl From<otlp::Status> for Status {
    fn from(status: otlp::Status) -> Self {
        match status.code {
            1 => Self::Ok,
            2 => Self::Error(status.message),
            _ => Self::Unset,
        }
    }
}

impl From<otlp::Event> for Event {
    fn from(event: otlp::Event) -> Self {
        Self { unix_nano: event.time_unix_nano, name: event.name, attributes: attributes(event.attributes) }
    }
}

impl Link {
    fn from_otlp(link: otlp::Link) -> Option<Self> {
        Some(Self {
            trace_id: TraceId::from_bytes(&link.trace_id)?,
            span_id: SpanId::from_bytes(&link.span_id)?,
            attributes: attributes(link.attributes),
        })
    }
}

/// The path of a URL, or of a target that begins with one.
fn path_of(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or(path)
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    pairs.into_iter().map(|pair| (pair.key, json(pair.value))).collect()
}

/// Nested as deeply as the value is, which prost bounds.
fn json(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        None => Value::Null,
        Some(Any::String(text)) => text.into(),
        Some(Any::Bool(flag)) => flag.into(),
        Some(Any::Int(number)) => number.into(),
        Some(Any::Double(number)) => number.into(),
        Some(Any::Array(array)) => array.values.into_iter().map(|value| json(Some(value))).collect(),
        Some(Any::List(list)) => list.values.into_iter().map(|pair| (pair.key, json(pair.value))).collect(),
        Some(Any::Bytes(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otlp_span(trace_id: Vec<u8>, span_id: Vec<u8>, parent_span_id: Vec<u8>) -> otlp::Span {
        otlp::Span { trace_id, span_id, parent_span_id, name: "work".to_owned(), kind: 2, ..Default::default() }
    }

    fn decode(spans: Vec<otlp::Span>) -> Decoded {
        let name = AnyValue { value: Some(Any::String("java-claims".to_owned())) };
        let attributes = vec![KeyValue { key: "service.name".to_owned(), value: Some(name) }];
        Decoded::from(TracesData {
            resource_spans: vec![otlp::ResourceSpans {
                resource: Some(otlp::Resource { attributes }),
                scope_spans: vec![otlp::ScopeSpans { spans, ..Default::default() }],
            }],
        })
    }

    #[test]
    fn malformed_ids_are_counted_and_the_rest_is_kept() {
        let cases: [(otlp::Span, usize, &str); 6] = [
            (otlp_span(vec![1; 16], vec![2; 8], vec![]), 1, "a root"),
            (otlp_span(vec![1; 16], vec![2; 8], vec![0; 8]), 1, "a parent of zeros is no parent"),
            (otlp_span(vec![1; 15], vec![2; 8], vec![]), 0, "a short trace id"),
            (otlp_span(vec![0; 16], vec![2; 8], vec![]), 0, "a trace id of zeros"),
            (otlp_span(vec![1; 16], vec![2; 9], vec![]), 0, "a long span id"),
            (otlp_span(vec![1; 16], vec![2; 8], vec![3; 4]), 0, "a short parent id must not make a root"),
        ];
        for (span, kept, why) in cases {
            let decoded = decode(vec![span]);
            assert_eq!((decoded.spans.len(), decoded.malformed), (kept, 1 - kept), "{why}");
        }

        let mut linked = otlp_span(vec![1; 16], vec![2; 8], vec![]);
        linked.links = vec![otlp::Link::default()];
        let decoded = decode(vec![linked]);
        assert_eq!((decoded.spans.len(), decoded.malformed), (1, 1), "a link to nowhere is left out, its span is kept");
        assert_eq!(decoded.spans[0].service, "java-claims", "the service is the resource's name");
        assert_eq!(decoded.spans[0].kind, SpanKind::Server, "kind 2 is a server span");
    }

    #[test]
    fn the_path_of_a_url_is_found() {
        for (url, path) in [("http://h:1/a/b?q#f", "/a/b"), ("http://h", "/"), ("/a", "/a"), ("", "/")] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }

    #[test]
    fn a_span_survives_json() {
        let span = decode(vec![otlp_span(vec![1; 16], vec![2; 8], vec![3; 8])]).spans.remove(0);
        let json = serde_json::to_value(&span).unwrap();
        assert_eq!(json["span_id"], "0202020202020202", "ids are hex in JSON");
        assert_eq!(serde_json::from_value::<Span>(json).unwrap(), span, "what is written can be read again");
    }
}
