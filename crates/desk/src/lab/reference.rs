//! A healthy claim to compare with: kept with its spans, so that it outlives the trace store, traffic and the desk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::Collected;
use settings::atomic;
use tokio::time::Instant;

/// A newer one replaces it only after this time: every healthy claim would do, and each costs a file.
const RENEWED_AFTER: Duration = Duration::from_secs(60);
/// A claim with more spans than this is not kept.
const MOST_SPANS: usize = 500;

/// A handle; all clones share one reference, which is in the folder of the active settings.
#[derive(Clone, Debug)]
pub(crate) struct Reference(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    kept: Mutex<Kept>,
    /// Whether a claim was sent to become the first.
    was_sent: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    claim: Option<Arc<Collected>>,
    /// When this desk kept it.
    since: Option<Instant>,
}

// === impl Reference ===

impl Reference {
    /// One that cannot be read is none: another will be kept.
    pub(crate) fn load(folder: &Path) -> Self {
        let path = folder.join("reference.json");
        let read = |path| -> io::Result<Collected> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
        let claim = match read(&path) {
            Ok(claim) => Some(Arc::new(claim)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the healthy claim that was kept cannot be read");
                None
            }
        };
        Self(Arc::new(Inner { path, kept: Mutex::new(Kept { claim, since: None }), was_sent: AtomicBool::default() }))
    }

    /// Takes note of a claim that is healthy.
    pub(crate) fn keep(&self, claim: &Collected) {
        let mut kept = self.lock();
        let is_new = kept.since.is_some_and(|since| since.elapsed() < RENEWED_AFTER);
        if is_new || claim.evidence.spans().count() > MOST_SPANS {
            return;
        }
        kept.claim = Some(Arc::new(claim.clone()));
        kept.since = Some(Instant::now());
        drop(kept);
        let written = serde_json::to_vec(claim).map_err(io::Error::from);
        if let Err(error) = written.and_then(|text| atomic::replace(&self.0.path, &text)) {
            tracing::warn!(%error, path = %self.0.path.display(), "a healthy claim cannot be kept");
        }
    }

    pub(crate) fn get(&self) -> Option<Arc<Collected>> {
        self.lock().claim.clone()
    }

    /// Whether a claim must be sent while the chain is healthy to have one; says so once.
    pub(crate) fn is_wanted(&self) -> bool {
        self.get().is_none() && !self.0.was_sent.swap(true, Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_desk_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let reference = Reference::load(folder.path());
        assert!(reference.get().is_none(), "nothing was kept yet");
        assert!(reference.is_wanted() && !reference.is_wanted(), "one claim is sent for it");
        let claim =
            |id: &str| Collected { evidence: evidence::ClaimEvidence::from_spans(id, []), ..Collected::default() };
        reference.keep(&claim("CLM-1"));
        reference.keep(&claim("CLM-2"));
        let again = Reference::load(folder.path());
        assert_eq!(again.get().unwrap().evidence.claim_id, "CLM-1", "the first, until it is old");
        assert!(!again.is_wanted(), "so none has to be sent");
        again.keep(&claim("CLM-3"));
        assert_eq!(
            Reference::load(folder.path()).get().unwrap().evidence.claim_id,
            "CLM-3",
            "that of a former desk is old"
        );
        std::fs::write(folder.path().join("reference.json"), "{").unwrap();
        assert!(Reference::load(folder.path()).get().is_none(), "a spoilt file is none");
    }
}
