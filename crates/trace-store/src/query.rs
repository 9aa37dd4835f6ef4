//! Traces out, as Tempo answers.
//!
//! <https://grafana.com/docs/tempo/latest/api_docs/>; where the page is silent, the source of Tempo 3.0 was followed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::num::ParseIntError;

use axum::Router;
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;
use serde::Deserialize;

use crate::budget::MAX_SEARCH_ANSWER_BYTES;
use crate::changes;
use crate::index::{Scalar, Term};
use crate::json::{self, Json};
use crate::read::{Answer, Deadline, ReadError, Readers};
use crate::store::{Batch, Counters, ParseTraceIdError, Store, StoredTrace, TraceId, begin_field};
use crate::tempopb::{PartialStatus, TraceByIdMetrics, TraceByIdResponse};
use crate::traceql::{self, MAX_CONDITIONS, Query, QueryError};

const ROOT_NOT_RECEIVED: &str = "<root span not yet received>";
/// How long a search's window may be, in seconds: Tempo's default, 168 hours.
const MAX_SEARCH_SECONDS: u32 = 168 * 3600;
const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 10_000;
const DEFAULT_SPANS_PER_SPAN_SET: u32 = 3;
/// Tempo's default.
const MAX_SPANS_PER_SPAN_SET: u32 = 100;
/// The answer of a lookup may be as long without having room before it is made.
const MEDIUM_ANSWER_BYTES: usize = 1 << 20;
/// Tags that do not mean an attribute that equals their value.
const FIELD_TAGS: [&str; 5] = ["root.service.name", "root.name", "service.name", "name", "status.code"];
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The part of Tempo's HTTP API that the lab uses. Errors are `text/plain` with status 400, as Tempo's.
///
/// - `GET /api/traces/{id}` and `GET /api/v2/traces/{id}`: protobuf with `Accept: application/protobuf`, otherwise
///   protobuf's JSON, which writes ids in base64. An unknown trace is 404 in v1; in v2 it is 200 with an empty trace, as
///   in Tempo. `start` and `end` must be whole seconds and change nothing: they only tell Tempo in which blocks to look.
/// - `GET /api/search`: `q` (one spanset of equalities) or `tags` (logfmt), `start`, `end` (seconds; the trace must
///   overlap), `limit` (at most 10,000), `spss` (at most 100). Newest trace first, always JSON. As in Tempo, trace ids are without leading zeros, and a
///   tag compares with text only: `name`, `service.name`, `root.name` and `root.service.name` contain it, `status.code`
///   and attributes of spans and resources equal it. Each tag may match another span of the trace.
///   At most 32 conditions or tags, and 8 MiB of answer.
/// - `GET /api/echo` and `GET /ready`: for probes. `GET /status`: the [`Counters`] as JSON, which Tempo does not have.
/// - `GET /api/changes`, which Tempo does not have either: in traces that got spans after `after`, every value that spans
///   have as attribute `tag`, in text. `{"at": …, "complete": …, "values": […]}`: `at` is the next `after`; if not
///   `complete`, anything may have changed: it was the first question, the store has restarted since, or there was more
///   than it remembers. With `wait` (milliseconds, 4,000 at most) the answer waits for a change.
///
/// Lookups and searches run on a thread that may block, one at a time, and for three seconds at most: beyond that the
/// answer is 503.
pub fn query_app(store: Store) -> Router {
    Router::new()
        .route("/api/traces/{id}", get(trace_v1))
        .route("/api/v2/traces/{id}", get(trace_v2))
        .route("/api/search", get(search))
        .route("/api/changes", get(changes::changes))
        .route("/api/echo", get("echo"))
        .route("/ready", get("ready"))
        .route("/status", get(status))
        .with_state(Readers::new(store))
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
    #[error("the trace is longer than {0} bytes in JSON: request it with `Accept: application/protobuf`")]
    TooLong(usize),
    #[error(transparent)]
    Read(#[from] ReadError),
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
    #[error("invalid tags: {count} tags: at most {MAX_CONDITIONS} are allowed")]
    TooManyTags { count: usize },
    #[error("invalid limit: must be a positive number")]
    Limit,
    #[error("limit {0} exceeds max limit {MAX_LIMIT}")]
    LimitTooLarge(u32),
    #[error("spans per span set exceeds {MAX_SPANS_PER_SPAN_SET}. received {0}")]
    TooManySpans(u32),
    #[error("the answer is longer than {MAX_SEARCH_ANSWER_BYTES} bytes: request less with limit or spss")]
    TooLong,
    #[error("http parameter start must be before end. received start={start} end={end}")]
    Window { start: u32, end: u32 },
    #[error("range specified by start and end exceeds 168h0m0s. received start={start} end={end}")]
    WindowTooLong { start: u32, end: u32 },
    #[error("{0} is not supported here, only by Tempo")]
    Unsupported(&'static str),
    #[error(transparent)]
    Read(#[from] ReadError),
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
    spans_per_span_set: usize,
}

#[derive(Debug)]
enum Filter {
    Spans(Query),
    Tags(BTreeMap<String, String>),
}

/// A trace that a search found: not what it holds, which may be evicted meanwhile.
#[derive(Debug)]
struct Found {
    start_unix_nanos: u64,
    id: TraceId,
}

/// What a search returns about a trace, for any query.
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
    State(readers): State<Readers>,
    Path(id): Path<String>,
    UrlQuery(parameters): UrlQuery<LookupParameters>,
    headers: HeaderMap,
) -> Result<Response, LookupError> {
    parameters.check()?;
    let id = id.parse()?;
    let max_bytes = longest(&readers.store, id);
    let lookup = move |store: &Store, _| {
        let Some(trace) = still(store, id, max_bytes)? else { return Ok(Answer::default()) };
        if wants_protobuf(&headers) {
            let mut body = Vec::with_capacity(trace.encoded_len());
            trace.encode(&mut body);
            return Ok(Answer { content_type: PROTOBUF, body: Some(body) });
        }
        let mut json = Json::new(max_bytes);
        json::trace(&mut json, "batches", &trace);
        in_json(json, LookupError::TooLong(max_bytes))
    };
    readers.read(reserved(max_bytes), lookup).await
}

async fn trace_v2(
    State(readers): State<Readers>,
    Path(id): Path<String>,
    UrlQuery(parameters): UrlQuery<LookupParameters>,
    headers: HeaderMap,
) -> Result<Response, LookupError> {
    parameters.check()?;
    let id = id.parse()?;
    let max_bytes = longest(&readers.store, id);
    let lookup = move |store: &Store, _| {
        let trace = still(store, id, max_bytes)?;
        let mut response = TraceByIdResponse {
            metrics: Some(TraceByIdMetrics { inspected_bytes: trace.as_ref().map_or(0, |trace| trace.bytes as u64) }),
            ..TraceByIdResponse::default()
        };
        if trace.as_ref().is_some_and(|trace| trace.is_partial) {
            response.set_status(PartialStatus::Partial);
            let max_bytes = store.limits().max_trace_bytes;
            response.message = format!("Trace exceeds maximum size of {max_bytes} bytes, a partial trace is returned");
        }
        if wants_protobuf(&headers) {
            let length = trace.as_ref().map_or(0, StoredTrace::encoded_len);
            let mut body = Vec::with_capacity(length + response.encoded_len() + 16);
            begin_field(1, length, &mut body);
            trace.iter().for_each(|trace| trace.encode(&mut body));
            response.encode_raw(&mut body);
            return Ok(Answer { content_type: PROTOBUF, body: Some(body) });
        }
        let mut json = Json::new(max_bytes);
        json::trace_by_id_response(&mut json, &response, trace.as_ref());
        in_json(json, LookupError::TooLong(max_bytes))
    };
    readers.read(reserved(max_bytes), lookup).await
}

/// As Tempo does, protobuf if it is named anywhere in `Accept`, without regard to weights.
fn wants_protobuf(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default().contains(PROTOBUF)
}

/// How long the JSON of a trace may be: what a trace is charged is more than its usual JSON takes.
fn longest(store: &Store, id: TraceId) -> usize {
    store.trace_bytes(id).unwrap_or_default().max(MEDIUM_ANSWER_BYTES)
}

/// The trace, once there is room for its answer: nothing that waits holds what may be evicted meanwhile.
fn still(store: &Store, id: TraceId, max_bytes: usize) -> Result<Option<StoredTrace>, ReadError> {
    let trace = store.trace(id);
    if trace.as_ref().is_some_and(|trace| trace.bytes > max_bytes) { Err(ReadError::Grew) } else { Ok(trace) }
}

const fn reserved(max_bytes: usize) -> usize {
    if max_bytes > MEDIUM_ANSWER_BYTES { max_bytes } else { 0 }
}

fn in_json<E>(json: Json, too_long: E) -> Result<Answer, E> {
    json.into_bytes().map(|body| Answer { content_type: JSON, body: Some(body) }).ok_or(too_long)
}

async fn status(State(readers): State<Readers>) -> axum::Json<Counters> {
    axum::Json(readers.store.counters())
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
        match self {
            Self::Read(error) => error.into_response(),
            error => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    }
}

// === search ===

async fn search(
    State(readers): State<Readers>,
    UrlQuery(parameters): UrlQuery<SearchParameters>,
) -> Result<Response, SearchError> {
    let search = Search::try_from(parameters)?;
    readers.read(0, move |store, deadline| search.answer(store, deadline)).await
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
        if let Filter::Tags(tags) = &filter
            && tags.len() > MAX_CONDITIONS
        {
            return Err(SearchError::TooManyTags { count: tags.len() });
        }
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
            (start, end) if end - start > MAX_SEARCH_SECONDS => return Err(SearchError::WindowTooLong { start, end }),
            (start, end) => Some((start.into(), end.into())),
        };
        let spans_per_span_set = match spans_per_span_set {
            0 => MAX_SPANS_PER_SPAN_SET,
            1..=MAX_SPANS_PER_SPAN_SET => spans_per_span_set,
            more => return Err(SearchError::TooManySpans(more)),
        };
        match limit {
            0 => Err(SearchError::Limit),
            1..=MAX_LIMIT => {
                Ok(Self { filter, window, limit: limit as usize, spans_per_span_set: spans_per_span_set as usize })
            }
            more => Err(SearchError::LimitTooLarge(more)),
        }
    }
}

