//! Traces out, as Tempo answers.
//!
//! <https://grafana.com/docs/tempo/latest/api_docs/>; where the page is silent, the source of Tempo 3.0 was followed.

use std::collections::BTreeMap;
use std::num::ParseIntError;

use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, TracesData};
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::{self, Object};
use crate::store::{Counters, ParseTraceIdError, Store, StoredTrace};
use crate::tempopb::{PartialStatus, TraceByIdMetrics, TraceByIdResponse};
use crate::traceql::{self, Query, QueryError};

const ROOT_NOT_RECEIVED: &str = "<root span not yet received>";
/// How long a search's window may be, in seconds: Tempo's default, 168 hours.
const MAX_SEARCH_SECONDS: u32 = 168 * 3600;
const DEFAULT_LIMIT: u32 = 20;
const DEFAULT_SPANS_PER_SPAN_SET: u32 = 3;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Tempo's HTTP API, as far as the lab uses it. Errors are `text/plain` with status 400, as Tempo's.
///
/// - `GET /api/traces/{id}` and `GET /api/v2/traces/{id}`: protobuf with `Accept: application/protobuf`, otherwise
///   protobuf's JSON, which writes ids in base64. An unknown trace is 404 in v1; in v2 it is 200 with an empty trace, as
///   in Tempo. `start` and `end` must be whole seconds and change nothing: they only tell Tempo in which blocks to look.
/// - `GET /api/search`: `q` (one spanset of equalities) or `tags` (logfmt), `start`, `end` (seconds; the trace must
///   overlap), `limit`, `spss`. Newest trace first, always JSON. As in Tempo, trace ids are without leading zeros, and a
///   tag compares with text only: `name`, `service.name`, `root.name` and `root.service.name` contain it, `status.code`
///   and attributes of spans and resources equal it. Each tag may match another span of the trace.
/// - `GET /api/echo` and `GET /ready`: for probes. `GET /status`: the [`Counters`] as JSON, which Tempo does not have.
pub fn query_app(store: Store) -> Router {
    Router::new()
        .route("/api/traces/{id}", get(trace_v1))
        .route("/api/v2/traces/{id}", get(trace_v2))
        .route("/api/search", get(search))
        .route("/api/echo", get("echo"))
        .route("/ready", get("ready"))
        .route("/status", get(status))
        .with_state(store)
}

