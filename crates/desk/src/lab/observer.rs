//! Reads the spans of each claim soon after its answer, again when more of its spans arrive, and records what it found.
//!
//! The built-in trace store reports which claims received spans. With a source that does not, the observer polls.

use std::sync::Arc;
use std::time::Duration;

use evidence::{Changed, Collected, Follower, Patience};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::events::Changes;
use crate::api::{ClaimRow, Seen, SentClaim};
use crate::lab::log::{ClaimLog, Next};
use crate::lab::reader::EvidenceReader;
use crate::lab::reference::Reference;

/// The pause between two looks, one at a time: however much is sent, the trace store has other work too.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause while the trace store does not answer.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// The pause between two questions for changes, which gathers what comes with one flush of the exporters.
const GATHER: Duration = Duration::from_millis(200);
/// How long one question waits for a change.
const WAIT: Duration = Duration::from_secs(2);
/// The pause before a source that does not tell changes is asked again: it may have been replaced.
const UNTOLD_PAUSE: Duration = Duration::from_secs(30);
const AT_ONCE: Patience = Patience { deadline: Duration::ZERO, settle: Duration::ZERO, poll: Duration::from_millis(1) };

/// A handle; all clones share one log. The tasks behind it start with the first and end with the runtime; one claim is read
/// at a time. A claim enters with [`Observer::sent`], is observed until it is settled, and looked at again if spans come in
/// later.
#[derive(Clone, Debug)]
pub(crate) struct Observer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: ClaimLog,
    changes: Changes,
    reference: Reference,
    /// What is waited for may have changed.
    news: Notify,
}

// === impl Observer ===

impl Observer {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(reader: EvidenceReader, changes: Changes, log: ClaimLog, reference: Reference) -> Self {
        let observer = Self(Arc::new(Inner { log, changes, reference, news: Notify::new() }));
        tokio::spawn(observer.clone().follow(reader.follow()));
        tokio::spawn(observer.clone().look_at_all(reader));
        observer
    }

    pub(crate) fn log(&self) -> &ClaimLog {
        &self.0.log
    }

    pub(crate) fn sent(&self, claim: &SentClaim) {
        self.0.log.push(claim.clone());
        self.0.changes.notify(|pulse| pulse.claims += 1);
        self.0.news.notify_waiters();
    }

    /// Records what was observed.
    pub(crate) fn note(&self, claim_id: &str, look: &Collected) {
        let seen = Seen::of(look);
        if seen.whole {
            self.0.reference.keep(look);
        }
        if self.0.log.note(claim_id, seen, look.complete, Instant::now()) {
            self.0.changes.notify(|pulse| pulse.looks += 1);
        }
    }

    /// Learns which claims changed, as long as one may.
    async fn follow(self, mut source: Follower) {
        loop {
            let news = self.0.news.notified();
            if !self.0.log.is_watching(Instant::now()) {
                news.await;
                continue;
            }
            let changed = source.next(WAIT).await;
            self.0.log.set_told(changed.is_ok());
            if let Ok(changed) = &changed {
                self.0.log.outdate(changed, Instant::now());
                // A settled claim may be due again.
                self.0.news.notify_waiters();
            }
            sleep(if changed.is_ok() { GATHER } else { UNTOLD_PAUSE }).await;
        }
    }

    async fn look_at_all(self, reader: EvidenceReader) {
        loop {
            let news = self.0.news.notified();
            let now = Instant::now();
            if self.0.log.note_unchanged(now) {
                self.0.changes.notify(|pulse| pulse.looks += 1);
            }
            match self.0.log.next(now) {
                Next::None => news.await,
                Next::DueAt(due) => tokio::select! {
                    () = news => {}
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
            self.0.log.outdate(&Changed::Any, Instant::now());
            return LONG_PAUSE;
        }
        self.note(&claim_id, &collected.with_traceresponse(claim.traceresponse));
        PAUSE
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;

    /// No test waits as long.
    const FAR: Duration = Duration::from_secs(60);

    /// A trace store without a span.
    #[derive(Clone, Default)]
    struct Stub {
        /// Looks are counted by searches.
        looks: watch::Sender<usize>,
        /// What the next question for changes is answered, once there is something; none if the store does not tell.
        told: Option<watch::Sender<Option<Value>>>,
    }

    async fn changes(State(stub): State<Stub>) -> Result<Json<Value>, StatusCode> {
        let told = stub.told.ok_or(StatusCode::NOT_FOUND)?;
        told.subscribe().wait_for(Option::is_some).await.unwrap();
        Ok(Json(told.send_replace(None).unwrap()))
    }

    async fn observe(stub: &Stub) -> Observer {
        let search = async |State(stub): State<Stub>| {
            stub.looks.send_modify(|looks| *looks += 1);
            Json(json!({ "traces": [] }))
        };
        let app = Router::new().route("/api/search", get(search)).route("/api/changes", get(changes));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(axum::serve(listener, app.with_state(stub.clone())).into_future());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let reference = Reference::load(std::path::Path::new("not-used"));
        let reader = EvidenceReader::new(&url, client, None);
        let observer = Observer::start(reader, Changes::new(), ClaimLog::default(), reference);
        observer.sent(&SentClaim { claim_id: Some("CLM-1".to_owned()), ..SentClaim::default() });
        observer
    }

    async fn wait_for_looks(stub: &Stub, count: usize, why: &str) {
        let mut looks = stub.looks.subscribe();
        assert!(
            timeout(FAR, looks.wait_for(|looks| *looks >= count)).await.is_ok(),
            "{why}: {} looks",
            *stub.looks.borrow()
        );
    }

    #[tokio::test]
    async fn a_claim_is_looked_at_when_spans_came_in() {
        let told = watch::Sender::new(None);
        let stub = Stub { told: Some(told.clone()), ..Stub::default() };
        let _observer = observe(&stub).await;
        let tell = |complete: bool, values: &[&str]| {
            told.send_replace(Some(json!({ "at": "1", "complete": complete, "values": values })));
        };
        tell(false, &[]);
        wait_for_looks(&stub, 1, "at first in any case").await;
        tell(true, &["CLM-1"]);
        wait_for_looks(&stub, 2, "spans of it came in").await;
        tell(false, &[]);
        wait_for_looks(&stub, 3, "the store has restarted, or does not remember").await;
    }

    #[tokio::test]
    async fn where_changes_are_not_told_a_claim_is_looked_at_from_time_to_time() {
        let stub = Stub::default();
        let _observer = observe(&stub).await;
        wait_for_looks(&stub, 3, "Tempo does not tell").await;
    }
}
