//! Traces in memory, bounded by bytes.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use prost::encoding::{self, WireType};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::budget::{self, RECEIVING, Room};
use crate::changes::{Changes, Position};
use crate::index::{Fingerprint, Fingerprints, Index, Scalar, Term};
use crate::size::{self, BATCH_OVERHEAD_BYTES};
use crate::traceql::for_each_term;

/// A resource with more values than this is not indexed: its values are noted for each of its traces, and a request can
/// have many of both. The default limit of SDKs is 128 attributes
/// (<https://opentelemetry.io/docs/specs/otel/common/#attribute-limits>).
const MAX_INDEXED_RESOURCE_VALUES: usize = 256;

/// Bounds of a [`Store`], both in bytes.
///
/// The measure is the encoded length of all that is held plus, for each message in it, about what it takes decoded and
/// indexed, such as [`SPAN_OVERHEAD_BYTES`](crate::SPAN_OVERHEAD_BYTES); resource and scope once per request and trace. It
/// is a stable measure, not what the allocator gave. Open requests and answers take a bounded amount beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All traces together; beyond it traces are evicted completely, the one that arrived first goes first.
    pub max_bytes: usize,
    /// One trace; beyond it further spans of that trace are rejected. Never more than `max_bytes`.
    pub max_trace_bytes: usize,
}

/// A bounded set of traces; clones share it.
///
/// When it is full, the trace whose first span arrived first is evicted whole, however recently it grew. Spans of an
/// evicted trace that arrive later start it again, without what was evicted. Of a span id that arrives twice in a trace
/// (exporters retry) the first is kept.
#[derive(Clone, Debug)]
pub struct Store {
    limits: Limits,
    fingerprints: Fingerprints,
    /// A request is many times larger decoded, so there is one at a time.
    decoding: Arc<Semaphore>,
    receiving: Room,
    held: Arc<Mutex<Held>>,
    /// Where the changes stand.
    position: watch::Sender<Position>,
}

/// What a store has seen and what it holds.
///
/// `spans_received` is always the sum of held, evicted, duplicate and rejected spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Spans in all requests.
    pub spans_received: u64,
    /// Spans that were rejected, by reason.
    pub spans_rejected: Rejected,
    /// Spans whose id the trace held already.
    pub spans_duplicate: u64,
    /// Spans that went with an evicted trace.
    pub spans_evicted: u64,
    /// Traces evicted to keep within the bound.
    pub traces_evicted: u64,
    /// Spans held now.
    pub spans_held: u64,
    /// Traces held now.
    pub traces_held: u64,
    /// Bytes held now, by the measure of [`Limits`].
    pub bytes_held: u64,
    /// Requests with metrics or logs, which are accepted and not kept.
    pub requests_not_kept: NotKept,
}

/// Requests whose content is not kept, by what it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NotKept {
    /// Metrics.
    pub metrics: u64,
    /// Logs.
    pub logs: u64,
}

/// Spans that were rejected, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The trace id is not 16 bytes, or all zero.
    pub invalid_trace_id: u64,
    /// The span id is not 8 bytes, or all zero.
    pub invalid_span_id: u64,
    /// The trace would have passed [`Limits::max_trace_bytes`].
    pub trace_too_large: u64,
}

/// The id of a trace; shows itself as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TraceId([u8; 16]);

/// Why a text is no trace id; worded as in Tempo.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ParseTraceIdError {
    #[error("trace IDs can only contain hex characters: invalid character '{character}' at position {position}")]
    NotHex { character: char, position: usize },
    #[error("trace IDs can't be larger than 128 bits")]
    TooLong,
}

/// What is held of one trace, shared with the store.
#[derive(Clone, Debug)]
pub(crate) struct StoredTrace {
    pub(crate) id: TraceId,
    pub(crate) batches: Vec<Arc<Batch>>,
    pub(crate) bytes: usize,
    /// Whether spans of it were rejected because it had reached its bound.
    pub(crate) is_partial: bool,
}

/// Spans of one trace that came in one request from one resource and scope.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Resource and schema URL; its `scope_spans` are empty.
    pub(crate) resource: Arc<ResourceSpans>,
    /// Scope and schema URL; its `spans` are empty.
    pub(crate) scope: Arc<ScopeSpans>,
    pub(crate) spans: Vec<Span>,
}

/// A batch on its way in, with what is the same for all batches of its resource or scope.
#[derive(Debug)]
struct Incoming {
    id: TraceId,
    batch: Batch,
    /// What resource and scope are charged.
    overhead_bytes: usize,
    /// `None` if the resource has too many.
    resource_values: Option<Rc<[Fingerprint]>>,
}

