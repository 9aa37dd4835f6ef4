//! The time of a queue.
//!
//! It follows the monotonic clocks of the processes that have the queue open, so setting the machine's clock neither delays
//! nor hastens a message. Each write leaves it in the file, and a process that is behind takes it from there: processes that share
//! a file agree, and it never goes back. It stops while no process has the queue open.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use database::rusqlite::{Connection, Result};

#[derive(Debug)]
pub(crate) struct Clock(Mutex<Reading>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    now_ms: i64,
    at: Instant,
}

// === impl Clock ===

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Reading { now_ms: 0, at: Instant::now() }))
    }

    /// The time now, in milliseconds.
    pub(crate) fn now(&self, db: &Connection) -> Result<i64> {
        let mut query = db.prepare_cached("SELECT now_ms FROM queue_clock")?;
        let left: i64 = query.query_row((), |row| row.get(0))?;
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = i64::try_from(reading.at.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mine = reading.now_ms.saturating_add(passed);
        if left > mine {
            *reading = Reading { now_ms: left, at: Instant::now() };
        }
        Ok(left.max(mine))
    }

    /// The time now, left in the file for the others.
    pub(crate) fn tick(&self, db: &Connection) -> Result<i64> {
        let now = self.now(db)?;
        db.prepare_cached("UPDATE queue_clock SET now_ms = ?")?.execute([now])?;
        Ok(now)
    }
}
