//! A schema of two services.

use chain::Service;
use settings::{Schema, Setting};

const SETTINGS: &[Setting] = &[
    Setting::new("OTEL_PROPAGATORS", "The formats.", "comma list of tracecontext, baggage, b3", |value| {
        let known = |name: &&str| ["tracecontext", "baggage", "b3"].contains(name);
        value.split(',').find(|name| !known(name)).map_or(Ok(()), |name| Err(format!("unknown propagator `{name}`")))
    }),
    Setting::new("NOTE", "A note.", "any text", |_| Ok(())),
];

pub(crate) fn schema() -> Schema {
    Schema::new().with(Service::PythonApi, SETTINGS).with(Service::JavaClaims, SETTINGS)
}
