//! What may be set, gathered from the crates that know it.

use std::sync::LazyLock;

use scenario::{Schema, Service, Setting};
use telemetry::config::LIVE_VARIABLES;

/// The schema of the whole chain.
pub(crate) fn schema() -> Schema {
    static SDK: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        LIVE_VARIABLES
            .iter()
            .map(|variable| Setting { key: variable.name, allowed: variable.allowed, check: variable.check })
            .collect()
    });
    Service::ALL
        .iter()
        .filter(|service| service.has_sdk())
        .fold(Schema::new(), |schema, service| schema.with(*service, &SDK))
}
