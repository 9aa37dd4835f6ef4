//! A schema of two services.

use chain::Service;
use settings::{Schema, Setting};

const SETTINGS: &[Setting] = &[
    Setting {
        key: "OTEL_PROPAGATORS",
        allowed: "comma list of tracecontext, baggage, b3",
        check: |value| {
            let known = |name: &&str| ["tracecontext", "baggage", "b3"].contains(name);
            value
                .split(',')
                .find(|name| !known(name))
                .map_or(Ok(()), |name| Err(format!("unknown propagator `{name}`")))
        },
    },
    Setting { key: "NOTE", allowed: "any text", check: |_| Ok(()) },
];

pub(crate) fn schema() -> Schema {
    Schema::new().with(Service::PythonApi, SETTINGS).with(Service::JavaClaims, SETTINGS)
}
