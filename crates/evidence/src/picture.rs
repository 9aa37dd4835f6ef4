//! What the picture of the chain shows of a claim: a mark per hop and per service, from the same causes as every sentence.

use chain::{Hop, Place, Service};

use crate::cause::Cause;
use crate::conclusion::Conclusion;
use crate::prose;

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

/// The marks of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Every hop, in the order of the chain.
    pub hops: Vec<(&'static Hop, Mark)>,
    /// Every service, in the order in which a claim meets them.
    pub services: Vec<(Service, Mark)>,
    /// What went wrong at no hop and in no service of the chain, one sentence each.
    pub elsewhere: Vec<String>,
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

// === impl Conclusion ===

impl Conclusion<'_> {
    /// The picture of the claim.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let topology = self.reading.topology;
        let elsewhere = self.causes().iter().filter(|cause| cause.place().is_none()).map(prose::cause);
        Picture {
            hops: topology.hops.iter().map(|hop| (hop, self.mark_of_hop(hop))).collect(),
            services: topology.services().map(|service| (service, self.mark_of_service(service))).collect(),
            elsewhere: elsewhere.collect(),
        }
    }

    fn mark_of_hop(&self, hop: &'static Hop) -> Mark {
        let Some(row) = self.reading.row(hop) else { return Mark::NotReceived };
        match self.cause_at(Place::Hop(hop)) {
            Some(cause) => Mark::of(cause),
            None if row.is_unseen() => Mark::NotReceived,
            None if !hop.to.has_sdk() => Mark::NotObservable,
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