impl Search {
    fn answer(&self, store: &Store, deadline: Deadline) -> Result<Answer, SearchError> {
        let held = store.counters();
        let mut found = Vec::new();
        for id in store.candidates(self.filter.terms()) {
            deadline.check()?;
            found.extend(store.trace(id).and_then(|trace| self.find(trace)));
            // So that this is no longer than what will be shown, or twice as long.
            if found.len() >= 2 * self.limit {
                self.keep_newest(&mut found);
            }
        }
        self.keep_newest(&mut found);
        let mut json = Json::new(MAX_SEARCH_ANSWER_BYTES);
        let mut answer = json.object();
        let mut traces = found.iter().filter_map(|found| store.trace(found.id)).peekable();
        if traces.peek().is_some() {
            answer.field("traces").list(traces, |json, trace| {
                if deadline.check().is_ok() {
                    self.trace(json, &trace);
                }
            });
        }
        let metrics = answer.field("metrics").object();
        let metrics = metrics.u32("inspectedTraces", held.traces_held.try_into().unwrap_or(u32::MAX));
        drop(metrics.u64("inspectedBytes", held.bytes_held).u32("completedJobs", 1).u32("totalJobs", 1));
        drop(answer);
        deadline.check()?;
        in_json(json, SearchError::TooLong)
    }

