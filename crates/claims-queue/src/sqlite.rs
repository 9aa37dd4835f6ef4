//! A queue in a SQLite file, which several processes may share.
//!
//! What is written survives the end of every process, but a power cut may undo what is not synced: then a message is published or
//! delivered again. An ack joins the next transaction of its process, since each costs as much as all that it does. A message is dead when it has had its last attempt and nobody holds it: no write is
//! needed to make it so.
//!
//! The file is bounded but for messages that wait, none of which is ever dropped: acked ones are emptied at once and go with
//! the deduplication window, and so do dead letters beyond the newest [`KEPT_DEAD`].

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use database::rusqlite::types::Type;
use database::rusqlite::{self, Connection, Row, named_params, params};
use database::{Database, OpenError};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::bell::Bell;
use crate::clock::{Clock, Ticked};
use crate::message::Message;
use crate::{
    BackendError, ConnectError, Counts, DEDUPLICATION_WINDOW, Delivery, LONGEST, Options, PublishError, Queue, Receipt,
    SettleError,
};

/// How long a message waits at most whose publisher was not heard.
const SLOW_POLL: Duration = Duration::from_secs(1);

/// The same where publishers cannot be heard.
const POLL: Duration = Duration::from_millis(50);

/// How long an ack waits at most for another transaction that it can join.
const ACK_PATIENCE: Duration = Duration::from_millis(50);

/// So many dead letters are kept, the newest.
const KEPT_DEAD: i64 = 10_000;
/// Every so many messages it is looked whether some dead letters can go.
const BURY_EVERY: i64 = 256;

#[derive(Debug)]
pub(crate) struct Sqlite {
    database: Database,
    bell: Bell,
    table: Table,
    /// Those that no transaction has taken along yet.
    acks: Mutex<Vec<Ack>>,
    quiet: Mutex<Option<Quiet>>,
}

#[derive(Debug)]
struct Ack {
    receipt: String,
    /// How many messages it has removed.
    settled: oneshot::Sender<Result<usize, Arc<database::Error>>>,
}

/// What the thread of the database needs to know of a queue.
#[derive(Clone, Debug)]
struct Table {
    name: Arc<str>,
    options: Options,
    /// [`KEPT_DEAD`], but in tests.
    kept_dead: i64,
    clock: Arc<Clock>,
}

/// What a receiver sees.
enum Look {
    Due,
    /// When a held or released message becomes due.
    Next(Option<Instant>),
}

/// All that was due was taken: nothing is until the next ring, or until this time.
#[derive(Debug)]
struct Quiet {
    rung: watch::Receiver<()>,
    next: Option<Instant>,
}

// === impl Sqlite ===

impl Sqlite {
    pub(crate) async fn open(url: &str, name: &str, options: Options) -> Result<Self, ConnectError> {
        Self::open_keeping(url, name, options, KEPT_DEAD).await
    }

    async fn open_keeping(url: &str, name: &str, options: Options, kept_dead: i64) -> Result<Self, ConnectError> {
        let opened = Database::open(url, include_str!("schema.sql")).await;
        let database = opened.map_err(|error| match error {
            OpenError::Url => ConnectError::SqliteFile,
            error => BackendError::when("open")(error.into()).into(),
        })?;
        let file = database::file(url).map_err(|_| ConnectError::SqliteFile)?;
        let bell = Bell::of(&file).map_err(|error| BackendError::when("open")(error.into()))?;
        let table = Table { name: name.into(), options, kept_dead, clock: Arc::new(Clock::new()) };
        Ok(Self { database, bell, table, acks: Mutex::default(), quiet: Mutex::default() })
    }

    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Table, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, database::Error> {
        let table = self.table.clone();
        self.database.read(move |db| ask(&table, db)).await
    }

    /// What a power cut may undo.
    async fn write<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Table, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, database::Error> {
        let table = self.table.clone();
        self.database.write_unsynced(move |db| ask(&table, db)).await
    }

