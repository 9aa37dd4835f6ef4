//! A small catalogue for tests.

use std::path::Path;

use chain::Service;
use scenario::Catalogue;
use settings::{Schema, Setting};

const SETTINGS: &[Setting] = &[Setting {
    key: "OTEL_PROPAGATORS",
    allowed: "a list",
    check: |value| match value.contains(' ') {
        true => Err("no spaces".to_owned()),
        false => Ok(()),
    },
}];

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
step = "extract"
text = "It is B3."
[[fixes]]
text = "Mend it."
settings.python-api.OTEL_PROPAGATORS = "tracecontext,baggage"
[broken]
missing_parents = []
"#;

pub(crate) fn schema() -> Schema {
    Schema::new().with(Service::PythonApi, SETTINGS)
}

pub(crate) fn catalogue() -> Catalogue {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(Path::new(folder.path()).join(name), text).unwrap();
    write("healthy.toml", HEALTHY);
    write("lab-1.toml", LAB_1);
    Catalogue::from_dir(folder.path(), &schema()).unwrap()
}
