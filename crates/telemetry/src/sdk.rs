//! The SDK of this process: set up once, changed while it runs, flushed at the end.

use std::sync::{Mutex, PoisonError};

use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use settings::{ConfigError, Environment};

use crate::config::Config;
use crate::export::{Queue, SpanCounts, SwapProcessor};
use crate::propagation::Propagator;
use crate::sampler::SwapSampler;
use crate::{SCOPE, logs};

/// The SDK of this process. There can be one: provider, propagator and subscriber are process-wide.
#[derive(Debug)]
pub struct Telemetry {
    config: Mutex<Config>,
    sdk: Option<Sdk>,
}

/// Absent when `OTEL_SDK_DISABLED` is true: the global no-op provider then passes the caller's context on.
#[derive(Debug)]
struct Sdk {
    provider: SdkTracerProvider,
    sampler: SwapSampler,
    processor: SwapProcessor,
}

/// The SDK could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A variable has a value that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The exporter cannot be built.
    #[error("the OTLP exporter cannot be built: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// Somebody set a subscriber before.
    #[error("telemetry was set up before in this process")]
    Twice,
}

/// Changed settings, ready to be put in place: everything that can fail has succeeded. Dropped, it changes nothing.
#[derive(Debug)]
pub struct Change {
    config: Config,
    propagator: Propagator,
    /// Absent where spans go where they went before.
    queue: Option<Queue>,
}

/// A change cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A variable has a value that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The exporter cannot be built.
    #[error("the OTLP exporter cannot be built: {0}")]
    Exporter(#[from] ExporterBuildError),
}

// === impl Telemetry ===

impl Telemetry {
    /// Sets up provider, propagator, the bridge from `tracing`, and JSON logs on standard output.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// A bad variable, or a second call in one process.
    pub fn init(env: &dyn Environment) -> Result<Self, InitError> {
        let config = Config::read(env)?;
        let sdk = if config.disabled { None } else { Some(Sdk::new(&config)?) };
        let tracer = sdk.as_ref().map(|sdk| sdk.provider.tracer(SCOPE));
        logs::init(&config.service_name, tracer).map_err(|_| InitError::Twice)?;
        if let Some(sdk) = &sdk {
            global::set_tracer_provider(sdk.provider.clone());
        }
        global::set_text_map_propagator(Propagator::new(&config.inject, &config.extract));
        Ok(Self { config: Mutex::new(config), sdk })
    }

    /// Reads changed settings and builds what they need, but changes nothing yet.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// A bad value, or an exporter that cannot be built.
    pub fn prepare(&self, env: &dyn Environment) -> Result<Change, PrepareError> {
        let config = Config::read(env)?;
        let moved = config.export != self.config.lock().unwrap_or_else(PoisonError::into_inner).export;
        let queue = match &self.sdk {
            Some(sdk) if moved => Some(sdk.processor.prepare(&config.export)?),
            _ => None,
        };
        Ok(Change { propagator: Propagator::new(&config.inject, &config.extract), config, queue })
    }

    /// Puts a change in place: the propagator is set as at the start, sampler and span queue are exchanged. Service name,
    /// resource and `OTEL_SDK_DISABLED` are fixed at the start.
    pub fn swap(&self, Change { config, propagator, queue }: Change) {
        if let Some(sdk) = &self.sdk {
            sdk.sampler.swap(&config);
            if let Some(queue) = queue {
                sdk.processor.swap(queue);
            }
        }
        global::set_text_map_propagator(propagator);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// What became of the spans so far.
    #[must_use]
    pub fn counts(&self) -> SpanCounts {
        self.sdk.as_ref().map(|sdk| sdk.processor.counts()).unwrap_or_default()
    }

    /// Exports what waits, within some seconds, and logs what could not be exported.
    pub async fn shutdown(&self) -> SpanCounts {
        let Some(Sdk { provider, processor, .. }) = &self.sdk else { return SpanCounts::default() };
        let provider = provider.clone();
        let flushed = processor.clone();
        let flush = tokio::task::spawn_blocking(move || {
            flushed.drain();
            // The provider's processor is the one that was just drained.
            let _ = provider.shutdown();
        });
        let panicked = flush.await.is_err();
        let counts = processor.counts();
        let lost = counts.dropped + counts.failed + counts.pending;
        if lost > 0 || panicked {
            tracing::error!(exported = counts.exported, lost, "not every span could be exported");
        } else {
            tracing::info!(exported = counts.exported, "every span was exported");
        }
        counts
    }
}

// === impl Sdk ===

impl Sdk {
    fn new(config: &Config) -> Result<Self, ExporterBuildError> {
        let attributes =
            config.resource_attributes.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let resource =
            Resource::builder().with_attributes(attributes).with_service_name(config.service_name.clone()).build();
        let sampler = SwapSampler::new(config);
        let processor = SwapProcessor::new(&config.export)?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler.clone())
            .with_span_processor(processor.clone())
            .build();
        Ok(Self { provider, sampler, processor })
    }
}