#[derive(Debug, Default)]
struct Held {
    traces: HashMap<TraceId, Trace, RandomState>,
    /// Every id in `traces`, by first arrival.
    arrivals: VecDeque<TraceId>,
    /// How many arrived before the first of `arrivals`.
    first_arrival: u64,
    index: Index,
    changes: Changes,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Trace {
    /// Its place in the order of arrival.
    arrival: u64,
    batches: Vec<Arc<Batch>>,
    span_ids: HashSet<[u8; 8], RandomState>,
    bytes: usize,
    is_partial: bool,
}

// === impl Limits ===

impl Limits {
    /// The default bound of one trace, in bytes: room for 10,000 spans of a kilobyte each.
    ///
    /// A Tempo of default configuration takes 5 MB, without any charge for overhead
    /// (<https://grafana.com/docs/tempo/latest/configuration/#overrides>, `max_bytes_per_trace`).
    pub const MAX_TRACE_BYTES: usize = budget::MAX_TRACE_BYTES;
}

// === impl Store ===

impl Store {
    /// A store of at most `max_bytes`, and of [`Limits::MAX_TRACE_BYTES`] for a single trace.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self::with_limits(Limits { max_bytes, max_trace_bytes: Limits::MAX_TRACE_BYTES })
    }

    /// A store with bounds of your own.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let max_trace_bytes = limits.max_trace_bytes.min(limits.max_bytes);
        let limits = Limits { max_trace_bytes, ..limits };
        // Each of these hashes by another secret.
        let epoch = std::hash::RandomState::new().build_hasher().finish();
        Self {
            limits,
            fingerprints: Fingerprints::default(),
            decoding: Arc::new(Semaphore::new(1)),
            receiving: Room::new(RECEIVING),
            held: Arc::default(),
            position: watch::Sender::new(Position { epoch, count: 0 }),
        }
    }

    /// The room for request bodies.
    pub(crate) const fn receiving(&self) -> &Room {
        &self.receiving
    }

    /// The turn to decode a request and insert it; no client may be waited for meanwhile.
    pub(crate) async fn turn_to_decode(&self) -> Option<SemaphorePermit<'_>> {
        self.decoding.acquire().await.ok()
    }

    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes in what an exporter sent, evicts what no longer fits, and says what of the request was rejected.
    pub fn insert(&self, request: ExportTraceServiceRequest) -> Rejected {
        let (batches, received, mut rejected) = split_by_trace(request, &self.fingerprints);
        let mut held = self.lock();
        for incoming in batches {
            rejected.trace_too_large += held.add(incoming, self.limits.max_trace_bytes, &self.fingerprints);
        }
        held.evict_beyond(self.limits.max_bytes);
        held.counters.spans_received += received;
        held.counters.spans_rejected.add(rejected);
        let count = held.changes.count();
        self.position.send_if_modified(|position| std::mem::replace(&mut position.count, count) != count);
        rejected
    }

    /// Waits until something changed after this position.
    pub(crate) async fn changed(&self, after: Position) {
        // The sender lives as long as this store.
        let _ = self.position.subscribe().wait_for(|position| *position != after).await;
    }

    /// Where the changes stand, and which traces changed after `after`; `None` if nobody knows.
    pub(crate) fn changes_since(&self, after: Option<Position>) -> (Position, Option<HashSet<TraceId>>) {
        let held = self.lock();
        let position = *self.position.borrow();
        let after = after.filter(|after| after.epoch == position.epoch);
        (position, after.and_then(|after| held.changes.since(after.count)))
    }

    /// Counts what is accepted but not stored.
    pub(crate) fn count_not_kept(&self, count: impl FnOnce(&mut NotKept)) {
        count(&mut self.lock().counters.requests_not_kept);
    }

    /// What was seen so far and what is held now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    pub(crate) fn trace(&self, id: TraceId) -> Option<StoredTrace> {
        self.lock().traces.get(&id).map(|trace| trace.share(id))
    }

    /// What a trace takes, if it is there.
    pub(crate) fn trace_bytes(&self, id: TraceId) -> Option<usize> {
        self.lock().traces.get(&id).map(|trace| trace.bytes)
    }

    /// By first arrival: every trace that holds all of these terms, whichever span has them, among some that do not.
    pub(crate) fn candidates<'t>(&self, terms: impl Iterator<Item = Term<'t>>) -> Vec<TraceId> {
        let wanted = terms.map(|term| self.fingerprints.of(term)).collect::<Vec<_>>();
        let held = self.lock();
        if wanted.is_empty() {
            return held.arrivals.iter().copied().collect();
        }
        let id = |arrival: u64| held.arrivals.get(usize::try_from(arrival.checked_sub(held.first_arrival)?).ok()?);
        held.index.candidates(&wanted).filter_map(id).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Batches by trace, the number of spans in the request, and those rejected for their ids.
fn split_by_trace(request: ExportTraceServiceRequest, fingerprints: &Fingerprints) -> (Vec<Incoming>, u64, Rejected) {
    let (mut batches, mut received, mut rejected) = (Vec::new(), 0, Rejected::default());
    for mut resource in request.resource_spans {
        let scopes = std::mem::take(&mut resource.scope_spans);
        let resource = Arc::new(resource);
        let resource_values = resource_values(&resource, fingerprints);
        let resource_bytes = size::of_resource(&resource);
        for mut scope in scopes {
            let spans = std::mem::take(&mut scope.spans);
            let scope = Arc::new(scope);
            let overhead_bytes = BATCH_OVERHEAD_BYTES + resource_bytes + size::of_scope(&scope);
            let mut by_trace = BTreeMap::<TraceId, Vec<Span>>::new();
            for span in spans {
                received += 1;
                match (TraceId::from_bytes(&span.trace_id), span_id(&span)) {
                    (None, _) => rejected.invalid_trace_id += 1,
                    (_, None) => rejected.invalid_span_id += 1,
                    (Some(id), Some(_)) => {
                        // A growing list begins with room for four, and each span may be of another trace.
                        by_trace.entry(id).or_insert_with(|| Vec::with_capacity(1)).push(span);
                    }
                }
            }
            batches.extend(by_trace.into_iter().map(|(id, spans)| Incoming {
                id,
                batch: Batch { resource: Arc::clone(&resource), scope: Arc::clone(&scope), spans },
                overhead_bytes,
                resource_values: resource_values.clone(),
            }));
        }
    }
    (batches, received, rejected)
}

/// `None` if there are more than [`MAX_INDEXED_RESOURCE_VALUES`].
fn resource_values(resource: &ResourceSpans, fingerprints: &Fingerprints) -> Option<Rc<[Fingerprint]>> {
    let mut values = Vec::new();
    let attributes = resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    for_each_term(attributes, |term| values.push(fingerprints.of(term)));
    (values.len() <= MAX_INDEXED_RESOURCE_VALUES).then(|| values.into())
}

fn span_id(span: &Span) -> Option<[u8; 8]> {
    <[u8; 8]>::try_from(span.span_id.as_slice()).ok().filter(|id| *id != [0; 8])
}

// === impl Held ===

impl Held {
    /// Adds what is new and fits; returns how many spans did not fit.
    fn add(&mut self, incoming: Incoming, max_trace_bytes: usize, fingerprints: &Fingerprints) -> u64 {
        let Incoming { id, mut batch, overhead_bytes: mut bytes, resource_values } = incoming;
        let trace = self.traces.entry(id).or_insert_with(|| {
            let arrival = self.first_arrival + self.arrivals.len() as u64;
            self.arrivals.push_back(id);
            Trace { arrival, ..Trace::default() }
        });
        let (mut duplicate, mut too_large) = (0, 0);
        batch.spans.retain(|span| {
            let Some(span_id) = span_id(span) else { return false };
            let span_bytes = size::of_span(span);
            if trace.span_ids.contains(&span_id) {
                duplicate += 1;
                return false;
            }
            if trace.bytes + bytes + span_bytes > max_trace_bytes {
                too_large += 1;
                return false;
            }
            trace.span_ids.insert(span_id);
            bytes += span_bytes;
            true
        });
        trace.is_partial |= too_large > 0;
        self.counters.spans_duplicate += duplicate;
        if !batch.spans.is_empty() {
            batch.spans.shrink_to_fit();
            if let Some(mut entry) = self.index.entry(trace.arrival) {
                match resource_values {
                    Some(values) => values.iter().for_each(|value| entry.note(*value)),
                    None => entry.note_incomplete(),
                }
                for span in &batch.spans {
                    entry.note(fingerprints.of(Term { key: None, value: Scalar::Text(&span.name) }));
                    for_each_term(&span.attributes, |term| entry.note(fingerprints.of(term)));
                }
            }
            self.counters.spans_held += batch.spans.len() as u64;
            self.counters.bytes_held += bytes as u64;
            self.changes.push(id);
            trace.bytes += bytes;
            trace.batches.push(Arc::new(batch));
        } else if trace.batches.is_empty() {
            // Only a trace that was new a moment ago holds nothing, so it is the last that arrived.
            self.traces.remove(&id);
            self.arrivals.pop_back();
        }
        self.counters.traces_held = self.traces.len() as u64;
        too_large
    }

    fn evict_beyond(&mut self, max_bytes: usize) {
        while self.counters.bytes_held > max_bytes as u64 {
            let Some(trace) = self.arrivals.pop_front().and_then(|id| self.traces.remove(&id)) else { return };
            self.first_arrival += 1;
            self.index.forget_before(self.first_arrival);
            let spans = trace.span_ids.len() as u64;
            self.counters.traces_evicted += 1;
            self.counters.traces_held -= 1;
            self.counters.spans_evicted += spans;
            self.counters.spans_held -= spans;
            self.counters.bytes_held -= trace.bytes as u64;
        }
    }
}

// === impl Trace ===

impl Trace {
    fn share(&self, id: TraceId) -> StoredTrace {
        StoredTrace { id, batches: self.batches.clone(), bytes: self.bytes, is_partial: self.is_partial }
    }
}

// === impl StoredTrace ===

impl StoredTrace {
    /// Its batches; those of one resource in one request are together.
    pub(crate) fn by_resource(&self) -> impl Iterator<Item = &[Arc<Batch>]> {
        self.batches.chunk_by(|one, next| Arc::ptr_eq(&one.resource, &next.resource))
    }

    /// Appends an OTLP `TracesData` in protobuf. What is held is written as it is: a copy would take several times as much.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for batches in self.by_resource() {
            let Some(first) = batches.first() else { continue };
            begin_field(1, resource_length(batches), out);
            first.resource.encode_raw(out);
            for batch in batches {
                begin_field(2, scope_length(batch), out);
                batch.scope.encode_raw(out);
                batch.spans.iter().for_each(|span| encoding::message::encode(2, span, out));
            }
        }
    }

    /// The length of what [`encode`](Self::encode) appends.
    pub(crate) fn encoded_len(&self) -> usize {
        self.by_resource().map(|batches| field_length(1, resource_length(batches))).sum()
    }

    /// Every span with the batch that it came in.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (&Batch, &Span)> {
        self.batches.iter().flat_map(|batch| batch.spans.iter().map(move |span| (batch.as_ref(), span)))
    }
}

