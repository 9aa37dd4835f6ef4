//! The newest claims, and what was seen of each.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::Collected;

use crate::api::{ClaimRow, Scoreboard, Seen, SentClaim};

/// How many claims are remembered.
pub(crate) const REMEMBERED: usize = 500;
/// How far the scoreboard looks back.
const WINDOW_S: u64 = 300;

#[derive(Debug, Default)]
pub(crate) struct ClaimLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Oldest first.
    rows: VecDeque<ClaimRow>,
    /// It outlives its row: something to compare with must not be lost to traffic.
    last_whole: Option<String>,
}

/// Which claim to look at next.
#[derive(Debug)]
pub(crate) enum Unseen {
    None,
    /// Every unseen claim is too young.
    DueIn(Duration),
    /// The newest of those that are old enough.
    Due(Box<SentClaim>),
}

// === impl ClaimLog ===

impl ClaimLog {
    pub(crate) fn push(&self, claim: SentClaim) {
        let mut log = self.lock();
        if log.rows.len() == REMEMBERED {
            log.rows.pop_front();
        }
        log.rows.push_back(ClaimRow { claim, sent_unix_ms: crate::unix_millis(), seen: None });
    }

    pub(crate) fn note(&self, claim_id: &str, seen: Seen) {
        let mut log = self.lock();
        if seen.whole {
            log.last_whole = Some(claim_id.to_owned());
        }
        if let Some(row) = log.rows.iter_mut().rev().find(|row| row.claim.claim_id.as_deref() == Some(claim_id)) {
            row.seen = Some(seen);
        }
    }

    pub(crate) fn unseen(&self, look_after: Duration) -> Unseen {
        let now = crate::unix_millis();
        let age = |row: &ClaimRow| Duration::from_millis(now.saturating_sub(row.sent_unix_ms));
        let log = self.lock();
        let unseen = || log.rows.iter().filter(|row| row.seen.is_none());
        match unseen().rev().find(|row| age(row) >= look_after) {
            Some(row) => Unseen::Due(Box::new(row.claim.clone())),
            None => unseen().next().map_or(Unseen::None, |row| Unseen::DueIn(look_after.saturating_sub(age(row)))),
        }
    }

    /// Newest first.
    pub(crate) fn newest(&self) -> Vec<ClaimRow> {
        self.lock().rows.iter().rev().cloned().collect()
    }

    /// The newest claim that was looked at.
    pub(crate) fn last_seen(&self) -> Option<String> {
        let log = self.lock();
        log.rows.iter().rev().find(|row| row.seen.is_some()).and_then(|row| row.claim.claim_id.clone())
    }

    pub(crate) fn last_whole(&self) -> Option<String> {
        self.lock().last_whole.clone()
    }

    pub(crate) fn last(&self) -> Option<SentClaim> {
        self.lock().rows.back().map(|row| row.claim.clone())
    }

    pub(crate) fn sent(&self, claim_id: &str) -> Option<SentClaim> {
        self.row_of(claim_id).map(|row| row.claim)
    }

    pub(crate) fn row_of(&self, claim_id: &str) -> Option<ClaimRow> {
        let log = self.lock();
        log.rows.iter().rev().find(|row| row.claim.claim_id.as_deref() == Some(claim_id)).cloned()
    }

    pub(crate) fn scoreboard(&self) -> Scoreboard {
        let since = crate::unix_millis().saturating_sub(WINDOW_S * 1000);
        let mut board = Scoreboard { window_s: WINDOW_S, ..Scoreboard::default() };
        let log = self.lock();
        for seen in log.rows.iter().filter(|row| row.sent_unix_ms >= since).filter_map(|row| row.seen.as_ref()) {
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

// === impl Seen ===

impl From<&Collected> for Seen {
    fn from(collected: &Collected) -> Self {
        let fragments = &collected.evidence.fragments;
        let mut services = Vec::new();
        for service in fragments.iter().flat_map(|fragment| &fragment.services) {
            if !services.contains(service) {
                services.push(service.clone());
            }
        }
        let verdict = evidence::judge(std::slice::from_ref(collected), None);
        Self {
            traces: fragments.len(),
            services,
            roots: fragments.iter().flat_map(|fragment| fragment.roots()).map(|root| root.service.clone()).collect(),
            whole: verdict.outcome == evidence::Outcome::Healthy,
        }
    }
}
