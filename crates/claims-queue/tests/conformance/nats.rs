//! What is special to NATS. It needs a `nats-server` on the PATH.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use claims_queue::{Counts, Options, PublishError, SettleError, connect};

use crate::suite::{BRIEF, Factory, NO_WAIT, conforms, message, one, within};

/// A separate server, with its files in a separate folder.
struct Server {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// None if there is no `nats-server` on the PATH.
    async fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let process = spawn(&folder, -1)?;
        let mut server = Self { process, port: 0, folder };
        server.port = server.read_port().await;
        Some(server)
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    async fn start_again(&mut self) {
        self.process = spawn(&self.folder, i32::from(self.port)).expect("it started before");
        assert_eq!(self.read_port().await, self.port, "clients know this port");
    }

    /// The server writes the port that it chose into `nats-server_<pid>.ports`.
    async fn read_port(&self) -> u16 {
        let file: PathBuf = self.folder.path().join(format!("nats-server_{}.ports", self.process.id()));
        within("the server to listen", async {
            loop {
                let text = tokio::fs::read_to_string(&file).await.unwrap_or_default();
                let ports: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let port = ports["nats"][0].as_str().and_then(|url| url.rsplit_once(':')?.1.parse().ok());
                match port {
                    Some(port) => return port,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &tempfile::TempDir, port: i32) -> Option<Child> {
    let spawned = Command::new("nats-server")
        .args(["--addr", "127.0.0.1", "--jetstream", "--port", &port.to_string()])
        .arg("--store_dir")
        .arg(folder.path())
        .arg("--ports_file_dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    spawned.inspect_err(|error| println!("skipped: nats-server cannot be started: {error}")).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_conforms() {
    let Some(server) = Server::start().await else { return };
    conforms(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_nothing_and_is_told() {
    let Some(mut server) = Server::start().await else { return };
    let queue = Factory::new(&server.url(), "outage").open().await;
    for id in ["1", "2"] {
        queue.publish(&message(id)).await.unwrap();
    }
    let [acked] = one(&*queue).await;
    queue.ack(&acked).await.unwrap();
    let [held] = one(&*queue).await;

    server.kill();
    let published = queue.publish(&message("3")).await;
    assert!(matches!(published, Err(PublishError::Backend(_))), "nobody confirmed it: {published:?}");
    let acked = queue.ack(&held).await;
    assert!(matches!(acked, Err(SettleError::Backend(_))), "nobody confirmed it: {acked:?}");
    assert!(queue.counts().await.is_err(), "nobody can tell");
    assert!(queue.receive(1, NO_WAIT).await.is_err(), "nobody can tell whether something came");

    server.start_again().await;
    within("the client to reconnect and the ack to count", async {
        while let Err(error) = queue.ack(&held).await {
            assert!(matches!(error, SettleError::Backend(_)), "it is still held: {error}");
            tokio::time::sleep(BRIEF).await;
        }
    })
    .await;
    queue.publish(&message("3")).await.unwrap();
    let brief = Factory::new(&server.url(), "outage").open_with(BRIEF, 1000).await;
    let mut acked = Vec::new();
    within("everything to be acked", async {
        while brief.counts().await.unwrap() != Counts::default() {
            for delivery in brief.receive(1, BRIEF).await.unwrap() {
                if brief.ack(&delivery).await.is_ok() {
                    acked.push(delivery.message.id);
                }
            }
        }
    })
    .await;
    // A killed server may have lost the last acks, never a message.
    acked.retain(|id| id != "1");
    assert_eq!(acked, ["3"], "the publication that failed and was repeated is one message");
}

#[tokio::test]
async fn an_unreachable_server_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://user:secret@{}", listener.local_addr().unwrap());
    drop(listener);
    let error = connect(&url, "claims", Options::default()).await.expect_err("nobody listens");
    assert_eq!(error.to_string(), "the queue failed to open", "the password is not shown");
}
