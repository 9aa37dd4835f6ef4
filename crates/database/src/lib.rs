//! A SQLite file, used by one thread of this process.
//!
//! - [`Database`]: reads, writes, and whether it can be written at all
//! - [`connect`]: a connection for the caller's own thread, to a small file that nobody writes
//!
//! Writes that several tasks request at the same time become one transaction and one sync of the disk. After a failed
//! transaction the connection is in none, as SQLite itself reports: the next transaction starts afresh. Other processes may use
//! the same file; a writer waits for them.
//!
//! It defines no tables, and creates no spans.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use rusqlite;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};

/// How long a writer waits for other processes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before a retry when SQLite does not wait itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// So many jobs wait at most; who comes then waits for a place.
const MAX_WAITING: usize = 256;
/// So many writes are one transaction at most.
const MAX_GROUP: usize = 64;
/// What the write-ahead log is cut to once it is empty, in bytes; a checkpoint empties it every 4 MB or so.
const KEPT_LOG_BYTES: u32 = 16 << 20;

/// A SQLite file. It is closed with the last clone.
#[derive(Clone, Debug)]
pub struct Database {
    jobs: mpsc::Sender<Job>,
    trouble: Trouble,
}

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is of another kind.
    #[error("a sqlite URL names a file and nothing else: sqlite:///path/name.db")]
    Url,
    /// SQLite cannot open the file, or the file holds something else.
    #[error("the database file cannot be opened")]
    Sqlite(#[from] rusqlite::Error),
    /// There is no thread for it.
    #[error("the thread of the database cannot be started")]
    Thread(#[from] std::io::Error),
    /// The thread ended.
    #[error("the thread of the database has ended")]
    Gone,
}

/// Why nothing was read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for failed; nothing of it was written.
    #[error(transparent)]
    Work(#[from] rusqlite::Error),
    /// The transaction that it was part of failed; nothing of it was written.
    #[error("the transaction failed")]
    Transaction(#[source] Arc<rusqlite::Error>),
    /// What was asked for panicked; nothing of it was written.
    #[error("the work panicked")]
    Panicked,
    /// The thread ended; whether it was written before is unknown.
    #[error("the thread of the database has ended")]
    Gone,
}

/// Why the last transaction failed, if it did.
#[derive(Clone, Debug, Default)]
struct Trouble(Arc<Mutex<Option<String>>>);

enum Job {
    Read(Box<dyn Work>),
    Write { synced: bool, work: Box<dyn Work> },
}

/// What is asked for, and who waits for it.
trait Work: Send {
    /// Does it; why it failed, if so.
    fn run(&mut self, connection: &Connection) -> Option<&Error>;
    /// Tells the waiting task what became of it.
    fn settle(self: Box<Self>, committed: Result<(), Arc<rusqlite::Error>>);
}

struct Asked<T, F> {
    ask: Option<F>,
    done: Option<Result<T, Error>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

/// The file that `sqlite:///path/name.db` names.
///
/// # Errors
/// The URL is of another kind, or names more than a file.
pub fn file(url: &str) -> Result<PathBuf, OpenError> {
    let file = url.strip_prefix("sqlite://").ok_or(OpenError::Url)?;
    let names_a_file = !file.is_empty() && !file.ends_with('/') && !file.contains(['?', '#']) && file != ":memory:";
    names_a_file.then(|| file.into()).ok_or(OpenError::Url)
}

/// Opens a file as [`Database::open`] does, for the caller's own thread: a read of a small file that nobody writes waits for
/// nothing.
///
/// # Errors
/// [`OpenError`] says whether the URL or the file is at fault.
pub fn connect(url: &str, schema: &str) -> Result<Connection, OpenError> {
    Ok(open(&file(url)?, schema)?)
}

// === impl Database ===

impl Database {
    /// Opens the file that a URL names, creates it if there is none, and runs the statements of `schema`, which must do no
    /// harm when they run again.
    ///
    /// # Errors
    /// [`OpenError`] says whether the URL or the file is at fault.
    pub async fn open(url: &str, schema: &'static str) -> Result<Self, OpenError> {
        let file = file(url)?;
        let trouble = Trouble::default();
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        let (opened, answer) = oneshot::channel();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let worker = Worker { trouble: trouble.clone(), synced: true };
        std::thread::Builder::new().name(name).spawn(move || match self::open(&file, schema) {
            Ok(connection) => {
                let _ = opened.send(Ok(()));
                worker.run(&connection, waiting);
            }
            Err(error) => drop(opened.send(Err(error))),
        })?;
        answer.await.map_err(|_| OpenError::Gone)??;
        Ok(Self { jobs, trouble })
    }

    /// Reads what is committed.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(ask, Job::Read).await
    }

    /// Writes, in a transaction that is on the disk on return: it outlives a power cut.
    ///
    /// # Errors
    /// Nothing is written then.
    pub async fn write<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(ask, |work| Job::Write { synced: true, work }).await
    }

    /// Writes, in a transaction that outlives this process, however that ends, and may be undone by a power cut: for what is
    /// then done once more without harm.
    ///
    /// # Errors
    /// Nothing is written then.
    pub async fn write_unsynced<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask(ask, |work| Job::Write { synced: false, work }).await
    }

    /// Why it cannot be written now, if so. It costs nothing until a transaction has failed; from then on it tries.
    pub async fn trouble(&self) -> Option<String> {
        if self.trouble.get().is_some() {
            // Writes a page, even though it changes nothing.
            let touch = |connection: &Connection| {
                let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
                connection.pragma_update(None, "user_version", version)
            };
            let _ = self.write(touch).await;
        }
        if self.jobs.is_closed() {
            return Some(Error::Gone.to_string());
        }
        self.trouble.get().clone()
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        job: impl FnOnce(Box<dyn Work>) -> Job,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(Asked { ask: Some(ask), done: None, answer });
        self.jobs.send(job(work)).await.map_err(|_| Error::Gone)?;
        answered.await.map_err(|_| Error::Gone)?
    }
}

