//! What is special to SQLite.

use database::rusqlite::Connection;
use tokio::task::JoinSet;

use crate::suite::{BRIEF, Factory, NO_WAIT, conforms, message, one, within};

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&format!("sqlite://{}", folder.path().join("queue.db").display())).await;
}

/// Several services start at once and find no file yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_sqlite_file_can_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let factory = Factory::new(&format!("sqlite://{}", folder.path().join("queue.db").display()), "claims");
        let mut opening = JoinSet::new();
        for _ in 0..8 {
            let factory = factory.clone();
            opening.spawn(async move { factory.open().await });
        }
        let queues = within("all to open", opening.join_all()).await;
        assert_eq!(queues.len(), 8);
    }
}

/// A ring is heard a moment late.
#[tokio::test]
async fn who_does_not_wait_sees_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Factory::new(&format!("sqlite://{}", folder.path().join("queue.db").display()), "claims").open().await;
    for id in ["1", "2", "3"] {
        queue.publish(&message(id)).await.unwrap();
        let deliveries = queue.receive(10, NO_WAIT).await.unwrap();
        assert_eq!(deliveries.len(), 1, "{id} was published, and is all that nobody holds");
    }
}

/// A foreign writer can damage a row; that is an error for the reader and nothing worse.
#[tokio::test]
async fn a_damaged_sqlite_row_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queue = Factory::new(&format!("sqlite://{}", path.display()), "claims").open().await;
    queue.publish(&message("1")).await.unwrap();
    Connection::open(&path).unwrap().execute("UPDATE queue_messages SET attributes = '[1, {'", ()).unwrap();
    let error = queue.receive(1, NO_WAIT).await.expect_err("the attributes are no JSON");
    assert_eq!(error.to_string(), "the queue failed to receive");
}

/// A machine whose clock was set back finds times in the file that are far ahead of it.
#[tokio::test]
async fn a_clock_that_was_set_back_stalls_no_message() {
    const HOUR_MS: i64 = 3_600_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let factory = Factory::new(&format!("sqlite://{}", path.display()), "claims");
    let queue = factory.open().await;
    let file = Connection::open(&path).unwrap();
    // As if everything before had happened while the clock was an hour ahead.
    file.execute("UPDATE queue_clock SET now_ms = now_ms + ?", [HOUR_MS]).unwrap();
    queue.publish(&message("1")).await.unwrap();
    drop(queue);
    let queue = factory.open_with(BRIEF, 5).await;
    for attempt in 1..=2 {
        let [delivery] = within("a message in flight to come again", one(&*queue)).await;
        assert_eq!(delivery.attempt, attempt, "it was not acked in time");
    }
    let left: i64 = file.query_row("SELECT now_ms FROM queue_clock", (), |row| row.get(0)).unwrap();
    let wall = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    assert!(left > wall + HOUR_MS / 2, "the time of the queue is its own: {left} and {wall}");
}
