//! A lesson that is on: a scenario that was chosen by name, and whether the learner has committed to a hypothesis.
//!
//! Until then the page covers what a drill hides from everyone: settings, and every judgement. The API does not, since its
//! readers ask for a verdict by name.

use evidence::Answer;
use serde::{Deserialize, Serialize};

use crate::api::HEALTHY;
use crate::clock;

/// It begins with the choice of a scenario, is uncovered once, and ends with the choice of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lesson {
    pub(crate) scenario: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub(crate) started_unix_ms: u64,
    /// What the learner thinks, once it was said.
    #[serde(default)]
    pub(crate) hypothesis: Option<Hypothesis>,
    /// Whether a claim that was sent in it was opened.
    #[serde(default)]
    pub(crate) is_looked_at: bool,
    /// Whether the page shows colours, verdict and settings.
    #[serde(default)]
    pub(crate) is_uncovered: bool,
    /// Whether a check has met what its proof must show.
    #[serde(default)]
    pub(crate) is_proved: bool,
    /// When the settings were changed; none while they are as the scenario has them.
    #[serde(default)]
    pub(crate) changed: Option<Change>,
}

/// When the settings of a lesson were changed, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Until then they were as the scenario has them.
    pub(crate) began_unix_ms: u64,
    /// Since then they are as they are now.
    pub(crate) ended_unix_ms: u64,
}

/// What a learner committed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hypothesis {
    /// In words: the place, and what happened there.
    pub(crate) answer: String,
    /// Whether the evidence agrees.
    pub(crate) is_correct: bool,
    /// What the evidence is, one sentence each.
    #[serde(default)]
    pub(crate) evidence: Vec<String>,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// The page, which covers a lesson.
    Page,
    /// A program, or the command line.
    Api,
}

// === impl Hypothesis ===

impl Hypothesis {
    pub(crate) fn new(answer: Answer, is_correct: bool, evidence: &[String]) -> Self {
        Self { answer: format!("{}, {}", answer.place, answer.kind), is_correct, evidence: evidence.to_owned() }
    }
}

// === impl Lesson ===

impl Lesson {
    /// One that begins now; in the healthy scenario there is nothing to find.
    pub(crate) fn of(scenario: &str) -> Option<Self> {
        let begun = || Self { scenario: scenario.to_owned(), started_unix_ms: clock::unix_millis(), ..Self::default() };
        (scenario != HEALTHY).then(begun)
    }

    /// One whose scenario is known from a drill.
    pub(crate) fn after_drill(scenario: &str, started_unix_ms: u64) -> Self {
        Self { scenario: scenario.to_owned(), started_unix_ms, is_uncovered: true, ..Self::default() }
    }
}