/// Why a lookup was turned away.
#[derive(Debug, thiserror::Error)]
enum LookupError {
    #[error(transparent)]
    TraceId(#[from] ParseTraceIdError),
    #[error("invalid start: {0}")]
    Start(ParseIntError),
    #[error("invalid end: {0}")]
    End(ParseIntError),
    #[error("http parameter start must be before end. received start={start} end={end}")]
    Window { start: i64, end: i64 },
}

/// Why a search was turned away.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("invalid request: can't specify tags and q in the same query")]
    TagsAndQuery,
    #[error("invalid tags: tag {0} has been set twice")]
    TagTwice(String),
    #[error("invalid tags: {expected} at pos {position}")]
    Tags { expected: &'static str, position: usize },
    #[error("invalid {parameter}: {error}")]
    Number { parameter: &'static str, error: ParseIntError },
    #[error("invalid limit: must be a positive number")]
    Limit,
    #[error("http parameter start must be before end. received start={start} end={end}")]
    Window { start: u32, end: u32 },
    #[error("range specified by start and end exceeds 168h0m0s. received start={start} end={end}")]
    TooLong { start: u32, end: u32 },
    #[error("{0} is not supported here, only by Tempo")]
    Unsupported(&'static str),
}

#[derive(Debug, Deserialize)]
struct LookupParameters {
    start: Option<String>,
    end: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SearchParameters {
    q: Option<String>,
    tags: Option<String>,
    start: Option<String>,
    end: Option<String>,
    limit: Option<String>,
    spss: Option<String>,
    min_duration: Option<String>,
    max_duration: Option<String>,
}

#[derive(Debug)]
struct Search {
    filter: Filter,
    /// Seconds since the epoch, both included.
    window: Option<(u64, u64)>,
    limit: usize,
    /// 0: all.
    spans_per_span_set: usize,
}

#[derive(Debug)]
enum Filter {
    Spans(Query),
    Tags(BTreeMap<String, String>),
}

/// What a search says of a trace, whatever was asked.
#[derive(Debug, Default)]
struct Summary<'t> {
    root: Option<(&'t str, &'t str)>,
    start_unix_nanos: u64,
    end_unix_nanos: u64,
    /// Spans and those with an error, by service.
    services: BTreeMap<&'t str, (u32, u32)>,
}

// === lookup ===

async fn trace_v1(
    State(store): State<Store>,
    Path(id): Path<String>,
    UrlQuery(parameters): UrlQuery<LookupParameters>,
    headers: HeaderMap,
) -> Result<Response, LookupError> {
    parameters.check()?;
    let Some(trace) = store.trace(id.parse()?) else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let trace = TracesData { resource_spans: trace.to_resource_spans() };
    Ok(answer(&headers, &trace, |trace| json::trace_object("batches", &trace.resource_spans)))
}

async fn trace_v2(
    State(store): State<Store>,
    Path(id): Path<String>,
    UrlQuery(parameters): UrlQuery<LookupParameters>,
    headers: HeaderMap,
) -> Result<Response, LookupError> {
    parameters.check()?;
    let trace = store.trace(id.parse()?);
    let mut response = TraceByIdResponse {
        trace: Some(TracesData {
            resource_spans: trace.as_ref().map(StoredTrace::to_resource_spans).unwrap_or_default(),
        }),
        metrics: Some(TraceByIdMetrics { inspected_bytes: trace.as_ref().map_or(0, |trace| trace.bytes as u64) }),
        ..TraceByIdResponse::default()
    };
    if trace.is_some_and(|trace| trace.is_partial) {
        response.set_status(PartialStatus::Partial);
        let max_bytes = store.limits().max_trace_bytes;
        response.message = format!("Trace exceeds maximum size of {max_bytes} bytes, a partial trace is returned");
    }
    Ok(answer(&headers, &response, json::trace_by_id_response))
}

/// As Tempo does, protobuf if it is named anywhere in `Accept`, without regard to weights.
fn answer<M: Message>(headers: &HeaderMap, message: &M, to_json: impl Fn(&M) -> Value) -> Response {
    const PROTOBUF: &str = "application/protobuf";
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains(PROTOBUF) {
        ([(header::CONTENT_TYPE, PROTOBUF)], message.encode_to_vec()).into_response()
    } else {
        Json(to_json(message)).into_response()
    }
}

async fn status(State(store): State<Store>) -> Json<Counters> {
    Json(store.counters())
}

// === impl LookupParameters ===

impl LookupParameters {
    fn check(&self) -> Result<(), LookupError> {
        let seconds =
            |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::parse).transpose();
        let start: Option<i64> = seconds(&self.start).map_err(LookupError::Start)?;
        let end: Option<i64> = seconds(&self.end).map_err(LookupError::End)?;
        match (start, end) {
            (Some(start), Some(end)) if end <= start => Err(LookupError::Window { start, end }),
            _ => Ok(()),
        }
    }
}

// === impl LookupError ===

impl IntoResponse for LookupError {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, self.to_string()).into_response()
    }
}

// === search ===

async fn search(
    State(store): State<Store>,
    UrlQuery(parameters): UrlQuery<SearchParameters>,
) -> Result<Json<Value>, SearchError> {
    let search = Search::try_from(parameters)?;
    Ok(Json(search.answer(&store.traces())))
}

// === impl Search ===

impl TryFrom<SearchParameters> for Search {
    type Error = SearchError;

    fn try_from(parameters: SearchParameters) -> Result<Self, Self::Error> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if given(parameters.min_duration).is_some() {
            return Err(SearchError::Unsupported("minDuration"));
        }
        if given(parameters.max_duration).is_some() {
            return Err(SearchError::Unsupported("maxDuration"));
        }
        let filter = match (given(parameters.q), given(parameters.tags)) {
            (Some(_), Some(_)) => return Err(SearchError::TagsAndQuery),
            (Some(query), None) => Filter::Spans(Query::parse(&query)?),
            (None, tags) => Filter::Tags(parse_logfmt(&tags.unwrap_or_default())?),
        };
        let number = |parameter: &'static str, text: Option<String>| {
            given(text)
                .map(|text| text.parse::<u32>().map_err(|error| SearchError::Number { parameter, error }))
                .transpose()
        };
        let start = number("start", parameters.start)?.unwrap_or_default();
        let end = number("end", parameters.end)?.unwrap_or_default();
        let limit = number("limit", parameters.limit)?.unwrap_or(DEFAULT_LIMIT);
        let spans_per_span_set = number("spss", parameters.spss)?.unwrap_or(DEFAULT_SPANS_PER_SPAN_SET);
        let window = match (start, end) {
            (0, 0) => None,
            (start, end) if end <= start => return Err(SearchError::Window { start, end }),
            (start, end) if end - start > MAX_SEARCH_SECONDS => return Err(SearchError::TooLong { start, end }),
            (start, end) => Some((start.into(), end.into())),
        };
        if limit == 0 {
            return Err(SearchError::Limit);
        }
        Ok(Self { filter, window, limit: limit as usize, spans_per_span_set: spans_per_span_set as usize })
    }
}

