//! The SDK of this process: set up once, changed while it runs, flushed at the end.

use std::sync::{Mutex, PoisonError};

use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::config::{Config, ConfigError, Environment};
use crate::export::{SpanCounts, SwapProcessor};
use crate::propagation::Propagator;
use crate::sampler::SwapSampler;
use crate::{SCOPE, logs};

/// The SDK of this process. There can be one: provider, propagator and subscriber are process-wide.
#[derive(Debug)]
pub struct Telemetry {
    config: Mutex<Config>,
    sdk: Option<Sdk>,
}

/// Absent when `OTEL_SDK_DISABLED` is true: the global no-op provider then hands the caller's context through.
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

/// A change could not be made; the former settings stay.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
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
    pub fn init(env: &impl Environment) -> Result<Self, InitError> {
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

    /// Makes the running SDK follow changed settings: the propagator is set as at the start, sampler and span queue
    /// are exchanged. Service name, resource and `OTEL_SDK_DISABLED` are fixed at the start.
    ///
    /// # Errors
    /// A bad value; nothing is changed then.
    pub fn apply(&self, env: &impl Environment) -> Result<(), ApplyError> {
        let next = Config::read(env)?;
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sdk) = &self.sdk {
            if next.export != config.export {
                sdk.processor.swap(&next.export)?;
            }
            sdk.sampler.swap(&next);
        }
        global::set_text_map_propagator(Propagator::new(&next.inject, &next.extract));
        *config = next;
        Ok(())
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
