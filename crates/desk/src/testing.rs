//! A small catalogue for tests.

use chain::Service;
use scenario::Catalogue;
use settings::{Schema, Setting};

const SETTINGS: &[Setting] =
    &[Setting::new("OTEL_PROPAGATORS", "The formats.", "a list", |value| match value.contains(' ') {
        true => Err("no spaces".to_owned()),
        false => Ok(()),
    })];

const HEALTHY: &str = r#"
title = "The chain"
group = "healthy"
topic = "Traces"
symptom = "None."
look = ["Look."]

[healed]
missing_parents = []
"#;

const LAB_1: &str = r#"
title = "Two traces"
group = "wire-formats"
topic = "Propagators"
symptom = "Half of it is missing."
look = ["Look."]
hints = ["First.", "Second.", "OTEL_PROPAGATORS."]
[settings.python-api]
OTEL_PROPAGATORS = "b3"
[cause]
where = "python-api -> java-claims"
kind = "extract"
text = "It is B3."
[[fixes]]
text = "Fix it."
settings.python-api.OTEL_PROPAGATORS = "tracecontext,baggage"
[broken]
missing_parents = []
"#;

pub(crate) fn schema() -> Schema {
    Schema::new().with(Service::PythonApi, SETTINGS)
}

pub(crate) fn catalogue() -> Catalogue {
    catalogue_of(&[("lab-1", LAB_1)])
}

/// Two scenarios, one of which a drill hides; each of `secrets` is nowhere else.
pub(crate) fn catalogue_with_secrets(secrets: &Secrets) -> Catalogue {
    let Secrets { id, title, setting, hint, cause } = secrets;
    let hidden = LAB_1.replace("Two traces", title).replace("\"b3\"", &format!("\"{setting}\""));
    let hidden = hidden.replace("Second.", hint).replace("It is B3.", cause);
    catalogue_of(&[("lab-1", LAB_1), (id, &hidden)])
}

/// What a drill hides of a scenario.
pub(crate) struct Secrets {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) setting: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) cause: &'static str,
}

fn catalogue_of(scenarios: &[(&str, &str)]) -> Catalogue {
    let folder = tempfile::tempdir().unwrap();
    for (id, text) in scenarios.iter().chain(&[("healthy", HEALTHY)]) {
        std::fs::write(folder.path().join(format!("{id}.toml")), text).unwrap();
    }
    Catalogue::from_dir(folder.path(), &schema()).unwrap()
}
