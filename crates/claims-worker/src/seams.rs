//! What can be set while the worker runs. The defaults are the healthy ones.

use telemetry::client::AllowedBaggage;
use telemetry::config::{Environment, LiveVariable, read};
use telemetry::live::Live;
use telemetry::{ConfigError, choice};

choice! {
    /// What becomes of the context in a message's attributes.
    MessageContext = "MESSAGE_CONTEXT" {
        /// It is extracted: processing is a child of sending.
        Extract = "extract",
        /// Nobody looks at it.
        Ignore = "ignore",
        /// Messages are processed in a batch, which is linked to whoever sent them.
        LinkBatch = "link-batch",
    }
}

const KEYS: &str = "`none`, `all`, or a comma list of baggage keys";
const OUTSIDE_BAGGAGE: LiveVariable =
    LiveVariable { name: "OUTSIDE_BAGGAGE", allowed: KEYS, check: |list| allowed(list).map(drop) };

/// What this service can be told beside the variables of the SDK.
pub const SETTINGS: &[LiveVariable] = &[MessageContext::VARIABLE, OUTSIDE_BAGGAGE];

/// What can be set while the worker runs.
#[derive(Clone, Debug)]
pub struct Seams {
    pub(crate) message_context: Live<MessageContext>,
    pub(crate) outside_baggage: Live<AllowedBaggage>,
}

// === impl Seams ===

impl Default for Seams {
    /// No baggage leaves the company.
    fn default() -> Self {
        Self { message_context: Live::default(), outside_baggage: Live::new(AllowedBaggage::Only(Vec::new())) }
    }
}

impl Seams {
    /// Takes over what the environment says.
    ///
    /// # Errors
    /// A value that is not allowed; nothing is changed then.
    pub fn apply(&self, env: &impl Environment) -> Result<(), ConfigError> {
        let outside = read(env, OUTSIDE_BAGGAGE.name, KEYS, allowed)?;
        self.message_context.set(MessageContext::read(env)?);
        self.outside_baggage.set(outside.unwrap_or(AllowedBaggage::Only(Vec::new())));
        Ok(())
    }
}

fn allowed(list: &str) -> Result<AllowedBaggage, String> {
    match list {
        "all" => Ok(AllowedBaggage::All),
        "none" => Ok(AllowedBaggage::Only(Vec::new())),
        keys if keys.split(',').any(|key| key.trim().is_empty()) => Err("an empty key".to_owned()),
        keys => Ok(AllowedBaggage::Only(keys.split(',').map(|key| key.trim().to_owned()).collect())),
    }
}
