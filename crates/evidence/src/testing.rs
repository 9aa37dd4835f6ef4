//! Builders of spans for tests.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, TracesData};
use scenario::expectation::SpanKind;
use serde_json::{Value, json};

use crate::claim::ClaimEvidence;
use crate::span::{Attributes, CLAIM_ID, Link, Span, SpanId, Status, TraceId};

pub(crate) const CLAIM: &str = "c-1";
pub(crate) const TRACE_A: u128 = 0xa1;
pub(crate) const TRACE_B: u128 = 0xb2;
/// 2026-11-01, in nanoseconds.
const DAY: u64 = 1_793_491_200_000_000_000;

pub(crate) const FRONT: u64 = 1;
pub(crate) const CALL_CLAIMS: u64 = 2;
pub(crate) const CLAIMS: u64 = 3;
pub(crate) const CALL_POLICY: u64 = 4;
pub(crate) const POLICY: u64 = 5;

pub(crate) fn trace_id(id: u128) -> TraceId {
    format!("{id:x}").parse().unwrap()
}

pub(crate) fn span_id(id: u64) -> SpanId {
    format!("{id:x}").parse().unwrap()
}

pub(crate) fn traceparent(trace: u128, span: u64, flags: u8) -> String {
    format!("00-{trace:032x}-{span:016x}-{flags:02x}")
}

/// A span of trace A; `millis` are its start and end.
pub(crate) fn span(
    id: u64,
    parent: Option<u64>,
    service: &str,
    kind: SpanKind,
    name: &str,
    millis: (u64, u64),
) -> Span {
    Span {
        trace_id: trace_id(TRACE_A),
        span_id: span_id(id),
        parent_span_id: parent.map(span_id),
        service: service.to_owned(),
        resource: Attributes::new(),
        scope: "test".to_owned(),
        name: name.to_owned(),
        kind,
        start_unix_nano: DAY + millis.0 * 1_000_000,
        end_unix_nano: DAY + millis.1 * 1_000_000,
        status: Status::Unset,
        attributes: Attributes::new(),
        events: Vec::new(),
        links: Vec::new(),
    }
}

impl Span {
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn header(self, name: &str, value: impl Into<String>) -> Self {
        self.with(&format!("http.request.header.{name}"), json!([value.into()]))
    }

    pub(crate) fn without_headers(mut self) -> Self {
        self.attributes.retain(|key, _| !key.starts_with("http.request.header."));
        self
    }

    pub(crate) fn link(mut self, trace: u128, span: u64) -> Self {
        self.links.push(Link { trace_id: trace_id(trace), span_id: span_id(span), attributes: Attributes::new() });
        self
    }
}

/// Both ends of a hop have these headers on record.
fn context(span: Span, trace: u128, parent: u64) -> Span {
    span.header("traceparent", traceparent(trace, parent, 1)).header("baggage", "tenant.id=acme%20corp")
}

pub(crate) fn whole_chain() -> Vec<Span> {
    vec![
        span(FRONT, None, "python-api", SpanKind::Server, "POST /claims", (0, 12)).with(CLAIM_ID, CLAIM),
        context(span(CALL_CLAIMS, Some(FRONT), "python-api", SpanKind::Client, "POST", (1, 11)), TRACE_A, CALL_CLAIMS)
            .with("http.request.method", "POST")
            .with("url.full", "http://gateway:7702/api/claims?x=1"),
        context(
            span(CLAIMS, Some(CALL_CLAIMS), "java-claims", SpanKind::Server, "POST /api/claims", (2, 10)),
            TRACE_A,
            CALL_CLAIMS,
        )
        .with(CLAIM_ID, CLAIM)
        .with("tenant.id", "acme corp"),
        context(span(CALL_POLICY, Some(CLAIMS), "java-claims", SpanKind::Client, "GET", (3, 7)), TRACE_A, CALL_POLICY)
            .with("http.request.method", "GET")
            .with("url.full", "http://node-policy-store:7704/policies/P-1"),
        context(
            span(POLICY, Some(CALL_POLICY), "node-policy-store", SpanKind::Server, "GET /policies/:id", (4, 6)),
            TRACE_A,
            CALL_POLICY,
        )
        .with(CLAIM_ID, CLAIM),
    ]
}

