//! Builders of spans, and ways to read them.

use chain::{SpanKind, Topology};
use evidence::span::{Attributes, CLAIM_ID, Link, Status};
use evidence::{ClaimEvidence, Collected, HopRow, Reading, Span};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use serde_json::{Value, json};
use wire::{SpanId, TraceHeaders, TraceId};

pub(crate) const CLAIM: &str = "c-1";
pub(crate) const GATEWAY: &str = "python-api -> java-claims";
pub(crate) const LOOKUP: &str = "java-claims -> node-policy-store";
pub(crate) const QUEUE: &str = "java-claims -> claims-worker";
pub(crate) const PARTNER: &str = "claims-worker -> fraud-partner";
pub(crate) const REPORTING: &str = "claims-worker -> java-claims";
/// What the application reads from baggage wherever a claim goes.
pub(crate) const TENANT: &str = "tenant.id";
/// A receiver drops a longer `baggage` header whole (<https://www.w3.org/TR/baggage/#limits>).
pub(crate) const MAX_BAGGAGE_BYTES: usize = 8192;
pub(crate) const TRACE_A: u128 = 0xa1;
pub(crate) const TRACE_B: u128 = 0xb2;
/// 2026-11-01, in nanoseconds.
const DAY: u64 = 1_793_491_200_000_000_000;

pub(crate) const FRONT: u64 = 1;
pub(crate) const CALL_CLAIMS: u64 = 2;
pub(crate) const CLAIMS: u64 = 3;
pub(crate) const CALL_POLICY: u64 = 4;
pub(crate) const POLICY: u64 = 5;
pub(crate) const SEND: u64 = 6;
pub(crate) const PROCESS: u64 = 7;
pub(crate) const CALL_PARTNER: u64 = 8;
pub(crate) const REPORT: u64 = 9;
pub(crate) const REPORTED: u64 = 10;
pub(crate) const AUDIT: u64 = 11;
pub(crate) const NOTIFY: u64 = 12;

/// `tempopb.TraceByIDResponse`; on the wire a message is bytes, so that its trace may be anything.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TraceByIdResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) trace: Vec<u8>,
}

/// What can be changed about a span.
pub(crate) trait SpanExt: Sized {
    fn with(self, key: &str, value: impl Into<Value>) -> Self;
    /// The header, as it is recorded on this kind of span.
    fn header(self, name: &str, value: impl Into<String>) -> Self;
    fn without_headers(self) -> Self;
    /// Without the attributes whose keys hold `part`.
    fn without(self, part: &str) -> Self;
    fn orphan(self) -> Self;
    fn below(self, parent: u64) -> Self;
    fn in_trace(self, trace: u128) -> Self;
    fn link(self, trace: u128, span: u64) -> Self;
}

// === impl Span ===

impl SpanExt for Span {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(key.to_owned(), value.into());
        self
    }

    fn header(self, name: &str, value: impl Into<String>) -> Self {
        let carrier = match self.kind {
            SpanKind::Producer | SpanKind::Consumer => "messaging.header",
            _ => "http.request.header",
        };
        self.with(&format!("{carrier}.{name}"), json!([value.into()]))
    }

    fn without_headers(self) -> Self {
        self.without(".header.")
    }

    fn without(mut self, part: &str) -> Self {
        self.attributes.retain(|key, _| !key.contains(part));
        self
    }

    fn orphan(self) -> Self {
        Self { parent_span_id: None, ..self }
    }

    fn below(self, parent: u64) -> Self {
        Self { parent_span_id: Some(span_id(parent)), ..self }
    }

    fn in_trace(self, trace: u128) -> Self {
        Self { trace_id: trace_id(trace), ..self }
    }

    fn link(mut self, trace: u128, span: u64) -> Self {
        self.links.push(Link { trace_id: trace_id(trace), span_id: span_id(span), attributes: Attributes::new() });
        self
    }
}

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
        scope: chain::vocabulary::RECORDING_SCOPE.to_owned(),
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

/// Both ends of a hop have these headers on record.
fn context(span: Span, trace: u128, parent: u64) -> Span {
    span.header("traceparent", traceparent(trace, parent, 1)).header("baggage", "tenant.id=acme%20corp")
}

/// A receiver of this claim whose application reads the tenant.
fn receiver(id: u64, parent: u64, service: &str, kind: SpanKind, name: &str, millis: (u64, u64)) -> Span {
    let span = span(id, Some(parent), service, kind, name, millis);
    context(span, TRACE_A, parent).with(CLAIM_ID, CLAIM).with("tenant.id", "acme corp")
}

fn call(id: u64, parent: u64, service: &str, method: &str, url: &str, millis: (u64, u64)) -> Span {
    context(span(id, Some(parent), service, SpanKind::Client, method, millis), TRACE_A, id)
        .with("http.request.method", method)
        .with("url.full", url)
}

