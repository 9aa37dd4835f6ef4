//! The newest claims, and what was observed of each.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chain::Topology;
use evidence::{Changed, Collected, Outcome, Patience, Reading};
use tokio::time::Instant;

use crate::api::{ClaimRow, ScenarioCounts, Scoreboard, Seen, SentClaim};
use crate::clock;

/// How many claims are remembered.
pub(crate) const REMEMBERED: usize = 500;
/// By then most spans of a healthy claim have arrived.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// The time to the next look, as a share of the claim's age: a claim is looked at some ten times at the most.
const BACKOFF: f64 = 0.4;
const LEAST_WAIT: Duration = Duration::from_millis(200);
/// So many traces of a claim are listed: anyone who sends spans can make it more.
const MOST_FRAGMENTS: usize = 20;
/// Claims that follow each other faster than this are traffic.
const TRAFFIC_MS: u64 = 2_000;
/// How far the scoreboard looks back.
const WINDOW_S: u64 = 300;

#[derive(Debug, Default)]
pub(crate) struct ClaimLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// Whether we are told which claims changed; otherwise any may have.
    is_told: bool,
    /// What is active now, if it has a name.
    scenario: Option<String>,
}

/// A claim, and when to look at it.
#[derive(Debug)]
struct Entry {
    row: ClaimRow,
    answered: Instant,
    /// When what was seen changed last.
    changed: Instant,
    /// Whether what the last look saw was complete; what it saw is in the row.
    last_look: Option<bool>,
    /// Whether spans may have come in since the last look began.
    is_outdated: bool,
    /// When to look next; `None` once all is said.
    due: Option<Instant>,
}

/// Which claim to look at next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Every claim is settled.
    None,
    /// Not yet.
    DueAt(Instant),
    Due(Box<ClaimRow>),
}

// === impl ClaimLog ===

impl ClaimLog {
    /// What an earlier desk knew.
    pub(crate) fn of(rows: Vec<ClaimRow>) -> Self {
        let now = Instant::now();
        let answered = |row: &ClaimRow| now.checked_sub(Duration::from_millis(row.age_ms())).unwrap_or(now);
        let mut entries: VecDeque<_> = rows.into_iter().map(|row| Entry::new(row.clone(), answered(&row))).collect();
        for entry in &mut entries {
            entry.due = entry.due.filter(|_| entry.row.seen.as_ref().is_none_or(|seen| !seen.settled));
        }
        Self(Mutex::new(Inner { entries, ..Inner::default() }))
    }

    pub(crate) fn push(&self, claim: SentClaim) {
        let mut log = self.lock();
        if log.entries.len() == REMEMBERED {
            log.entries.pop_front();
        }
        let row = ClaimRow { claim, sent_unix_ms: clock::unix_millis(), scenario: log.scenario.clone(), seen: None };
        log.entries.push_back(Entry::new(row, Instant::now()));
    }

