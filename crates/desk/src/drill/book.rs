//! A hidden scenario, the clock, the score, and the file that stores them.
//!
//! The file is in the folder of the active settings, so that a restarted desk neither loses a drill nor shows what it
//! hides. While a drill is on, the file of active settings names no scenario.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use axum::http::StatusCode;
use scenario::{Catalogue, Scenario};
use serde::{Deserialize, Serialize};
use service::Problem;
use settings::atomic;

use crate::api::{CurrentDrill, DrillRecord, DrillStatus, EndedDrill, HEALTHY, Hint};
use crate::clock;
use crate::drill::{Change, Ended, Hypothesis, Lesson, Spoiler, Viewer};

const FULL_SCORE: u32 = 100;
const LEAST_SCORE: u32 = 10;
const WRONG_ANSWER_COSTS: u32 = 20;
const HINT_COSTS: u32 = 10;

#[derive(Debug)]
pub(crate) struct Drills {
    path: PathBuf,
    /// What a drill may choose from.
    allowed: Vec<String>,
    /// What it would choose from, were the services of all seats the lab's own.
    left_out: Vec<String>,
    book: Mutex<Book>,
}

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Book {
    hidden: Option<Hidden>,
    lesson: Option<Lesson>,
    last: Option<EndedDrill>,
    record: DrillRecord,
    /// The scenarios whose lessons were proved.
    proved: BTreeSet<String>,
    /// What was hidden since all of the set was: no scenario comes twice before every other came once.
    seen: Vec<String>,
}

/// A drill that is on, with the scenario that it hides.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hidden {
    scenario: String,
    #[serde(flatten)]
    drill: CurrentDrill,
    /// Whether a claim that was sent in it was opened.
    #[serde(default)]
    is_looked_at: bool,
}

/// How a drill ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Solved,
    Diagnosed,
    Revealed,
    Abandoned,
}

