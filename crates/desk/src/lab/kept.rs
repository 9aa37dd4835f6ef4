//! What the desk knows of claims, kept in a file beside the active settings, so that a restart of the desk loses none of it.
//! The built-in trace store forgets its spans with the lab, so `up` begins without the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use error_reporter::Report;
use serde::{Deserialize, Serialize};
use settings::atomic;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::api::ClaimRow;
use crate::api::events::Changes;
use crate::lab::front_door::FrontDoor;
use crate::lab::observer::Observer;

/// The file's name.
pub const FILE: &str = "desk-claims.json";
/// The pause between two writes, so that traffic does not keep the disk busy.
const PAUSE: Duration = Duration::from_secs(2);

/// What is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    /// The claims that are remembered, oldest first.
    pub(crate) rows: Vec<ClaimRow>,
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
}

// === impl Kept ===

impl Kept {
    /// A file that cannot be read is no reason not to start.
    pub(crate) fn load(folder: &Path) -> Self {
        let text = fs::read(folder.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes what changes, from now on; ends with the runtime, within which it must be called.
    pub(crate) fn keep(folder: &Path, observer: Observer, front_door: FrontDoor, changes: &Changes) {
        let path = folder.join(FILE);
        let mut pulse = changes.subscribe();
        tokio::spawn(async move {
            while pulse.changed().await.is_ok() {
                pulse.mark_unchanged();
                let traffic = front_door.traffic();
                let rows = observer.log().kept();
                let kept = Self { rows, accepted: traffic.accepted, failed: traffic.failed };
                let path = path.clone();
                let _ = spawn_blocking(move || kept.write(path)).await;
                sleep(PAUSE).await;
            }
        });
    }

    fn write(&self, path: PathBuf) {
        let written =
            serde_json::to_vec(self).map_err(std::io::Error::from).and_then(|text| atomic::replace(&path, &text));
        if let Err(error) = written {
            tracing::warn!(error = %Report::new(&error), "what is known of claims cannot be kept");
        }
    }
}
