//! The newest claims, and what was observed of each.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chain::Topology;
use evidence::{Changed, Collected, Outcome, Patience, Reading};
use tokio::time::Instant;

use crate::api::{ClaimRow, ScenarioCounts, Scoreboard, Seen, SentClaim};
use crate::clock;
use crate::drill::Change;

/// How many claims are remembered.
pub(crate) const REMEMBERED: usize = 500;
/// By then most spans of a healthy claim have arrived.
const FIRST_LOOK: Duration = Duration::from_millis(400);
/// The time to the next look, as a share of the claim's age: a claim is looked at some ten times at the most.
const BACKOFF: f64 = 0.4;
const LEAST_WAIT: Duration = Duration::from_millis(200);
/// The same for a settled claim: many may be in one trace, and its changes are of all of them.
const LEAST_WAIT_SETTLED: Duration = Duration::from_secs(5);
/// The ages at which a settled claim that is not complete is looked at again where nobody tells that spans came in: an exporter
/// may keep them for long, often 5 s, and as long as 60 s.
const AGAIN: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(75)];
/// How long we ask whether spans of a claim came in: as long as the scoreboard counts it.
const WATCHED: Duration = Duration::from_secs(WINDOW_S);
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
    /// When it was looked at last, and first when it was answered.
    looked: Instant,
    /// Whether what the last look saw was complete; what it saw is in the row.
    last_look: Option<bool>,
    /// Whether spans may have come in since the last look began.
    is_outdated: bool,
    /// When to look next; `None` once it is settled, until spans come in all the same.
    due: Option<Instant>,
}