    /// Acks what waits for it, in the transaction that does what is asked for, at that time in milliseconds.
    async fn write_with_acks<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Table, &Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Arc<database::Error>> {
        let acks = std::mem::take(&mut *self.acks());
        let (receipts, settled): (Vec<_>, Vec<_>) = acks.into_iter().map(|ack| (ack.receipt, ack.settled)).unzip();
        let write = move |table: &Table, db: &Connection| {
            let now = table.clock.tick(db)?.now;
            let ack = |receipt: &String| table.ack(db, receipt, now);
            let removed = receipts.iter().map(ack).collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((removed, ask(table, db, now)?))
        };
        let written = self.write(write).await.map_err(Arc::new);
        for (at, settled) in settled.into_iter().enumerate() {
            let removed = written.as_ref().map(|(removed, _)| removed.get(at).copied().unwrap_or(0));
            // Who acked may not wait any more.
            let _ = settled.send(removed.map_err(Arc::clone));
        }
        written.map(|(_, answer)| answer)
    }

    /// What is due, and when more will be. Reads first, so that waiting takes no lock; after a ring there most likely is a
    /// message.
    async fn take(&self, max: usize, heard: bool) -> Result<(Vec<Delivery>, Option<Instant>), BackendError> {
        if !heard && let Look::Next(next) = self.read(Table::look).await.map_err(failed("receive"))? {
            return Ok((Vec::new(), next));
        }
        let take = move |table: &Table, db: &Connection, now| table.take(db, max, now);
        self.write_with_acks(take).await.map_err(failed("receive"))
    }

