//! One scenario, read from one file of `scenarios/`.

use std::path::Path;

use chain::{Kind, Place, Service};
use evidence::Expectation;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use settings::document::{Document, Value};
use settings::problem::FileError;
use settings::{Schema, Settings};

/// One lesson. A file is read by [`Scenario::parse`]; `Deserialize` reads what `Serialize` wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name: the stem of its file.
    pub id: String,
    /// What the learner meets, in a few words that give nothing away.
    pub title: String,
    /// Its place in the catalogue.
    pub group: Group,
    /// What it teaches.
    pub topic: String,
    /// What the learner meets, in full; it gives nothing away.
    pub symptom: String,
    /// What to look at; it gives nothing away.
    pub look: Vec<String>,
    /// Hints: first "where to look", then "what to compare", then "which setting".
    pub hints: Vec<String>,
    /// What to set.
    pub settings: Settings,
    /// What is broken; absent means healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What must be seen once it is fixed, beyond what the topology demands; absent: what `healthy` demands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healed: Option<Expectation>,
}

/// What is broken, or only looks broken in a control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Where and why.
    pub cause: Cause,
    /// Ways to fix it, each sufficient on its own. Only a control may have none.
    pub fixes: Vec<Fix>,
    /// What must be seen while it is broken.
    pub broken: Expectation,
    /// What services log while it is broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    /// How the same is fixed in real services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub practice: Vec<Practice>,
}

/// How a fault is fixed in a real service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Practice {
    /// The runtime, SDK, agent or proxy of which it is true.
    #[serde(rename = "in", deserialize_with = "filled")]
    pub stack: String,
    /// What to do, in a sentence.
    #[serde(deserialize_with = "filled")]
    pub text: String,
    /// Code or configuration, if the sentence does not say all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The page that documents it.
    #[serde(deserialize_with = "filled")]
    pub source: String,
}

/// A line that a service logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// The service.
    pub service: Service,
    /// What a line of it contains.
    #[serde(deserialize_with = "filled")]
    pub contains: String,
}

/// Where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// The hop or service that is at fault.
    #[serde(rename = "where")]
    pub place: Place,
    /// What happened there: the first of the four steps that fails, a leak, or what only looks like a break.
    pub kind: Kind,
    /// The explanation.
    #[serde(deserialize_with = "filled")]
    pub text: String,
    /// The pages behind what it says of other software than the lab.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// One way to fix it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fix {
    /// What is done, in words.
    pub text: String,
    /// What is set on top of the scenario's own settings.
    pub settings: Settings,
}

/// The chapters of the catalogue, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The chain as it should be.
    Healthy,
    /// Sender and receiver disagree about headers.
    WireFormats,
    /// Proxies and gateways.
    InBetween,
    /// Context that is lost within one service.
    InProcess,
    /// Queues and consumers.
    Messaging,
    /// Application data that travels along.
    Baggage,
    /// Broken only at first sight, perhaps.
    LooksBroken,
}

/// A text with something in it, without white space around it.
#[derive(Default, Deserialize)]
#[serde(try_from = "String")]
struct Text(String);

/// A scenario file as it is written. What begins with `_` is only checked here, and read apart.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    title: Text,
    group: Option<Group>,
    topic: Text,
    symptom: Text,
    look: Vec<Text>,
    hints: Vec<Text>,
    #[serde(rename = "settings")]
    _settings: IgnoredAny,
    cause: Option<Cause>,
    #[serde(rename = "fixes")]
    _fixes: Vec<CheckedFix>,
    #[serde(rename = "broken")]
    _broken: IgnoredAny,
    #[serde(rename = "healed")]
    _healed: IgnoredAny,
    logs: Vec<LogLine>,
    practice: Vec<Practice>,
}

/// What a fix must have; [`read_fix`] reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckedFix {
    #[serde(rename = "text")]
    _text: Text,
    #[serde(rename = "settings")]
    _settings: IgnoredAny,
}

/// A page elsewhere, or a place in it: its host and its own name.
#[must_use]
pub fn source_name(url: &str) -> String {
    let address = url.split_once("://").map_or(url, |(_, address)| address).trim_start_matches("www.");
    let (path, place) = address.split_once('#').map_or((address, None), |(path, place)| (path, Some(place)));
    let (host, page) = path.trim_end_matches('/').split_once('/').unwrap_or((path, ""));
    let page = page.rsplit('/').next().map(|page| page.trim_end_matches(".html")).unwrap_or_default();
    match (page, place) {
        ("", None) => host.trim_end_matches('/').to_owned(),
        (page, None) => format!("{host}: {page}"),
        (page, Some(place)) => format!("{host}: {page}#{place}"),
    }
}

// === impl Scenario ===

impl Scenario {
    /// Reads a scenario file; `path` is for messages only.
    ///
    /// # Errors
    /// [`FileError::Wrong`] with every problem that could be found.
    pub fn parse(id: &str, path: &Path, text: &str, schema: &Schema) -> Result<Self, FileError> {
        let (mut document, root) = Document::parse(path, text)?;
        check_keys(&mut document, &root);
        let scenario = read_scenario(&mut document, &root, id, schema);
        document.finish(scenario)
    }

    /// Whether it looks broken and is not.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.cause.kind.is_no_break())
    }

    /// The settings of the scenario with `fix` applied.
    #[must_use]
    pub fn fixed(&self, fix: &Fix) -> Settings {
        with(&self.settings, &fix.settings)
    }
}

