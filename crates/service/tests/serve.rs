//! The accept loop over real sockets: peers that are slow, silent or many, foreign host names, and the end.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use service::hosts::Hosts;
use service::serve::{Limits, Serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Which only a failing test reaches.
const DEADLINE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);
const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
const LARGE: &str = "GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n";
const WORK: &str = "GET /work HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// No limit is reached but those that a test sets.
const PATIENT: Limits = Limits {
    connections: 100,
    streams: 32,
    ahead: 64 << 10,
    first_head: DEADLINE,
    next_head: DEADLINE,
    body: DEADLINE,
    answer: DEADLINE,
};
/// More than the buffers of both ends take.
const LARGE_BYTES: usize = 64 << 20;

struct Stand {
    address: SocketAddr,
    /// Each permit lets one `GET /work` answer.
    work: Arc<Semaphore>,
    /// Has one permit for each `GET /work` that has begun.
    begun: Arc<Semaphore>,
    /// Has its one permit unless the body of `GET /large` is kept.
    room: Arc<Semaphore>,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn stand(limits: Limits) -> Stand {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (work, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (finish, begin) = (Arc::clone(&work), Arc::clone(&begun));
    let room = Arc::new(Semaphore::new(1));
    let (large_begins, large_room) = (Arc::clone(&begun), Arc::clone(&room));
    let app = Router::new()
        .route("/healthz", get(async || "well"))
        .route("/echo", post(async |body: Bytes| body))
        .route(
            "/work",
            get(async move || {
                begin.add_permits(1);
                finish.acquire().await.unwrap().forget();
                "done"
            }),
        )
        .route(
            "/large",
            get(async move || {
                let room = large_room.acquire_owned().await.unwrap();
                large_begins.add_permits(1);
                Bytes::from_owner(Large { body: vec![0; LARGE_BYTES], _room: room })
            }),
        );
    let (shutdown, told) = oneshot::channel();
    let serving = tokio::spawn(async move {
        Serve::new(Hosts::default(), limits).run([(listener, app)], async { drop(told.await) }).await;
    });
    Stand { address, work, begun, room, shutdown, serving }
}

struct Peer(TcpStream);

/// A body, and the room that it takes until it is sent.
struct Large {
    body: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

// === impl Stand ===

impl Stand {
    async fn connect(&self) -> Peer {
        Peer(TcpStream::connect(self.address).await.unwrap())
    }

    /// A peer whose request is answered only when `work` has a permit.
    async fn working(&self) -> Peer {
        let mut peer = self.connect().await;
        peer.send(WORK).await;
        timeout(DEADLINE, self.begun.acquire()).await.expect("the work begins").unwrap().forget();
        peer
    }
}

// === impl Large ===

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

// === impl Peer ===

impl Peer {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes until it ends with `end`, or the connection does.
    async fn read_until(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        let read = async {
            while !seen.ends_with(end.as_bytes()) {
                match self.0.read_u8().await {
                    Ok(byte) => seen.push(byte),
                    Err(_) => return,
                }
            }
        };
        timeout(DEADLINE, read).await.expect("an answer, or the end of the connection");
        String::from_utf8(seen).unwrap()
    }

    async fn read_to_end(&mut self) -> String {
        // No answer of these tests has this byte.
        self.read_until("\0").await
    }
}

#[tokio::test]
async fn who_never_finishes_a_first_head_is_let_go() {
    let stand = stand(Limits { first_head: SHORT, ..PATIENT }).await;
    for (beginning, why) in [
        ("", "silence"),
        ("PRI * HTTP/2.0\r\n", "half of an HTTP/2 preface"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 without a request"),
        ("GET / HTTP/1.1\r\nhost: local", "half of a head"),
    ] {
        let mut peer = stand.connect().await;
        peer.send(beginning).await;
        let answer = timeout(DEADLINE, async { peer.0.read_to_end(&mut Vec::new()).await });
        answer.await.unwrap_or_else(|_| panic!("the connection is closed: {why}")).ok();
    }
    let mut client = stand.connect().await;
    client.send(HEALTHZ).await;
    client.read_until("well").await;
    tokio::time::sleep(SHORT * 3).await;
    client.send(HEALTHZ).await;
    assert!(client.read_until("well").await.starts_with("HTTP/1.1 200"), "who has asked once may pause for longer");
}

#[tokio::test]
async fn an_idle_connection_and_a_slow_later_head_have_an_end() {
    let stand = stand(Limits { next_head: SHORT, ..PATIENT }).await;
    for beginning in ["", "GET / HTT"] {
        let mut peer = stand.connect().await;
        peer.send(HEALTHZ).await;
        peer.read_until("well").await;
        peer.send(beginning).await;
        let rest = peer.read_to_end().await;
        assert!(!rest.contains("well"), "nothing more is answered after {beginning:?}: {rest}");
    }
}

#[tokio::test]
async fn a_slow_body_is_a_problem() {
    let stand = stand(Limits { body: SHORT * 3, ..PATIENT }).await;
    let mut peer = stand.connect().await;
    peer.send("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n").await;
    // The time is for the whole body: a byte now and then does not stretch it.
    let (mut read, mut write) = peer.0.into_split();
    let drip = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 4).await;
        }
    });
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, read.read_to_end(&mut answer)).await.expect("the connection is closed");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("the body did not arrive"), "{answer}");
    drip.abort();
}

