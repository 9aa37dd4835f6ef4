//! Reads the spans of each claim soon after its answer, again while spans are missing, and records what it found.

use std::sync::Arc;
use std::time::Duration;

use evidence::{Collected, Patience};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::events::Changes;
use crate::api::{ClaimRow, SentClaim};
use crate::lab::log::{ClaimLog, Next};
use crate::lab::reader::EvidenceReader;

/// The pause between two looks, one at a time: however much is sent, the trace store has other work too.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause while the trace store does not answer.
const LONG_PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: Patience = Patience { deadline: Duration::ZERO, settle: Duration::ZERO, poll: Duration::from_millis(1) };

/// A handle; all clones share one log. The task behind it starts with the first, takes one look at a time, and ends with
/// the runtime. A claim enters with [`Observer::sent`] and is observed until it is settled.
#[derive(Clone, Debug)]
pub(crate) struct Observer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: ClaimLog,
    changes: Changes,
    sent: Notify,
}

// === impl Observer ===

impl Observer {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(reader: EvidenceReader, changes: Changes) -> Self {
        let observer = Self(Arc::new(Inner { log: ClaimLog::default(), changes, sent: Notify::new() }));
        tokio::spawn(observer.clone().look_at_all(reader));
        observer
    }

    pub(crate) fn log(&self) -> &ClaimLog {
        &self.0.log
    }

    pub(crate) fn sent(&self, claim: &SentClaim) {
        self.0.log.push(claim.clone());
        self.0.changes.notify(|pulse| pulse.claims += 1);
        self.0.sent.notify_one();
    }

    /// Records what was observed.
    pub(crate) fn note(&self, claim_id: &str, look: &Collected) {
        if self.0.log.note(claim_id, look) {
            self.0.changes.notify(|pulse| pulse.looks += 1);
        }
    }

    async fn look_at_all(self, reader: EvidenceReader) {
        loop {
            let sent = self.0.sent.notified();
            match self.0.log.next(Instant::now()) {
                Next::None => sent.await,
                Next::DueAt(due) => tokio::select! {
                    () = sent => {}
                    () = sleep_until(due) => {}
                },
                Next::Due(row) => sleep(self.look(&reader, *row).await).await,
            }
        }
    }

    /// Tells how long to pause.
    async fn look(&self, reader: &EvidenceReader, ClaimRow { claim, sent_unix_ms, .. }: ClaimRow) -> Duration {
        let Some(claim_id) = claim.claim_id else { return PAUSE };
        let collected = reader.collect(&claim_id, sent_unix_ms / 1000, &AT_ONCE).await;
        if collected.source_down {
            return LONG_PAUSE;
        }
        self.note(&claim_id, &collected.with_traceresponse(claim.traceresponse));
        PAUSE
    }
}
