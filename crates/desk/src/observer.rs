//! Looks once at each claim, some time after its answer, and notes what it saw.

use std::sync::Arc;
use std::time::Duration;

use evidence::Patience;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::api::{Seen, SentClaim};
use crate::events::Pulses;
use crate::log::{ClaimLog, Unseen};
use crate::looker::Looker;

/// By then a healthy claim's spans have arrived.
const LOOK_AFTER: Duration = Duration::from_secs(2);
/// The pause between two looks: under traffic the trace store has other work too.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause while the trace store does not answer.
const LONG_PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: Patience = Patience { deadline: Duration::ZERO, settle: Duration::ZERO, poll: Duration::from_millis(1) };

#[derive(Clone, Debug)]
pub(crate) struct Observer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: ClaimLog,
    pulses: Pulses,
    sent: Notify,
}

// === impl Observer ===

impl Observer {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(looker: Looker, pulses: Pulses) -> Self {
        let observer = Self(Arc::new(Inner { log: ClaimLog::default(), pulses, sent: Notify::new() }));
        tokio::spawn(observer.clone().look_at_all(looker));
        observer
    }

    pub(crate) fn log(&self) -> &ClaimLog {
        &self.0.log
    }

    pub(crate) fn sent(&self, claim: &SentClaim) {
        self.0.log.push(claim.clone());
        self.0.pulses.beat(|pulse| pulse.claims += 1);
        self.0.sent.notify_one();
    }

    /// Notes what somebody saw.
    pub(crate) fn note(&self, claim_id: &str, seen: Seen) {
        self.0.log.note(claim_id, seen);
        self.0.pulses.beat(|pulse| pulse.looks += 1);
    }

    /// The newest first: under more traffic than anybody can look at, old claims are forgotten before they are seen.
    async fn look_at_all(self, looker: Looker) {
        loop {
            match self.0.log.unseen(LOOK_AFTER) {
                Unseen::None => self.0.sent.notified().await,
                Unseen::DueIn(wait) => sleep(wait).await,
                Unseen::Due(claim) => sleep(self.look(&looker, *claim).await).await,
            }
        }
    }

    /// Tells how long to pause.
    async fn look(&self, looker: &Looker, claim: SentClaim) -> Duration {
        let Some(claim_id) = claim.claim_id else { return PAUSE };
        let since = crate::unix_seconds().saturating_sub(600);
        let collected = looker.collect(&claim_id, since, &AT_ONCE).await;
        if collected.source_down {
            return LONG_PAUSE;
        }
        self.note(&claim_id, Seen::from(&collected.with_traceresponse(claim.traceresponse)));
        PAUSE
    }
}