pub(crate) fn whole_chain() -> Vec<Span> {
    use SpanKind::{Consumer, Internal, Producer, Server};
    let front = span(FRONT, None, "python-api", Server, "POST /claims", (0, 12));
    let send = span(SEND, Some(CLAIMS), "java-claims", Producer, "create claims", (7, 8));
    let audit = span(AUDIT, Some(FRONT), "python-api", Internal, "write_audit", (11, 13));
    let notify = span(NOTIFY, Some(CLAIMS), "java-claims", Internal, "notify_claimant", (9, 10));
    let (claims, policy) = ("http://gateway:7702/api/claims?x=1", "http://node-policy-store:7704/policies/P-1");
    let (checks, report) = ("http://fraud-partner:7706/checks", "http://java-claims:7703/api/claims/c-1/fraud-check");
    let reported = "PUT /api/claims/{id}/fraud-check";
    vec![
        front.with(CLAIM_ID, CLAIM).with("tenant.id", "acme corp"),
        call(CALL_CLAIMS, FRONT, "python-api", "POST", claims, (1, 11)),
        receiver(CLAIMS, CALL_CLAIMS, "java-claims", Server, "POST /api/claims", (2, 10)),
        call(CALL_POLICY, CLAIMS, "java-claims", "GET", policy, (3, 7)),
        receiver(POLICY, CALL_POLICY, "node-policy-store", Server, "GET /policies/:id", (4, 6)),
        context(send, TRACE_A, SEND).with(CLAIM_ID, CLAIM).with("messaging.message.id", CLAIM),
        receiver(PROCESS, SEND, "claims-worker", Consumer, "process claims", (14, 20)),
        call(CALL_PARTNER, PROCESS, "claims-worker", "POST", checks, (15, 16)).without(".header.baggage"),
        call(REPORT, PROCESS, "claims-worker", "PUT", report, (17, 20)),
        receiver(REPORTED, REPORT, "java-claims", Server, reported, (18, 19)),
        audit.with(CLAIM_ID, CLAIM),
        notify.with(CLAIM_ID, CLAIM),
    ]
}

/// What the third party remembers of the whole chain.
pub(crate) fn partner_record() -> TraceHeaders {
    [("traceparent".to_owned(), vec![traceparent(TRACE_A, CALL_PARTNER, 1)])].into_iter().collect()
}

/// The chain with one span changed.
pub(crate) fn chain_with(id: u64, change: impl FnOnce(Span) -> Span) -> Vec<Span> {
    let mut spans = whole_chain();
    self::change(&mut spans, id, change);
    spans
}

/// The span of this id.
pub(crate) fn find(spans: &[Span], id: u64) -> Span {
    spans.iter().find(|span| span.span_id == span_id(id)).unwrap().clone()
}

/// Changes one span.
pub(crate) fn change(spans: &mut [Span], id: u64, change: impl FnOnce(Span) -> Span) {
    let span = spans.iter_mut().find(|span| span.span_id == span_id(id)).unwrap();
    *span = change(span.clone());
}

/// The chain without some spans.
pub(crate) fn chain_without(ids: &[u64]) -> Vec<Span> {
    let gone: Vec<_> = ids.iter().map(|id| span_id(*id)).collect();
    whole_chain().into_iter().filter(|span| !gone.contains(&span.span_id)).collect()
}

/// Moves what stands at or below a span to another trace, of which that span becomes the root.
pub(crate) fn split(spans: &mut [Span], top: u64, trace: u128) {
    let mut moved = vec![span_id(top)];
    // Parents come before children.
    for span in spans {
        let below = span.parent_span_id.is_some_and(|parent| moved.contains(&parent));
        if span.span_id == span_id(top) {
            *span = span.clone().orphan().in_trace(trace);
        } else if below {
            moved.push(span.span_id);
            let old = span.trace_id.to_string();
            *span = span.clone().in_trace(trace);
            for header in span.attributes.values_mut().filter(|value| value.is_array()) {
                *header = serde_json::from_str(&header.to_string().replace(&old, &format!("{trace:032x}"))).unwrap();
            }
        }
    }
}

/// python-api sends b3, java-claims reads traceparent: two traces, and baggage travels in neither.
pub(crate) fn lab_1() -> Vec<Span> {
    let b3 = format!("{TRACE_A:032x}-{CALL_CLAIMS:016x}-1");
    let mut spans = whole_chain();
    split(&mut spans, CLAIMS, TRACE_B);
    let with_b3 = |span: Span| match span.span_id {
        id if [CALL_CLAIMS, CLAIMS].map(span_id).contains(&id) => span.without_headers().header("b3", &b3),
        _ => span.without(".header.baggage"),
    };
    let tenant_of = |span: Span| if span.service == "python-api" { span } else { span.without("tenant.id") };
    spans.into_iter().map(with_b3).map(tenant_of).collect()
}

pub(crate) fn collected(spans: Vec<Span>) -> Collected {
    Collected { evidence: evidence(spans), ..Collected::default() }
}

pub(crate) fn evidence(spans: Vec<Span>) -> ClaimEvidence {
    ClaimEvidence::from_spans(CLAIM, spans)
}

/// Reads spans as those of a claim in the lab's own chain, and hands the reading on.
pub(crate) fn read<T>(evidence: ClaimEvidence, then: impl FnOnce(&Reading<'_>) -> T) -> T {
    let collected = Collected { evidence, ..Collected::default() };
    then(&Reading::new(Topology::LAB, &collected))
}

pub(crate) fn rows(spans: Vec<Span>) -> Vec<HopRow> {
    read(evidence(spans), |reading| reading.rows().to_vec())
}

/// The row of the hop that is written like this.
pub(crate) fn row(spans: Vec<Span>, hop: &str) -> HopRow {
    rows(spans).into_iter().find(|row| row.hop.to_string() == hop).unwrap()
}

/// Writes spans as an SDK would.
pub(crate) fn to_otlp(spans: &[Span]) -> Vec<u8> {
    otlp::TracesData { resource_spans: spans.iter().map(resource_spans).collect() }.encode_to_vec()
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
