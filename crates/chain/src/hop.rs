//! One row per hop.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::service::Service;
use crate::vocabulary::{Kind, SpanKind, Step};

/// One directed call or message between two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Who calls.
    pub from: Service,
    /// Who is called.
    pub to: Service,
    /// What passes the call on without creating a span.
    pub via: Option<Service>,
    /// How the call travels.
    pub carrier: CarrierKind,
    /// Name of the receiver's span for this hop when a claim is submitted.
    pub receiver_span: &'static str,
    /// How it is drawn.
    pub arrow: Arrow,
}

/// What carries the context over a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarrierKind {
    /// Request headers: a CLIENT span calls a SERVER span.
    Http,
    /// Message attributes: a PRODUCER span sends to a CONSUMER span.
    Queue {
        /// The queue, as `messaging.destination.name` has it.
        destination: &'static str,
        /// Whether the sender keeps messages in an outbox, from which a relay sends them later.
        outbox: bool,
    },
}

/// A hop in the picture, in the picture's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// The path, as SVG writes it.
    pub path: &'static str,
    /// The left edge of the card that describes the hop.
    pub card_left: i32,
    /// The top edge of that card.
    pub card_top: i32,
}

// === impl CarrierKind ===

impl CarrierKind {
    /// The kind of the span that receives.
    #[must_use]
    pub const fn receiver_kind(self) -> SpanKind {
        match self {
            Self::Http => SpanKind::Server,
            Self::Queue { .. } => SpanKind::Consumer,
        }
    }

    /// The kind of the span that sends.
    #[must_use]
    pub const fn sender_kind(self) -> SpanKind {
        match self {
            Self::Http => SpanKind::Client,
            Self::Queue { .. } => SpanKind::Producer,
        }
    }
}

// === impl Hop ===

impl Hop {
    /// The service that does a step on this hop; `None` if nothing is between sender and receiver.
    #[must_use]
    pub const fn done_by(&self, step: Step) -> Option<Service> {
        match step {
            Step::Inject => Some(self.from),
            Step::Transit => self.via,
            Step::Extract | Step::Use => Some(self.to),
        }
    }

    /// Whose doing it is when this happens at the hop: then the service and the hop are two names of one place.
    #[must_use]
    pub const fn doer(&self, kind: Kind) -> Option<Service> {
        match kind {
            Kind::Fails(step) => self.done_by(step),
            Kind::Leak | Kind::NotSampled | Kind::NotExported | Kind::Late => Some(self.from),
            Kind::Links => Some(self.to),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// Writes a hop as `from -> to`; for `#[serde(with = "chain::hop")]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(hop: &&'static Hop, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hop)
}

/// Reads a hop that is written `from -> to`.
///
/// # Errors
/// The chain has no such hop.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static Hop, D::Error> {
    let name = String::deserialize(deserializer)?;
    Hop::find(&name).ok_or_else(|| D::Error::custom(format!("unknown hop `{name}`; hops are {}", Hop::names())))
}
