//! The connections of a process, over all of its listeners: how many there may be, and which one makes room for another.
//!
//! A connection *waits for its peer* while no request is open on it, or only requests whose bodies do not arrive. A peer that
//! opens many of these, and sends nothing, displaces only such connections. A peer that does not read a response is
//! disconnected even when there is room, since the response takes memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

/// How often a waiting peer's task looks for a connection that can be closed.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// No answer takes that long but a stream of events, whose reader connects again.
const LONG_ANSWER: Duration = Duration::from_secs(120);

/// Clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<Places>);

#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    /// By age.
    taken: Mutex<BTreeMap<u64, Arc<Connection>>>,
}

/// A connection that is open; dropping it gives its place back.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    connection: Arc<Connection>,
    places: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

/// What is open on a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    state: Mutex<State>,
    /// Told when it is displaced.
    displaced: Notify,
    /// Told when its first request comes.
    asked: Notify,
    /// Told when something is to be written and nothing was before.
    handed_out: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests that are not answered yet.
    requests: u32,
    /// Those of them whose bodies are waited for.
    starved: u32,
    /// When a request came, or was answered.
    since: Instant,
    /// Pieces of answers that were handed out to be written and are not yet, and since when; by age.
    unwritten: BTreeMap<u64, Instant>,
    next_piece: u64,
    closing: bool,
}

/// An open request, until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Connection>);

/// A body that is waited for, until this is dropped.
#[derive(Debug)]
pub(crate) struct Starved(Arc<Connection>);

/// A piece of an answer that is not written yet, until this is dropped.
#[derive(Debug)]
pub(crate) struct Unwritten {
    number: u64,
    connection: Arc<Connection>,
}

// === impl Connections ===

impl Connections {
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Places { free: Arc::new(Semaphore::new(most)), taken: Mutex::default() }))
    }

    /// A place for a connection, waiting for one to be free if need be.
    pub(crate) async fn enter(&self) -> Place {
        loop {
            if self.0.free.available_permits() == 0 {
                self.make_room();
            }
            // The semaphore is never closed.
            if let Ok(Ok(permit)) = timeout(LOOK_AGAIN, Arc::clone(&self.0.free).acquire_owned()).await {
                return self.0.place(permit);
            }
        }
    }

    /// Has the connection closed that has waited longest for its peer, or else one whose answer takes very long.
    pub(crate) fn make_room(&self) {
        self.make_room_at(Instant::now());
    }

    fn make_room_at(&self, now: Instant) {
        let taken = self.0.lock();
        let candidates = taken.values().filter_map(|connection| Some((connection.rank(now)?, connection)));
        if let Some((_, connection)) = candidates.min_by_key(|(rank, _)| *rank) {
            connection.displace();
        }
    }
}

// === impl Places ===

impl Places {
    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let connection = Arc::new(Connection::new());
        let mut taken = self.lock();
        let number = taken.last_key_value().map_or(0, |(last, _)| last + 1);
        taken.insert(number, Arc::clone(&connection));
        Place { number, connection, places: Arc::clone(self), _permit: permit }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Place {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.number);
    }
}

// === impl Connection ===

impl Connection {
    fn new() -> Self {
        let state = State {
            requests: 0,
            starved: 0,
            since: Instant::now(),
            unwritten: BTreeMap::new(),
            next_piece: 0,
            closing: false,
        };
        Self { state: Mutex::new(state), displaced: Notify::new(), asked: Notify::new(), handed_out: Notify::new() }
    }

    /// A request has come.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.lock();
        state.requests += 1;
        state.since = Instant::now();
        self.asked.notify_one();
        UnderWay(Arc::clone(self))
    }

    /// Resolves once a first request has come.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Resolves when another connection takes its place.
    pub(crate) async fn displaced(&self) {
        self.displaced.notified().await;
    }

    /// Resolves once a piece of an answer was not written for `limit`. With HTTP/2 that can be while the connection itself
    /// takes all: its peer grants this one stream no window (<https://www.rfc-editor.org/rfc/rfc9113#section-5.2>).
    pub(crate) async fn unread(&self, limit: Duration) {
        loop {
            let oldest = self.lock().unwritten.first_key_value().map(|(_, since)| *since);
            match oldest {
                None => self.handed_out.notified().await,
                Some(since) if since + limit <= Instant::now() => return,
                Some(since) => sleep_until(since + limit).await,
            }
        }
    }

    pub(crate) fn waits_for_peer(&self) -> bool {
        self.lock().waits_for_peer()
    }

    /// The lowest is displaced first; none if this one stays.
    fn rank(&self, now: Instant) -> Option<(bool, Instant)> {
        let state = self.lock();
        let waits = state.waits_for_peer();
        let long = now.duration_since(state.since) > LONG_ANSWER;
        (!state.closing && (waits || long)).then_some((!waits, state.since))
    }

    fn displace(&self) {
        self.lock().closing = true;
        self.displaced.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    const fn waits_for_peer(&self) -> bool {
        self.requests == self.starved
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Its body is waited for.
    pub(crate) fn starve(&self) -> Starved {
        self.0.lock().starved += 1;
        Starved(Arc::clone(&self.0))
    }

    /// A piece of its answer is handed out to be written.
    pub(crate) fn hand_out(&self) -> Unwritten {
        let mut state = self.0.lock();
        let number = state.next_piece;
        state.next_piece += 1;
        if state.unwritten.is_empty() {
            self.0.handed_out.notify_one();
        }
        state.unwritten.insert(number, Instant::now());
        Unwritten { number, connection: Arc::clone(&self.0) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests -= 1;
        state.since = Instant::now();
    }
}

// === impl Starved ===

impl Drop for Starved {
    fn drop(&mut self) {
        self.0.lock().starved -= 1;
    }
}

// === impl Unwritten ===

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.connection.lock().unwritten.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_waits_longest_for_its_peer_makes_room() {
        let connections = Connections::new(4);
        let mut places = Vec::new();
        for _ in 0..4 {
            places.push(connections.enter().await);
        }
        let is_displaced = |number: usize| places[number].connection().displaced().now_or_never().is_some();
        let busy = places[0].connection().begin();
        let uploading = places[1].connection().begin();
        let starved = uploading.starve();
        drop(places[2].connection().begin());
        connections.make_room();
        assert!(is_displaced(3), "it has sent nothing yet, and the others sent something later");
        connections.make_room();
        assert!(is_displaced(1), "its body does not come");
        connections.make_room();
        assert!(is_displaced(2), "it is answered, and idle");
        connections.make_room();
        assert!(!is_displaced(0), "a request is answered");
        connections.make_room_at(Instant::now() + 2 * LONG_ANSWER);
        assert!(is_displaced(0), "but not for ever");
        drop((starved, busy));
    }
}
