//! Which services answer, as long as a page is open to show it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chain::Service;
use tokio::time::sleep;

use crate::api::events::Changes;
use crate::lab::control::Control;

const PAUSE: Duration = Duration::from_secs(2);

/// A handle; all clones share what was learned last, and the task that learns it, which ends with the runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answering(Arc<Mutex<Vec<Service>>>);

// === impl Answering ===

impl Answering {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(control: Arc<Control>, changes: Changes) -> Self {
        let answering = Self::default();
        let learned = answering.clone();
        tokio::spawn(async move {
            loop {
                if changes.has_listeners() {
                    let silent = control.silent_services().await;
                    let mut known = learned.0.lock().unwrap_or_else(PoisonError::into_inner);
                    if *known != silent {
                        *known = silent;
                        changes.notify(|pulse| pulse.services += 1);
                    }
                }
                sleep(PAUSE).await;
            }
        });
        answering
    }

    /// The services that did not answer when they were asked last.
    pub(crate) fn silent(&self) -> Vec<Service> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