/// Begins a message within a message.
pub(crate) fn begin_field(tag: u32, length: usize, out: &mut Vec<u8>) {
    encoding::encode_key(tag, WireType::LengthDelimited, out);
    encoding::encode_varint(length as u64, out);
}

fn field_length(tag: u32, length: usize) -> usize {
    encoding::key_len(tag) + encoding::encoded_len_varint(length as u64) + length
}

fn resource_length(batches: &[Arc<Batch>]) -> usize {
    let scopes = batches.iter().map(|batch| field_length(2, scope_length(batch))).sum::<usize>();
    batches.first().map_or(0, |first| first.resource.encoded_len()) + scopes
}

fn scope_length(batch: &Batch) -> usize {
    batch.scope.encoded_len() + batch.spans.iter().map(|span| encoding::message::encoded_len(2, span)).sum::<usize>()
}

// === impl Rejected ===

impl Rejected {
    /// All of them, whatever the reason.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.invalid_trace_id + self.invalid_span_id + self.trace_too_large
    }

    const fn add(&mut self, other: Self) {
        self.invalid_trace_id += other.invalid_trace_id;
        self.invalid_span_id += other.invalid_span_id;
        self.trace_too_large += other.trace_too_large;
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spans rejected: {} with an invalid trace id, {} with an invalid span id, {} beyond the bound of their trace",
            self.invalid_trace_id, self.invalid_span_id, self.trace_too_large
        )
    }
}

// === impl TraceId ===

impl TraceId {
    /// The id, if it is one: 16 bytes that are not all zero.
    ///
    /// <https://www.w3.org/TR/trace-context/#trace-id>
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        <[u8; 16]>::try_from(bytes).ok().filter(|id| *id != [0; 16]).map(Self)
    }
}

impl FromStr for TraceId {
    type Err = ParseTraceIdError;

    /// Up to 32 hex digits of either case; a short id is padded with zeros on the left, as Tempo does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_hex = text.chars().enumerate().find(|(_, character)| !character.is_ascii_hexdigit());
        if let Some((index, character)) = not_hex {
            return Err(ParseTraceIdError::NotHex { character, position: index + 1 });
        }
        if text.len() > 32 {
            return Err(ParseTraceIdError::TooLong);
        }
        u128::from_str_radix(text, 16).map(|id| Self(id.to_be_bytes())).map_err(|_| ParseTraceIdError::TooLong)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}
