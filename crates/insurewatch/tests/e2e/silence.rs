//! No telemetry gives the answer away: spans, the services' logs, the front door's answers, `/healthz`.
//!
//! The desk's own API and the file of active settings are not telemetry: they are for anyone who wants to know.

use std::collections::BTreeSet;

use chain::Service;
use evidence::TraceSource;
use evidence::span::Span;
use scenario::Scenario;
use serde_json::{Value, json};

use crate::lab::Lab;

/// Words of the source: module paths, file names, crates.
const SOURCE: [&str; 7] = ["::", ".rs", "src/", "python_api", "java_claims", "claims_worker", "node_policy_store"];
/// Beginnings of keys that say where in the source, or on which thread, something ran.
const PLACES: [&str; 9] =
    ["code.", "thread", "busy_ns", "idle_ns", "target", "filename", "line_number", "module_path", "file"];

/// Settings that `up` gives its services in their environment, whatever the scenario; an endpoint is another one in each lab.
const STARTED_WITH: [(&str, Option<&str>); 3] = [
    ("OTEL_BSP_SCHEDULE_DELAY", Some("200")),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", Some("http/protobuf")),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", None),
];

/// The words that would reveal the active scenario.
#[derive(Debug)]
pub(crate) struct Telling(BTreeSet<String>);

// === impl Telling ===

impl Telling {
    /// Every scenario's id, every setting's name, and those of its values that are words of ours.
    pub(crate) fn of(answers: &[Scenario]) -> Self {
        let mut words = BTreeSet::from(["scenario".to_owned(), "fault".to_owned()]);
        for Scenario { id, settings, .. } in answers {
            words.insert(id.clone());
            for (_, key, value) in settings.iter() {
                words.insert(key.to_owned());
                // Lists, URLs, numbers and pairs travel as what they are; `none` or `own` could mean anything.
                let plain = value.chars().all(|char| char.is_ascii_lowercase() || "-_0123456789".contains(char));
                if plain && value.contains(['-', '_']) {
                    words.insert(value.to_owned());
                }
            }
        }
        let known = ["hand-built", "from-relay", "late-parent", "with-legacy-b3", "link-batch", "COMPLETION_CONTEXT"];
        assert!(known.iter().all(|word| words.contains(*word)), "the catalogue is read rightly: {words:?}");
        Self(words)
    }

    /// The words as they would stand in a text: not as a part of longer ones.
    fn told<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let whole: BTreeSet<_> =
            text.split(|char: char| !char.is_ascii_alphanumeric() && !"-_".contains(char)).collect();
        let words = self.0.iter().map(String::as_str).filter(move |word| whole.contains(word));
        words.chain(SOURCE.into_iter().filter(move |word| text.contains(word)))
    }

    fn assert_untold_in(&self, text: &str, what: &str) {
        let told: Vec<_> = self.told(text).collect();
        assert!(told.is_empty(), "{what}: {told:?} gives the answer away: {text}");
    }

    pub(crate) fn assert_untold_by<'a>(&self, spans: impl Iterator<Item = &'a Span>, what: &str) {
        for span in spans {
            let Span { service, name, .. } = span;
            // All of it.
            let text = json!(span).to_string();
            self.assert_untold_in(&text, &format!("{what}: {service} {name}"));
            let events = span.events.iter().flat_map(|event| event.attributes.keys());
            for key in span.attributes.keys().chain(span.resource.keys()).chain(events) {
                assert_no_place(key, &text);
            }
        }
    }

    /// What a caller is answered, with every header, and what each service says of its health.
    pub(crate) fn assert_untold_at_the_door(&self, lab: &Lab, what: &str) {
        let claim = json!({
            "policy_id": "POL-1001", "claimant": "Ada Lovelace", "incident_date": "2025-06-15",
            "amount_cents": 125_000, "description": "hail",
        });
        let accepted = lab.client.post(format!("{}claims", lab.file.front_door)).json(&claim).send().unwrap();
        let refused = lab.client.get(format!("{}claims/nothing", lab.file.front_door)).send().unwrap();
        for response in [accepted, refused] {
            let headers = format!("{:?}", response.headers());
            self.assert_untold_in(&headers, &format!("{what}: the front door's headers"));
            self.assert_untold_in(&response.text().unwrap(), &format!("{what}: the front door's answer"));
        }
        for service in Service::ALL {
            let url = format!("{}healthz", lab.file.process(service.name()).url);
            let mut health: Value = lab.client.get(url).send().unwrap().json().unwrap();
            // What `up` started it with, and nothing that is set since.
            let environment = health.as_object_mut().unwrap().remove("environment").unwrap_or_else(|| json!({}));
            for (key, value) in environment.as_object().unwrap() {
                let started_with = STARTED_WITH.iter().find(|(known, _)| known == key);
                let Some((_, known)) = started_with else { panic!("{what}: `up` gives {service} no {key}") };
                assert!(known.is_none_or(|known| value == known), "{what}: {service} was started with {key}={value}");
            }
            self.assert_untold_in(&health.to_string(), &format!("{what}: the health of {service}"));
        }
    }

    /// Everything that was written since the lab began: every span in the store, and the services' logs.
    pub(crate) fn assert_untold(&self, lab: &Lab) {
        let query = [("q", "{}"), ("limit", "10000")];
        let found: Value =
            lab.client.get(format!("{}api/search", lab.file.traces)).query(&query).send().unwrap().json().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let source = TraceSource::new(&lab.file.traces, reqwest::Client::new());
        let traces = found["traces"].as_array().unwrap();
        assert!(!traces.is_empty(), "claims were sent");
        for trace in traces {
            let id = trace["traceID"].as_str().unwrap().parse().unwrap();
            let trace = runtime.block_on(source.trace(id)).unwrap().expect("what was found can be fetched");
            self.assert_untold_by(trace.spans.iter(), "in the store");
        }
        for service in Service::ALL {
            let log = std::fs::read_to_string(lab.data_dir().join(format!("logs/{service}.jsonl"))).unwrap();
            for line in log.lines() {
                self.assert_untold_in(line, &format!("the log of {service}"));
                let fields: Value = serde_json::from_str(line).unwrap();
                fields.as_object().unwrap().keys().for_each(|key| assert_no_place(key, line));
            }
        }
    }
}

