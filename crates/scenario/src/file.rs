//! One lesson, read from one file of `scenarios/`.

use std::path::Path;

use chain::{Place, Step};
use evidence::Expectation;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use settings::document::{Document, Value};
use settings::problem::FileError;
use settings::{Schema, Settings};

/// One lesson.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Its name: the stem of its file.
    pub id: String,
    /// What the learner meets, in a few words that give nothing away.
    pub title: String,
    /// Where it stands in the catalogue.
    pub group: Group,
    /// What it teaches.
    pub topic: String,
    /// What the learner meets, in full; it gives nothing away.
    pub symptom: String,
    /// What to look at; it gives nothing away.
    pub look: Vec<String>,
    /// Hints, from "where to look" by way of "what to compare" to "which setting".
    pub hints: Vec<String>,
    /// What to set.
    pub settings: Settings,
    /// Whether it looks broken and is not.
    pub control: bool,
    /// What is broken; absent means healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// What must be seen when it is mended; absent: what the healthy chain demands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healed: Option<Expectation>,
}

/// What is broken, or only looks broken in a control.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// Where and why.
    pub cause: Cause,
    /// Ways to mend it, each complete by itself. Only a control may have none.
    pub fixes: Vec<Fix>,
    /// What must be seen while it is broken.
    pub broken: Expectation,
}

/// Where and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// The hop or service that is at fault.
    #[serde(rename = "where")]
    pub place: Place,
    /// The first of the four diagnostic steps that fails; absent when all four succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// The explanation.
    #[serde(deserialize_with = "filled")]
    pub text: String,
}

/// One way to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// A scenario file as it is written. `settings`, `broken` and `healed` are read apart, piece by piece.
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
    control: bool,
    cause: Option<Cause>,
    fixes: Vec<WrittenFix>,
    #[serde(rename = "broken")]
    _broken: IgnoredAny,
    #[serde(rename = "healed")]
    _healed: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFix {
    text: Text,
    #[serde(rename = "settings")]
    _settings: IgnoredAny,
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
        let mut changes =
            |value, base: &Settings, complaint| read_changes(&mut document, value, base, complaint, schema);
        let settings = root.get_ref().get("settings");
        let settings = settings.map(|value| changes(value, &Settings::default(), "`settings` must set something"));
        let settings = settings.unwrap_or_default();
        let fixes = root.get_ref().get("fixes").and_then(|fixes| fixes.get_ref().as_array()).into_iter().flatten();
        let fixes = fixes.filter_map(|fix| fix.get_ref().get("settings"));
        let fixes = fixes.map(|value| changes(value, &settings, "a fix must change at least one setting"));
        let fixes: Vec<_> = fixes.collect();
        let mut expectation =
            |key| root.get_ref().get(key).and_then(|value| read_expectation(&mut document, key, value));
        let (broken, healed) = (expectation("broken"), expectation("healed"));
        let written = document.read_in_pieces::<Written>(&root);
        let scenario = written.and_then(|written| {
            let group = written.group?;
            check_step(&mut document, &root, group, &written);
            let fixes = written.fixes.into_iter().zip(fixes);
            let fixes = fixes.map(|(fix, settings)| Fix { text: fix.text.0, settings }).collect();
            Some(Self {
                id: id.to_owned(),
                title: written.title.0,
                group,
                topic: written.topic.0,
                symptom: written.symptom.0,
                look: texts(written.look),
                hints: texts(written.hints),
                settings,
                control: written.control,
                fault: written.cause.zip(broken).map(|(cause, broken)| Fault { cause, fixes, broken }),
                healed,
            })
        });
        document.finish(scenario)
    }

    /// The settings of the scenario with `fix` applied.
    #[must_use]
    pub fn fixed(&self, fix: &Fix) -> Settings {
        with(&self.settings, &fix.settings)
    }
}

/// Which keys must be there, and which have no place, depends on the group.
fn check_keys(document: &mut Document<'_>, root: &Value<'_>) {
    let table = root.get_ref();
    let healthy = table.get("group").and_then(|group| group.get_ref().as_str()) == Some("healthy");
    let control = table.get("control").and_then(|control| control.get_ref().as_bool()) == Some(true);

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
        if healthy && ["settings", "control", "cause", "fixes", "broken"].contains(&key.get_ref().as_ref()) {
            document.report(key.span(), format!("`{}` has no place in the group `healthy`", key.get_ref()));
        }
    }
}

/// Baggage can go wrong, and a control look wrong, although all four steps succeed; nothing else can.
fn check_step(document: &mut Document<'_>, root: &Value<'_>, group: Group, written: &Written) {
    let stepless = written.cause.as_ref().is_some_and(|cause| cause.step.is_none());
    if stepless
        && !written.control
        && group != Group::Baggage
        && let Some(cause) = root.get_ref().get("cause")
    {
        document.report(cause.span(), "`cause`: missing key `step`; only baggage and controls may do without");
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

fn read_expectation(document: &mut Document<'_>, key: &str, value: &Value<'_>) -> Option<Expectation> {
    let expectation = document.read_in_pieces::<Expectation>(value)?;
    if expectation == Expectation::default() {
        document.report(value.span(), format!("`{key}` asks for nothing, so it would always hold"));
    }
    Some(expectation)
}

fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

fn texts(texts: Vec<Text>) -> Vec<String> {
    texts.into_iter().map(|text| text.0).collect()
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
