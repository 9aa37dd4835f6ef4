//! What the application puts into baggage and reads from it.
//!
//! Baggage is sent with the context to every service that is called, so it contains only what all of them may know.

use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};

pub use chain::vocabulary::TENANT;
/// What is being tried out.
pub const FEATURE_FLAGS: &str = "feature.flags";

/// The tenant. What is read here is recorded on the active span, so that a trace shows where it was readable.
#[must_use]
pub fn tenant() -> Option<String> {
    let cx = Context::current();
    let baggage = cx.baggage();
    for key in [TENANT, FEATURE_FLAGS] {
        if let Some(value) = baggage.get(key) {
            cx.span().set_attribute(KeyValue::new(key, value.clone()));
        }
    }
    baggage.get(TENANT).map(ToString::to_string)
}

/// The current context with more baggage; members that are there already stay as they are.
#[must_use]
pub fn with_members(more: &[(String, String)]) -> Context {
    let cx = Context::current();
    let mut members = telemetry::baggage::members(&cx, |_| true);
    let new = more.iter().filter(|(key, _)| cx.baggage().get(key).is_none());
    members.extend(new.map(|(key, value)| KeyValue::new(key.clone(), value.clone()).into()));
    cx.with_baggage(members)
}
