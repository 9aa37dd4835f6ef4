//! Notifies pages of changes, with server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use service::Problem;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::api::Pulse;

/// Changes within this time become one event, so that traffic does not flood a page.
const GATHER: Duration = Duration::from_millis(250);

/// A reader who hears nothing for longer knows that the desk hangs.
const BEAT: Duration = Duration::from_secs(3);

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
        self.listeners.available_permits() < MOST_LISTENERS
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Pulse> {
        self.counters.subscribe()
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
            let event = tokio::select! {
                changed = changes.changed() => {
                    changed.ok()?;
                    sleep(GATHER).await;
                    let pulse = *changes.borrow_and_update();
                    Event::default().event("pulse").json_data(pulse).ok()?
                }
                () = sleep(BEAT) => Event::default().event("beat").data("still here"),
            };
            Some((Ok(event), (changes, listener)))
        });
        Ok(Sse::new(events))
    }
}
