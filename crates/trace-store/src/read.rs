//! Reads away from the async threads: few at a time, each with a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::budget::{MAX_READS, Room, SENDING, Taken};
use crate::changes::MAX_WAITING;
use crate::store::Store;

/// How long a read may take, the wait for its turn included: less than the five seconds after which the desk gives up.
const MAX_READ_TIME: Duration = Duration::from_secs(3);

/// The way to a store for whatever takes more than a moment; clones share the turns.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pub(crate) store: Store,
    turns: Arc<Semaphore>,
    sending: Room,
    /// Places for requests that wait for a change, and read nothing meanwhile.
    pub(crate) waiting: Arc<Semaphore>,
    max_time: Duration,
}

/// What a read found; without a body it is 404.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) content_type: &'static str,
    pub(crate) body: Option<Vec<u8>>,
}

/// The body of an answer, and the room that it takes until it is sent.
struct Sending {
    body: Vec<u8>,
    _room: Taken,
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
        "the search took longer than {} s: compare an attribute with =, which is indexed, or use fewer conditions",
        MAX_READ_TIME.as_secs()
    )]
    Overdue,
    #[error("the store is busy: clients have not read {} bytes of earlier responses", SENDING.small + SENDING.large)]
    Unsent,
    #[error("the trace grew while it was read: try again")]
    Grew,
    #[error("the read failed")]
    Failed,
}

// === impl Readers ===

impl Readers {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            turns: Arc::new(Semaphore::new(MAX_READS)),
            sending: Room::new(SENDING),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            max_time: MAX_READ_TIME,
        }
    }

    /// Runs `read` on a thread that may block, as soon as it is its turn, which ends when there is room for the answer. An
    /// answer that may be large has `reserved_bytes` of room before it is made.
    pub(crate) async fn read<E: From<ReadError> + Send + 'static>(
        &self,
        reserved_bytes: usize,
        read: impl FnOnce(&Store, Deadline) -> Result<Answer, E> + Send + 'static,
    ) -> Result<Response, E> {
        let deadline = Instant::now() + self.max_time;
        let turn = timeout_at(deadline.into(), Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(ReadError::Busy.into()) };
        let mut room = Taken::default();
        self.take(&mut room, reserved_bytes, deadline).await?;
        let store = self.store.clone();
        // The thread keeps the turn even if the client has gone.
        let reading = spawn_blocking(move || (read(&store, Deadline(deadline)), turn));
        let Ok((answer, _turn)) = reading.await else { return Err(ReadError::Failed.into()) };
        let Answer { content_type, body } = answer?;
        let Some(body) = body else { return Ok(StatusCode::NOT_FOUND.into_response()) };
        match reserved_bytes {
            0 => self.take(&mut room, body.len(), deadline).await?,
            // What was reserved and not used is given back.
            _ => room.shrink_to(body.len()),
        }
        let body = Bytes::from_owner(Sending { body, _room: room });
        Ok(([(header::CONTENT_TYPE, content_type)], Body::from(body)).into_response())
    }

    async fn take(&self, room: &mut Taken, bytes: usize, deadline: Instant) -> Result<(), ReadError> {
        timeout_at(deadline.into(), self.sending.take(room, bytes, bytes)).await.map_err(|_| ReadError::Unsent)
    }
}

// === impl Sending ===

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.body
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
    use crate::budget::SMALL_BYTES;

    #[tokio::test]
    async fn a_read_ends_at_its_deadline() {
        let readers = Readers { max_time: Duration::ZERO, ..Readers::new(Store::new(1)) };
        let error = readers.read(0, |_, deadline| deadline.check().map(|()| Answer::default())).await.unwrap_err();
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
        let error = readers.read(0, |_, _| Ok::<_, ReadError>(Answer::default())).await.unwrap_err();
        assert_eq!(error, ReadError::Busy, "all turns are taken");
    }

    #[tokio::test]
    async fn a_read_that_panics_is_an_error_and_gives_its_turn_back() {
        let readers = Readers::new(Store::new(1));
        for _ in 0..2 * MAX_READS {
            let read = |_: &Store, _| -> Result<Answer, ReadError> { panic!("as a defect would") };
            assert_eq!(readers.read(0, read).await.unwrap_err(), ReadError::Failed, "the server goes on");
        }
    }

    #[tokio::test]
    async fn answers_take_room_until_they_are_sent() {
        let readers = Readers { max_time: Duration::from_millis(500), ..Readers::new(Store::new(1)) };
        let read = |bytes: usize| {
            readers.read(0, move |_, _| Ok::<_, ReadError>(Answer { content_type: "", body: Some(vec![0; bytes]) }))
        };
        let unsent = read(SENDING.large).await.unwrap();
        assert_eq!(read(SMALL_BYTES + 1).await.unwrap_err(), ReadError::Unsent, "no room is left");
        let small = read(SMALL_BYTES).await.expect("small answers have room of their own");
        assert_eq!(readers.sending.left(), (SENDING.small - SMALL_BYTES, 0), "which has an end");
        drop((unsent, small));
        let reserved = readers.read(SENDING.large, |_, _| {
            Ok::<_, ReadError>(Answer { content_type: "", body: Some(vec![0; SMALL_BYTES + 1]) })
        });
        let _reserved = reserved.await.unwrap();
        let left = SENDING.large - SMALL_BYTES - 1;
        assert_eq!(readers.sending.left(), (SENDING.small, left), "an answer keeps its length");
        assert!(read(SMALL_BYTES + 1).await.is_ok(), "the room is given back");
    }
}
