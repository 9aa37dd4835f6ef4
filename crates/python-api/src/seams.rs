//! What can be set while the service runs. The defaults are the healthy ones.

use telemetry::config::{Environment, LiveVariable, pairs, read};
use telemetry::live::Live;
use telemetry::server::CallerContext;
use telemetry::{ConfigError, choice};

pub use service::spawn::TaskContext;

choice! {
    /// How the claims service is called.
    ClaimsClient = "CLAIMS_CLIENT" {
        /// By the instrumented client.
        Traced = "traced",
        /// By the same client, on top of an old library that still sends B3 ids of its own making.
        WithLegacyB3 = "with-legacy-b3",
    }
}

choice! {
    /// What becomes of a caller's context at the door.
    Door = "CALLER_CONTEXT" {
        /// The caller's trace goes on.
        Join = "join",
        /// A new trace begins, linked to the caller's: a trust boundary.
        Restart = "restart",
    }
}

const PAIRS: &str = "key=value,key=value with percent-encoded values";
const DOOR_BAGGAGE: LiveVariable =
    LiveVariable { name: "DOOR_BAGGAGE", allowed: PAIRS, check: |list| pairs(list).map(drop) };

/// What this service can be told beside the variables of the SDK.
pub const SETTINGS: &[LiveVariable] = &[ClaimsClient::VARIABLE, TaskContext::VARIABLE, DOOR_BAGGAGE, Door::VARIABLE];

/// What can be set while the service runs.
#[derive(Clone, Debug, Default)]
pub struct Seams {
    pub(crate) claims_client: Live<ClaimsClient>,
    pub(crate) audit_task: Live<TaskContext>,
    pub(crate) door_baggage: Live<Vec<(String, String)>>,
    pub(crate) caller: Live<CallerContext>,
}

// === impl Seams ===

impl Seams {
    /// Takes over what the environment says.
    ///
    /// # Errors
    /// A value that is not allowed; what was read before it holds already.
    pub fn apply(&self, env: &impl Environment) -> Result<(), ConfigError> {
        let door_baggage = read(env, DOOR_BAGGAGE.name, PAIRS, pairs)?;
        self.claims_client.set(ClaimsClient::read(env)?);
        self.audit_task.set(TaskContext::read(env)?);
        self.door_baggage.set(door_baggage.unwrap_or_else(|| {
            [(service::baggage::TENANT, "acme-corp"), (service::baggage::FEATURE_FLAGS, "new-pricing-model")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        }));
        self.caller.set(match Door::read(env)? {
            Door::Join => CallerContext::Joined,
            Door::Restart => CallerContext::Linked,
        });
        Ok(())
    }
}
