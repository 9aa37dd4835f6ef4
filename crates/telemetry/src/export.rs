//! Export of spans: a queue that can be replaced, an exporter that retries, and a count of what happened to each span.
//!
//! The SDK's batch processor waits in front of an exporter that gives a batch up within a second, and neither says how
//! many spans it lost. Here the queue's bound is kept before it, so that a drop is counted, and a failed batch is tried
//! again as long as the Collector's exporters would try.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanProcessor};
use serde::{Deserialize, Serialize};
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};

use crate::config::{Export, Protocol};

/// As long as the Collector's `retry_on_failure.max_elapsed_time`.
const RETRY_FOR: Duration = Duration::from_secs(300);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// How long a queue may take to empty itself when it is replaced or the process ends.
const DRAIN_FOR: Duration = Duration::from_secs(5);

/// What became of the spans that this process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanCounts {
    /// Taken by the endpoint.
    pub exported: u64,
    /// Waiting, or on their way.
    pub pending: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Given up because the endpoint would not take them.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Totals {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// A span processor whose queue and exporter can be exchanged while spans end.
#[derive(Clone, Debug)]
pub(crate) struct SwapProcessor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: RwLock<Queue>,
    resource: RwLock<Resource>,
    totals: Arc<Totals>,
    retiring: Mutex<Vec<JoinHandle<()>>>,
}

/// One batch processor with its exporter.
#[derive(Debug)]
pub(crate) struct Queue {
    batch: BatchSpanProcessor,
    state: Arc<QueueState>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct QueueState {
    pending: AtomicUsize,
    overflowing: AtomicBool,
    closing: Mutex<bool>,
    closed: Condvar,
}

#[derive(Debug)]
struct RetryingExporter {
    inner: SpanExporter,
    state: Arc<QueueState>,
    totals: Arc<Totals>,
}

// === impl SwapProcessor ===

impl SwapProcessor {
    /// Must be called within a Tokio runtime, which carries the gRPC channel.
    pub(crate) fn new(config: &Export) -> Result<Self, ExporterBuildError> {
        let totals = Arc::default();
        let current = Queue::new(config, &totals, None)?;
        let resource = Resource::builder_empty().build();
        Ok(Self(Arc::new(Shared {
            current: RwLock::new(current),
            resource: RwLock::new(resource),
            totals,
            retiring: Mutex::default(),
        })))
    }

    /// Builds a queue that can be put in place. Must be called within a Tokio runtime, too.
    pub(crate) fn prepare(&self, config: &Export) -> Result<Queue, ExporterBuildError> {
        let resource = self.0.resource.read().unwrap_or_else(PoisonError::into_inner).clone();
        Queue::new(config, &self.0.totals, Some(&resource))
    }

    /// Puts a queue in place; the replaced one empties itself on its own thread.
    pub(crate) fn swap(&self, next: Queue) {
        // The write lock waits for spans that are being put into the old queue, so none is put in after its end.
        let old = std::mem::replace(&mut *self.0.current.write().unwrap_or_else(PoisonError::into_inner), next);
        let mut retiring = self.0.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        retiring.retain(|thread| !thread.is_finished());
        retiring.push(std::thread::spawn(move || old.drain()));
    }

    pub(crate) fn counts(&self) -> SpanCounts {
        let totals = &self.0.totals;
        let pending = self.0.current.read().unwrap_or_else(PoisonError::into_inner).state.pending.load(Relaxed);
        SpanCounts {
            exported: totals.exported.load(Relaxed),
            pending: u64::try_from(pending).unwrap_or(u64::MAX),
            dropped: totals.dropped.load(Relaxed),
            failed: totals.failed.load(Relaxed),
        }
    }

    /// Empties the current queue and waits for those replaced; blocks for some seconds at most.
    pub(crate) fn drain(&self) {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).drain();
        for thread in self.0.retiring.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a replaced span queue ended by a panic");
            }
        }
    }
}

impl SpanProcessor for SwapProcessor {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).put(span, &self.0.totals);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).batch.force_flush()
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.drain();
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        *self.0.resource.write().unwrap_or_else(PoisonError::into_inner) = resource.clone();
        self.0.current.write().unwrap_or_else(PoisonError::into_inner).batch.set_resource(resource);
    }
}

// === impl Queue ===

