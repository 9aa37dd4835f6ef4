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
        loop {
            match self.publish_waiting().await {
                Ok(0) => {
                    let _ = timeout(PAUSE, self.stored.notified()).await;
                }
                Ok(_) => backoff = FIRST_BACKOFF,
                Err(error) => {
                    tracing::warn!(error = %error_reporter::Report::new(error.as_ref()), "messages wait in the outbox");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    async fn publish_waiting(&self) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        let waiting = self.store.waiting(BATCH).await?;
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
