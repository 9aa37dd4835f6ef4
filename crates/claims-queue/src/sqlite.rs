//! A queue in a SQLite file, which several processes may share.
//!
//! Every write is one short transaction that takes the write lock at its start, so none fails half-way for a lock.
//! A message is dead when it has had its last attempt and nobody holds it: no write is needed to make it so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use tokio::time::{Instant, sleep};

use crate::message::Message;
use crate::{
    BackendError, ConnectError, Counts, DEDUPLICATION_WINDOW, Delivery, LONGEST, Options, PublishError, Queue, Receipt,
    SettleError,
};

/// How often a waiting receiver asks whether anybody wrote; nobody asks when nobody waits.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How often it looks into the table even if nobody wrote: a delivery that was released or has expired becomes due by
/// itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long a writer waits for the others.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Sqlite {
    pool: SqlitePool,
    /// The write-ahead log, in which every write of every process shows.
    wal: PathBuf,
    name: String,
    options: Options,
}

// === impl Sqlite ===

impl Sqlite {
    pub(crate) async fn open(url: &str, name: &str, options: Options) -> Result<Self, ConnectError> {
        let file = url.strip_prefix("sqlite://").ok_or(ConnectError::SqliteFile)?;
        if file.is_empty() || file.ends_with('/') || file.contains(['?', '#']) || file == ":memory:" {
            return Err(ConnectError::SqliteFile);
        }
        let connect = url.parse::<SqliteConnectOptions>().map_err(failed("open"))?;
        let mut wal = connect.get_filename().as_os_str().to_owned();
        wal.push("-wal");
        let deadline = Instant::now() + BUSY_TIMEOUT;
        loop {
            match open_file(connect.clone()).await {
                Ok(pool) => return Ok(Self { pool, wal: wal.into(), name: name.to_owned(), options }),
                // SQLite does not wait for others who turn the same new file to WAL.
                Err(error) if is_busy(&error) && Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                Err(error) => return Err(failed("open")(error).into()),
            }
        }
    }

    /// Whether anybody wrote lately; much cheaper to ask than anything in the file. What is written can be read only once
    /// it is on the disk, so it is not the moment of the change that counts.
    fn is_active(&self) -> bool {
        let written = std::fs::metadata(&self.wal).and_then(|log| log.modified());
        written.is_ok_and(|at| at.elapsed().map_or(true, |age| age < LOOK_INTERVAL))
    }

    /// Reads only, so that waiting takes no lock.
    async fn is_any_due(&self) -> Result<bool, sqlx::Error> {
        const TEXT: &str = "SELECT EXISTS (SELECT 1 FROM queue_messages \
                            WHERE queue = ?1 AND acked_at_ms IS NULL AND attempt < ?2 AND visible_at_ms <= ?3)";
        let query = sqlx::query_scalar(TEXT).bind(&self.name).bind(self.options.max_attempts.get());
        query.bind(millis(now())).fetch_one(&self.pool).await
    }

    async fn claim(&self, max: usize) -> Result<Vec<Delivery>, sqlx::Error> {
        const TEXT: &str = "UPDATE queue_messages SET attempt = attempt + 1, receipt = lower(hex(randomblob(16))), \
                            visible_at_ms = ?4 WHERE seq IN (SELECT seq FROM queue_messages \
                            WHERE queue = ?1 AND acked_at_ms IS NULL AND attempt < ?2 AND visible_at_ms <= ?3 \
                            ORDER BY seq LIMIT ?5) RETURNING seq, id, body, attributes, attempt, receipt";
        let now = now();
        let mut rows = sqlx::query(TEXT)
            .bind(&self.name)
            .bind(self.options.max_attempts.get())
            .bind(millis(now))
            .bind(millis(now + self.options.visibility_timeout))
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        // RETURNING promises no order.
        rows.sort_by_key(|row| row.try_get::<i64, _>("seq").unwrap_or_default());
        let delivery = |row: &SqliteRow| {
            let receipt = Receipt(row.try_get("receipt")?);
            Ok(Delivery { message: read(row)?, attempt: row.try_get("attempt")?, receipt })
        };
        rows.iter().map(delivery).collect()
    }

