//! What can be set while the service runs. The defaults are the healthy ones.

use settings::{ConfigError, Environment, Setting, choice, number};

choice! {
    /// Whether the SERVER span learns its parent before it starts, or after.
    ServerSpan = "SERVER_SPAN" {
        /// Before it starts.
        InContext = "in-context",
        /// After it has started, when that is an error, which is ignored.
        LateParent = "late-parent",
    }
}

choice! {
    /// Whether the policy lookup, which runs on a pool of threads, has the context of its request.
    PoolContext = "LOOKUP_POOL" {
        /// It is carried over.
        WithContext = "with-context",
        /// `spawn_blocking` and nothing else.
        Bare = "bare",
    }
}

choice! {
    /// Which HTTP client calls the policy store: the traced one makes a span and has the SDK write the headers, the hand-built
    /// one makes a span and builds the header itself, and the plain one does neither.
    PolicyClient = "POLICY_CLIENT" {
        /// By the instrumented client.
        Traced = "traced",
        /// By a client with a CLIENT span, and a `traceparent` written by hand, in upper case.
        HandBuilt = "hand-built",
        /// By a client without instrumentation.
        Plain = "plain",
    }
}

choice! {
    /// Which context is current while a claim is completed: the one captured with the work, none, or the previous one that
    /// the thread had.
    CompletionContext = "COMPLETION_CONTEXT" {
        /// That of the request, captured with the closure.
        Captured = "captured",
        /// None: the thread has no context.
        None = "none",
        /// That of the request before, whose guard the thread still holds.
        Previous = "previous",
    }
}

choice! {
    /// Who writes the trace headers of a queue message, its attributes: the producer, and the outbox has them stored; nobody,
    /// so there are none; or the relay, when it sends the message.
    OutboxAttributes = "OUTBOX_ATTRIBUTES" {
        /// The producer injects them, the outbox keeps them.
        Stored = "stored",
        /// Nobody injects any.
        None = "none",
        /// The outbox has no place for them; the relay injects what context it has itself.
        FromRelay = "from-relay",
    }
}

number!(
    /// How much baggage this service adds to what it sends.
    EXTRA_BAGGAGE_BYTES = "EXTRA_BAGGAGE_BYTES", "bytes", 0, 100000, 0
);

/// The settings of this service, in addition to the SDK's variables.
pub const SETTINGS: &[Setting] = &[
    ServerSpan::SETTING,
    PoolContext::SETTING,
    PolicyClient::SETTING,
    CompletionContext::SETTING,
    OutboxAttributes::SETTING,
    EXTRA_BAGGAGE_BYTES.setting,
];

/// How each seam is set: one value, which a change of settings replaces as a whole. A request takes it once, at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seams {
    pub(crate) server_span: ServerSpan,
    pub(crate) lookup_pool: PoolContext,
    pub(crate) policy_client: PolicyClient,
    pub(crate) completion: CompletionContext,
    pub(crate) outbox: OutboxAttributes,
    pub(crate) extra_baggage_bytes: usize,
}

// === impl Seams ===

impl Seams {
    /// What the environment says.
    ///
    /// # Errors
    /// A value that is not allowed.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            server_span: ServerSpan::read(env)?,
            lookup_pool: PoolContext::read(env)?,
            policy_client: PolicyClient::read(env)?,
            completion: CompletionContext::read(env)?,
            outbox: OutboxAttributes::read(env)?,
            extra_baggage_bytes: usize::try_from(EXTRA_BAGGAGE_BYTES.read(env)?).unwrap_or_default(),
        })
    }

    /// Baggage that grew beyond measure: each character of it takes six bytes in the header, `%C3%A9`.
    pub(crate) fn extra_baggage(&self) -> Vec<(String, String)> {
        match self.extra_baggage_bytes {
            0 => Vec::new(),
            bytes => vec![("customer.notes".to_owned(), "é".repeat(bytes / 6))],
        }
    }
}