fn open(file: &Path, schema: &str) -> rusqlite::Result<Connection> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match try_open(file, schema) {
            // SQLite does not wait for others who turn the same new file to WAL.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < deadline => {
                std::thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}

fn try_open(file: &Path, schema: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", KEPT_LOG_BYTES)?;
    // Otherwise a statement whose plan might depend on a parameter is compiled again for each new value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch(schema)?;
    Ok(connection)
}

/// Whether something is wrong with the file or its disk rather than with what was asked for.
fn is_trouble(error: &Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly, SystemIoFailure};
    let Error::Work(error) = error else { return false };
    error.sqlite_error_code().is_some_and(|code| {
        matches!(code, CannotOpen | DatabaseCorrupt | DiskFull | NotADatabase | ReadOnly | SystemIoFailure)
    })
}

// === impl Trouble ===

impl Trouble {
    fn get(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread.
struct Worker {
    trouble: Trouble,
    /// The value of `PRAGMA synchronous`.
    synced: bool,
}

// === impl Worker ===

impl Worker {
    fn run(mut self, connection: &Connection, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = Vec::with_capacity(MAX_GROUP);
        while jobs.blocking_recv_many(&mut waiting, MAX_GROUP) > 0 {
            let (mut writes, mut any_synced) = (Vec::new(), false);
            for job in waiting.drain(..) {
                match job {
                    // Before the transaction begins: only what is committed may be seen.
                    Job::Read(mut work) => {
                        let _ = work.run(connection);
                        work.settle(Ok(()));
                    }
                    Job::Write { synced, work } => {
                        any_synced |= synced;
                        writes.push(work);
                    }
                }
            }
            if !writes.is_empty() {
                self.commit(connection, any_synced, writes);
            }
        }
    }

    fn commit(&mut self, connection: &Connection, synced: bool, mut writes: Vec<Box<dyn Work>>) {
        let mut trouble = None;
        let committed = self.transact(connection, synced, &mut writes, &mut trouble);
        if !connection.is_autocommit() {
            // Ends the transaction even if it fails: <https://www.sqlite.org/lang_transaction.html>
            let _ = connection.execute_batch("ROLLBACK");
        }
        let committed = committed.map_err(Arc::new);
        *self.trouble.get() = trouble.or(committed.as_ref().err().map(ToString::to_string));
        for work in writes {
            work.settle(committed.clone());
        }
    }

    /// Each in its own savepoint where there are several: one that fails does not affect the others.
    fn transact(
        &mut self,
        connection: &Connection,
        synced: bool,
        writes: &mut [Box<dyn Work>],
        trouble: &mut Option<String>,
    ) -> rusqlite::Result<()> {
        let execute = |text| connection.prepare_cached(text)?.execute(()).map(drop);
        if self.synced != synced {
            connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })?;
            self.synced = synced;
        }
        // The writer's lock is taken at the start, so that nothing fails half way for want of it.
        execute("BEGIN IMMEDIATE")?;
        let is_alone = writes.len() == 1;
        for work in writes {
            if !is_alone {
                execute("SAVEPOINT work")?;
            }
            let failed = work.run(connection);
            if let Some(error) = failed.filter(|error| is_trouble(error)) {
                *trouble = Some(error.to_string());
            }
            // Fails if SQLite has undone the whole transaction, as it may when the disk is full.
            match (failed, is_alone) {
                (None, true) => {}
                (Some(_), true) => return execute("ROLLBACK"),
                (None, false) => execute("RELEASE work")?,
                (Some(_), false) => {
                    execute("ROLLBACK TO work")?;
                    execute("RELEASE work")?;
                }
            }
        }
        execute("COMMIT")
    }
}

// === impl Asked ===

impl<T: Send, F: FnOnce(&Connection) -> rusqlite::Result<T> + Send> Work for Asked<T, F> {
    fn run(&mut self, connection: &Connection) -> Option<&Error> {
        // One that panics is one that fails: the thread goes on with what others want. What it has borrowed of the connection
        // is given back as it unwinds, and what it has written is undone with its savepoint.
        let run = |ask: F| catch_unwind(AssertUnwindSafe(|| ask(connection)));
        self.done = self.ask.take().map(|ask| run(ask).map_or(Err(Error::Panicked), |done| done.map_err(Error::Work)));
        self.done.as_ref()?.as_ref().err()
    }