    async fn insert(&self, message: &Message) -> Result<(), sqlx::Error> {
        const FORGET: &str = "DELETE FROM queue_messages WHERE queue = ? AND acked_at_ms < ?";
        const INSERT: &str = "INSERT INTO queue_messages (queue, id, body, attributes, visible_at_ms) \
                              VALUES (?, ?, ?, ?, ?) ON CONFLICT (queue, id) DO NOTHING";
        let attributes =
            serde_json::to_string(&message.attributes).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let now = now();
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let forget = sqlx::query(FORGET).bind(&self.name).bind(millis(now.saturating_sub(DEDUPLICATION_WINDOW)));
        forget.execute(&mut *transaction).await?;
        let insert = sqlx::query(INSERT).bind(&self.name).bind(&message.id).bind(&message.body).bind(attributes);
        insert.bind(millis(now)).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    async fn count(&self) -> Result<Counts, sqlx::Error> {
        const TEXT: &str = "SELECT count(*) FILTER (WHERE visible_at_ms <= ?3 AND attempt < ?2) AS waiting, \
                            count(*) FILTER (WHERE visible_at_ms > ?3) AS in_flight, \
                            count(*) FILTER (WHERE visible_at_ms <= ?3 AND attempt >= ?2) AS dead \
                            FROM queue_messages WHERE queue = ?1 AND acked_at_ms IS NULL";
        let query = sqlx::query(TEXT).bind(&self.name).bind(self.options.max_attempts.get()).bind(millis(now()));
        let row = query.fetch_one(&self.pool).await?;
        Ok(Counts {
            waiting: row.try_get("waiting")?,
            in_flight: row.try_get("in_flight")?,
            dead: row.try_get("dead")?,
        })
    }
}

#[async_trait]
impl Queue for Sqlite {
    async fn publish(&self, message: &Message) -> Result<(), PublishError> {
        message.check()?;
        Ok(self.insert(message).await.map_err(failed("publish"))?)
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BackendError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait.min(LONGEST);
        let mut next_look = Instant::now();
        loop {
            let now = Instant::now();
            if now >= next_look.min(deadline) || self.is_active() {
                next_look = now + LOOK_INTERVAL;
                if self.is_any_due().await.map_err(failed("receive"))? {
                    let deliveries = self.claim(max).await.map_err(failed("receive"))?;
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
            }
            if now >= deadline {
                return Ok(Vec::new());
            }
            sleep(POLL_INTERVAL.min(deadline.saturating_duration_since(now))).await;
        }
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), SettleError> {
        const TEXT: &str = "UPDATE queue_messages SET receipt = NULL, acked_at_ms = ?3, body = '', attributes = '{}' \
                            WHERE queue = ?1 AND receipt = ?2 AND visible_at_ms > ?3";
        let query = sqlx::query(TEXT).bind(&self.name).bind(&delivery.receipt.0).bind(millis(now()));
        held(query.execute(&self.pool).await.map_err(failed("ack"))?.rows_affected())
    }

    async fn release(&self, delivery: &Delivery, after: Duration) -> Result<(), SettleError> {
        const TEXT: &str = "UPDATE queue_messages SET receipt = NULL, \
                            visible_at_ms = CASE WHEN attempt < ?4 THEN ?5 ELSE ?3 END \
                            WHERE queue = ?1 AND receipt = ?2 AND visible_at_ms > ?3";
        let now = now();
        let query = sqlx::query(TEXT)
            .bind(&self.name)
            .bind(&delivery.receipt.0)
            .bind(millis(now))
            .bind(self.options.max_attempts.get())
            .bind(millis(now + after.min(LONGEST)));
        held(query.execute(&self.pool).await.map_err(failed("release"))?.rows_affected())
    }

    async fn counts(&self) -> Result<Counts, BackendError> {
        self.count().await.map_err(failed("count"))
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<Message>, BackendError> {
        const TEXT: &str = "SELECT id, body, attributes FROM queue_messages \
                            WHERE queue = ?1 AND acked_at_ms IS NULL AND attempt >= ?2 AND visible_at_ms <= ?3 \
                            ORDER BY seq LIMIT ?4";
        let query = sqlx::query(TEXT)
            .bind(&self.name)
            .bind(self.options.max_attempts.get())
            .bind(millis(now()))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.pool).await.map_err(failed("read dead letters"))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(failed("read dead letters"))
    }
}

async fn open_file(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let options = options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit is on the disk when it returns.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    // A file does not hang up, so nobody asks a connection whether it is still there.
    let pool = SqlitePoolOptions::new().max_connections(4).test_before_acquire(false).connect_with(options).await?;
    sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await?;
    Ok(pool)
}

/// The primary code is in the low byte: <https://www.sqlite.org/rescode.html>
fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

fn read(row: &SqliteRow) -> Result<Message, sqlx::Error> {
    let attributes: BTreeMap<_, _> =
        serde_json::from_str(row.try_get("attributes")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Message { id: row.try_get("id")?, body: row.try_get("body")?, attributes })
}

fn held(rows_affected: u64) -> Result<(), SettleError> {
    if rows_affected == 0 { Err(SettleError::NotHeld) } else { Ok(()) }
}

fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> BackendError {
    move |error| BackendError::when(doing)(error.into())
}

/// Since the Unix epoch.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(since_epoch: Duration) -> i64 {
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