/// What can be read of it; whatever cannot is reported, so that all of the file is looked at.
fn read_scenario(document: &mut Document<'_>, root: &Value<'_>, id: &str, schema: &Schema) -> Option<Scenario> {
    let table = root.get_ref();
    let settings = table.get("settings").map_or_else(Settings::default, |value| {
        read_changes(document, value, &Settings::default(), "`settings` must set something", schema)
    });
    let fixes = table.get("fixes").and_then(|fixes| fixes.get_ref().as_array()).into_iter().flatten();
    let fixes = fixes.filter_map(|fix| read_fix(document, fix, &settings, schema)).collect();
    let broken = read_expectation(document, root, "broken");
    let healed = read_expectation(document, root, "healed");
    let written = document.read_in_pieces::<Written>(root)?;
    let group = written.group?;
    Some(Scenario {
        id: id.to_owned(),
        title: written.title.0,
        group,
        topic: written.topic.0,
        symptom: written.symptom.0,
        look: texts(written.look),
        hints: texts(written.hints),
        settings,
        fault: written.cause.zip(broken).map(|(cause, broken)| Fault {
            cause,
            fixes,
            broken,
            logs: written.logs,
            practice: written.practice,
        }),
        healed,
    })
}

fn read_fix(document: &mut Document<'_>, fix: &Value<'_>, base: &Settings, schema: &Schema) -> Option<Fix> {
    let (text, settings) = (fix.get_ref().get("text"), fix.get_ref().get("settings"));
    let settings = read_changes(document, settings?, base, "a fix must change at least one setting", schema);
    Some(Fix { text: text?.get_ref().as_str()?.trim().to_owned(), settings })
}

/// Which keys must be there, and which have no place, depends on the group.
fn check_keys(document: &mut Document<'_>, root: &Value<'_>) {
    let table = root.get_ref();
    let healthy = table.get("group").and_then(|group| group.get_ref().as_str()) == Some("healthy");
    let kind =
        table.get("cause").and_then(|cause| cause.get_ref().get("kind")?.get_ref().as_str()?.parse::<Kind>().ok());
    let control = kind.is_some_and(Kind::is_no_break);

    let mut required = vec!["title", "group", "topic", "symptom", "look"];
    required.extend_from_slice(if healthy { &["healed"] } else { &["settings", "hints", "cause", "broken"] });
    if !healthy && !control {
        required.push("fixes");
    }
    for key in required {
        match table.get(key) {
            None => document.report(0..0, format!("missing key `{key}`")),
            Some(value) if value.get_ref().as_array().is_some_and(|items| items.is_empty()) => {
                document.report(value.span(), format!("`{key}` must not be empty"));
            }
            Some(_) => {}
        }
    }
    for (key, _) in table.as_table().into_iter().flatten() {
        if healthy && ["settings", "cause", "fixes", "broken", "logs", "practice"].contains(&key.get_ref().as_ref()) {
            document.report(key.span(), format!("`{}` is not allowed in the group `healthy`", key.get_ref()));
        }
    }
}

/// Reads settings that must make a difference to `base`.
fn read_changes(
    document: &mut Document<'_>,
    value: &Value<'_>,
    base: &Settings,
    complaint: &str,
    schema: &Schema,
) -> Settings {
    let known_problems = document.problem_count();
    let changes = document.read_settings(value, schema);
    if with(base, &changes) == *base && document.problem_count() == known_problems {
        document.report(value.span(), complaint);
    }
    changes
}

fn with(base: &Settings, changes: &Settings) -> Settings {
    let mut settings = base.clone();
    settings.merge(changes);
    settings
}

fn read_expectation(document: &mut Document<'_>, root: &Value<'_>, key: &str) -> Option<Expectation> {
    let value = root.get_ref().get(key)?;
    let expectation = document.read_in_pieces::<Expectation>(value)?;
    if expectation == Expectation::default() {
        document.report(value.span(), format!("`{key}` requires nothing, so it would always be met"));
    }
    Some(expectation)
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

fn texts(texts: Vec<Text>) -> Vec<String> {
    texts.into_iter().map(|text| text.0).collect()
}

// === impl Fault ===

impl Fault {
    /// The heading of its observations.
    #[must_use]
    pub fn observed(&self) -> &'static str {
        match self.cause.kind {
            Kind::Late => "What can be observed until the late spans are received (only what matters)",
            _ => "What can be observed (only what matters)",
        }
    }

    /// What can be observed while it is broken, each sentence as the test asks it of the running lab.
    pub fn observations(&self) -> impl Iterator<Item = String> {
        let logs = self.logs.iter().map(|line| format!("{} logs `{}`.", line.service, line.contains));
        self.broken.sentences().into_iter().chain(logs)
    }
}

// === impl Group ===

impl Group {
    /// Its heading, for people.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Healthy => "The healthy chain",
            Self::WireFormats => "Wire formats",
            Self::InBetween => "What lies between",
            Self::InProcess => "Inside a process",
            Self::Messaging => "Messaging",
            Self::Baggage => "Baggage",
            Self::LooksBroken => "Looks broken, is it?",
        }
    }
}

// === impl Text ===

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.trim() {
            "" => Err("must not be empty"),
            text => Ok(Self(text.to_owned())),
        }
    }
}
