//! Hops and late spans together: what every submitted claim is expected to leave.

use crate::hop::{Arrow, CarrierKind, Hop};
use crate::place::Place;
use crate::service::Service;

/// What evidence is read against: static knowledge of the chain, never its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Where a claim enters the chain: its SERVER span is the root of a healthy trace.
    pub front_door: Service,
    /// The hops that every submitted claim takes, in order.
    pub hops: &'static [Hop],
    /// The spans that may come later than the answer, and so must be waited for.
    pub late_spans: &'static [InsideSpan],
}

/// A span that every submitted claim leaves in a service, apart from the receivers of hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsideSpan {
    /// Whose span.
    pub service: Service,
    /// Its name.
    pub name: &'static str,
}

/// The hops that every submitted claim takes, in order.
const HOPS: &[Hop] = &[
    Hop {
        from: Service::PythonApi,
        to: Service::JavaClaims,
        via: Some(Service::Gateway),
        carrier: CarrierKind::Http,
        receiver_span: "POST /api/claims",
        arrow: Arrow { path: "M150 43 H225 M355 43 H430", card_left: 150, card_top: 80 },
    },
    Hop {
        from: Service::JavaClaims,
        to: Service::NodePolicyStore,
        via: None,
        carrier: CarrierKind::Http,
        receiver_span: "GET /policies/:id",
        arrow: Arrow { path: "M610 43 H850", card_left: 612, card_top: 80 },
    },
    Hop {
        from: Service::JavaClaims,
        to: Service::ClaimsWorker,
        via: None,
        carrier: CarrierKind::Queue { destination: "claims", outbox: true },
        receiver_span: "process claims",
        arrow: Arrow { path: "M470 66 V260", card_left: 208, card_top: 166 },
    },
    Hop {
        from: Service::ClaimsWorker,
        to: Service::FraudPartner,
        via: None,
        carrier: CarrierKind::Http,
        receiver_span: "POST /checks",
        arrow: Arrow { path: "M610 283 H850", card_left: 612, card_top: 320 },
    },
    Hop {
        from: Service::ClaimsWorker,
        to: Service::JavaClaims,
        via: None,
        carrier: CarrierKind::Http,
        receiver_span: "PUT /api/claims/{id}/fraud-check",
        arrow: Arrow { path: "M570 260 V66", card_left: 584, card_top: 166 },
    },
];

// === impl Topology ===

impl Topology {
    /// The lab's own chain.
    pub const LAB: &Self = &Self {
        front_door: Service::PythonApi,
        hops: HOPS,
        late_spans: &[
            InsideSpan { service: Service::PythonApi, name: "write_audit" },
            InsideSpan { service: Service::JavaClaims, name: "notify_claimant" },
        ],
    };

    /// Every place where something can go wrong, in the order of the chain: a service comes after the hop that first
    /// reaches it, and before the hops that it starts.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::Service(self.front_door)];
        for hop in self.hops {
            places.push(Place::Hop(hop));
            if !places.contains(&Place::Service(hop.to)) {
                places.push(Place::Service(hop.to));
            }
        }
        places
    }

    /// The services that its hops touch, in the order of [`Service::ALL`].
    pub fn services(&self) -> impl Iterator<Item = Service> {
        let touches =
            |service| self.hops.iter().any(|hop| [Some(hop.from), Some(hop.to), hop.via].contains(&Some(service)));
        Service::ALL.iter().copied().filter(move |service| touches(*service))
    }

    /// The services among them that have spans to show.
    pub fn instrumented(&self) -> impl Iterator<Item = Service> {
        self.services().filter(|service| service.has_sdk())
    }
}

// === impl Hop ===

impl Hop {
    /// The hop of the lab's chain that is written `from -> to`.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        HOPS.iter().find(|hop| hop.to_string() == name)
    }

    /// Every hop of the lab's chain, in words.
    #[must_use]
    pub fn names() -> String {
        HOPS.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_service_is_in_the_chain_and_every_hop_has_its_own_arrow() {
        let services: Vec<_> = Topology::LAB.services().collect();
        assert_eq!(services, Service::ALL, "a service that no hop touches would never be looked at");
        let names: BTreeSet<_> = Topology::LAB.hops.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), Topology::LAB.hops.len(), "hops are named by their ends: {names:?}");
        let arrows: BTreeSet<_> = Topology::LAB.hops.iter().map(|hop| hop.arrow.path).collect();
        assert_eq!(arrows.len(), Topology::LAB.hops.len(), "two hops share an arrow");
        let receivers: BTreeSet<_> = Topology::LAB.hops.iter().map(|hop| (hop.to, hop.receiver_span)).collect();
        assert_eq!(receivers.len(), Topology::LAB.hops.len(), "receivers are told apart by service and span name");
        let queues = Topology::LAB.hops.iter().filter_map(|hop| match hop.carrier {
            CarrierKind::Queue { destination, .. } => Some((hop.from, destination)),
            CarrierKind::Http => None,
        });
        let queues: Vec<_> = queues.collect();
        let distinct: BTreeSet<_> = queues.iter().collect();
        assert_eq!(distinct.len(), queues.len(), "messages of one service are told apart by their queue");
    }

    #[test]
    fn places_come_in_the_order_of_the_chain() {
        let places: Vec<_> = Topology::LAB.places().iter().map(ToString::to_string).collect();
        let expected = [
            "python-api",
            "python-api -> java-claims",
            "java-claims",
            "java-claims -> node-policy-store",
            "node-policy-store",
            "java-claims -> claims-worker",
            "claims-worker",
            "claims-worker -> fraud-partner",
            "fraud-partner",
            "claims-worker -> java-claims",
        ];
        assert_eq!(places, expected, "the front door first; a service after the hop that first reaches it");
    }

    #[test]
    fn an_arrow_starts_and_ends_at_its_boxes() {
        for hop in Topology::LAB.hops {
            let ends = |service: Service| {
                let place = service.row().place;
                let (left, top) = (place.left, place.top);
                let (right, bottom) = (left + place.width, top + crate::service::BOX_HEIGHT);
                move |(x, y): (i32, i32)| (left..=right).contains(&x) && (top..=bottom).contains(&y)
            };
            let (first, last) = path_ends(hop.arrow.path);
            assert!(ends(hop.from)(first), "the arrow of {hop} starts at {first:?}, which is not {}", hop.from);
            assert!(ends(hop.to)(last), "the arrow of {hop} ends at {last:?}, which is not {}", hop.to);
        }
    }

    /// The first and the last point of a path of `M x y`, `H x` and `V y`.
    fn path_ends(path: &str) -> ((i32, i32), (i32, i32)) {
        let mut at = (0, 0);
        let mut first = None;
        let mut words = path.split_whitespace();
        while let Some(word) = words.next() {
            let (command, number) = word.split_at(1);
            let number = number.parse().unwrap();
            match command {
                "M" => at = (number, words.next().unwrap().parse().unwrap()),
                "H" => at.0 = number,
                "V" => at.1 = number,
                other => panic!("{other} in {path}"),
            }
            first = first.or(Some(at));
        }
        (first.unwrap(), at)
    }
}
