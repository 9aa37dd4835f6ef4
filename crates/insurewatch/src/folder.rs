//! The folder of a running lab: its lock, and its logs, which are rotated; and the lock under which labs open their ports.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::lab_file::LabFile;
use crate::up::SharedLab;

/// A log that is larger, in bytes, is kept as the previous log, and a new one is started. So each service has at most two of these, and
/// what it logs within [`LOOK`].
const LARGEST_LOG_BYTES: u64 = 8 << 20;
const LOOK: Duration = Duration::from_secs(1);
/// How long a lab waits for another that is opening its ports; that one has given up by then.
const LONGEST_TURN: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Holds a folder, or a turn, for one lab until it is dropped, or its process ends, however that is.
#[derive(Debug)]
pub(crate) struct Claimed(#[expect(dead_code, reason = "its lock is what counts")] File);

/// Two labs in one folder would share databases and settings.
pub(crate) fn claim(folder: &Path) -> anyhow::Result<Claimed> {
    let path = folder.join("lab.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("{} cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Claimed(file)),
        Err(TryLockError::WouldBlock) => {
            let desk = match LabFile::read(folder) {
                Ok(Some(other)) => format!(", its desk is {}", other.desk),
                _ => String::new(),
            };
            bail!("a lab already runs in {}{desk}; another one needs another --data-dir", folder.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked; choose another --data-dir", path.display()))
        }
    }
}

/// The turn to choose ports and have them opened: a port is free again between the two, and two labs that start at once would
/// choose the same. Without a folder for temporary files, or when somebody keeps the turn, it goes without.
pub(crate) async fn turn_to_start() -> Option<Claimed> {
    turn(&std::env::temp_dir().join("insurewatch-start.lock")).await
}

async fn turn(path: &Path) -> Option<Claimed> {
    // Another user's file can be read, which is enough to lock it.
    let file =
        File::options().create(true).truncate(false).write(true).open(path).or_else(|_| File::open(path)).ok()?;
    let deadline = Instant::now() + LONGEST_TURN;
    loop {
        match file.try_lock() {
            Ok(()) => return Some(Claimed(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(TRY_AGAIN).await,
            Err(_) => return None,
        }
    }
}

/// Rotates logs, and writes lab.json again that could not be written, on a full disk for example. It never ends.
pub(crate) async fn keep_tidy(folder: &Path, lab: &SharedLab) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        lab.lock().unwrap_or_else(PoisonError::into_inner).write_if_stale(folder);
        for log in logs(folder) {
            if let Err(error) = rotate(&log) {
                anstream::eprintln!("{} cannot be rotated: {error}", log.display());
            }
        }
    }
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join("logs")).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

/// Copies and empties the file, since the process that writes at its end holds it open; lines written in between, within
/// some milliseconds, are lost. Without room for the copy it is emptied all the same.
fn rotate(log: &Path) -> std::io::Result<()> {
    if std::fs::metadata(log)?.len() <= LARGEST_LOG_BYTES {
        return Ok(());
    }
    let kept = std::fs::copy(log, log.with_extension("jsonl.1"));
    File::options().write(true).open(log)?.set_len(0)?;
    kept.map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_folder_is_one_labs_until_that_ends() {
        let folder = tempfile::tempdir().unwrap();
        let first = claim(folder.path()).unwrap();
        let refused = claim(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("a lab already runs in") && refused.contains("another --data-dir"), "{refused}");
        drop(first);
        claim(folder.path()).expect("it is free again");
    }

    #[tokio::test]
    async fn one_lab_at_a_time_opens_its_ports() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("start.lock");
        let first = turn(&path).await.expect("nobody has it");
        let second = turn(&path);
        tokio::pin!(second);
        assert!(tokio::time::timeout(TRY_AGAIN * 3, &mut second).await.is_err(), "the first has not opened its ports");
        drop(first);
        second.await.expect("the first has");
        assert!(turn(&path.join("nowhere")).await.is_none(), "without a file it goes on");
    }

    #[test]
    fn a_log_that_grows_is_begun_anew_and_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("desk.jsonl");
        let mut log = File::options().create(true).append(true).open(&path).unwrap();
        let line = format!("{}\n", "x".repeat(1023)).into_bytes();
        let full = usize::try_from(LARGEST_LOG_BYTES).unwrap() / line.len();
        for round in 1..=2 {
            (0..full).for_each(|_| log.write_all(&line).unwrap());
            rotate(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), LARGEST_LOG_BYTES, "{round}: it may be that large");
            log.write_all(b"the last\n").unwrap();
            rotate(&path).unwrap();
            let before = std::fs::read(folder.path().join("desk.jsonl.1")).unwrap();
            assert!(before.ends_with(b"the last\n"), "{round}: the log before is kept whole");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "{round}: the writer goes on at the beginning");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "one log before the present one");
    }
}
