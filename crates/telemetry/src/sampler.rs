//! A sampler that can be exchanged while spans are made.

use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry::trace::{Link, SpanKind, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

use crate::config::SamplerChoice;

#[derive(Clone, Debug)]
pub(crate) struct SwapSampler(Arc<RwLock<Box<dyn ShouldSample>>>);

// === impl SwapSampler ===

impl SwapSampler {
    pub(crate) fn new(choice: SamplerChoice) -> Self {
        Self(Arc::new(RwLock::new(build(choice))))
    }

    pub(crate) fn swap(&self, choice: SamplerChoice) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = build(choice);
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
        let sampler = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sampler.should_sample(parent, trace_id, name, kind, attributes, links)
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
