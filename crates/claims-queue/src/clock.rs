//! The time of a queue.
//!
//! It follows the monotonic clocks of the processes that have the queue open, so setting the machine's clock neither delays
//! nor hastens a message. Writes leave it in the file, and a process that is behind takes it from there: processes that share
//! a file agree within [`STEP_MS`], and no process goes back. It stops while no process has the queue open.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use database::rusqlite::{Connection, Result};

/// How far the file may be behind: leaving the time there costs each transaction a page.
pub(crate) const STEP_MS: i64 = 100;

#[derive(Debug)]
pub(crate) struct Clock(Mutex<Reading>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    now_ms: i64,
    at: Instant,
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticked {
    pub(crate) now: i64,
    /// Has passed for every process that has the queue open: what is due then is due for each.
    pub(crate) passed: i64,
}

// === impl Clock ===

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Reading { now_ms: 0, at: Instant::now() }))
    }

    /// The time now, in milliseconds.
    pub(crate) fn now(&self, db: &Connection) -> Result<i64> {
        Ok(self.ahead_of(left(db)?))
    }

    /// The time now, left in the file for the others if that is behind.
    pub(crate) fn tick(&self, db: &Connection) -> Result<Ticked> {
        let left = left(db)?;
        let now = self.ahead_of(left);
        if now.saturating_sub(left) < STEP_MS {
            return Ok(Ticked { now, passed: left });
        }
        leave(db, now)?;
        Ok(Ticked { now, passed: now })
    }

    /// Writes the time now into the file. It goes on by a millisecond at least: SQLite does not write what does not change.
    pub(crate) fn write(&self, db: &Connection) -> Result<()> {
        let left = left(db)?;
        leave(db, self.ahead_of(left).max(left.saturating_add(1)))
    }

    /// The time of this process, never before the one that another has left.
    fn ahead_of(&self, left: i64) -> i64 {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = i64::try_from(reading.at.elapsed().as_millis()).unwrap_or(i64::MAX);
        let mine = reading.now_ms.saturating_add(passed);
        if left > mine {
            *reading = Reading { now_ms: left, at: Instant::now() };
        }
        left.max(mine)
    }
}

fn leave(db: &Connection, now_ms: i64) -> Result<()> {
    db.prepare_cached("UPDATE queue_clock SET now_ms = ?")?.execute([now_ms]).map(drop)
}

fn left(db: &Connection) -> Result<i64> {
    db.prepare_cached("SELECT now_ms FROM queue_clock")?.query_row((), |row| row.get(0))
}