    fn settle(self: Box<Self>, committed: Result<(), Arc<rusqlite::Error>>) {
        let answer = match (self.done, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(Error::Transaction(error)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(Error::Gone),
        };
        // The task that asked may have gone.
        let _ = self.answer.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;

    const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS notes (number INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT";

    async fn open(folder: &tempfile::TempDir) -> Database {
        Database::open(&format!("sqlite://{}", folder.path().join("notes.db").display()), SCHEMA).await.unwrap()
    }

    async fn note(database: &Database, number: i64, text: String) -> Result<(), Error> {
        let insert = move |db: &Connection| db.execute("INSERT INTO notes VALUES (?, ?)", params![number, text]);
        database.write(insert).await.map(drop)
    }

    async fn count(database: &Database) -> i64 {
        database.read(|db| db.query_row("SELECT count(*) FROM notes", (), |row| row.get(0))).await.unwrap()
    }

    #[tokio::test]
    async fn one_that_fails_takes_nothing_from_the_others_of_its_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder).await;
        // The thread is kept busy, so that what follows waits together.
        let (free, busy) = std::sync::mpsc::channel::<()>();
        let blocker = tokio::spawn({
            let database = database.clone();
            async move {
                database
                    .read(move |_| {
                        let _ = busy.recv();
                        Ok(())
                    })
                    .await
            }
        });
        tokio::task::yield_now().await;
        let writes = async {
            tokio::join!(
                note(&database, 1, "one".to_owned()),
                note(&database, 1, "another one".to_owned()),
                note(&database, 2, "two".to_owned()),
                async { drop(free) },
            )
        };
        let (first, second, third, ()) = writes.await;
        blocker.await.unwrap().unwrap();
        first.expect("it came first");
        assert!(matches!(second, Err(Error::Work(_))), "the number is taken: {second:?}");
        third.expect("its neighbour's failure does not affect it");
        assert_eq!(count(&database).await, 2, "what succeeded is there, what failed is not");
        assert_eq!(database.trouble().await, None, "a refused row is no trouble of the disk");
        drop(database);
        assert_eq!(count(&open(&folder).await).await, 2, "and stays there");
    }

    #[tokio::test]
    async fn one_that_panics_is_one_that_fails() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder).await;
        let panics = |db: &Connection| -> rusqlite::Result<()> {
            db.execute("INSERT INTO notes VALUES (1, 'half')", ())?;
            panic!("as a bug would")
        };
        let written = database.write(panics).await;
        assert!(matches!(written, Err(Error::Panicked)), "the task that asked is told: {written:?}");
        let read = database.read(|_| -> rusqlite::Result<()> { panic!("as a bug would") }).await;
        assert!(matches!(read, Err(Error::Panicked)), "reading too: {read:?}");
        assert_eq!(database.trouble().await, None, "the disk is well");
        note(&database, 1, "one".to_owned()).await.expect("the next one is written, and the half one is undone");
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_forgotten_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder).await;
        let pages = |count: u32| {
            let limit = move |db: &Connection| db.pragma_update(None, "max_page_count", count);
            database.read(limit)
        };
        note(&database, 0, "before".to_owned()).await.unwrap();
        pages(4).await.unwrap();
        let full = note(&database, 1, "x".repeat(100_000)).await;
        assert!(full.is_err(), "there is no room for it");
        let noted = database.trouble.get().clone().unwrap_or_default();
        assert!(noted.contains("full"), "it is known why: {noted}");
        assert_eq!(database.trouble().await, None, "asking has it tried: what is small finds room again");
        pages(1_000).await.unwrap();
        note(&database, 1, "x".repeat(100_000)).await.expect("there is room again");
        assert_eq!(count(&database).await, 2, "nothing is left of the attempt that failed");
    }

    #[tokio::test]
    async fn a_url_names_a_file_and_nothing_else() {
        assert_eq!(file("sqlite:///a/b.db").unwrap(), Path::new("/a/b.db"));
        assert_eq!(file("sqlite://b.db").unwrap(), Path::new("b.db"), "where the service runs");
        for url in ["", "sqlite:b.db", "sqlite://", "sqlite:///a/", "sqlite://:memory:", "sqlite://a?mode=ro", "x://a"]
        {
            assert!(matches!(file(url), Err(OpenError::Url)), "{url}");
        }
    }

    #[tokio::test]
    async fn a_statement_is_compiled_once_for_all_values() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder).await;
        let compiled_again = |db: &Connection| {
            db.execute_batch("CREATE INDEX early ON notes (text) WHERE number < 100")?;
            let mut select = db.prepare("SELECT text FROM notes WHERE number < ?")?;
            for most in [10, 100, 1_000] {
                select.query_map([most], |_| Ok(()))?.for_each(drop);
            }
            Ok(select.get_status(rusqlite::StatementStatus::RePrepare))
        };
        assert_eq!(database.read(compiled_again).await.unwrap(), 0, "it costs more than the statement itself");
    }
}
