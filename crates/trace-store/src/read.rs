//! Reads away from the async threads: few at a time, each with a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::store::Store;

/// How many reads run at once; the others wait.
const MAX_READS: usize = 4;
/// How long a read may take, the wait for its turn included: less than the five seconds after which the desk gives up.
const MAX_READ_TIME: Duration = Duration::from_secs(3);

/// The way to a store for whatever takes more than a moment; clones share the turns.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pub(crate) store: Store,
    turns: Arc<Semaphore>,
    max_time: Duration,
}

/// When a read must have ended; whatever loops asks it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

/// Why a read has no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ReadError {
    #[error("the store is busy: it runs {MAX_READS} reads at once, and none ended within {} s", MAX_READ_TIME.as_secs())]
    Busy,
    #[error(
        "the search took longer than {} s: compare an attribute with =, which is indexed, or ask for fewer conditions",
        MAX_READ_TIME.as_secs()
    )]
    Overdue,
    #[error("the read failed")]
    Failed,
}

// === impl Readers ===

impl Readers {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, turns: Arc::new(Semaphore::new(MAX_READS)), max_time: MAX_READ_TIME }
    }

    /// Runs `read` on a thread that may block, as soon as it is its turn.
    pub(crate) async fn read<T, E>(
        &self,
        read: impl FnOnce(&Store, Deadline) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ReadError> + Send + 'static,
    {
        let deadline = Instant::now() + self.max_time;
        let turn = timeout_at(deadline.into(), Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(ReadError::Busy.into()) };
        let store = self.store.clone();
        let reading = spawn_blocking(move || {
            let _turn = turn;
            read(&store, Deadline(deadline))
        });
        reading.await.unwrap_or_else(|_| Err(ReadError::Failed.into()))
    }
}

// === impl Deadline ===

impl Deadline {
    pub(crate) fn check(self) -> Result<(), ReadError> {
        if Instant::now() < self.0 { Ok(()) } else { Err(ReadError::Overdue) }
    }
}

// === impl ReadError ===

impl IntoResponse for ReadError {
    fn into_response(self) -> Response {
        let status =
            if self == Self::Failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, self.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_read_ends_at_its_deadline() {
        let readers = Readers { max_time: Duration::ZERO, ..Readers::new(Store::new(1)) };
        let error = readers.read(|_, deadline| deadline.check()).await.unwrap_err();
        assert_eq!(error, ReadError::Overdue, "what loops ends when it asks");
        assert_eq!(error.into_response().status(), 503, "the question was understood");
    }

    #[tokio::test]
    async fn a_read_waits_for_its_turn_no_longer_than_its_deadline() {
        let readers = Readers {
            turns: Arc::new(Semaphore::new(0)),
            max_time: Duration::from_millis(1),
            ..Readers::new(Store::new(1))
        };
        let error = readers.read(|_, _| Ok::<_, ReadError>(())).await.unwrap_err();
        assert_eq!(error, ReadError::Busy, "all turns are taken");
    }

    #[tokio::test]
    async fn a_read_that_panics_is_an_error_and_gives_its_turn_back() {
        let readers = Readers::new(Store::new(1));
        for _ in 0..2 * MAX_READS {
            let read = |_: &Store, _| -> Result<(), ReadError> { panic!("as a defect would") };
            assert_eq!(readers.read(read).await, Err(ReadError::Failed), "the server goes on");
        }
    }
}