    fn acks(&self) -> MutexGuard<'_, Vec<Ack>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quiet(&self) -> MutexGuard<'_, Option<Quiet>> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Queue for Sqlite {
    async fn publish(&self, message: &Message) -> Result<(), PublishError> {
        message.check()?;
        let (table, message) = (self.table.clone(), message.clone());
        self.database.write_unsynced(move |db| table.insert(db, &message)).await.map_err(failed("publish"))?;
        self.bell.ring();
        Ok(())
    }

    async fn sync(&self) -> Result<(), BackendError> {
        let table = self.table.clone();
        // Without a write there would be no sync.
        self.database.write(move |db| table.clock.write(db)).await.map_err(failed("sync"))
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BackendError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait.min(LONGEST);
        let mut rung = self.bell.listen();
        // A ring takes a moment until it is heard: who does not wait for it looks.
        let mut quiet =
            self.quiet().take().filter(|quiet| !wait.is_zero() && quiet.rung.has_changed().is_ok_and(|rang| !rang));
        let mut heard = false;
        loop {
            let next = match quiet.take() {
                Some(quiet) => {
                    rung = quiet.rung;
                    quiet.next
                }
                None => {
                    // Before the look, so that no ring falls between the two.
                    rung.borrow_and_update();
                    let (deliveries, next) = self.take(max, std::mem::take(&mut heard)).await?;
                    if !deliveries.is_empty() {
                        *self.quiet() = (deliveries.len() < max).then_some(Quiet { rung, next });
                        return Ok(deliveries);
                    }
                    next
                }
            };
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            let until = next.into_iter().chain([now + SLOW_POLL, deadline]).min().unwrap_or(deadline);
            match timeout_at(until, rung.changed()).await {
                Ok(Ok(())) => heard = true,
                Ok(Err(_)) => sleep_until(until.min(now + POLL)).await,
                Err(_) => {}
            }
        }
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), SettleError> {
        let (settled, mut removed) = oneshot::channel();
        self.acks().push(Ack { receipt: delivery.receipt.0.clone(), settled });
        let joined = timeout(ACK_PATIENCE, &mut removed).await;
        let removed = match joined {
            Ok(removed) => removed,
            Err(_) => {
                if !self.acks().is_empty() {
                    // Each of them is told.
                    let _ = self.write_with_acks(|_, _, _| Ok(())).await;
                }
                removed.await
            }
        };
        let removed = removed.unwrap_or(Err(Arc::new(database::Error::Gone)));
        held(removed.map_err(failed("ack"))?)
    }

    async fn release(&self, delivery: &Delivery, after: Duration) -> Result<(), SettleError> {
        let receipt = delivery.receipt.0.clone();
        let released = self.write(move |table, db| table.release(db, &receipt, after)).await;
        let released = held(released.map_err(failed("release"))?);
        self.bell.ring();
        released
    }

    async fn counts(&self) -> Result<Counts, BackendError> {
        self.read(Table::count).await.map_err(failed("count"))
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<Message>, BackendError> {
        self.read(move |table, db| table.dead_letters(db, limit)).await.map_err(failed("read dead letters"))
    }

    async fn trouble(&self) -> Option<String> {
        self.database.trouble().await
    }
}

// === impl Table ===

impl Table {
    fn insert(&self, db: &Connection, message: &Message) -> rusqlite::Result<()> {
        const FORGET: &str = "DELETE FROM queue_messages WHERE queue = ? AND acked_at_ms < ?";
        const INSERT: &str = "INSERT INTO queue_messages (queue, id, body, attributes, visible_at_ms) \
                              VALUES (?, ?, ?, ?, ?) ON CONFLICT (queue, id) DO NOTHING";
        const BURY: &str = "DELETE FROM queue_messages WHERE seq IN (SELECT seq FROM queue_messages \
                            WHERE queue = ?1 AND acked_at_ms IS NULL AND attempt >= ?2 AND visible_at_ms < ?3 \
                            ORDER BY seq DESC LIMIT -1 OFFSET ?4)";
        let attributes = serde_json::to_string(&message.attributes)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let Ticked { now, passed } = self.clock.tick(db)?;
        let forgotten = now.saturating_sub(millis(DEDUPLICATION_WINDOW));
        db.prepare_cached(FORGET)?.execute(params![self.name, forgotten])?;
        let mut insert = db.prepare_cached(INSERT)?;
        let inserted = insert.execute(params![self.name, message.id, message.body, attributes, passed])?;
        if inserted == 1 && db.last_insert_rowid() % BURY_EVERY == 0 {
            let most = self.options.max_attempts.get();
            db.prepare_cached(BURY)?.execute(params![self.name, most, forgotten, self.kept_dead])?;
        }
        Ok(())
    }

    fn look(&self, db: &Connection) -> rusqlite::Result<Look> {
        const DUE: &str = "SELECT EXISTS (SELECT 1 FROM queue_messages \
                           WHERE queue = ?1 AND acked_at_ms IS NULL AND attempt < ?2 AND visible_at_ms <= ?3)";
        let now = self.clock.now(db)?;
        let most = self.options.max_attempts.get();
        if db.prepare_cached(DUE)?.query_row(params![self.name, most, now], |row| row.get(0))? {
            return Ok(Look::Due);
        }
        self.next(db, now).map(Look::Next)
    }

    /// When a held or released message becomes due.
    fn next(&self, db: &Connection, now: i64) -> rusqlite::Result<Option<Instant>> {
        const TEXT: &str = "SELECT min(visible_at_ms) FROM queue_messages \
                            WHERE queue = ?1 AND acked_at_ms IS NULL AND attempt < ?2";
        let values = params![self.name, self.options.max_attempts.get()];
        let next: Option<i64> = db.prepare_cached(TEXT)?.query_row(values, |row| row.get(0))?;
        let after = |at: i64| Duration::from_millis(u64::try_from(at.saturating_sub(now)).unwrap_or(0).max(1));
        Ok(next.map(|at| Instant::now() + after(at)))
    }

    /// What is due, the oldest first; and when more will be, if that is all.
    fn take(&self, db: &Connection, max: usize, now: i64) -> rusqlite::Result<(Vec<Delivery>, Option<Instant>)> {
        const TEXT: &str = "UPDATE queue_messages SET attempt = attempt + 1, visible_at_ms = :until, \
                            receipt = seq || '-' || lower(hex(randomblob(16))) WHERE seq IN (SELECT seq FROM queue_messages \
                            WHERE queue = :queue AND acked_at_ms IS NULL AND attempt < :most AND visible_at_ms <= :now \
                            ORDER BY seq LIMIT :max) RETURNING seq, id, body, attributes, attempt, receipt";
        let mut update = db.prepare_cached(TEXT)?;
        let values = named_params! {
            ":queue": self.name,
            ":most": self.options.max_attempts.get(),
            ":now": now,
            ":until": now.saturating_add(millis(self.options.visibility_timeout)),
            ":max": i64::try_from(max).unwrap_or(i64::MAX),
        };
        let delivery = |row: &Row<'_>| {
            let seq: i64 = row.get("seq")?;
            let receipt = Receipt(row.get("receipt")?);
            Ok((seq, Delivery { message: read(row)?, attempt: row.get("attempt")?, receipt }))
        };
        let mut taken = update.query_map(values, delivery)?.collect::<rusqlite::Result<Vec<_>>>()?;
        // RETURNING promises no order.
        taken.sort_by_key(|(seq, _)| *seq);
        let next = if taken.len() < max { self.next(db, now)? } else { None };
        Ok((taken.into_iter().map(|(_, delivery)| delivery).collect(), next))
    }

    /// How many it has removed.
    fn ack(&self, db: &Connection, receipt: &str, now: i64) -> rusqlite::Result<usize> {
        const TEXT: &str = "UPDATE queue_messages SET receipt = NULL, acked_at_ms = ?3, body = '', attributes = '{}' \
                            WHERE seq = CAST(?2 AS INTEGER) AND queue = ?1 AND receipt = ?2 AND visible_at_ms > ?3";
        db.prepare_cached(TEXT)?.execute(params![self.name, receipt, now])
    }

    /// How many rows it has returned.
    fn release(&self, db: &Connection, receipt: &str, after: Duration) -> rusqlite::Result<usize> {
        const TEXT: &str = "UPDATE queue_messages SET receipt = NULL, \
                            visible_at_ms = CASE WHEN attempt < ?4 THEN ?5 ELSE ?3 END \
                            WHERE seq = CAST(?2 AS INTEGER) AND queue = ?1 AND receipt = ?2 AND visible_at_ms > ?3";
        let now = self.clock.tick(db)?.now;
        let due = now.saturating_add(millis(after.min(LONGEST)));
        let most = self.options.max_attempts.get();
        db.prepare_cached(TEXT)?.execute(params![self.name, receipt, now, most, due])
    }

    fn count(&self, db: &Connection) -> rusqlite::Result<Counts> {
        const TEXT: &str = "SELECT count(*) FILTER (WHERE visible_at_ms <= ?3 AND attempt < ?2), \
                            count(*) FILTER (WHERE visible_at_ms > ?3), \
                            count(*) FILTER (WHERE visible_at_ms <= ?3 AND attempt >= ?2) \
                            FROM queue_messages WHERE queue = ?1 AND acked_at_ms IS NULL";
        let now = self.clock.now(db)?;
        let counts = |row: &Row<'_>| Ok(Counts { waiting: row.get(0)?, in_flight: row.get(1)?, dead: row.get(2)? });
        db.prepare_cached(TEXT)?.query_row(params![self.name, self.options.max_attempts.get(), now], counts)
    }

    fn dead_letters(&self, db: &Connection, limit: usize) -> rusqlite::Result<Vec<Message>> {
        const TEXT: &str = "SELECT id, body, attributes FROM queue_messages \
                            WHERE queue = ?1 AND acked_at_ms IS NULL AND attempt >= ?2 AND visible_at_ms <= ?3 \
                            ORDER BY seq LIMIT ?4";
        let now = self.clock.now(db)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = params![self.name, self.options.max_attempts.get(), now, limit];
        db.prepare_cached(TEXT)?.query_map(values, read)?.collect()
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
    let column = row.as_ref().column_index("attributes")?;
    let attributes: BTreeMap<_, _> = serde_json::from_str(&row.get::<_, String>(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))?;
    Ok(Message { id: row.get("id")?, body: row.get("body")?, attributes })
}

fn held(rows_affected: usize) -> Result<(), SettleError> {
    if rows_affected == 0 { Err(SettleError::NotHeld) } else { Ok(()) }
}

fn failed<E: Error + Send + Sync + 'static>(doing: &'static str) -> impl FnOnce(E) -> BackendError {
    move |error| BackendError::when(doing)(error.into())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::STEP_MS;

    fn message(number: usize) -> Message {
        Message { id: number.to_string(), body: "{}".to_owned(), attributes: BTreeMap::new() }
    }

    #[tokio::test]
    async fn the_oldest_dead_letters_go_and_nothing_that_waits() {
        const KEPT: usize = 100;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("queue.db").display());
        let options = Options { max_attempts: NonZeroU32::MIN, ..Options::default() };
        let queue = Sqlite::open_keeping(&url, "claims", options, 100).await.unwrap();
        let every = usize::try_from(BURY_EVERY).unwrap();
        for number in 0..every - 1 {
            queue.publish(&message(number)).await.unwrap();
        }
        // All but the last ones are given up: their only attempt is spent.
        let waiting = 5;
        let taken = queue.receive(every - 1 - waiting, Duration::ZERO).await.unwrap();
        for delivery in &taken {
            queue.release(delivery, Duration::ZERO).await.unwrap();
        }
        let dead = taken.len() as u64;
        assert_eq!(queue.counts().await.unwrap().dead, dead, "more than are kept, since it was not looked yet");
        // Their ids are remembered until they could not come again.
        let later = millis(DEDUPLICATION_WINDOW) + STEP_MS + 1;
        queue.write(move |_, db| db.execute("UPDATE queue_clock SET now_ms = now_ms + ?", [later])).await.unwrap();
        for number in every - 1..2 * every {
            queue.publish(&message(number)).await.unwrap();
        }
        let counts = queue.counts().await.unwrap();
        assert_eq!(counts.dead, KEPT as u64, "the newest are kept");
        assert_eq!(counts.waiting, (waiting + every + 1) as u64, "what waits is never dropped");
        let letters = queue.dead_letters(1).await.unwrap();
        assert_eq!(letters[0].id, (taken.len() - KEPT).to_string(), "it is the oldest that have gone");
    }

