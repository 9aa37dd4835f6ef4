//! What is special to SQLite.

use sqlx::Connection as _;
use tokio::task::JoinSet;

use crate::suite::{Factory, NO_WAIT, conforms, message, within};

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

/// A foreign writer can damage a row; that is an error for the reader and nothing worse.
#[tokio::test]
async fn a_damaged_sqlite_row_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("queue.db").display());
    let queue = Factory::new(&url, "claims").open().await;
    queue.publish(&message("1")).await.unwrap();
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE queue_messages SET attributes = '[1, {'").execute(&mut connection).await.unwrap();
    let error = queue.receive(1, NO_WAIT).await.expect_err("the attributes are no JSON");
    assert_eq!(error.to_string(), "the queue failed to receive");
}
