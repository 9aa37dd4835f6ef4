//! The words of evidence about spans and hops, written alike in scenario files, JSON and the CLI.

use serde::{Deserialize, Serialize};

/// The instrumentation scope of the lab's own SERVER, CLIENT, PRODUCER and CONSUMER spans.
///
/// Spans of this scope put every trace header on record that was sent or arrived, and what the application read of the
/// baggage. A span of another scope may leave any of it out, so that its silence says nothing.
pub const RECORDING_SCOPE: &str = "insurewatch-telemetry";

/// The span attribute by which application code marks every receiver and root span of a claim.
pub const CLAIM_ID: &str = "insurewatch.claim.id";

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
#[serde(rename_all = "lowercase")]
pub enum ParentUsed {
    /// The sender's span of this hop: as it should be.
    Sender,
    /// Nobody: the receiver's span is a root.
    Nobody,
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

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.number(), self.name())
    }
}