    fn find(&self, trace: StoredTrace) -> Option<Found> {
        // Most traces end here, so that only the others are summed up.
        if !self.filter.allows_spans_of(&trace) {
            return None;
        }
        let summary = Summary::of(&trace);
        let is_found =
            self.window.is_none_or(|window| summary.overlaps(window)) && self.filter.allows(&trace, &summary);
        let start_unix_nanos = summary.start_unix_nanos;
        is_found.then_some(Found { start_unix_nanos, id: trace.id })
    }

    fn keep_newest(&self, found: &mut Vec<Found>) {
        found.sort_unstable_by_key(|found| (Reverse(found.start_unix_nanos), found.id));
        found.truncate(self.limit);
    }

    fn trace(&self, json: &mut Json, trace: &StoredTrace) {
        let summary = Summary::of(trace);
        let (root_service, root_name) = summary.root.unwrap_or_default();
        let duration_millis = summary.end_unix_nanos.saturating_sub(summary.start_unix_nanos) / 1_000_000;
        let mut object = json
            .object()
            .text("traceID", trace.id.to_string().trim_start_matches('0'))
            .text("rootServiceName", if root_service.is_empty() { ROOT_NOT_RECEIVED } else { root_service })
            .text("rootTraceName", root_name)
            .u64("startTimeUnixNano", summary.start_unix_nanos)
            .u32("durationMs", duration_millis.try_into().unwrap_or(u32::MAX));
        let Filter::Spans(query) = &self.filter else { return };
        let (mut shown, mut matched) = (Vec::new(), 0_u32);
        for (batch, span) in trace.spans().filter(|(batch, span)| query.matches(&batch.resource, span)) {
            matched = matched.saturating_add(1);
            if shown.len() < self.spans_per_span_set {
                shown.push((batch, span));
            }
        }
        let span_set = |json: &mut Json| {
            let spans = |json: &mut Json, (batch, span): (&Batch, &Span)| found_span(json, query, batch, span);
            let mut object = json.object();
            object.field("spans").list(shown.iter().copied(), spans);
            object.u32("matched", matched);
        };
        span_set(object.field("spanSet"));
        object.field("spanSets").list([()], |json, ()| span_set(json));
        let mut services = object.field("serviceStats").object();
        for (service, (spans, errors)) in &summary.services {
            services.field(service).object().u32("spanCount", *spans).u32("errorCount", *errors);
        }
    }
}

fn found_span(json: &mut Json, query: &Query, batch: &Batch, span: &Span) {
    let id = span.span_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let attributes = query.asked_attributes(&batch.resource, span);
    json.object()
        .text("spanID", &id)
        .text("name", if query.asks_name() { &span.name } else { "" })
        .u64("startTimeUnixNano", span.start_time_unix_nano)
        .u64("durationNanos", span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano))
        .list("attributes", &attributes, |json, (key, value)| {
            let mut object = json.object().text("key", key);
            json::any_value_inner(object.field("value"), value);
        });
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
    /// What a trace must hold to be found: the part that the index knows.
    fn terms(&self) -> Box<dyn Iterator<Item = Term<'_>> + '_> {
        match self {
            Self::Spans(query) => Box::new(query.terms()),
            Self::Tags(tags) => Box::new(
                tags.iter()
                    .filter(|(key, _)| !FIELD_TAGS.contains(&key.as_str()))
                    .map(|(key, value)| Term { key: Some(key), value: Scalar::Text(value) }),
            ),
        }
    }

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
        match self {
            Self::Read(error) => error.into_response(),
            error => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    }
}