    #[tokio::test]
    async fn a_sync_writes_although_nothing_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let queue = Sqlite::open(&format!("sqlite://{}", path.display()), "claims", Options::default()).await.unwrap();
        let other = Connection::open(&path).unwrap();
        let version = || other.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).unwrap();
        queue.publish(&message(0)).await.unwrap();
        for _ in 0..3 {
            let before = version();
            queue.sync().await.unwrap();
            assert_ne!(version(), before, "SQLite syncs what it commits, and nothing else");
        }
    }

    #[tokio::test]
    async fn an_ack_joins_the_next_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("queue.db").display());
        let queue = Arc::new(Sqlite::open(&url, "claims", Options::default()).await.unwrap());
        for number in 0..2 {
            queue.publish(&message(number)).await.unwrap();
        }
        let first = queue.receive(1, Duration::ZERO).await.unwrap().pop().expect("two wait");
        let acking = tokio::spawn({
            let (queue, first) = (queue.clone(), first.clone());
            async move { queue.ack(&first).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(queue.acks().len(), 1, "it has time");
        let second = queue.receive(1, Duration::ZERO).await.unwrap().pop().expect("one waits");
        acking.await.unwrap().expect("it was taken along");
        let again = queue.ack(&first).await;
        assert!(matches!(again, Err(SettleError::NotHeld)), "the message is gone: {again:?}");
        queue.ack(&second).await.expect("without another transaction it has its own");
        assert_eq!(queue.counts().await.unwrap(), Counts::default(), "nothing is left");
    }
}
