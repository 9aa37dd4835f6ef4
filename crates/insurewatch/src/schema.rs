//! What may be set, gathered from the crates that know it.

use std::sync::LazyLock;

use chain::Service;
use scenario::{Schema, Setting};
use telemetry::config::{LIVE_VARIABLES, LiveVariable};

/// The schema of the whole chain.
pub(crate) fn schema() -> Schema {
    static SETTINGS: LazyLock<Vec<(Service, Vec<Setting>)>> =
        LazyLock::new(|| Service::ALL.iter().map(|service| (*service, settings(*service))).collect());
    SETTINGS.iter().fold(Schema::new(), |schema, (service, settings)| schema.with(*service, settings))
}

fn settings(service: Service) -> Vec<Setting> {
    let own: &[LiveVariable] = match service {
        Service::PythonApi => python_api::seams::SETTINGS,
        Service::Gateway => gateway::seams::SETTINGS,
        Service::JavaClaims => java_claims::seams::SETTINGS,
        Service::ClaimsWorker => claims_worker::seams::SETTINGS,
        Service::NodePolicyStore | Service::FraudPartner => &[],
    };
    let sdk = if service.has_sdk() { LIVE_VARIABLES } else { &[] };
    let setting =
        |variable: &LiveVariable| Setting { key: variable.name, allowed: variable.allowed, check: variable.check };
    own.iter().chain(sdk).map(setting).collect()
}
