//! Hops and late spans together: what every submitted claim is expected to leave.

use crate::hop::{HOPS, Hop};
use crate::service::Service;

/// What evidence is read against: static knowledge of the chain, never its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The hops that every submitted claim takes, in order.
    pub hops: &'static [Hop],
    /// The spans that may come later than the answer, and so must be waited for.
    pub late_spans: &'static [InsideSpan],
}

/// A span inside a service that every submitted claim leaves, apart from the receivers of hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsideSpan {
    /// Whose span.
    pub service: Service,
    /// Its name.
    pub name: &'static str,
}

// === impl Topology ===

impl Topology {
    /// The lab's own chain.
    pub const LAB: &Self = &Self {
        hops: HOPS,
        late_spans: &[
            InsideSpan { service: Service::PythonApi, name: "write_audit" },
            InsideSpan { service: Service::JavaClaims, name: "notify_claimant" },
        ],
    };

    /// Where a claim enters the chain.
    #[must_use]
    pub fn front_door(&self) -> Service {
        self.hops.first().map_or(Service::PythonApi, |hop| hop.from)
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

    /// The hops whose receiver has spans to show.
    pub fn inner_hops(&self) -> impl Iterator<Item = &'static Hop> {
        self.hops.iter().filter(|hop| hop.to.has_sdk())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::hop::CarrierKind;

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
