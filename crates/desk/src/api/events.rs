//! Tells pages that something changed, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::api::Pulse;

/// What happens within this time is told at once, so that traffic floods no page.
const GATHER: Duration = Duration::from_millis(250);

/// The newest counters; a slow reader misses steps, never the last one.
#[derive(Clone, Debug)]
pub(crate) struct Changes(watch::Sender<Pulse>);

// === impl Changes ===

impl Changes {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Pulse::default()))
    }

    pub(crate) fn notify(&self, count: impl FnOnce(&mut Pulse)) {
        self.0.send_modify(count);
    }

    /// The counters as they are, then whenever they change.
    pub(crate) fn stream(&self) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let mut changes = self.0.subscribe();
        changes.mark_changed();
        let events = futures_util::stream::unfold(changes, async |mut changes| {
            changes.changed().await.ok()?;
            sleep(GATHER).await;
            let pulse = *changes.borrow_and_update();
            let event = Event::default().event("pulse").json_data(pulse).ok()?;
            Some((Ok(event), changes))
        });
        Sse::new(events).keep_alive(KeepAlive::default())
    }
}
