//! How the receivers of one file, in any process, notice a write: a byte in a second file, which is written again.
//!
//! The write-ahead log itself changes too early: its content can be read only when it is on disk.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Bell {
    path: PathBuf,
    file: File,
    heard: OnceLock<watch::Receiver<()>>,
}

// === impl Bell ===

impl Bell {
    /// The bell of a database file.
    pub(crate) fn of(database: &Path) -> io::Result<Self> {
        let mut path: OsString = database.into();
        path.push("-bell");
        let path = PathBuf::from(path);
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        let bell = Self { path, file, heard: OnceLock::new() };
        bell.ring();
        Ok(bell)
    }

    /// Wakes every receiver. A receiver that misses it still polls, somewhat later.
    pub(crate) fn ring(&self) {
        let mut file = &self.file;
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(b"!"));
    }

    /// Changes at every ring; closed where rings cannot be observed. Must be called within a Tokio runtime.
    pub(crate) fn listen(&self) -> watch::Receiver<()> {
        let hear = || {
            let (sender, receiver) = watch::channel(());
            listen(&self.path, sender);
            receiver
        };
        self.heard.get_or_init(hear).clone()
    }
}

/// Passes on what Linux reports of the file, on a task that ends with the last listener.
#[cfg(target_os = "linux")]
fn listen(path: &Path, sender: watch::Sender<()>) {
    use futures_util::StreamExt;
    use inotify::{EventMask, Inotify, WatchMask};

    let reports = Inotify::init().and_then(|inotify| {
        inotify.watches().add(path, WatchMask::MODIFY)?;
        inotify.into_event_stream([0; 1024])
    });
    // A user may have too few inotify instances: then nothing is heard.
    let Ok(mut reports) = reports else { return };
    tokio::spawn(async move {
        loop {
            let report = tokio::select! {
                report = reports.next() => report,
                () = sender.closed() => return,
            };
            match report {
                Some(Ok(report)) if !report.mask.contains(EventMask::IGNORED) => sender.send_replace(()),
                _ => return,
            };
        }
    });
}

#[cfg(not(target_os = "linux"))]
fn listen(_: &Path, _: watch::Sender<()>) {}