    /// Claims from now on are sent in this scenario, none in a drill; the one until now.
    pub(crate) fn set_scenario(&self, scenario: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.lock().scenario, scenario)
    }

    /// Notes a look, and says whether there was anything new.
    pub(crate) fn note(&self, claim_id: &str, seen: Seen, is_complete: bool, now: Instant) -> bool {
        let mut log = self.lock();
        let entry = log.entries.iter_mut().rev().find(|entry| entry.is(claim_id));
        entry.is_some_and(|entry| entry.note(seen, is_complete, now))
    }

    /// Whether we are told from now on which claims change; otherwise any may have.
    pub(crate) fn set_told(&self, is_told: bool) {
        self.lock().is_told = is_told;
    }

    pub(crate) fn outdate(&self, changed: &Changed) {
        for entry in &mut self.lock().entries {
            entry.is_outdated |= match (changed, &entry.row.claim.claim_id) {
                (Changed::Claims(claims), Some(id)) => claims.contains(id),
                (Changed::Claims(_), None) => false,
                (Changed::Any, _) => true,
            };
        }
    }

    /// Whether more is to be said of a claim.
    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().entries.iter().any(|entry| entry.due.is_some())
    }

    /// Notes for each claim that is due, and of which no span came in, that a look would see the same. Says whether there
    /// is anything new to show.
    pub(crate) fn note_unchanged(&self, now: Instant) -> bool {
        let mut log = self.lock();
        let is_told = log.is_told;
        let unchanged = |entry: &&mut Entry| is_told && !entry.is_outdated && entry.due.is_some_and(|due| due <= now);
        let mut is_new = false;
        for entry in log.entries.iter_mut().filter(unchanged) {
            if let Some(is_complete) = entry.last_look {
                is_new |= entry.note(entry.row.seen.clone().unwrap_or_default(), is_complete, now);
            }
        }
        is_new
    }

    /// Who was begun is finished first; then the newest: under more traffic than can be looked at, old claims are
    /// forgotten before they are seen, and all is said of some rather than a little of each.
    pub(crate) fn next(&self, now: Instant) -> Next {
        let mut log = self.lock();
        let is_due = |entry: &Entry| entry.due.is_some_and(|due| due <= now);
        let begun = log.entries.iter().rposition(|entry| is_due(entry) && entry.last_look.is_some());
        let due = begun.or_else(|| log.entries.iter().rposition(is_due));
        match due.and_then(|index| log.entries.get_mut(index)) {
            Some(entry) => {
                entry.is_outdated = false;
                Next::Due(Box::new(entry.row.clone()))
            }
            None => log.entries.iter().filter_map(|entry| entry.due).min().map_or(Next::None, Next::DueAt),
        }
    }

    /// Newest first.
    pub(crate) fn newest(&self) -> Vec<ClaimRow> {
        self.lock().entries.iter().rev().map(|entry| entry.row.clone()).collect()
    }

    /// The claim to show, and how many newer ones are awaited: the newest claim, except under traffic, when the newest is always
    /// awaited.
    pub(crate) fn to_show(&self) -> Option<(ClaimRow, usize)> {
        let log = self.lock();
        let newest = log.rows().next_back()?;
        let mut seen = log.rows().rev().enumerate().filter(|(_, row)| row.seen.is_some());
        let close = |row: &ClaimRow| newest.sent_unix_ms.saturating_sub(row.sent_unix_ms) < TRAFFIC_MS;
        let (awaited, row) = seen.next().filter(|(_, row)| close(row)).unwrap_or((0, newest));
        Some((row.clone(), awaited))
    }

    /// What outlives the desk, oldest first.
    pub(crate) fn kept(&self) -> Vec<ClaimRow> {
        self.lock().rows().cloned().collect()
    }

    /// The oldest remembered claim that was accepted at this time or later, in milliseconds since the Unix epoch.
    pub(crate) fn oldest_since(&self, unix_ms: u64) -> Option<ClaimRow> {
        let log = self.lock();
        let mut rows = log.rows().filter(|row| row.sent_unix_ms >= unix_ms && row.claim.accepted());
        rows.next().cloned()
    }

    /// The newest claim that was accepted at this time or later.
    pub(crate) fn newest_since(&self, unix_ms: u64) -> Option<ClaimRow> {
        let log = self.lock();
        let mut rows = log.rows().rev().filter(|row| row.sent_unix_ms >= unix_ms && row.claim.accepted());
        rows.next().cloned()
    }

    /// The newest complete claim since then, and the newest before it that is settled and not complete.
    pub(crate) fn before_and_after(&self, unix_ms: u64) -> Option<(ClaimRow, ClaimRow)> {
        let log = self.lock();
        let rows = log.rows().skip_while(|row| row.sent_unix_ms < unix_ms);
        let mut decided = rows.filter(|row| row.seen.as_ref().is_some_and(Seen::is_decided));
        let is_whole = |row: &&ClaimRow| row.seen.as_ref().is_some_and(|seen| seen.whole);
        // The fault as it was set: later claims may show a fix that was none.
        let before = decided.find(|row| !is_whole(row))?;
        let after = decided.filter(is_whole).last()?;
        Some((before.clone(), after.clone()))
    }

    pub(crate) fn last(&self) -> Option<SentClaim> {
        self.lock().rows().next_back().map(|row| row.claim.clone())
    }

    pub(crate) fn sent(&self, claim_id: &str) -> Option<SentClaim> {
        self.row_of(claim_id).map(|row| row.claim)
    }

    pub(crate) fn row_of(&self, claim_id: &str) -> Option<ClaimRow> {
        self.lock().entries.iter().rev().find(|entry| entry.is(claim_id)).map(|entry| entry.row.clone())
    }

    pub(crate) fn scoreboard(&self) -> Scoreboard {
        let log = self.lock();
        let oldest_s = log.rows().next().map_or(0, ClaimRow::age_ms).div_ceil(1000);
        let is_cut = log.entries.len() == REMEMBERED && oldest_s < WINDOW_S;
        let window_s = if is_cut { oldest_s } else { WINDOW_S };
        let mut board = Scoreboard { window_s, is_cut, ..Scoreboard::default() };
        let recent = log.rows().rev().filter(|row| row.age_ms() <= WINDOW_S * 1000);
        let settled =
            recent.filter_map(|row| row.seen.as_ref().filter(|seen| seen.is_decided()).map(|seen| (row, seen)));
        for (row, seen) in settled {
            let known = board.by_scenario.iter().position(|counts| counts.scenario == row.scenario);
            let at = known.unwrap_or(board.by_scenario.len());
            if known.is_none() {
                let none_yet = ScenarioCounts { scenario: row.scenario.clone(), ..ScenarioCounts::default() };
                board.by_scenario.push(none_yet);
            }
            if let Some(counts) = board.by_scenario.get_mut(at) {
                counts.claims += 1;
                counts.whole += usize::from(seen.whole);
                counts.split += usize::from(seen.traces > 1);
            }
            board.claims += 1;
            board.whole += usize::from(seen.whole);
            *board.by_traces.entry(seen.traces).or_default() += 1;
            for root in &seen.roots {
                *board.roots.entry(root.clone()).or_default() += 1;
            }
        }
        board
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn rows(&self) -> impl DoubleEndedIterator<Item = &ClaimRow> {
        self.entries.iter().map(|entry| &entry.row)
    }
}