#[tokio::test]
async fn who_does_not_read_an_answer_does_not_keep_it() {
    let stand = stand(Limits { answer: SHORT, ..PATIENT }).await;
    let mut deaf = stand.connect().await;
    deaf.send(LARGE).await;
    timeout(DEADLINE, stand.begun.acquire()).await.expect("the answer begins").unwrap().forget();
    let room = timeout(DEADLINE, stand.room.acquire()).await;
    drop(room.expect("the answer's memory is given back while its client is still there"));
    let mut rest = Vec::new();
    let end = timeout(DEADLINE, deaf.0.read_to_end(&mut rest)).await.expect("the connection is closed");
    assert!(end.is_err() || rest.len() < LARGE_BYTES, "what is missing is not sent later");
}

/// A peer of HTTP/2 that grants a window of so many bytes and no more, and asks for `/large` at once.
fn stingy(window: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        [&[0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let (settings, headers) = (4, 1);
    let initial_window = [&[0, 4], &window.to_be_bytes()[..]].concat();
    // GET, http, and two literals: https://www.rfc-editor.org/rfc/rfc7541#appendix-A
    let head = [&[0x82, 0x86, 0x04, 6], &b"/large"[..], &[0x01, 9], b"localhost"].concat();
    let end_of_headers_and_stream = 0x5;
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(settings, 0, 0, &initial_window),
        frame(headers, end_of_headers_and_stream, 1, &head),
    ]
    .concat()
}

#[tokio::test]
async fn who_grants_no_window_does_not_keep_an_answer() {
    for window in [0, 1, 1000, 1 << 20] {
        let stand = stand(Limits { answer: SHORT, ..PATIENT }).await;
        let mut peer = stand.connect().await;
        peer.0.write_all(&stingy(window)).await.unwrap();
        timeout(DEADLINE, stand.begun.acquire()).await.expect("the answer begins").unwrap().forget();
        // It reads what comes, so that nothing waits for the connection itself.
        let mut seen = Vec::new();
        let end = timeout(DEADLINE, peer.0.read_to_end(&mut seen)).await;
        drop(end.unwrap_or_else(|_| panic!("the connection is closed with a window of {window} bytes")));
        assert!(seen.len() >= usize::try_from(window).unwrap().min(65_535), "what fits is sent: {} bytes", seen.len());
        let room = timeout(DEADLINE, stand.room.acquire()).await;
        drop(room.unwrap_or_else(|_| panic!("its memory is given back with a window of {window} bytes")));
    }
}

#[tokio::test]
async fn who_reads_slowly_gets_the_whole_answer() {
    let stand = stand(Limits { answer: SHORT * 2, ..PATIENT }).await;
    let mut slow = stand.connect().await;
    slow.send(LARGE).await;
    let (mut seen, mut part) = (0, vec![0; LARGE_BYTES / 16]);
    // Each part comes in time, and all of them take longer than one may.
    while seen < LARGE_BYTES {
        tokio::time::sleep(SHORT / 4).await;
        match timeout(DEADLINE, slow.0.read(&mut part)).await.expect("the next part comes").unwrap() {
            0 => panic!("the connection was closed after {seen} bytes"),
            read => seen += read,
        }
    }
}

#[tokio::test]
async fn idlers_displace_each_other_and_nobody_else() {
    let stand = stand(Limits { connections: 8, ..PATIENT }).await;
    let mut busy = stand.working().await;
    let mut idlers = Vec::new();
    for number in 0..40 {
        let mut peer = stand.connect().await;
        let beginnings = ["", "GET / HT", "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n12"];
        // A connection may be closed before this is sent.
        let _ = peer.0.write_all(beginnings[number % beginnings.len()].as_bytes()).await;
        idlers.push(peer);
        let mut probe = stand.connect().await;
        probe.send(HEALTHZ).await;
        let answer = probe.read_until("well").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "health is answered beside {number} idlers: {answer}");
    }
    stand.work.add_permits(1);
    assert!(busy.read_until("done").await.starts_with("HTTP/1.1 200"), "the open request is answered");
}

