//! What `serve` can run: the services of the chain, and a few programs beside them.

use std::fmt;
use std::sync::LazyLock;

use chain::{CarrierKind, Service, Topology};
use clap::ValueEnum;
use clap::builder::PossibleValue;

/// What `serve` can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Service(Service),
    TraceStore,
    Desk,
    TraceContextEcho,
}

/// What is known of a program.
struct Row {
    /// As it is written on the command line, and as `service.name`.
    name: &'static str,
    about: &'static str,
    port: u16,
}

// === impl Program ===

impl Program {
    const fn row(self) -> Row {
        match self {
            Self::Service(service) => Row { name: service.name(), about: service.about(), port: service.row().port },
            Self::TraceStore => {
                Row { name: "trace-store", about: "The built-in OTLP receiver and trace store.", port: 3200 }
            }
            Self::Desk => Row { name: "desk", about: "The lab's control desk.", port: 7700 },
            Self::TraceContextEcho => Row {
                name: "trace-context-echo",
                about: "An endpoint for the conformance tests of w3c/trace-context.",
                port: 7780,
            },
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        self.row().name
    }

    pub(crate) const fn port(self) -> u16 {
        self.row().port
    }

    /// The programs of a lab, in the order in which they are started. They are stopped in the reverse order, so that a
    /// service that is called ends after its callers, and the trace store last.
    pub(crate) fn started() -> Vec<Self> {
        let mut services = Vec::new();
        for service in Service::ALL.iter().rev() {
            push_after_callees(*service, &mut services);
        }
        let services = services.into_iter().map(Self::Service);
        [Self::TraceStore].into_iter().chain(services).chain([Self::Desk]).collect()
    }
}

/// HTTP calls form no circle; a message waits in its queue, so it does not matter who starts first.
fn push_after_callees(service: Service, order: &mut Vec<Service>) {
    if order.contains(&service) {
        return;
    }
    for hop in Topology::LAB.hops.iter().filter(|hop| hop.carrier == CarrierKind::Http) {
        if hop.from == service {
            push_after_callees(hop.via.unwrap_or(hop.to), order);
        } else if hop.via == Some(service) {
            push_after_callees(hop.to, order);
        }
    }
    order.push(service);
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl ValueEnum for Program {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Program>> = LazyLock::new(|| {
            let services = Service::ALL.iter().copied().map(Program::Service);
            services.chain([Program::TraceStore, Program::Desk, Program::TraceContextEcho]).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let Row { name, about, .. } = self.row();
        Some(PossibleValue::new(name).help(about.trim_end_matches('.')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::needs;

    #[test]
    fn a_service_that_is_called_starts_before_its_callers() {
        let started = Program::started();
        assert_eq!((started.first(), started.last()), (Some(&Program::TraceStore), Some(&Program::Desk)));
        let place = |service| started.iter().position(|program| *program == Program::Service(service));
        for service in Service::ALL {
            assert!(place(*service).is_some(), "{service} is never started");
            for call in needs(*service).calls {
                assert!(place(call.to) < place(*service), "{service} is started before {}, which it calls", call.to);
            }
        }
    }
}
