//! A schema and a good scenario to break.

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

pub(crate) const GOOD: &str = r#"title = "A title"
group = "wire-formats"
topic = "A topic"
symptom = "A symptom"
look = ["here"]
hints = ["look there"]

[settings.python-api]
OTEL_PROPAGATORS = "b3"

[cause]
where = "python-api -> java-claims"
kind = "extract"
text = "A cause"

[[fixes]]
text = "A fix"
settings.python-api.OTEL_PROPAGATORS = "tracecontext"

[broken]
missing_parents = []

[[broken.fragments]]
root = { service = "java-claims", kind = "server" }
services = ["java-claims"]

[[broken.hops]]
hop = "python-api -> java-claims"
sent = ["b3"]
"#;