// === impl Entry ===

impl Entry {
    fn new(row: ClaimRow, answered: Instant) -> Self {
        let due = row.claim.claim_id.is_some().then(|| answered + FIRST_LOOK);
        Self { row, answered, changed: answered, last_look: None, is_outdated: true, due }
    }

    fn is(&self, claim_id: &str) -> bool {
        self.row.claim.claim_id.as_deref() == Some(claim_id)
    }

    /// Tells whether there is anything new to show.
    fn note(&mut self, mut seen: Seen, is_complete: bool, now: Instant) -> bool {
        let Patience { deadline, settle, .. } = Patience::default();
        let before = self.row.seen.take();
        if before.as_ref().is_none_or(|before| !before.shows_the_same(&seen)) {
            self.changed = now;
        }
        let age = now.duration_since(self.answered);
        let is_stable = is_complete && now.duration_since(self.changed) >= settle;
        seen.settled = is_stable || age >= deadline || before.as_ref().is_some_and(|before| before.settled);
        let wait = if is_complete { settle } else { age.mul_f64(BACKOFF).max(LEAST_WAIT) };
        self.due = (!seen.settled).then(|| (now + wait).min(self.answered + deadline));
        self.last_look = Some(is_complete);
        self.row.seen = (seen.traces > 0 || seen.settled).then_some(seen);
        self.row.seen != before
    }
}

// === impl Seen ===

impl Seen {
    pub(super) fn of(collected: &Collected) -> Self {
        let fragments = &collected.evidence.fragments;
        let mut services = Vec::new();
        for service in fragments.iter().flat_map(|fragment| &fragment.services) {
            if !services.contains(service) {
                services.push(service.clone());
            }
        }
        let reading = Reading::new(Topology::LAB, collected);
        let conclusion = reading.conclude();
        let outcome = conclusion.outcome();
        let drawn = conclusion.picture().services;
        let in_trace = |at: usize| {
            let here = drawn.iter().filter(|it| it.traces.contains(&at));
            here.map(|it| it.service.name().to_owned()).collect()
        };
        Self {
            traces: fragments.len(),
            fragments: (0..fragments.len().min(MOST_FRAGMENTS)).map(in_trace).collect(),
            services,
            roots: fragments.iter().flat_map(|fragment| fragment.roots()).map(|root| root.service.clone()).collect(),
            spans: collected.evidence.spans().count(),
            whole: outcome == Outcome::Healthy,
            settled: false,
        }
    }

