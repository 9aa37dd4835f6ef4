//! What the picture of the chain shows of a claim: what happened at each hop and in each service, from the same causes as
//! every sentence, in which traces each service has spans, and what became of the baggage.

use chain::{Hop, Place, Service};

use crate::cause::Cause;
use crate::claim::{ClaimEvidence, Fragment};
use crate::conclusion::Conclusion;
use crate::ledger::HopRow;
use crate::prose;
use crate::reading::{BaggageOn, Reading};

/// What is shown of a hop or of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// A hop that is joined, or a service that kept its context.
    Good,
    /// Something went wrong here.
    Bad,
    /// Baggage went where it must not.
    Leaking,
    /// Something was received; what is missing is not a break, or cannot be judged.
    Unsure,
    /// Something was received; whether it is right is not said.
    Seen,
    /// Nothing of it was received.
    NotReceived,
    /// Not observable: it has no spans to show.
    NotObservable,
}

/// What the picture shows of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Every hop, in the order of the chain.
    pub hops: Vec<DrawnHop>,
    /// Every service, in the order in which a claim meets them.
    pub services: Vec<DrawnService>,
    /// What went wrong at no hop and in no service of the chain, one sentence each.
    pub elsewhere: Vec<String>,
}

/// A hop in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawnHop {
    /// The hop.
    pub hop: &'static Hop,
    /// What happened to the context.
    pub mark: Mark,
    /// What happened to the baggage.
    pub baggage: BaggageOn,
}

/// A service in the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnService {
    /// The service.
    pub service: Service,
    /// What happened inside it.
    pub mark: Mark,
    /// The traces that have spans of it, by their place among the claim's fragments.
    pub traces: Vec<usize>,
}

// === impl Mark ===

impl Mark {
    /// Whether it says that something is wrong.
    #[must_use]
    pub const fn is_wrong(self) -> bool {
        matches!(self, Self::Bad | Self::Leaking)
    }

    /// The same without a judgement.
    #[must_use]
    pub const fn neutral(self) -> Self {
        match self {
            Self::Good | Self::Bad | Self::Leaking | Self::Unsure | Self::Seen => Self::Seen,
            Self::NotReceived | Self::NotObservable => self,
        }
    }

    fn of(cause: &Cause) -> Self {
        if cause.is_leak() { Self::Leaking } else { Self::Bad }
    }
}

// === impl Picture ===

impl Picture {
    /// The same without a judgement: in which traces the spans are remains, since anyone can read that from them.
    #[must_use]
    pub fn neutral(self) -> Self {
        let hop = |it: DrawnHop| DrawnHop { mark: it.mark.neutral(), baggage: it.baggage.neutral(), ..it };
        let service = |it: DrawnService| DrawnService { mark: it.mark.neutral(), ..it };
        let (hops, services) = (self.hops.into_iter().map(hop), self.services.into_iter().map(service));
        Self { hops: hops.collect(), services: services.collect(), elsewhere: Vec::new() }
    }
}

// === impl Conclusion ===

impl Conclusion<'_> {
    /// The picture of the claim.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let reading = self.reading;
        let hop =
            |row: &HopRow| DrawnHop { hop: row.hop, mark: self.mark_of_hop(row), baggage: reading.baggage_on(row) };
        let service = |service| DrawnService {
            service,
            mark: self.mark_of_service(service),
            traces: reading.traces_of(service).collect(),
        };
        let elsewhere = self.causes().iter().filter(|cause| cause.place().is_none()).map(prose::cause);
        Picture {
            hops: reading.rows().iter().map(hop).collect(),
            services: reading.topology.services().map(service).collect(),
            elsewhere: elsewhere.collect(),
        }
    }

    fn mark_of_hop(&self, row: &HopRow) -> Mark {
        match self.cause_at(Place::Hop(row.hop)) {
            Some(cause) => Mark::of(cause),
            None if row.is_unseen() => Mark::NotReceived,
            None if !row.hop.to.has_sdk() => Mark::NotObservable,
            None if !row.received.is_seen() => Mark::NotReceived,
            None if row.is_joined() => Mark::Good,
            None => Mark::Unsure,
        }
    }

    fn mark_of_service(&self, service: Service) -> Mark {
        let seen = self.reading.evidence().spans().any(|span| span.service == service.name());
        match self.cause_at(Place::Service(service)) {
            Some(cause) => Mark::of(cause),
            None if !service.has_sdk() => Mark::NotObservable,
            None if seen => Mark::Good,
            None => Mark::NotReceived,
        }
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// The fragments that have spans of a service, by their places. Spans that are known to be another claim's do not count: a
    /// trace may hold several claims.
    fn traces_of(&self, service: Service) -> impl Iterator<Item = usize> {
        let fragments = self.evidence().fragments.iter().enumerate();
        fragments.filter(move |(_, fragment)| has_spans_of(self.evidence(), fragment, service)).map(|(at, _)| at)
    }
}

fn has_spans_of(evidence: &ClaimEvidence, fragment: &Fragment, service: Service) -> bool {
    let mut spans = fragment.spans().filter(|span| span.service == service.name());
    spans.any(|span| {
        let owner = evidence.lineage(span).find_map(|above| above.claim_id());
        owner.is_none_or(|owner| owner == evidence.claim_id)
    })
}