impl Search {
    fn answer(&self, traces: &[StoredTrace]) -> Value {
        let mut found = traces
            .iter()
            // Most traces end here, so that only the others are summed up.
            .filter(|trace| self.filter.allows_spans_of(trace))
            .map(|trace| (trace, Summary::of(trace)))
            .filter(|(_, summary)| self.window.is_none_or(|window| summary.overlaps(window)))
            .filter(|(trace, summary)| self.filter.allows(trace, summary))
            .collect::<Vec<_>>();
        found.sort_by_key(|(trace, summary)| (std::cmp::Reverse(summary.start_unix_nanos), trace.id));
        found.truncate(self.limit);
        let bytes = traces.iter().map(|trace| trace.bytes as u64).sum();
        let metrics = Object::default()
            .u32("inspectedTraces", traces.len().try_into().unwrap_or(u32::MAX))
            .u64("inspectedBytes", bytes)
            .u32("completedJobs", 1)
            .u32("totalJobs", 1);
        Object::default()
            .list("traces", &found, |(trace, summary)| self.trace(trace, summary))
            .set("metrics", metrics.into())
            .into()
    }

    fn trace(&self, trace: &StoredTrace, summary: &Summary<'_>) -> Value {
        let (root_service, root_name) = summary.root.unwrap_or_default();
        let duration_millis = summary.end_unix_nanos.saturating_sub(summary.start_unix_nanos) / 1_000_000;
        let services = summary.services.iter().map(|(service, (spans, errors))| {
            ((*service).to_owned(), Object::default().u32("spanCount", *spans).u32("errorCount", *errors).into())
        });
        let object = Object::default()
            .text("traceID", trace.id.to_string().trim_start_matches('0'))
            .text("rootServiceName", if root_service.is_empty() { ROOT_NOT_RECEIVED } else { root_service })
            .text("rootTraceName", root_name)
            .u64("startTimeUnixNano", summary.start_unix_nanos)
            .u32("durationMs", duration_millis.try_into().unwrap_or(u32::MAX));
        let Filter::Spans(query) = &self.filter else { return object.into() };
        let span_set = self.span_set(query, trace);
        object
            .set("spanSet", span_set.clone())
            .set("spanSets", json!([span_set]))
            .set("serviceStats", Value::Object(services.collect()))
            .into()
    }

    fn span_set(&self, query: &Query, trace: &StoredTrace) -> Value {
        let matched = trace.spans().filter(|(batch, span)| query.matches(&batch.resource, span)).collect::<Vec<_>>();
        let shown = match self.spans_per_span_set {
            0 => matched.len(),
            most => most,
        };
        let spans = matched.iter().take(shown).map(|(batch, span)| span_object(query, &batch.resource, span));
        Object::default()
            .set("spans", spans.collect())
            .u32("matched", matched.len().try_into().unwrap_or(u32::MAX))
            .into()
    }
}

fn span_object(query: &Query, resource: &ResourceSpans, span: &Span) -> Value {
    let id = span.span_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let attributes = query.asked_attributes(resource, span);
    Object::default()
        .text("spanID", &id)
        .text("name", if query.asks_name() { &span.name } else { "" })
        .u64("startTimeUnixNano", span.start_time_unix_nano)
        .u64("durationNanos", span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano))
        .list("attributes", &attributes, |(key, value)| {
            Object::default().text("key", key).set("value", json::any_value_inner(value)).into()
        })
        .into()
}

// === impl Summary ===