/// The chain with one span changed.
pub(crate) fn chain_with(id: u64, change: impl FnOnce(Span) -> Span) -> Vec<Span> {
    let mut spans = whole_chain();
    let at = spans.iter().position(|span| span.span_id == span_id(id)).unwrap();
    let changed = change(spans.remove(at));
    spans.insert(at, changed);
    spans
}

/// The chain without some spans.
pub(crate) fn chain_without(ids: &[u64]) -> Vec<Span> {
    let gone: Vec<_> = ids.iter().map(|id| span_id(*id)).collect();
    whole_chain().into_iter().filter(|span| !gone.contains(&span.span_id)).collect()
}

/// python-api sends b3, java-claims reads traceparent: two traces.
pub(crate) fn lab_1() -> Vec<Span> {
    let b3 = format!("{TRACE_A:032x}-{CALL_CLAIMS:016x}-1");
    whole_chain()
        .into_iter()
        .map(|mut span| {
            if span.service != "python-api" {
                span.trace_id = trace_id(TRACE_B);
            }
            match span.span_id {
                id if id == span_id(CALL_CLAIMS) => span.without_headers().header("b3", &b3),
                id if id == span_id(CLAIMS) => {
                    Span { parent_span_id: None, ..span.without_headers().header("b3", &b3) }
                }
                id if id == span_id(CALL_POLICY) || id == span_id(POLICY) => {
                    span.header("traceparent", traceparent(TRACE_B, CALL_POLICY, 1))
                }
                _ => span,
            }
        })
        .collect()
}

pub(crate) fn evidence(spans: Vec<Span>) -> ClaimEvidence {
    ClaimEvidence::from_spans(CLAIM, spans)
}

/// Writes spans as an SDK would.
pub(crate) fn to_otlp(spans: &[Span]) -> TracesData {
    TracesData { resource_spans: spans.iter().map(resource_spans).collect() }
}

fn resource_spans(span: &Span) -> otlp::ResourceSpans {
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(any_value(&Value::from(span.service.as_str()))),
        ..KeyValue::default()
    };
    let id = |text: String, bytes: usize| u128::from_str_radix(&text, 16).unwrap().to_be_bytes()[16 - bytes..].to_vec();
    let wire = otlp::Span {
        trace_id: id(span.trace_id.to_string(), 16),
        span_id: id(span.span_id.to_string(), 8),
        parent_span_id: span.parent_span_id.map(|parent| id(parent.to_string(), 8)).unwrap_or_default(),
        name: span.name.clone(),
        kind: match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
        start_time_unix_nano: span.start_unix_nano,
        end_time_unix_nano: span.end_unix_nano,
        attributes: span
            .attributes
            .iter()
            .map(|(key, value)| KeyValue { key: key.clone(), value: Some(any_value(value)), ..KeyValue::default() })
            .collect(),
        ..otlp::Span::default()
    };
    otlp::ResourceSpans {
        resource: Some(Resource { attributes: vec![service], ..Resource::default() }),
        scope_spans: vec![otlp::ScopeSpans { spans: vec![wire], ..otlp::ScopeSpans::default() }],
        ..otlp::ResourceSpans::default()
    }
}

fn any_value(value: &Value) -> AnyValue {
    let value = match value {
        Value::Array(values) => {
            any_value::Value::ArrayValue(ArrayValue { values: values.iter().map(any_value).collect() })
        }
        other => any_value::Value::StringValue(other.as_str().unwrap_or_default().to_owned()),
    };
    AnyValue { value: Some(value) }
}
