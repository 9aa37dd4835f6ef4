//! The outbox: each message is stored with its claim, in one transaction, and a relay publishes it.
//!
//! So a claim is never accepted without its message, nor a message sent for a claim that was rolled back.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// So many that were published are forgotten together, or as many as there are when no claim came for a while.
const FORGET_AT: usize = 50;
const FORGET_AFTER: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
const BATCH: usize = 50;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reports the messages that have not been processed yet, those of the outbox and those of the queue behind it, and what
/// keeps either from being written.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) published: Published,
}

/// The number of the last message up to which all are published, although the outbox may still hold them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published(Arc<AtomicI64>);

/// The messages that were stored since the relay asked last, so that it need not read them; those beyond a batch it reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    messages: Arc<Mutex<Vec<Waiting>>>,
    told: Arc<Notify>,
}

/// Publishes what the outbox holds.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) stored: Stored,
    pub(crate) published: Published,
}

// === impl Reporter ===

impl Reporter {
    pub(crate) async fn report(self) -> Report {
        let outbox = timeout(PATIENCE, self.store.count_waiting(self.published.0.load(Relaxed)));
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

// === impl Stored ===

impl Stored {
    /// Hands the relay a message that is committed.
    pub(crate) fn tell(&self, message: Waiting) {
        let mut messages = self.messages();
        if messages.len() < BATCH {
            messages.push(message);
        }
        self.told.notify_one();
    }

    /// All that follow this number without a gap, if they are all: tasks may come in another order than their commits.
    fn after(&self, number: i64) -> Option<Vec<Waiting>> {
        let mut messages = std::mem::take(&mut *self.messages());
        messages.sort_unstable_by_key(|message| message.number);
        let follow = messages.iter().zip(number + 1..).all(|(message, expected)| message.number == expected);
        (follow && !messages.is_empty()).then_some(messages)
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Relay ===

impl Relay {
    /// Runs until the process ends; creates no spans.
    pub(crate) async fn run(self) {
        let mut backoff = FIRST_BACKOFF;
        // Published, and not forgotten yet.
        let mut done = Vec::new();
        loop {
            match self.step(&mut done).await {
                Ok(()) => backoff = FIRST_BACKOFF,
                Err(error) => {
                    tracing::warn!(error = %error_reporter::Report::new(error.as_ref()), "messages wait in the outbox");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Publishes what there is, and forgets what was published once that is much, or nothing came for a while.
    async fn step(&self, done: &mut Vec<i64>) -> Result<(), BoxError> {
        let count = self.publish_waiting(done).await?;
        if count < BATCH && done.len() < FORGET_AT {
            let pause = if done.is_empty() { PAUSE } else { FORGET_AFTER };
            if timeout(pause, self.stored.told.notified()).await.is_ok() {
                return Ok(());
            }
        }
        self.forget(done).await
    }

    /// Publishes what was stored after the last one that was published; says how many those were.
    async fn publish_waiting(&self, done: &mut Vec<i64>) -> Result<usize, BoxError> {
        let last = self.published.0.load(Relaxed);
        let waiting = match self.stored.after(last) {
            Some(stored) => stored,
            None => self.store.waiting(last, BATCH).await?,
        };
        // At the same time, so that they are one transaction of the queue; in their order, where there is one.
        let publish = |row| async move { self.queue.publish(&message(row)).await };
        let published = join_all(waiting.iter().map(publish)).await;
        done.extend(waiting.iter().zip(&published).filter(|(_, result)| result.is_ok()).map(|(row, _)| row.number));
        if let Err(error) = published.into_iter().collect::<Result<Vec<()>, _>>() {
            // Those that could not be published are among others that could.
            self.published.0.store(0, Relaxed);
            self.forget(done).await?;
            return Err(error.into());
        }
        self.published.0.store(waiting.last().map_or(last, |row| row.number), Relaxed);
        Ok(waiting.len())
    }

    /// Forgets what is published, once that is on disk; if it may not be, all is published again, and the queue knows the ids.
    async fn forget(&self, done: &mut Vec<i64>) -> Result<(), BoxError> {
        if done.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.queue.sync().await {
            done.clear();
            self.published.0.store(0, Relaxed);
            return Err(error.into());
        }
        self.store.forget_messages(done.clone()).await?;
        done.clear();
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_handed_over_and_a_gap_is_read() {
        let stored = Stored::default();
        let tell = |number| {
            stored.tell(Waiting { number, claim_id: String::new(), body: String::new(), attributes: None });
        };
        let after = |number| -> Option<Vec<i64>> {
            stored.after(number).map(|messages| messages.iter().map(|message| message.number).collect())
        };
        assert_eq!(after(0), None, "nothing was told: what a predecessor left is read");
        tell(2);
        tell(1);
        assert_eq!(after(0), Some(vec![1, 2]), "which of them comes first does not matter");
        tell(4);
        assert_eq!(after(2), None, "3 is committed, and who stored it has not told it, or never will");
        tell(3);
        assert_eq!(after(4), None, "it was read meanwhile");
        (5..100).for_each(tell);
        let many = after(4).expect("they follow");
        assert_eq!((many.first(), many.len()), (Some(&5), BATCH), "the others are read");
    }
}
