//! Notifies pages of changes, with server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use service::Problem;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::api::Pulse;

/// Changes within this time become one event, so that traffic does not flood a page.
const GATHER: Duration = Duration::from_millis(250);

/// So many pages may listen at once: a connection of each stays open for good.
const MOST_LISTENERS: usize = 64;

/// The newest counters; a slow reader misses steps, never the last one.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    counters: watch::Sender<Pulse>,
    listeners: Arc<Semaphore>,
}

// === impl Changes ===

impl Changes {
    pub(crate) fn new() -> Self {
        Self { counters: watch::Sender::default(), listeners: Arc::new(Semaphore::new(MOST_LISTENERS)) }
    }

    pub(crate) fn notify(&self, count: impl FnOnce(&mut Pulse)) {
        self.counters.send_modify(count);
    }

    /// Whether a page is open.
    pub(crate) fn has_listeners(&self) -> bool {
        self.counters.receiver_count() > 0
    }

    /// The counters as they are, then whenever they change.
    pub(crate) fn stream(&self) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Problem> {
        let busy = || {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("too many pages are connected: at most {MOST_LISTENERS} may be"),
            )
        };
        let listener = Arc::clone(&self.listeners).try_acquire_owned().map_err(|_| busy())?;
        let mut changes = self.counters.subscribe();
        changes.mark_changed();
        let events = futures_util::stream::unfold((changes, listener), async |(mut changes, listener)| {
            changes.changed().await.ok()?;
            sleep(GATHER).await;
            let pulse = *changes.borrow_and_update();
            let event = Event::default().event("pulse").json_data(pulse).ok()?;
            Some((Ok(event), (changes, listener)))
        });
        Ok(Sse::new(events).keep_alive(KeepAlive::default()))
    }
}
