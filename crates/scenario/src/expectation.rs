//! What the evidence of one claim must look like: the grammar of a scenario's `[broken]` and `[healed]` tables.
//!
//! An expectation is a conjunction: everything written must hold, what is not written is not asked. The judge is the
//! `evidence` crate; here is only the grammar.

use chain::{Hop, ParentUsed, Service, SpanKind, Transit};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use wire::Format;

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

/// Cells of one row of the hop ledger; absent cells are not asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopCells {
    /// The hop, written `from -> to`; the chain has it.
    #[serde(with = "chain::hop")]
    pub hop: &'static Hop,
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
