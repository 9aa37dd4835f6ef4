//! A sampler that can be replaced while spans are created.

use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

use crate::config::{Config, SamplerChoice};

#[derive(Clone, Debug)]
pub(crate) struct SwapSampler(Arc<RwLock<Choice>>);

#[derive(Debug)]
struct Choice {
    sampler: Box<dyn ShouldSample>,
    vendor_tracestate: TraceState,
}

// === impl SwapSampler ===

impl SwapSampler {
    pub(crate) fn new(config: &Config) -> Self {
        Self(Arc::new(RwLock::new(Choice::new(config))))
    }

    pub(crate) fn swap(&self, config: &Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Choice::new(config);
    }
}

impl ShouldSample for SwapSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let Choice { sampler, vendor_tracestate } = &*self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut result = sampler.should_sample(parent, trace_id, name, kind, attributes, links);
        if parent.is_none_or(|parent| !parent.span().span_context().is_valid()) {
            result.trace_state = vendor_tracestate.clone();
        }
        result
    }
}

// === impl Choice ===

impl Choice {
    fn new(config: &Config) -> Self {
        Self { sampler: build(config.sampler), vendor_tracestate: config.vendor_tracestate.clone() }
    }
}

fn build(SamplerChoice { parent_based, ratio }: SamplerChoice) -> Box<dyn ShouldSample> {
    let root = match ratio {
        1.0 => Sampler::AlwaysOn,
        0.0 => Sampler::AlwaysOff,
        ratio => Sampler::TraceIdRatioBased(ratio),
    };
    if parent_based { Box::new(Sampler::parent_based(root)) } else { Box::new(root) }
}
