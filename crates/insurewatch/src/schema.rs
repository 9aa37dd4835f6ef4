//! What may be set, gathered from the crates that know it.

use chain::Service;
use settings::Schema;
use telemetry::config::LIVE_SETTINGS;

use crate::services;

/// The schema of the whole chain.
pub(crate) fn schema() -> Schema {
    Service::ALL.iter().fold(Schema::new(), |schema, service| {
        let schema = schema.with(*service, services::settings(*service));
        if service.has_sdk() { schema.with(*service, LIVE_SETTINGS) } else { schema }
    })
}