    /// Before its deadline a claim may be called complete, but not broken.
    pub(crate) fn is_decided(&self) -> bool {
        self.whole || self.settled
    }

    fn shows_the_same(&self, other: &Self) -> bool {
        Self { settled: other.settled, ..self.clone() } == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(now: Instant) -> Entry {
        let claim = SentClaim { claim_id: Some("CLM-1".to_owned()), ..SentClaim::default() };
        Entry::new(ClaimRow { claim, sent_unix_ms: 0, scenario: None, seen: None }, now)
    }

    fn seen(spans: usize, whole: bool) -> Seen {
        Seen {
            traces: spans.min(1),
            services: Vec::new(),
            fragments: Vec::new(),
            roots: Vec::new(),
            spans,
            whole,
            settled: false,
        }
    }

    #[test]
    fn nothing_is_called_broken_before_its_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut entry = entry(start);
        assert_eq!(entry.due, Some(start + FIRST_LOOK), "looked at early");
        assert!(!entry.note(seen(0, false), false, at(400)), "no span so far is nothing to show");
        assert_eq!(entry.row.seen, None, "and nothing to say");
        assert!(entry.note(seen(3, false), false, at(600)), "spans are shown as they come");
        assert!(!entry.row.seen.as_ref().unwrap().is_decided(), "what is missing may still come");
        assert!(!entry.note(seen(3, false), false, at(9_000)), "nothing new");
        assert!(!entry.row.seen.as_ref().unwrap().is_decided(), "not even now");
        assert_eq!(entry.due, Some(at(10_000)), "the last look is at the deadline, however long the pause before");
        assert!(entry.note(seen(3, false), false, at(10_000)), "now it counts as not received");
        assert!(entry.row.seen.as_ref().unwrap().is_decided(), "so all is said");
        assert_eq!(entry.due, None, "and nobody looks again");
    }