impl<'t> Summary<'t> {
    fn of(trace: &'t StoredTrace) -> Self {
        let mut summary = Self { start_unix_nanos: u64::MAX, ..Self::default() };
        for (batch, span) in trace.spans() {
            let service = service_name(&batch.resource);
            if summary.root.is_none() && traceql::is_root(span) {
                summary.root = Some((service, &span.name));
            }
            summary.start_unix_nanos = summary.start_unix_nanos.min(span.start_time_unix_nano);
            summary.end_unix_nanos = summary.end_unix_nanos.max(span.end_time_unix_nano);
            let (spans, errors) = summary.services.entry(service).or_default();
            *spans += 1;
            *errors += u32::from(span.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error));
        }
        summary
    }

    const fn overlaps(&self, (start_seconds, end_seconds): (u64, u64)) -> bool {
        self.start_unix_nanos <= end_seconds * NANOS_PER_SECOND
            && self.end_unix_nanos >= start_seconds * NANOS_PER_SECOND
    }
}

fn service_name(resource: &ResourceSpans) -> &str {
    text(traceql::resource_attribute(resource, "service.name")).unwrap_or_default()
}

fn text(value: Option<&any_value::Value>) -> Option<&str> {
    match value {
        Some(any_value::Value::StringValue(text)) => Some(text),
        _ => None,
    }
}

// === impl Filter ===

impl Filter {
    /// Necessary, and for a query enough.
    fn allows_spans_of(&self, trace: &StoredTrace) -> bool {
        match self {
            Self::Spans(query) => trace.spans().any(|(batch, span)| query.matches(&batch.resource, span)),
            Self::Tags(_) => true,
        }
    }

    fn allows(&self, trace: &StoredTrace, summary: &Summary<'_>) -> bool {
        match self {
            Self::Spans(_) => true,
            Self::Tags(tags) => tags.iter().all(|(key, value)| tag_matches(key, value, trace, summary)),
        }
    }
}

fn tag_matches(key: &str, value: &str, trace: &StoredTrace, summary: &Summary<'_>) -> bool {
    let equals = |actual: Option<&any_value::Value>| text(actual) == Some(value);
    match key {
        "root.service.name" => summary.root.is_some_and(|(service, _)| service.contains(value)),
        "root.name" => summary.root.is_some_and(|(_, name)| name.contains(value)),
        _ => trace.spans().any(|(batch, span)| match key {
            "service.name" => service_name(&batch.resource).contains(value),
            "name" => span.name.contains(value),
            "status.code" => traceql::status_word(span) == value,
            _ => {
                equals(traceql::attribute(&span.attributes, key))
                    || equals(traceql::resource_attribute(&batch.resource, key))
            }
        }),
    }
}

/// `key=value key="quoted value"`, by <https://pkg.go.dev/github.com/go-logfmt/logfmt>.
fn parse_logfmt(tags: &str) -> Result<BTreeMap<String, String>, SearchError> {
    let mut parsed = BTreeMap::new();
    let mut characters = tags.chars().enumerate().peekable();
    let position = |characters: &mut std::iter::Peekable<_>| {
        characters.peek().map_or(tags.chars().count(), |(index, _): &(usize, char)| *index) + 1
    };
    loop {
        while characters.next_if(|(_, character)| character.is_whitespace()).is_some() {}
        if characters.peek().is_none() {
            return Ok(parsed);
        }
        let mut key = String::new();
        while let Some((_, character)) =
            characters.next_if(|(_, character)| !character.is_whitespace() && !"=\"".contains(*character))
        {
            key.push(character);
        }
        if key.is_empty() {
            return Err(SearchError::Tags { expected: "expected a key", position: position(&mut characters) });
        }
        let mut value = String::new();
        if characters.next_if(|(_, character)| *character == '=').is_some() {
            if characters.next_if(|(_, character)| *character == '"').is_some() {
                loop {
                    match characters.next() {
                        None => {
                            let position = position(&mut characters);
                            return Err(SearchError::Tags { expected: "unterminated quoted value", position });
                        }
                        Some((_, '"')) => break,
                        Some((_, '\\')) => value.extend(characters.next().map(|(_, character)| character)),
                        Some((_, character)) => value.push(character),
                    }
                }
            } else {
                while let Some((_, character)) =
                    characters.next_if(|(_, character)| !character.is_whitespace() && !"=\"".contains(*character))
                {
                    value.push(character);
                }
            }
        }
        if characters.peek().is_some_and(|(_, character)| !character.is_whitespace()) {
            return Err(SearchError::Tags { expected: "expected a space", position: position(&mut characters) });
        }
        if parsed.contains_key(&key) {
            return Err(SearchError::TagTwice(key));
        }
        parsed.insert(key, value);
    }
}

// === impl SearchError ===

impl IntoResponse for SearchError {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, self.to_string()).into_response()
    }
}