/// The drills cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The leader's set names no such scenario.
    #[error("the drill set is wrong: {0}")]
    Set(#[from] scenario::catalogue::UnknownScenario),
    /// The set is empty, or has the healthy chain in it.
    #[error("the drill set must name scenarios, and not `healthy`")]
    NothingToFind,
    /// The file of drills cannot be read; deleting it loses the score and any drill that is on.
    #[error("{}: cannot be read as drills", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

// === impl Drills ===

impl Drills {
    /// `allowed` is the leader's set; empty means every scenario that is not healthy.
    /// None of those with `needs_ours` is chosen.
    pub(crate) fn load(
        folder: &Path,
        allowed: Vec<String>,
        catalogue: &Catalogue,
        needs_ours: impl Fn(&Scenario) -> bool,
    ) -> Result<Self, DrillError> {
        let path = folder.join("drill.json");
        let book = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| DrillError::File { path: path.clone(), source: error.into() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Book::default(),
            Err(source) => return Err(DrillError::File { path, source }),
        };
        for id in &allowed {
            catalogue.get(id)?;
        }
        let everything = || catalogue.iter().map(|scenario| scenario.id.clone()).filter(|id| id != HEALTHY).collect();
        let allowed = if allowed.is_empty() { everything() } else { allowed };
        if allowed.is_empty() || allowed.iter().any(|id| id == HEALTHY) {
            return Err(DrillError::NothingToFind);
        }
        let (left_out, allowed) = allowed.into_iter().partition(|id| catalogue.get(id).is_ok_and(&needs_ours));
        Ok(Self { path, allowed, left_out, book: Mutex::new(book) })
    }

    pub(crate) fn status(&self) -> DrillStatus {
        let book = self.lock().clone();
        // A list of what may be hidden would help to guess what is.
        let shown = |list: &Vec<String>| if book.hidden.is_some() { Vec::new() } else { list.clone() };
        let (scenarios, left_out) = (shown(&self.allowed), shown(&self.left_out));
        let current = book.hidden.map(|hidden| hidden.drill);
        DrillStatus { current, last: book.last, record: book.record, scenarios, left_out }
    }

    /// The scenario of the drill that is on.
    pub(crate) fn hidden(&self) -> Option<Spoiler<String>> {
        self.lock().hidden.as_ref().map(|hidden| Spoiler::new(hidden.scenario.clone()))
    }

    /// When the drill that is on began, in milliseconds since the Unix epoch.
    pub(crate) fn started_unix_ms(&self) -> Option<u64> {
        self.lock().hidden.as_ref().map(|hidden| hidden.drill.started_unix_ms)
    }

    /// Whether a claim that was sent in the drill or lesson that is on was opened.
    pub(crate) fn is_looked_at(&self) -> bool {
        let book = self.lock();
        match (&book.hidden, &book.lesson) {
            (Some(hidden), _) => hidden.is_looked_at,
            (None, lesson) => lesson.as_ref().is_some_and(|lesson| lesson.is_looked_at),
        }
    }

    /// Notes that a claim was opened which was sent then. Says whether that is the first of the drill or lesson that is on.
    pub(crate) fn look_at(&self, sent_unix_ms: u64) -> Result<bool, Problem> {
        let book = self.lock();
        let since = match (&book.hidden, &book.lesson) {
            (Some(hidden), _) => Some(hidden.drill.started_unix_ms),
            (None, lesson) => lesson.as_ref().map(|lesson| lesson.started_unix_ms),
        };
        drop(book);
        let is_first = since.is_some_and(|since| sent_unix_ms >= since) && !self.is_looked_at();
        if is_first {
            self.change(|book| match (&mut book.hidden, &mut book.lesson) {
                (Some(hidden), _) => hidden.is_looked_at = true,
                (None, Some(lesson)) => lesson.is_looked_at = true,
                (None, None) => {}
            })?;
        }
        Ok(is_first)
    }

    /// Notes a change of the settings in the lesson that is on; `None` if they are again as its scenario has them.
    pub(crate) fn note_change(&self, change: Option<Change>) -> Result<(), Problem> {
        self.change(|book| {
            let Some(lesson) = book.lesson.as_mut().filter(|_| book.hidden.is_none()) else { return };
            let first = lesson.changed.map(|before| before.began_unix_ms);
            lesson.changed = change.map(|it| Change { began_unix_ms: first.unwrap_or(it.began_unix_ms), ..it });
        })
    }

    /// Notes that a check has met what the proof of this lesson must show.
    pub(crate) fn prove(&self, proved: &Lesson) -> Result<(), Problem> {
        self.change(|book| {
            if let Some(lesson) = book.lesson.as_mut().filter(|it| it.started_unix_ms == proved.started_unix_ms) {
                lesson.is_proved = true;
                book.proved.insert(lesson.scenario.clone());
            }
        })
    }

    /// Whether the lesson of a scenario was proved, now or before.
    pub(crate) fn is_proved(&self, scenario: &str) -> bool {
        self.lock().proved.contains(scenario)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.lock().hidden.is_some()
    }

    /// Whether judgements and settings are hidden from this viewer.
    pub(crate) fn hides_from(&self, viewer: Viewer) -> bool {
        let book = self.lock();
        let is_covered = || book.lesson.as_ref().is_some_and(|lesson| !lesson.is_uncovered);
        book.hidden.is_some() || (viewer == Viewer::Page && is_covered())
    }

    /// The lesson that is on; none in a drill.
    pub(crate) fn lesson(&self) -> Option<Lesson> {
        let book = self.lock();
        book.lesson.clone().filter(|_| book.hidden.is_none())
    }

    /// Begins the lesson of a scenario.
    pub(crate) fn begin_lesson(&self, scenario: &str) -> Result<(), Problem> {
        self.change(|book| book.lesson = Lesson::of(scenario))
    }

    /// Begins the lesson of the scenario that is active, unless it is on already.
    pub(crate) fn resume_lesson(&self, scenario: &str) {
        let lesson = &mut self.lock().lesson;
        if lesson.as_ref().map_or(HEALTHY, |lesson| &lesson.scenario) != scenario {
            *lesson = Lesson::of(scenario);
        }
    }

    /// Uncovers the lesson for good, with what the learner thinks if it was said.
    pub(crate) fn uncover(&self, hypothesis: Option<Hypothesis>) -> Result<(), Problem> {
        self.change(|book| {
            if let Some(lesson) = &mut book.lesson {
                lesson.is_uncovered = true;
                lesson.hypothesis = hypothesis.or(lesson.hypothesis.take());
            }
        })
    }

    /// One of the set, at random; not the last one again if there is another.
    pub(crate) fn choose(&self, wanted: Option<&[String]>) -> Result<String, Problem> {
        let set = wanted.unwrap_or(&self.allowed);
        let needs_ours = match set.iter().find(|id| self.left_out.contains(id)) {
            Some(id) => Some(format!("`{id}` needs")),
            None if wanted.is_none() && self.allowed.is_empty() => {
                Some("all scenarios of the drill set need".to_owned())
            }
            None => None,
        };
        if let Some(who) = needs_ours {
            let detail = format!("{who} a service of the lab's own in a seat that a service of yours fills");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        if let Some(stranger) = set.iter().find(|id| !self.allowed.contains(id)) {
            let detail = format!("`{stranger}` is not in the drill set; it has {}", self.allowed.join(", "));
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        let seen = self.lock().seen.clone();
        let times = |id: &&String| seen.iter().filter(|it| it == id).count();
        let fewest = set.iter().map(|id| times(&id)).min();
        let candidates: Vec<_> = set.iter().filter(|id| Some(times(id)) == fewest).collect();
        let last = seen.last().filter(|_| candidates.len() > 1);
        let candidates: Vec<_> = candidates.into_iter().filter(|id| Some(*id) != last).collect();
        fastrand::choice(candidates).cloned().ok_or_else(|| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "scenarios must name at least one scenario of the drill set")
        })
    }

    pub(crate) fn start(&self, scenario: String) -> Result<(), Problem> {
        let drill = CurrentDrill { started_unix_ms: clock::unix_millis(), ..CurrentDrill::default() };
        self.change(|book| {
            if self.allowed.iter().all(|id| book.seen.contains(id)) {
                book.seen.clear();
            }
            book.seen.push(scenario.clone());
            book.hidden = Some(Hidden { scenario, drill, is_looked_at: false });
        })
    }

    /// As if it had never started.
    pub(crate) fn undo_start(&self) -> Result<(), Problem> {
        self.change(|book| {
            book.hidden = None;
            book.seen.pop();
        })
    }

    pub(crate) fn count_wrong_answer(&self) -> Result<(), Problem> {
        self.change(|book| {
            if let Some(hidden) = &mut book.hidden {
                hidden.drill.wrong_answers += 1;
                book.record.streak = 0;
            }
        })
    }

    /// The next hint for the hidden scenario, counted; never the last.
    pub(crate) fn hint(&self, scenario: Spoiler<&Scenario>) -> Result<Hint, Problem> {
        let Spoiler(scenario) = scenario;
        let given = self.lock().hidden.as_ref().map_or(0, |hidden| hidden.drill.hints);
        let number = usize::try_from(given).unwrap_or(usize::MAX).saturating_add(1);
        if number >= scenario.hints.len() {
            let detail = "the last hint would almost give the answer: in a drill, use diagnose or reveal instead";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        self.count_hint()?;
        Ok(Hint::of(scenario, number))
    }

    fn count_hint(&self) -> Result<(), Problem> {
        self.change(|book| {
            if let Some(hidden) = &mut book.hidden {
                hidden.drill.hints += 1;
            }
        })
    }

    /// Ends the drill, if one is on.
    pub(crate) fn end(&self, ending: Ending) -> Result<Ended, Problem> {
        let mut scenario = None;
        self.change(|book| {
            if let Some(hidden) = book.hidden.take() {
                scenario = Some(hidden.scenario.clone());
                book.close(hidden, ending);
            }
        })?;
        Ok(Ended { scenario })
    }

    /// Nothing changes in memory that is not on disk.
    fn change(&self, edit: impl FnOnce(&mut Book)) -> Result<(), Problem> {
        let mut book = self.lock();
        let mut edited = book.clone();
        edit(&mut edited);
        let text = serde_json::to_vec_pretty(&edited).map_err(|error| Problem::internal(&error))?;
        atomic::replace(&self.path, &text).map_err(|error| Problem::internal(&error))?;
        *book = edited;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Book ===

impl Book {
    fn close(&mut self, hidden: Hidden, ending: Ending) {
        let duration_ms = hidden.drill.age_ms();
        let CurrentDrill { wrong_answers, hints, started_unix_ms } = hidden.drill;
        // The lesson of another scenario has begun already.
        if ending != Ending::Abandoned {
            let lesson = Lesson::after_drill(&hidden.scenario, started_unix_ms);
            self.lesson = Some(Lesson { is_looked_at: hidden.is_looked_at, ..lesson });
        }
        let solved = ending == Ending::Solved;
        let costs = wrong_answers.saturating_mul(WRONG_ANSWER_COSTS).saturating_add(hints.saturating_mul(HINT_COSTS));
        let score = if solved { FULL_SCORE.saturating_sub(costs).max(LEAST_SCORE) } else { 0 };
        let record = &mut self.record;
        if solved {
            record.solved += 1;
            record.score += score;
            record.streak = if wrong_answers == 0 { record.streak + 1 } else { 0 };
            record.best_streak = record.best_streak.max(record.streak);
            record.best_ms = Some(record.best_ms.map_or(duration_ms, |best| best.min(duration_ms)));
        } else {
            record.not_solved += 1;
            record.streak = 0;
        }
        self.last = Some(EndedDrill {
            scenario: hidden.scenario,
            solved,
            ending: ending.sentence().to_owned(),
            score,
            duration_ms,
            wrong_answers,
            hints,
        });
    }
}

// === impl Ending ===

impl Ending {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Solved => "Answered correctly.",
            Self::Diagnosed => "Ended by a diagnosis.",
            Self::Revealed => "Ended by revealing the answer.",
            Self::Abandoned => "Ended by switching to another scenario.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drills(folder: &Path, allowed: &[&str]) -> Result<Drills, DrillError> {
        let allowed = allowed.iter().map(|id| (*id).to_owned()).collect();
        Drills::load(folder, allowed, &crate::testing::catalogue(), |_| false)
    }

    #[test]
    fn a_restart_neither_loses_nor_shows_a_drill() {
        let folder = tempfile::tempdir().unwrap();
        let before = drills(folder.path(), &[]).unwrap();
        before.start("lab-1".to_owned()).unwrap();
        before.count_wrong_answer().unwrap();
        let after = drills(folder.path(), &[]).unwrap();
        assert_eq!(after.hidden().unwrap().0, "lab-1", "the drill goes on");
        let told = serde_json::to_value(after.status()).unwrap();
        assert_eq!(told["current"]["wrong_answers"], 1, "and so does its score");
        assert!(!told["current"].to_string().contains("lab-1"), "nobody is told which it is: {told}");
    }

    #[test]
    fn a_restart_loses_neither_a_look_nor_a_proof() {
        let folder = tempfile::tempdir().unwrap();
        let before = drills(folder.path(), &[]).unwrap();
        assert!(!before.look_at(u64::MAX).unwrap(), "no lesson is on");
        before.begin_lesson("lab-1").unwrap();
        let lesson = before.lesson().unwrap();
        assert!(!before.look_at(lesson.started_unix_ms - 1).unwrap(), "a claim of before shows nothing of the lesson");
        assert!(before.look_at(lesson.started_unix_ms).unwrap(), "the first look");
        assert!(!before.look_at(lesson.started_unix_ms).unwrap(), "which is noted once");
        before.prove(&Lesson { started_unix_ms: 1, ..lesson.clone() }).unwrap();
        assert!(!before.is_proved("lab-1"), "a check that began in another lesson proves nothing of this one");
        before.prove(&lesson).unwrap();
        let after = drills(folder.path(), &[]).unwrap();
        let known = after.lesson().unwrap();
        assert!(known.is_looked_at && known.is_proved && after.is_proved("lab-1"), "{known:?}");
        after.begin_lesson("lab-1").unwrap();
        let again = after.lesson().unwrap();
        assert!(!again.is_looked_at && !again.is_proved, "the lesson begins again: {again:?}");
        assert!(after.is_proved("lab-1"), "and was proved before");
    }

    #[test]
    fn scores_and_streaks() {
        let folder = tempfile::tempdir().unwrap();
        let drills = drills(folder.path(), &[]).unwrap();
        let table = [
            (0, 0, Ending::Solved, 100, 1, "nothing is taken off"),
            (0, 2, Ending::Solved, 80, 2, "hints cost"),
            (1, 0, Ending::Solved, 80, 0, "a wrong answer costs, and breaks the streak"),
            (9, 0, Ending::Solved, 10, 0, "a right answer is always worth something"),
            (0, 0, Ending::Revealed, 0, 0, "a revealed answer is worth nothing, and breaks the streak"),
        ];
        for (wrong_answers, hints, ending, score, streak, why) in table {
            drills.start("lab-1".to_owned()).unwrap();
            (0..wrong_answers).for_each(|_| drills.count_wrong_answer().unwrap());
            (0..hints).for_each(|_| drills.count_hint().unwrap());
            assert_eq!(drills.end(ending).unwrap().scenario(), Some("lab-1"), "{why}");
            let status = drills.status();
            let last = status.last.unwrap();
            assert_eq!((last.score, status.record.streak), (score, streak), "{why}");
        }
        let record = drills.status().record;
        assert_eq!((record.solved, record.not_solved, record.score, record.best_streak), (4, 1, 270, 2));
    }

    #[test]
    fn no_scenario_comes_twice_before_every_other_came_once() {
        let folder = tempfile::tempdir().unwrap();
        let drills = drills(folder.path(), &[]).unwrap();
        let all = drills.status().scenarios;
        let mut last = None;
        for round in 0..3 {
            let mut seen = Vec::new();
            for _ in &all {
                let chosen = drills.choose(None).unwrap();
                assert!(all.len() == 1 || last.as_ref() != Some(&chosen), "round {round}: {chosen} twice in a row");
                drills.start(chosen.clone()).unwrap();
                assert!(drills.status().scenarios.is_empty(), "the set is not shown while a drill is on");
                drills.end(Ending::Solved).unwrap();
                last = Some(chosen.clone());
                seen.push(chosen);
            }
            seen.sort();
            let mut expected = all.clone();
            expected.sort();
            assert_eq!(seen, expected, "round {round}");
        }
    }

    #[test]
    fn a_wrong_set_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (set, why) in [(&["nonsense"], "there is no such scenario"), (&["healthy"], "nothing is broken in it")] {
            assert!(drills(folder.path(), set).is_err(), "{why}");
        }
        let narrow = drills(folder.path(), &["lab-1"]).unwrap();
        assert_eq!(narrow.choose(None).unwrap(), "lab-1", "the leader's set holds");
        for (wanted, why) in [(vec!["other".to_owned()], "not in the leader's set"), (vec![], "nothing to choose from")]
        {
            assert_eq!(narrow.choose(Some(&wanted)).unwrap_err().status, 422, "{why}");
        }
    }
}