/// Which claim to look at next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Every claim is settled, and nothing is known to have come in since.
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
            entry.due = entry.due.filter(|_| !entry.is_settled());
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
        let is_told = log.is_told;
        let entry = log.entries.iter_mut().rev().find(|entry| entry.is(claim_id));
        entry.is_some_and(|entry| entry.note(seen, is_complete, is_told, now))
    }

    /// Whether we are told from now on which claims change; otherwise any may have.
    pub(crate) fn set_told(&self, is_told: bool) {
        self.lock().is_told = is_told;
    }

    /// Notes that spans came in, of a settled claim too: what is said of it may be true no longer.
    pub(crate) fn outdate(&self, changed: &Changed, now: Instant) {
        for entry in &mut self.lock().entries {
            match (changed, &entry.row.claim.claim_id) {
                (Changed::Claims(claims), Some(id)) if claims.contains(id) => entry.outdate(now),
                (Changed::Claims(_), _) => {}
                (Changed::Any, _) => entry.doubt(now),
            }
        }
    }

    /// Whether it matters which claims change.
    pub(crate) fn is_watching(&self, now: Instant) -> bool {
        let is_young = |entry: &Entry| entry.row.claim.claim_id.is_some() && entry.age(now) < WATCHED;
        self.lock().entries.iter().any(|entry| entry.due.is_some() || is_young(entry))
    }

    /// Notes for each claim that is due, and of which no span came in, that a look would see the same. Says whether there
    /// is anything new to show.
    pub(crate) fn note_unchanged(&self, now: Instant) -> bool {
        let mut log = self.lock();
        let is_told = log.is_told;
        let unchanged = |entry: &&mut Entry| {
            is_told && !entry.is_outdated && !entry.is_settled() && entry.due.is_some_and(|due| due <= now)
        };
        let mut is_new = false;
        for entry in log.entries.iter_mut().filter(unchanged) {
            if let Some(is_complete) = entry.last_look {
                is_new |= entry.note(entry.row.seen.clone().unwrap_or_default(), is_complete, is_told, now);
            }
        }
        is_new
    }

    /// Who was begun is finished first; then the newest: under more traffic than can be looked at, old claims are
    /// forgotten before they are seen, and all is said of some rather than a little of each. Settled claims come last.
    pub(crate) fn next(&self, now: Instant) -> Next {
        let mut log = self.lock();
        let is_due = |entry: &Entry| entry.due.is_some_and(|due| due <= now);
        let newest =
            |is_it: &dyn Fn(&Entry) -> bool| log.entries.iter().rposition(|entry| is_due(entry) && is_it(entry));
        let due = newest(&|entry| entry.last_look.is_some() && !entry.is_settled())
            .or_else(|| newest(&|entry| !entry.is_settled()))
            .or_else(|| newest(&|_| true));
        match due.and_then(|index| log.entries.get_mut(index)) {
            Some(entry) => {
                entry.is_outdated = false;
                // Once for what came in, whatever becomes of the look.
                entry.due = entry.due.filter(|_| !entry.is_settled());
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

    /// The first settled claim that is not complete, sent since then and before the settings were changed, and the newest
    /// complete one that was sent under the settings as they are now.
    pub(crate) fn before_and_after(&self, since: u64, change: Change) -> Option<(ClaimRow, ClaimRow)> {
        let log = self.lock();
        let is_whole = |row: &&ClaimRow| row.seen.as_ref().is_some_and(|seen| seen.whole);
        let decided = || log.rows().filter(|row| row.seen.as_ref().is_some_and(Seen::is_decided));
        let mut faulty = decided().filter(|row| (since..change.began_unix_ms).contains(&row.sent_unix_ms));
        let before = faulty.find(|row| !is_whole(row))?;
        let after = decided().rev().filter(|row| row.sent_unix_ms >= change.ended_unix_ms).find(is_whole)?;
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
        let [changed, looked] = [answered; 2];
        Self { row, answered, changed, looked, last_look: None, is_outdated: true, due }
    }

    fn is(&self, claim_id: &str) -> bool {
        self.row.claim.claim_id.as_deref() == Some(claim_id)
    }

    fn is_settled(&self) -> bool {
        self.row.seen.as_ref().is_some_and(|seen| seen.settled)
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.answered)
    }

    /// Spans of it came in.
    fn outdate(&mut self, now: Instant) {
        self.is_outdated = true;
        if self.is_settled() {
            // However often spans come in, the looks become rarer with its age.
            let wait = self.age(self.looked).mul_f64(BACKOFF).max(LEAST_WAIT_SETTLED);
            let due = now.max(self.looked + wait);
            self.due = Some(self.due.map_or(due, |other| other.min(due)));
        }
    }

    /// Spans of it may have come in.
    fn doubt(&mut self, now: Instant) {
        if self.is_settled() {
            self.due = self.due.or_else(|| self.again(now));
        } else {
            self.is_outdated = true;
        }
    }

    /// When to look at what is settled, and not complete, if nobody tells that spans came in.
    fn again(&self, now: Instant) -> Option<Instant> {
        let is_whole = self.row.seen.as_ref().is_some_and(|seen| seen.whole);
        AGAIN.iter().map(|age| self.answered + *age).find(|at| *at > now && !is_whole)
    }

    /// Tells whether there is anything new to show.
    fn note(&mut self, mut seen: Seen, is_complete: bool, is_told: bool, now: Instant) -> bool {
        let Patience { deadline, settle, .. } = Patience::default();
        let before = self.row.seen.take();
        if before.as_ref().is_none_or(|before| !before.shows_the_same(&seen)) {
            self.changed = now;
        }
        let age = self.age(now);
        let was_settled = before.as_ref().is_some_and(|before| before.settled);
        let is_stable = is_complete && now.duration_since(self.changed) >= settle;
        seen.settled = is_stable || age >= deadline || was_settled;
        let wait = if is_complete { settle } else { age.mul_f64(BACKOFF).max(LEAST_WAIT) };
        let next = (now + wait).min(self.answered + deadline);
        let is_settled = seen.settled;
        self.last_look = Some(is_complete);
        self.looked = now;
        self.row.seen = (seen.traces > 0 || seen.settled).then_some(seen);
        match (is_settled, is_told) {
            (false, _) => self.due = Some(next),
            // Whatever came in during a look, or was to be looked at anyway.
            (true, true) if was_settled => {}
            (true, true) => {
                self.due = None;
                if self.is_outdated {
                    self.outdate(now);
                }
            }
            (true, false) => self.due = self.again(now),
        }
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

    /// A claim whose looks have told all that came in.
    fn looked_at(now: Instant) -> Entry {
        let claim = SentClaim { claim_id: Some("CLM-1".to_owned()), ..SentClaim::default() };
        let entry = Entry::new(ClaimRow { claim, sent_unix_ms: 0, scenario: None, seen: None }, now);
        Entry { is_outdated: false, ..entry }
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
        let mut entry = looked_at(start);
        assert_eq!(entry.due, Some(start + FIRST_LOOK), "looked at early");
        assert!(!entry.note(seen(0, false), false, true, at(400)), "no span so far is nothing to show");
        assert_eq!(entry.row.seen, None, "and nothing to say");
        assert!(entry.note(seen(3, false), false, true, at(600)), "spans are shown as they come");
        assert!(!entry.row.seen.as_ref().unwrap().is_decided(), "what is missing may still come");
        assert!(!entry.note(seen(3, false), false, true, at(9_000)), "nothing new");
        assert!(!entry.row.seen.as_ref().unwrap().is_decided(), "not even now");
        assert_eq!(entry.due, Some(at(10_000)), "the last look is at the deadline, however long the pause before");
        assert!(entry.note(seen(3, false), false, true, at(10_000)), "now it counts as not received");
        assert!(entry.row.seen.as_ref().unwrap().is_decided(), "so all is said");
        assert_eq!(entry.due, None, "and nobody looks again");
    }

    #[test]
    fn complete_evidence_is_settled_once_it_stays_as_it_was() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        for whole in [true, false] {
            let mut entry = looked_at(start);
            entry.note(seen(8, whole), true, true, at(400));
            assert_eq!(entry.row.seen.as_ref().unwrap().is_decided(), whole, "only the good news is told at once");
            entry.note(seen(9, whole), true, true, at(1_000));
            assert!(!entry.row.seen.as_ref().unwrap().settled, "it changed, so that it is watched for longer");
            entry.note(seen(9, whole), true, true, at(1_600));
            assert!(entry.row.seen.as_ref().unwrap().settled, "nothing changed for a while");
            assert!(entry.note(seen(10, whole), true, true, at(90_000)), "what comes late is shown all the same");
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
        assert!(matches!(log.next(Instant::now()), Next::None), "all is said of it");
        assert!(log.is_watching(Instant::now()), "unless spans come in all the same");
        assert!(!log.is_watching(Instant::now() + WATCHED), "which nobody waits for without end");
        let board = log.scoreboard();
        assert_eq!((board.claims, board.whole, board.is_cut, board.window_s), (2, 1, false, WINDOW_S), "and counted");
    }

    #[test]
    fn before_and_after_are_before_and_after_the_change() {
        let rows = [(1, 60, 2, false), (2, 55, 1, true), (3, 50, 2, false), (4, 40, 1, true), (5, 30, 1, true)];
        let now = clock::unix_millis();
        let ago = |seconds: u64| now - seconds * 1000;
        let rows = rows.map(|(number, age, traces, whole)| row(number, ago(age), decided(traces, whole)));
        let log = ClaimLog::of(rows.into());
        let pair = |since, began, ended| {
            let change = Change { began_unix_ms: ago(began), ended_unix_ms: ago(ended) };
            let pair = log.before_and_after(ago(since), change);
            pair.map(|(before, after)| [before, after].map(|row| row.claim.claim_id.unwrap()).join(" "))
        };
        for (since, began, ended, expected, why) in [
            (70, 57, 56, Some("CLM-1 CLM-5"), "the fault as it was set, and the newest complete claim"),
            (58, 57, 56, None, "what was before the lesson does not count"),
            (58, 45, 44, Some("CLM-3 CLM-5"), "nor does a claim that was complete without the change"),
            (70, 45, 35, Some("CLM-1 CLM-5"), "settings were changed twice"),
            (70, 20, 19, None, "complete claims under the same settings prove no fix"),
            (70, 65, 64, None, "nor is a claim one of before that was sent after the change"),
        ] {
            assert_eq!(pair(since, began, ended).as_deref(), expected, "{why}");
        }
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
    fn looks(log: &ClaimLog, tell: impl Fn(&ClaimLog, u64, Instant)) -> usize {
        log.push(SentClaim { claim_id: Some("CLM-1".to_owned()), ..SentClaim::default() });
        let start = Instant::now();
        let mut looks = 0;
        let is_settled = || log.row_of("CLM-1").unwrap().seen.is_some_and(|seen| seen.settled);
        for age_millis in (0..).step_by(100).take_while(|_| !is_settled()) {
            let now = start + Duration::from_millis(age_millis);
            tell(log, age_millis, now);
            log.note_unchanged(now);
            match log.next(now) {
                Next::None | Next::DueAt(_) => {}
                Next::Due(_) => {
                    looks += 1;
                    log.note("CLM-1", seen(0, false), false, now);
                }
            }
        }
        looks
    }

    #[test]
    fn a_claim_is_looked_at_once_per_change() {
        let one = |id: &str| Changed::Claims([id.to_owned()].into());
        let told = || {
            let log = ClaimLog::default();
            log.set_told(true);
            log
        };
        assert_eq!(looks(&told(), |_, _, _| ()), 1, "nothing changed");
        assert_eq!(looks(&told(), |log, _, now| log.outdate(&one("CLM-2"), now)), 1, "nothing of it changed");
        let three = looks(&told(), |log, age_millis, now| match age_millis {
            1_000 => log.outdate(&one("CLM-1"), now),
            3_000 => log.outdate(&Changed::Any, now),
            5_000 | 5_100 => log.outdate(&one("CLM-1"), now),
            _ => {}
        });
        assert_eq!(three, 4, "once at first, once for each change, and once for two at a time");
        let always = looks(&told(), |log, _, now| log.outdate(&Changed::Any, now));
        assert!((5..=12).contains(&always), "however often it changes, {always} times");
        assert_eq!(looks(&ClaimLog::default(), |_, _, _| ()), always, "the same where changes are not told");
    }

    /// The ages, in seconds, at which a claim is looked at that is settled and not complete; `tell` is called every second.
    fn looks_when_settled(is_told: bool, tell: impl Fn(&ClaimLog, u64, Instant)) -> Vec<u64> {
        let log = ClaimLog::default();
        log.push(SentClaim { claim_id: Some("CLM-1".to_owned()), ..SentClaim::default() });
        log.set_told(is_told);
        let start = Instant::now();
        let at = |age_s| start + Duration::from_secs(age_s);
        assert!(matches!(log.next(at(10)), Next::Due(_)), "the last look before it is settled");
        log.note("CLM-1", seen(3, false), false, at(10));
        let mut looks = Vec::new();
        for age_s in 11..400 {
            tell(&log, age_s, at(age_s));
            log.note_unchanged(at(age_s));
            if let Next::Due(_) = log.next(at(age_s)) {
                looks.push(age_s);
                log.note("CLM-1", seen(3, false), false, at(age_s));
            }
        }
        looks
    }

    #[test]
    fn a_settled_claim_is_looked_at_again_when_its_spans_come_in() {
        let one = Changed::Claims(["CLM-1".to_owned()].into());
        let at_60 = |log: &ClaimLog, age_s, now| {
            if age_s == 60 {
                log.outdate(&one, now);
            }
        };
        assert_eq!(
            looks_when_settled(true, |_, _, _| ()),
            Vec::<u64>::new(),
            "nothing came in, so there is nothing new"
        );
        assert_eq!(looks_when_settled(true, at_60), [60], "one look for what came in, at once");
        let always = looks_when_settled(true, |log, _, now| log.outdate(&one, now));
        assert!((5..=12).contains(&always.len()), "however often spans come in: at {always:?} s");
        let untold = looks_when_settled(false, |_, _, _| ());
        assert_eq!(untold.len(), 2, "where it is not told, now and then, and not for ever: at {untold:?} s");
        assert!(untold[0].abs_diff(30) <= 1 && untold[1].abs_diff(75) <= 1, "after most exporters: at {untold:?} s");
        let doubted = looks_when_settled(true, |log, _, now| log.outdate(&Changed::Any, now));
        assert_eq!(doubted, untold, "the same while the store cannot say what changed");
    }

    #[test]
    fn what_came_late_is_told_and_counted() {
        let log = ClaimLog::default();
        log.push(SentClaim { claim_id: Some("CLM-1".to_owned()), ..SentClaim::default() });
        log.set_told(true);
        let start = Instant::now();
        log.note("CLM-1", seen(3, false), false, start + Duration::from_secs(10));
        assert_eq!(log.scoreboard().whole, 0, "judged without its root");
        assert!(log.note("CLM-1", seen(4, true), true, start + Duration::from_secs(60)), "a look that must be shown");
        assert_eq!((log.scoreboard().claims, log.scoreboard().whole), (1, 1), "the count follows");
    }
}