fn assert_no_place(key: &str, text: &str) {
    assert!(!PLACES.iter().any(|word| key.starts_with(word)), "`{key}` can give the answer away: {text}");
}

/// No line of a log shows a value as Rust's `Debug` does, with the name of its type: `Approved { payout_cents: 95000 }`.
pub(crate) fn assert_plain(logs: &str) {
    let shown: Vec<_> = logs.lines().filter(|line| shows_debug(line)).collect();
    assert!(shown.is_empty(), "for people, not for Rust: {shown:#?}");
}

fn shows_debug(text: &str) -> bool {
    let is_type = |before: &str| {
        let word = before.rsplit(|char: char| !char.is_ascii_alphanumeric()).next().unwrap_or_default();
        word.starts_with(|char: char| char.is_ascii_uppercase())
            && word.contains(|char: char| char.is_ascii_lowercase())
    };
    // What follows the last opening precedes none.
    [" {", "(", "["].iter().any(|opening| text.rsplit(opening).skip(1).any(is_type))
}

#[test]
fn debug_output_is_found() {
    let table = [
        (r#"{"decision":"Approved { payout_cents: 95000 }"}"#, true, "a struct"),
        (r#"{"error":"Some(3)"}"#, true, "a tuple"),
        (r#"{"decision":"approved, payout 95000 cents","level":"INFO"}"#, false, "a sentence"),
        (r#"{"message":"POST (retried) {a}"}"#, false, "what is no type's name"),
    ];
    for (line, found, why) in table {
        assert_eq!(shows_debug(line), found, "{why}: {line}");
    }
}

#[test]
fn what_would_tell_is_found() {
    let telling = Telling(["thread-pool", "fault", "link-batch"].map(str::to_owned).into());
    let table = [
        (r#"{"mode":"link-batch"}"#, vec!["link-batch"], "a value of a setting"),
        ("scenario=thread-pool,x", vec!["thread-pool"], "an id"),
        ("insurewatch::seams", vec!["::"], "a module path"),
        ("lib.rs:12", vec![".rs"], "a file"),
        ("default, thread-pools, my-thread-pool", vec![], "parts of other words say nothing"),
        ("POST /claims", vec![], "a span's name"),
    ];
    for (text, told, why) in table {
        assert_eq!(telling.told(text).collect::<Vec<_>>(), told, "{why}: {text}");
    }
}