impl Queue {
    fn new(config: &Export, totals: &Arc<Totals>, resource: Option<&Resource>) -> Result<Self, ExporterBuildError> {
        let state = Arc::<QueueState>::default();
        let exporter = RetryingExporter { inner: exporter(config)?, state: state.clone(), totals: totals.clone() };
        let batch_config = BatchConfigBuilder::default()
            .with_max_queue_size(config.max_queue_size)
            .with_max_export_batch_size(config.max_export_batch_size)
            .with_scheduled_delay(config.schedule_delay)
            .build();
        let mut batch = BatchSpanProcessor::new(exporter, batch_config);
        if let Some(resource) = resource {
            batch.set_resource(resource);
        }
        Ok(Self { batch, state, capacity: config.max_queue_size })
    }

    fn put(&self, span: SpanData, totals: &Totals) {
        // The processor reckons only waiting spans against its bound, we also those on their way: ours is met first.
        if self.state.pending.fetch_add(1, Relaxed) >= self.capacity {
            self.state.pending.fetch_sub(1, Relaxed);
            totals.dropped.fetch_add(1, Relaxed);
            if !self.state.overflowing.swap(true, Relaxed) {
                tracing::warn!(capacity = self.capacity, "the span queue is full: spans are being dropped");
            }
            return;
        }
        self.batch.on_end(span);
    }

    fn drain(&self) {
        // Rejected or late spans are counted by the exporter, so the results say nothing new.
        let _ = self.batch.force_flush();
        *self.state.closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.state.closed.notify_all();
        let _ = self.batch.shutdown_with_timeout(DRAIN_FOR);
    }
}

// === impl QueueState ===

impl QueueState {
    fn is_closing(&self) -> bool {
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, but not beyond the queue's end; whether the queue is ending.
    fn pause(&self, pause: Duration) -> bool {
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let (closing, _) =
            self.closed.wait_timeout_while(closing, pause, |closing| !*closing).unwrap_or_else(PoisonError::into_inner);
        *closing
    }
}

// === impl RetryingExporter ===

impl opentelemetry_sdk::trace::SpanExporter for RetryingExporter {
    /// Runs on the batch processor's own thread and may block it: spans meanwhile wait in the queue.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let began = Instant::now();
        let mut backoff = FIRST_BACKOFF;
        let result = loop {
            let result = self.inner.export(batch.clone()).await;
            let Err(error) = &result else { break result };
            if backoff == FIRST_BACKOFF {
                tracing::warn!(%error, spans, "spans could not be exported, trying again");
            }
            if began.elapsed() >= RETRY_FOR || self.state.pause(backoff) {
                break result;
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        };
        self.state.pending.fetch_sub(spans, Relaxed);
        self.state.overflowing.store(false, Relaxed);
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        match &result {
            Ok(()) => self.totals.exported.fetch_add(spans, Relaxed),
            Err(error) => {
                let message = match self.state.is_closing() {
                    // A line that comes after a switch must not be taken for one of the settings that are in force then.
                    true => {
                        "spans are lost: the endpoint did not accept them before their exporter was replaced or stopped"
                    }
                    false => "spans are lost: the endpoint did not accept them",
                };
                tracing::error!(%error, spans, "{message}");
                self.totals.failed.fetch_add(spans, Relaxed)
            }
        };
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        match self.inner.shutdown_with_timeout(timeout) {
            Err(OTelSdkError::AlreadyShutdown) => Ok(()),
            result => result,
        }
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

fn exporter(config: &Export) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder();
    match config.protocol {
        Protocol::Grpc => {
            let metadata = config.headers.iter().filter_map(|(key, value)| {
                Some((
                    MetadataKey::from_bytes(key.to_ascii_lowercase().as_bytes()).ok()?,
                    value.parse::<MetadataValue<_>>().ok()?,
                ))
            });
            let mut map = MetadataMap::new();
            for (key, value) in metadata {
                map.insert(key, value);
            }
            builder.with_tonic().with_endpoint(&config.endpoint).with_timeout(config.timeout).with_metadata(map).build()
        }
        Protocol::HttpProtobuf => builder
            .with_http()
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(&config.endpoint)
            .with_timeout(config.timeout)
            .with_headers(config.headers.iter().cloned().collect())
            .build(),
    }
}
