//! What the evidence of one claim must look like: the grammar of a scenario's `[broken]` and `[healed]` tables.
//!
//! An expectation is a conjunction: everything written must hold, what is not written is not asked. The judge is the
//! `evidence` crate; here is only the grammar.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::topology::{Hop, Service, hop_names};

/// What must be seen of one claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expectation {
    /// The fragments that the claim fell into: exactly these, in any order. Empty: not asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fragments: Vec<FragmentShape>,
    /// Cells of the hop ledger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<HopCells>,
    /// Spans that name a parent which never arrived: exactly these. `None`: not asked, empty list: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_parents: Option<Vec<SpanShape>>,
    /// Links that must exist between spans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkShape>,
    /// Baggage as it arrived at services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub baggage: Vec<BaggageShape>,
    /// The sampled bit of the `traceresponse` header that the front door answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<bool>,
    /// Whether a fragment of the claim also holds spans that carry another claim's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixed_with_other_claims: Option<bool>,
}

/// One fragment: its root and who is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FragmentShape {
    /// The span without a parent; absent means that the fragment has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<SpanShape>,
    /// The services that have spans in it: exactly these, at least one.
    #[serde(deserialize_with = "at_least_one")]
    pub services: Vec<Service>,
}

/// A span, as far as it matters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanShape {
    /// Whose span it is.
    pub service: Service,
    /// Its kind; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SpanKind>,
    /// Its name; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

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

/// Cells of one row of the hop ledger; absent cells are not asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopCells {
    /// The hop, written `from -> to`; the chain has it.
    #[serde(deserialize_with = "known_hop")]
    pub hop: String,
    /// Formats that left the sender: exactly these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Vec<Format>>,
    /// Formats that arrived at the receiver: exactly these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Vec<Format>>,
    /// What happened to the trace headers on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit: Option<Transit>,
    /// Whom the receiver's span names as its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentUsed>,
    /// The sampled bit of what arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<bool>,
}

/// A wire format, told by the names of its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `traceparent`.
    TraceContext,
    /// `tracestate`, told apart from `traceparent` because it can be lost alone.
    TraceState,
    /// `baggage`.
    Baggage,
    /// The single `b3` header.
    B3,
    /// `x-b3-traceid` and its companions.
    B3Multi,
    /// `uber-trace-id`.
    Jaeger,
    /// `x-amzn-trace-id`.
    XRay,
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

/// A link from one span to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkShape {
    /// The span that carries the link.
    pub from: SpanShape,
    /// The span that it points at.
    pub to: SpanShape,
}

/// Baggage as it arrived at one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaggageShape {
    /// The receiving service.
    pub at: Service,
    /// The key; absent: the whole header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the key (or, without a key, any baggage) arrived in the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Whether the application there read the key (it records what it reads as a span attribute of the key's name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<bool>,
    /// The least size in bytes of the value (or, without a key, of the header).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_bytes: Option<usize>,
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Service>, D::Error> {
    let services = Vec::deserialize(deserializer)?;
    if services.is_empty() { Err(D::Error::custom("a fragment holds at least one service")) } else { Ok(services) }
}

fn known_hop<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    match Hop::find(&name) {
        Some(_) => Ok(name),
        None => Err(D::Error::custom(format!("unknown hop `{name}`; hops are {}", hop_names()))),
    }
}
