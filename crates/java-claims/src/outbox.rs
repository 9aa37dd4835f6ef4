//! The outbox: what is to be published is stored with the claim, in one transaction, and published by a relay.
//!
//! So a claim is never accepted without its message, nor a message sent for a claim that was rolled back.

use std::sync::Arc;
use std::time::Duration;

use claims_queue::{Attribute, Counts, Message, Queue};
use error_reporter::Report;
use opentelemetry::Context;
use service::health::{Backlog, Queued};
use telemetry::messaging::{self, Attributes};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::store::{Store, Waiting};

/// A message is published at once; the pause only bounds how long one waits that a dead predecessor left.
const PAUSE: Duration = Duration::from_millis(500);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const BATCH: usize = 50;
/// A question about health does not wait for a queue that is gone.
const COUNT_TIMEOUT: Duration = Duration::from_millis(100);

/// Counts the messages that nobody has processed yet: those of the outbox, and those of the queue behind it.
#[derive(Clone, Debug)]
pub(crate) struct CountBacklog {
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

// === impl CountBacklog ===

impl CountBacklog {
    pub(crate) async fn count(self) -> Backlog {
        let outbox = timeout(COUNT_TIMEOUT, self.store.count_waiting());
        let queue = timeout(COUNT_TIMEOUT, self.queue.counts());
        let (outbox, queue) = tokio::join!(outbox, queue);
        let queue = queue.ok().and_then(Result::ok);
        Backlog {
            outbox: outbox.ok().and_then(Result::ok),
            queue: queue.map(|Counts { waiting, in_flight, dead }| Queued { waiting, in_flight, dead }),
        }
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
                    tracing::warn!(error = %Report::new(error.as_ref()), "messages wait in the outbox");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    async fn publish_waiting(&self) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        let waiting = self.store.waiting(BATCH).await?;
        for row in &waiting {
            // Published before it is forgotten: the queue knows an id that comes twice.
            self.queue.publish(&message(row)).await?;
            self.store.published(row.number).await?;
        }
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
