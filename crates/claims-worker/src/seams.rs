//! What can be set while the worker runs. The defaults are the healthy ones.

use settings::{ConfigError, Environment, Setting, Values, choice};

choice! {
    /// What the worker does with the context in a message: continue it, ignore it, or link to it.
    MessageContext = "MESSAGE_CONTEXT" {
        /// It is extracted: processing is a child of sending.
        Extract = "extract",
        /// Nobody looks at it.
        Ignore = "ignore",
        /// Messages are processed in a batch, which is linked to their senders.
        LinkBatch = "link-batch",
    }
}

/// Which members of the baggage may leave the company.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedBaggage {
    /// All.
    All,
    /// Those with these keys.
    Only(Vec<String>),
}

const OUTSIDE_BAGGAGE: Setting = Setting::new(
    "OUTSIDE_BAGGAGE",
    "Which members of the baggage are sent to the third party.",
    "`none`, `all`, or a comma list of baggage keys",
    |list| AllowedBaggage::parse(list).map(drop),
)
.with(Values::SuchAs(&["none", "all"]))
.or("none");

/// The settings of this service, in addition to the SDK's variables.
pub const SETTINGS: &[Setting] = &[MessageContext::SETTING, OUTSIDE_BAGGAGE];

/// How each seam is set: one value, which a change of settings replaces as a whole. Each batch of messages, and each call of
/// the third party, takes it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seams {
    pub(crate) message_context: MessageContext,
    pub(crate) outside_baggage: AllowedBaggage,
}

// === impl AllowedBaggage ===

impl Default for AllowedBaggage {
    /// No baggage leaves the company.
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl AllowedBaggage {
    fn parse(list: &str) -> Result<Self, String> {
        match list {
            "all" => Ok(Self::All),
            "none" => Ok(Self::default()),
            keys if keys.split(',').any(|key| key.trim().is_empty()) => Err("an empty key".to_owned()),
            keys => Ok(Self::Only(keys.split(',').map(|key| key.trim().to_owned()).collect())),
        }
    }
}

// === impl Seams ===

impl Seams {
    /// What the environment says.
    ///
    /// # Errors
    /// A value that is not allowed.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            message_context: MessageContext::read(env)?,
            outside_baggage: OUTSIDE_BAGGAGE.read(env, AllowedBaggage::parse)?.unwrap_or_default(),
        })
    }
}