    #[test]
    fn complete_evidence_is_settled_once_it_stays_as_it_was() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for whole in [true, false] {
            let mut entry = entry(start);
            entry.note(seen(8, whole), true, at(400));
            assert_eq!(entry.row.seen.as_ref().unwrap().is_decided(), whole, "only the good news is told at once");
            entry.note(seen(9, whole), true, at(1_000));
            assert!(!entry.row.seen.as_ref().unwrap().settled, "it changed, so that it is watched for longer");
            entry.note(seen(9, whole), true, at(1_600));
            assert!(entry.row.seen.as_ref().unwrap().settled, "nothing changed for a while");
            assert!(entry.note(seen(10, whole), true, at(90_000)), "what comes late is shown all the same");
            assert!(entry.row.seen.as_ref().unwrap().settled, "and watched no longer");
        }
    }

    #[test]
    fn who_was_begun_is_finished_first() {
        let log = ClaimLog::default();
        for number in 1..=3 {
            log.push(SentClaim { claim_id: Some(format!("CLM-{number}")), ..SentClaim::default() });
        }
        let next = |wait| match log.next(Instant::now() + wait) {
            Next::Due(row) => row.claim.claim_id.unwrap(),
            other => panic!("a claim is due, not {other:?}"),
        };
        assert!(matches!(log.next(Instant::now()), Next::DueAt(_)), "no claim is old enough");
        assert_eq!(next(FIRST_LOOK), "CLM-3", "the newest first");
        log.note("CLM-1", seen(0, false), false, Instant::now());
        assert_eq!(next(FIRST_LOOK + LEAST_WAIT * 2), "CLM-1", "unless one was begun");
    }

    fn row(number: u64, sent_unix_ms: u64, seen: Option<Seen>) -> ClaimRow {
        let claim = SentClaim { claim_id: Some(format!("CLM-{number}")), status: Some(201), ..SentClaim::default() };
        ClaimRow { claim, sent_unix_ms, scenario: None, seen }
    }

    fn decided(traces: usize, whole: bool) -> Option<Seen> {
        Some(Seen { traces, settled: true, ..seen(1, whole) })
    }

    #[test]
    fn the_newest_claim_is_shown_and_under_traffic_the_newest_with_spans() {
        let now = clock::unix_millis();
        for (age_ms, expected, why) in [
            (10_000, ("CLM-2", 0), "a claim that was sent long before is not the newest"),
            (500, ("CLM-1", 1), "under traffic the newest is always awaited"),
        ] {
            let log = ClaimLog::of(vec![row(1, now - age_ms, decided(1, true)), row(2, now, None)]);
            let (shown, awaited) = log.to_show().unwrap();
            assert_eq!((shown.claim.claim_id.as_deref().unwrap(), awaited), expected, "{why}");
        }
    }

    #[test]
    fn what_an_earlier_desk_knew_is_known_and_looked_at_no_more() {
        let now = clock::unix_millis();
        let rows = vec![row(1, now - 60_000, decided(2, false)), row(2, now - 50_000, decided(1, true))];
        let log = ClaimLog::of(rows.clone());
        assert_eq!(log.kept(), rows, "it is kept again as it was");
        assert!(!log.is_waiting(), "all is said of it");
        let board = log.scoreboard();
        assert_eq!((board.claims, board.whole, board.is_cut, board.window_s), (2, 1, false, WINDOW_S), "and counted");
        let (before, after) = log.before_and_after(now - 70_000).unwrap();
        let ids = [before, after].map(|row| row.claim.claim_id.unwrap());
        assert_eq!(ids, ["CLM-1", "CLM-2"], "the split claim, and the complete one after it");
        assert_eq!(log.before_and_after(now - 55_000), None, "what was before the lesson does not count");
    }

    #[test]
    fn a_caption_covers_what_is_remembered() {
        let now = clock::unix_millis();
        let remembered = u64::try_from(REMEMBERED).unwrap();
        let rows = (0..remembered).map(|number| row(number, now - 40_000 + number, decided(1, true))).collect();
        let board = ClaimLog::of(rows).scoreboard();
        assert!(board.is_cut && (40..=42).contains(&board.window_s), "{} s", board.window_s);
        assert_eq!(board.claims, REMEMBERED, "all that are remembered are counted");
    }

    /// How often a claim without spans is looked at until all is said of it; `tell` is called every 100 ms of its age.
    fn looks(log: &ClaimLog, tell: impl Fn(&ClaimLog, u64)) -> usize {
        log.push(SentClaim { claim_id: Some("CLM-1".to_owned()), ..SentClaim::default() });
        let start = Instant::now();
        let mut looks = 0;
        for age_millis in (0..).step_by(100) {
            let now = start + Duration::from_millis(age_millis);
            tell(log, age_millis);
            log.note_unchanged(now);
            match log.next(now) {
                Next::None => break,
                Next::DueAt(_) => {}
                Next::Due(_) => {
                    looks += 1;
                    log.note("CLM-1", seen(0, false), false, now);
                }
            }
        }
        assert!(log.row_of("CLM-1").unwrap().seen.unwrap().settled, "all is said after {looks} looks");
        looks
    }

    #[test]
    fn a_claim_is_looked_at_once_per_change() {
        let one = |id: &str| Changed::Claims([id.to_owned()].into());
        let told = ClaimLog::default();
        told.set_told(true);
        assert_eq!(looks(&told, |_, _| ()), 1, "nothing changed");
        assert_eq!(looks(&told, |log, _| log.outdate(&one("CLM-2"))), 1, "nothing of it changed");
        let three = looks(&told, |log, age_millis| match age_millis {
            1_000 => log.outdate(&one("CLM-1")),
            3_000 => log.outdate(&Changed::Any),
            5_000 | 5_100 => log.outdate(&one("CLM-1")),
            _ => {}
        });
        assert_eq!(three, 4, "once at first, once for each change, and once for two at a time");
        let always = looks(&told, |log, _| log.outdate(&Changed::Any));
        assert!((5..=12).contains(&always), "however often it changes, {always} times");
        assert_eq!(looks(&ClaimLog::default(), |_, _| ()), always, "the same where changes are not told");
    }
}
