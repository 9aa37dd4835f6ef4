//! When to read a file again: as soon as the system reports a change, and periodically in any case.
//!
//! Linux reports changes by [inotify(7)]. It is silent about some: files that a bind mount of Docker Desktop shares with
//! its host, targets of symbolic links. And a user may have too few inotify instances (128 on many systems).
//!
//! [inotify(7)]: https://man7.org/linux/man-pages/man7/inotify.7.html

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// How long a change stays unseen at most that the system does not report.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// The same where it reports none at all.
const POLL: Duration = Duration::from_millis(200);

/// The changes of one file, and of its neighbours in the folder.
#[derive(Debug)]
pub(crate) struct Changes {
    folder: PathBuf,
    notifications: Option<Notifications>,
}

// === impl Changes ===

impl Changes {
    /// From now on. Must be called within a Tokio runtime.
    pub(crate) fn of(file: &Path) -> Self {
        // The folder, since the file is replaced by another one.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self { folder: folder.to_owned(), notifications: Notifications::of(folder).ok() }
    }

    /// Waits until the file may have changed since the last call, which costs its caller a look at the file.
    pub(crate) async fn wait(&mut self) {
        let Some(notifications) = &mut self.notifications else {
            sleep(POLL).await;
            // The folder may be there by now; what changed until then is seen by the look that follows.
            self.notifications = Notifications::of(&self.folder).ok();
            return;
        };
        if let Ok(None) = timeout(SLOW_POLL, notifications.next()).await {
            self.notifications = None;
        }
    }
}

#[cfg(target_os = "linux")]
use linux::Notifications;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::path::Path;

    use futures_util::StreamExt;
    use inotify::{EventMask, EventStream, Inotify, WatchMask};

    /// Room for the reports of a few changes; there is no limit to their number.
    const BUFFER_BYTES: usize = 1024;

    /// What the kernel reports of one folder.
    pub(super) struct Notifications(EventStream<[u8; BUFFER_BYTES]>);

    // === impl Notifications ===

    impl Notifications {
        pub(super) fn of(folder: &Path) -> io::Result<Self> {
            // A file gets its content and its name by these; reading it is none of them.
            let changes = WatchMask::CLOSE_WRITE | WatchMask::MOVE | WatchMask::DELETE;
            let inotify = Inotify::init()?;
            inotify.watches().add(folder, changes | WatchMask::ONLYDIR)?;
            Ok(Self(inotify.into_event_stream([0; BUFFER_BYTES])?))
        }

        /// The next report; none if there will be no more, because the folder is gone, for example.
        pub(super) async fn next(&mut self) -> Option<()> {
            let report = self.0.next().await?.ok()?;
            (!report.mask.contains(EventMask::IGNORED)).then_some(())
        }
    }

    impl std::fmt::Debug for Notifications {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Notifications")
        }
    }

    #[cfg(test)]
    mod tests {
        use std::fs;
        use std::time::Duration;

        use super::*;

        /// Whether there is a next report.
        async fn reported(notifications: &mut Notifications, what: &str) -> bool {
            let next = tokio::time::timeout(Duration::from_secs(20), notifications.next());
            next.await.unwrap_or_else(|_| panic!("{what} is not reported")).is_some()
        }

        #[tokio::test]
        async fn changes_are_reported_and_looks_are_not() {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("settings");
            Notifications::of(&folder).expect_err("there is no folder");
            fs::create_dir(&folder).unwrap();
            let mut notifications = Notifications::of(&folder).unwrap();

            let path = folder.join("active.toml");
            fs::write(&path, "edited in place").unwrap();
            assert!(reported(&mut notifications, "an edited file").await);
            fs::rename(&path, folder.join("active.old")).unwrap();
            assert!(reported(&mut notifications, "a file's old name").await);
            assert!(reported(&mut notifications, "a file's new name").await);
            fs::read(folder.join("active.old")).unwrap();
            fs::remove_file(folder.join("active.old")).unwrap();
            assert!(reported(&mut notifications, "a file that is gone").await);
            fs::remove_dir(&folder).unwrap();
            assert!(!reported(&mut notifications, "the folder's end").await, "the look before was reported");
        }
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::Notifications;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::convert::Infallible;
    use std::io;
    use std::path::Path;

    /// There are none.
    #[derive(Debug)]
    pub(super) struct Notifications(Infallible);

    // === impl Notifications ===

    impl Notifications {
        pub(super) fn of(_folder: &Path) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn next(&mut self) -> Option<()> {
            match self.0 {}
        }
    }
}