#[tokio::test]
async fn while_all_are_busy_the_newest_waits() {
    let stand = stand(Limits { connections: 2, ..PATIENT }).await;
    let mut first = stand.working().await;
    let mut second = stand.working().await;
    let mut third = stand.connect().await;
    third.send(WORK).await;
    assert!(timeout(SHORT, stand.begun.acquire()).await.is_err(), "there is no place for a third");
    stand.work.add_permits(3);
    for peer in [&mut first, &mut second, &mut third] {
        let answer = peer.read_until("done").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "none is refused: {answer}");
    }
}

#[tokio::test]
async fn the_end_waits_for_requests_and_for_nobody_who_sends_none() {
    let stand = stand(PATIENT).await;
    let mut running = stand.working().await;
    let mut others = Vec::new();
    for beginning in ["", "GET / HT", "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n12"] {
        let mut peer = stand.connect().await;
        peer.send(beginning).await;
        others.push(peer);
    }
    stand.shutdown.send(()).unwrap();
    let refused = async { while TcpStream::connect(stand.address).await.is_ok() {} };
    timeout(DEADLINE, refused).await.expect("nobody is accepted any more");
    stand.work.add_permits(1);
    assert!(running.read_until("done").await.starts_with("HTTP/1.1 200"), "the request that was running is answered");
    timeout(DEADLINE / 2, stand.serving).await.expect("it ends, long before these give up").unwrap();
}

#[tokio::test]
async fn a_foreign_name_is_refused_as_its_sender_reads_it() {
    let stand = stand(PATIENT).await;
    let mut peer = stand.connect().await;
    peer.send("GET /healthz HTTP/1.1\r\nhost: evil.example\r\n\r\n").await;
    let answer = peer.read_until("}").await;
    assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("`evil.example`") && answer.contains("INSUREWATCH_ALLOWED_HOSTS"), "{answer}");
    peer.send("POST /x HTTP/1.1\r\nhost: evil.example\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n")
        .await;
    let answer = peer.read_until("\r\n\r\n").await;
    assert!(answer.contains("grpc-status: 7"), "gRPC has its own status, PERMISSION_DENIED: {answer}");
    peer.send(&HEALTHZ.replace("localhost", "127.0.0.1:1")).await;
    assert!(peer.read_until("well").await.starts_with("HTTP/1.1 200"), "the connection goes on, under a name of ours");
}
