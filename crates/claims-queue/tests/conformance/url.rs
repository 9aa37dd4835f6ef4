//! What can be wrong when connecting.

use std::time::Duration;

use claims_queue::{ConnectError, Options, connect};

use crate::suite::NO_WAIT;

#[tokio::test]
async fn a_wrong_url_name_or_option_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("queue.db").display());
    let good = Options::default();
    let too_brief = Options { visibility_timeout: NO_WAIT, ..good };
    let too_long = Options { visibility_timeout: Duration::MAX, ..good };
    let long_name = "a".repeat(101);
    for (url, name, options, expected) in [
        ("", "claims", good, "the queue URL cannot be read; allowed are sqlite:///path/queue.db and nats://host:port"),
        ("queue.db", "claims", good, "the queue URL cannot be read"),
        ("nats://:secret@", "claims", good, "the queue URL cannot be read"),
        ("kafka://host:9092", "claims", good, "unknown scheme `kafka` in the queue URL; allowed are sqlite:///"),
        ("sqlite::memory:", "claims", good, "a sqlite URL names a file"),
        ("sqlite://", "claims", good, "a sqlite URL names a file"),
        ("sqlite://:memory:", "claims", good, "the queue URL cannot be read"),
        ("sqlite:///", "claims", good, "a sqlite URL names a file"),
        ("sqlite:///queue.db?mode=memory", "claims", good, "a sqlite URL names a file"),
        ("sqlite:///no/such/folder/queue.db", "claims", good, "the queue failed to open"),
        (&file, "", good, "the queue name `` must be"),
        (&file, "a.b", good, "the queue name `a.b` must be"),
        (&file, "é", good, "the queue name `é` must be"),
        (&file, &long_name, good, "the queue name `aaa"),
        (&file, "claims", too_brief, "a visibility timeout of 0 ms is outside of 1 to"),
        (&file, "claims", too_long, "a visibility timeout of"),
        #[cfg(not(feature = "nats"))]
        ("nats://host:4222", "claims", good, "this build has no NATS adapter for nats://; build with `--features"),
        #[cfg(feature = "nats")]
        ("nats://", "claims", good, "a nats URL names a server"),
        #[cfg(feature = "nats")]
        ("nats://host/path", "claims", good, "a nats URL names a server"),
    ] {
        let error = connect(url, name, options).await.expect_err("it is wrong").to_string();
        assert!(error.starts_with(expected), "{url:?}, queue {name:?}: {error}");
        assert!(!error.contains("secret"), "no error shows what may be a password: {error}");
    }
    assert!(matches!(connect("nope", "claims", good).await, Err(ConnectError::Url(_))), "causes can be told apart");
}
