//! What can be set while the service runs. The defaults are the healthy ones.

use settings::{ConfigError, Environment, PAIRS, Setting, choice, pairs};

choice! {
    /// Which client calls the claims service: the instrumented one, or one with an old library around it.
    ClaimsClient = "CLAIMS_CLIENT" {
        /// By the instrumented client.
        Traced = "traced",
        /// By the same client, on top of an old library that still sends B3 ids that it makes up.
        WithLegacyB3 = "with-legacy-b3",
    }
}

choice! {
    /// Whether the background task that writes the audit entry has the context of its request.
    TaskContext = "AUDIT_TASK" {
        /// It is carried over.
        WithContext = "with-context",
        /// `tokio::spawn` and nothing else.
        Bare = "bare",
    }
}

choice! {
    /// Whether a request joins its caller's trace, or begins a new trace whose first span links to the caller's.
    CallerContext = "CALLER_CONTEXT" {
        /// The caller's trace goes on.
        Join = "join",
        /// A new trace begins, linked to the caller's: a trust boundary.
        Restart = "restart",
    }
}

const DOOR_BAGGAGE: Setting =
    Setting::new("DOOR_BAGGAGE", "The baggage that this service puts on every claim.", PAIRS, |list| {
        pairs(list).map(drop)
    })
    .or("a tenant and feature flags");

/// The settings of this service, in addition to the SDK's variables.
pub const SETTINGS: &[Setting] = &[ClaimsClient::SETTING, TaskContext::SETTING, DOOR_BAGGAGE, CallerContext::SETTING];

/// How each seam is set: one value, which a change of settings replaces as a whole. A request takes it once, at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seams {
    pub(crate) claims_client: ClaimsClient,
    pub(crate) audit_task: TaskContext,
    pub(crate) door_baggage: Vec<(String, String)>,
    pub(crate) caller_context: CallerContext,
}

// === impl Seams ===

impl Seams {
    /// What the environment says.
    ///
    /// # Errors
    /// A value that is not allowed.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            claims_client: ClaimsClient::read(env)?,
            audit_task: TaskContext::read(env)?,
            door_baggage: DOOR_BAGGAGE.read(env, pairs)?.unwrap_or_else(|| Self::default().door_baggage),
            caller_context: CallerContext::read(env)?,
        })
    }
}

impl Default for Seams {
    fn default() -> Self {
        let door_baggage =
            [(service::baggage::TENANT, "acme-corp"), (service::baggage::FEATURE_FLAGS, "new-pricing-model")];
        Self {
            claims_client: ClaimsClient::default(),
            audit_task: TaskContext::default(),
            door_baggage: door_baggage.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            caller_context: CallerContext::default(),
        }
    }
}
