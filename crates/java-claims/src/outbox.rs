//! The outbox: each message is stored with its claim, in one transaction, and a relay publishes it.
//!
//! So a claim is never accepted without its message, nor a message sent for a claim that was rolled back.

use std::sync::Arc;
use std::time::Duration;

use claims_queue::{Attribute, Counts, Message, Queue};
use futures_util::future::join_all;
use opentelemetry::Context;
use service::health::{self, Backlog, PATIENCE, Queued, Report};
use telemetry::messaging::{self, Attributes};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::store::{Store, Waiting};

/// A producer that stores a message says so, and what a dead predecessor left is seen at the start: one look now and then is for
/// what nobody thought of.
const PAUSE: Duration = Duration::from_secs(5);
/// So long after a message, those that were published are forgotten though no claim came.
const SETTLE_AFTER: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const BATCH: usize = 50;

/// Reports the messages that have not been processed yet, those of the outbox and those of the queue behind it, and what
/// keeps either from being written.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
}

/// Publishes what the outbox holds.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) stored: Arc<Notify>,
}

// === impl Reporter ===

impl Reporter {
    pub(crate) async fn report(self) -> Report {
        let outbox = timeout(PATIENCE, self.store.count_waiting());
        let queue = timeout(PATIENCE, self.queue.counts());
        let own_trouble = health::trouble("claims", self.store.trouble());
        let its_trouble = health::trouble("the queue", self.queue.trouble());
        let (outbox, queue, own_trouble, its_trouble) = tokio::join!(outbox, queue, own_trouble, its_trouble);
        let queue = queue.ok().and_then(Result::ok);
        let backlog = Backlog {
            outbox: outbox.ok().and_then(Result::ok),
            queue: queue.map(|Counts { waiting, in_flight, dead }| Queued { waiting, in_flight, dead }),
        };
        Report { backlog: Some(backlog), troubles: own_trouble.into_iter().chain(its_trouble).collect() }
    }
}

// === impl Relay ===

impl Relay {
    /// Runs until the process ends; creates no spans.
    pub(crate) async fn run(self) {
        let mut backoff = FIRST_BACKOFF;
        let mut last = 0;
        loop {
            match self.publish_waiting(&mut last).await {
                Ok(0) => {
                    let _ = timeout(PAUSE, self.stored.notified()).await;
                }
                Ok(count) => {
                    backoff = FIRST_BACKOFF;
                    if count < BATCH && timeout(SETTLE_AFTER, self.stored.notified()).await.is_err() {
                        let _ = self.store.settle().await;
                    }
                }
                Err(error) => {
                    // Those that could not be published are among others that could.
                    last = 0;
                    tracing::warn!(error = %error_reporter::Report::new(error.as_ref()), "messages wait in the outbox");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Publishes what was stored after the last one that was published.
    async fn publish_waiting(&self, last: &mut i64) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        let waiting = self.store.waiting(*last, BATCH).await?;
        // At the same time, so that they are one transaction of the queue; in their order, where there is one.
        let publish = |row| async move { self.queue.publish(&message(row)).await };
        let published = join_all(waiting.iter().map(publish)).await;
        // Published before it is forgotten: the queue knows an id that comes twice.
        let done = waiting.iter().zip(&published).filter(|(_, result)| result.is_ok()).map(|(row, _)| row.number);
        let done: Vec<_> = done.collect();
        if !done.is_empty() {
            self.store.published(done).await?;
        }
        published.into_iter().collect::<Result<Vec<()>, _>>()?;
        *last = waiting.last().map_or(*last, |row| row.number);
        Ok(waiting.len())
    }
}

fn message(row: &Waiting) -> Message {
    let attributes = row.attributes.clone().unwrap_or_else(|| {
        let mut own = Attributes::new();
        messaging::inject(&Context::current(), &mut own);
        own
    });
    Message {
        id: row.claim_id.clone(),
        body: row.body.clone(),
        attributes: attributes.into_iter().map(|(name, value)| (name, Attribute::string(value))).collect(),
    }
}
