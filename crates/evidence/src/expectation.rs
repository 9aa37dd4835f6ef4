//! What the evidence of one claim must look like: the grammar of a scenario's `[broken]` and `[healed]` tables.
//!
//! An expectation is a conjunction: everything written must hold, what is not written is not asked. Whether it
//! holds is `expect`'s matter; here is the grammar, and what a healthy chain must look like.

use std::collections::BTreeMap;

use chain::{Hop, ParentUsed, Service, SpanKind, Topology, Transit};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use wire::Format;

use crate::ledger::SideState;

/// What must be seen of one claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expectation {
    /// The fragments that the claim was split into: exactly these, in any order. `None`: not asked, empty list: no span was
    /// received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragments: Option<Vec<FragmentShape>>,
    /// Cells of the hop ledger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<HopCells>,
    /// Spans that name a parent which was not received: exactly these. `None`: not asked, empty list: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_parents: Option<Vec<SpanShape>>,
    /// Links that must exist between spans.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkShape>,
    /// Baggage as it arrived.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub baggage: Vec<BaggageShape>,
    /// The sampled bit of the `traceresponse` header that the front door answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampled: Option<bool>,
    /// Whether a fragment of the claim also has spans that carry another claim's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixed_with_other_claims: Option<bool>,
}

/// One fragment: its root and its services.
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

/// The properties of a span that matter.
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
    /// What is known of the sender's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<SideState>,
    /// Formats that left the sender: exactly these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Vec<Format>>,
    /// Formats that arrived at the receiver: exactly these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Vec<Format>>,
    /// What happened to the trace headers in transit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transit: Option<Transit>,
    /// Whom the receiver's span names as its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentUsed>,
    /// The sampled bit of what arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<bool>,
    /// A format whose header arrived and breaks a rule of the format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Format>,
    /// For each header name, what its value on arrival contains.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contains: BTreeMap<String, String>,
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

/// Baggage as it arrived over one hop: a service may receive more than one request of a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaggageShape {
    /// The hop, written `from -> to`; the chain has it.
    #[serde(with = "chain::hop")]
    pub hop: &'static Hop,
    /// The key; absent: the whole header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether the key (or, without a key, any baggage) arrived in the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Whether the application there read the key (it records what it reads as a span attribute of the key's name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<bool>,
    /// What its size on the wire exceeds, in bytes: that of the value (or, without a key, of the header).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_than_bytes: Option<usize>,
}

// === impl Expectation ===

impl Expectation {
    /// What must hold of every claim when nothing is wrong, derived from the topology: one trace of this claim alone,
    /// rooted at the front door's SERVER span, with every service in it that has an SDK; every receiver's parent is its
    /// sender; no parent is missing.
    #[must_use]
    pub fn healthy(topology: &Topology) -> Self {
        let root = SpanShape { service: topology.front_door, kind: Some(SpanKind::Server), name: None };
        let cells = |hop: &'static Hop| HopCells {
            parent: hop.to.has_sdk().then_some(ParentUsed::Sender),
            ..HopCells::of(hop)
        };
        Self {
            fragments: Some(vec![FragmentShape { root: Some(root), services: topology.instrumented().collect() }]),
            hops: topology.hops.iter().map(cells).collect(),
            missing_parents: Some(Vec::new()),
            mixed_with_other_claims: Some(false),
            ..Self::default()
        }
    }

    /// Both expectations in one; where both ask for the same thing, what `more` asks counts.
    #[must_use]
    pub fn and(mut self, more: &Self) -> Self {
        for cells in &more.hops {
            match self.hops.iter_mut().find(|it| it.hop == cells.hop) {
                Some(known) => known.take_over(cells),
                None => self.hops.push(cells.clone()),
            }
        }
        self.links.extend_from_slice(&more.links);
        self.baggage.extend_from_slice(&more.baggage);
        self.fragments = more.fragments.clone().or(self.fragments);
        self.missing_parents = more.missing_parents.clone().or(self.missing_parents);
        self.sampled = more.sampled.or(self.sampled);
        self.mixed_with_other_claims = more.mixed_with_other_claims.or(self.mixed_with_other_claims);
        self
    }
}

// === impl HopCells ===

impl HopCells {
    /// A row in which nothing is asked.
    #[must_use]
    pub const fn of(hop: &'static Hop) -> Self {
        let contains = BTreeMap::new();
        Self {
            hop,
            sender: None,
            sent: None,
            received: None,
            transit: None,
            parent: None,
            sampled: None,
            invalid: None,
            contains,
        }
    }

    fn take_over(&mut self, more: &Self) {
        self.sender = more.sender.or(self.sender);
        self.sent = more.sent.clone().or(self.sent.take());
        self.received = more.received.clone().or(self.received.take());
        self.transit = more.transit.or(self.transit);
        self.parent = more.parent.or(self.parent);
        self.sampled = more.sampled.or(self.sampled);
        self.invalid = more.invalid.or(self.invalid);
        self.contains.extend(more.contains.clone());
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Service>, D::Error> {
    let services = Vec::deserialize(deserializer)?;
    if services.is_empty() { Err(D::Error::custom("a fragment has at least one service")) } else { Ok(services) }
}
