//! What can be set while the service runs. The defaults are the healthy ones.

use telemetry::config::{Environment, LiveVariable, read};
use telemetry::live::Live;
use telemetry::server::CallerContext;
use telemetry::{ConfigError, choice};

pub use service::spawn::PoolContext;

choice! {
    /// When the SERVER span learns its parent.
    ServerSpan = "SERVER_SPAN" {
        /// Before it starts.
        InContext = "in-context",
        /// After it has started, when that is an error, which is ignored.
        LateParent = "late-parent",
    }
}

choice! {
    /// How the policy store is called.
    PolicyClient = "POLICY_CLIENT" {
        /// By the instrumented client.
        Traced = "traced",
        /// By a client with a CLIENT span, and a `traceparent` written by hand, in upper case.
        HandBuilt = "hand-built",
        /// By a client that nobody instrumented.
        Plain = "plain",
    }
}

choice! {
    /// The context in which a completion runs on the dispatcher's thread.
    CompletionContext = "COMPLETION_CONTEXT" {
        /// That of the request, captured with the closure.
        Captured = "captured",
        /// None: the thread has none of its own.
        None = "none",
        /// That of the request before, whose guard the thread still holds.
        Previous = "previous",
    }
}

choice! {
    /// Where the attributes of an outbound message come from.
    OutboxAttributes = "OUTBOX_ATTRIBUTES" {
        /// The producer injects them, the outbox keeps them.
        Stored = "stored",
        /// Nobody injects any.
        None = "none",
        /// The outbox has no place for them; the relay injects what context it has itself.
        FromRelay = "from-relay",
    }
}

const BYTES: &str = "a whole number of bytes up to 100000";
const EXTRA_BAGGAGE_BYTES: LiveVariable =
    LiveVariable { name: "EXTRA_BAGGAGE_BYTES", allowed: BYTES, check: |text| bytes(text).map(drop) };

/// What this service can be told beside the variables of the SDK.
pub const SETTINGS: &[LiveVariable] = &[
    ServerSpan::VARIABLE,
    PoolContext::VARIABLE,
    PolicyClient::VARIABLE,
    CompletionContext::VARIABLE,
    OutboxAttributes::VARIABLE,
    EXTRA_BAGGAGE_BYTES,
];

/// What can be set while the service runs.
#[derive(Clone, Debug, Default)]
pub struct Seams {
    pub(crate) caller: Live<CallerContext>,
    pub(crate) lookup_pool: Live<PoolContext>,
    pub(crate) policy_client: Live<PolicyClient>,
    pub(crate) completion: Live<CompletionContext>,
    pub(crate) outbox: Live<OutboxAttributes>,
    pub(crate) extra_baggage_bytes: Live<usize>,
}

// === impl Seams ===

impl Seams {
    /// Takes over what the environment says.
    ///
    /// # Errors
    /// A value that is not allowed; what was read before it holds already.
    pub fn apply(&self, env: &impl Environment) -> Result<(), ConfigError> {
        self.caller.set(match ServerSpan::read(env)? {
            ServerSpan::InContext => CallerContext::Joined,
            ServerSpan::LateParent => CallerContext::SetTooLate,
        });
        self.lookup_pool.set(PoolContext::read(env)?);
        self.policy_client.set(PolicyClient::read(env)?);
        self.completion.set(CompletionContext::read(env)?);
        self.outbox.set(OutboxAttributes::read(env)?);
        self.extra_baggage_bytes.set(read(env, EXTRA_BAGGAGE_BYTES.name, BYTES, bytes)?.unwrap_or(0));
        Ok(())
    }

    /// Baggage that grew beyond measure: each character of it takes six on the wire, `%C3%A9`.
    pub(crate) fn extra_baggage(&self) -> Vec<(String, String)> {
        match self.extra_baggage_bytes.get() {
            0 => Vec::new(),
            bytes => vec![("customer.notes".to_owned(), "é".repeat(bytes / 6))],
        }
    }
}

fn bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes <= 100_000 => Ok(bytes),
        _ => Err("not such a number".to_owned()),
    }
}
