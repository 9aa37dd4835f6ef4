//! Members of the baggage of a context, filtered by key.

use opentelemetry::Context;
use opentelemetry::baggage::{BaggageExt, KeyValueMetadata};

/// The members of `cx`'s baggage whose keys `keep` lets through.
pub fn members(cx: &Context, keep: impl Fn(&str) -> bool) -> Vec<KeyValueMetadata> {
    let members = cx.baggage().iter().filter(|(key, _)| keep(key.as_str()));
    members
        .map(|(key, (value, metadata))| KeyValueMetadata::new(key.clone(), value.clone(), metadata.clone()))
        .collect()
}
