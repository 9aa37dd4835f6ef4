//! The words of evidence about spans and hops, written alike in scenario files, JSON and the CLI.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The instrumentation scope of the lab's own SERVER, CLIENT, PRODUCER and CONSUMER spans.
///
/// Spans of this scope put every trace header on record that was sent or arrived, and what the application read of the
/// baggage. A span of another scope may leave any of it out, so that its silence says nothing.
pub const RECORDING_SCOPE: &str = "insurewatch-telemetry";

/// The span attribute by which application code marks every receiver and root span of a claim.
pub const CLAIM_ID: &str = "insurewatch.claim.id";

/// The header in which application code sends a claim's id, and the attributes in which SDKs put it on record where they are
/// told to capture it: on a span that received or sent it, or answered with it. Some write `_` for `-`.
pub const CLAIM_ID_HEADER: &str = "x-claim-id";
/// See [`CLAIM_ID_HEADER`].
pub const CAPTURED_CLAIM_IDS: [&str; 4] = [
    "http.request.header.x-claim-id",
    "http.request.header.x_claim_id",
    "http.response.header.x-claim-id",
    "http.response.header.x_claim_id",
];

/// Whose claim it is: what the application reads from baggage wherever a claim goes, and records on the receiving span.
pub const TENANT: &str = "tenant.id";

/// OpenTelemetry's span kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Work inside a process.
    Internal,
    /// The receiving side of a request.
    Server,
    /// The sending side of a request.
    Client,
    /// The sending side of a message.
    Producer,
    /// The receiving side of a message.
    Consumer,
}

/// The four steps of the diagnosis, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// 1: the sender's own current context is written into the carrier.
    Inject,
    /// 2: what left arrives unchanged.
    Transit,
    /// 3: the receiver reads a valid context in a format that it knows.
    Extract,
    /// 4: the work is done in that context.
    Use,
}

/// What happened at a place, as a cause and a learner's answer name it: a step that fails, a leak, or one of the things
/// that only look like a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The first of the four steps that fails.
    Fails(Step),
    /// All four steps succeed, and baggage goes where it must not.
    Leak,
    /// No break: a consumer's span links to the producer's instead of being its child.
    Links,
    /// No break: the sampler decided against this trace.
    NotSampled,
    /// No break: the context was used, but spans were not exported to the backend.
    NotExported,
    /// No break: spans are exported later than others.
    Late,
}

/// No [`Kind`] has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value `{0}`; allowed: {allowed}", allowed = Kind::ALL.map(Kind::name).join(", "))]
pub struct UnknownKind(String);

/// What happened to trace headers between sender and receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transit {
    /// What was sent is what arrived.
    Intact,
    /// Something arrived, but not what was sent.
    Altered,
    /// Nothing of what was sent arrived.
    Lost,
}

/// Whom the receiver's span names as its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParentUsed {
    /// The sender's span of this hop: as it should be.
    Sender,
    /// Nobody: the receiver's span is a root.
    Nobody,
    /// The span that the header names. No span of the sender was received, so nothing more is known of it.
    NotReceived,
    /// A span that is not the sender's, present or not.
    Other,
}

// === impl SpanKind ===

impl SpanKind {
    /// Whether such a span is the sending side of a hop.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::Client | Self::Producer)
    }

    /// Whether such a span is the receiving side of a hop.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }

    /// Its name in lower case, as JSON and scenario files write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

// === impl Transit ===

impl Transit {
    /// What happened to the headers, as the end of a sentence about them.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Intact => "arrived unchanged",
            Self::Altered => "did not all arrive as they were sent",
            Self::Lost => "did not arrive",
        }
    }
}

// === impl ParentUsed ===

impl ParentUsed {
    /// The parent of the receiver's span, as the end of a sentence about it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Sender => "the sender's span",
            Self::Nobody => "none (it is a root)",
            Self::NotReceived => "the span that the header names, which was not received",
            Self::Other => "a span other than the sender's",
        }
    }
}

// === impl Step ===

impl Step {
    /// The steps, in order.
    pub const ALL: [Self; 4] = [Self::Inject, Self::Transit, Self::Extract, Self::Use];

    /// Its number, from 1.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inject => 1,
            Self::Transit => 2,
            Self::Extract => 3,
            Self::Use => 4,
        }
    }

    /// Its name, as scenario files and answers write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inject => "inject",
            Self::Transit => "transit",
            Self::Extract => "extract",
            Self::Use => "use",
        }
    }
}

// === impl Kind ===

impl Kind {
    /// All of them: the steps in order, then the rest.
    pub const ALL: [Self; 9] = [
        Self::Fails(Step::Inject),
        Self::Fails(Step::Transit),
        Self::Fails(Step::Extract),
        Self::Fails(Step::Use),
        Self::Leak,
        Self::Links,
        Self::NotSampled,
        Self::NotExported,
        Self::Late,
    ];

    /// The step that fails, if one does.
    #[must_use]
    pub const fn step(self) -> Option<Step> {
        match self {
            Self::Fails(step) => Some(step),
            Self::Leak | Self::Links | Self::NotSampled | Self::NotExported | Self::Late => None,
        }
    }

    /// Whether it only looks like a break.
    #[must_use]
    pub const fn is_no_break(self) -> bool {
        matches!(self, Self::Links | Self::NotSampled | Self::NotExported | Self::Late)
    }

    /// Its name, as scenario files and answers write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fails(step) => step.name(),
            Self::Leak => "leak",
            Self::Links => "links",
            Self::NotSampled => "not-sampled",
            Self::NotExported => "not-exported",
            Self::Late => "late",
        }
    }

    /// What it means, as the help, the page and the docs say it.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Fails(Step::Inject) => "step 1: the sender does not write its own current context into the carrier",
            Self::Fails(Step::Transit) => "step 2: what left the sender does not arrive unchanged",
            Self::Fails(Step::Extract) => {
                "step 3: the receiver does not read a valid context in a format that it knows"
            }
            Self::Fails(Step::Use) => {
                "step 4: the work is not done in that context: the receiver's first span is not a child of the span that the \
                 context names (or, for a batch, does not link to it), the sampling decision is not followed, or the \
                 context does not stay current inside the service"
            }
            Self::Leak => "all four steps succeed, and baggage goes where it must not",
            Self::Links => "no break: the consumer's span links to the producer's, by design",
            Self::NotSampled => "no break: the sampler decided against the trace",
            Self::NotExported => "no break: the context was used, but spans were not exported to the backend",
            Self::Late => "no break: spans are exported later than others",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fails(step) => write!(f, "step {step}"),
            kind => f.write_str(kind.name()),
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.number(), self.name())
    }
}
