//! Every listener: who gets an answer, how many connections there may be, how long a peer may take, and an end in
//! which no request is lost.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::http::{Request, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use futures_util::future::join_all;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use settings::{ConfigError, Environment};
use telemetry::server::Server;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use tower::{Service as _, service_fn};

use crate::connections::{Connections, Place, Starved, UnderWay, Unwritten};
use crate::hosts::{Hosts, refusal};
use crate::outgoing::Outgoing;
use crate::{Problem, claim_id};

/// How long running requests may take after shutdown was asked for.
const DRAIN_FOR: Duration = Duration::from_secs(5);
/// How long, then, a request may take that has not arrived yet.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long nobody is accepted after the system could not; it may be short of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// The largest request body, in bytes: far above any claim.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// An answer is written in pieces of so many bytes, each in its time: 13 KiB per second, since up to 16 wait at once.
const PIECE_BYTES: usize = 16 << 10;
/// The window of HTTP/2 unless a peer is told another (<https://www.rfc-editor.org/rfc/rfc9113#section-6.9.2>), in bytes.
const WINDOW_BYTES: u32 = 65_535;
/// What hyper takes of the headers of a request over HTTP/2 unless it is told less.
const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

/// What all listeners of a process share. Clones share it too.
#[derive(Clone, Debug)]
pub struct Serve {
    hosts: Hosts,
    limits: Limits,
    connections: Connections,
}

/// What a peer may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. Beyond, the one that has waited longest for its peer is closed; while all are busy, the
    /// newest waits.
    pub connections: usize,
    /// Requests at once on a connection of HTTP/2.
    pub streams: u32,
    /// Bytes that are read ahead of a connection, and so how long the head of a request may be; a reader that waits may hold
    /// three times as many. At least 8 KiB. HTTP/2 has the protocol's own window of 64 KiB for bodies.
    pub ahead: usize,
    /// How long the head of a connection's first request may take.
    pub first_head: Duration,
    /// How long the head of each later one may take, and so how long a connection may be idle. Longer than our clients
    /// keep theirs (90 s), so that none sends on a connection that is being closed.
    pub next_head: Duration,
    /// How long a request body may take as a whole.
    pub body: Duration,
    /// How long a peer may take nothing of what is written to it, and how long 16 KiB of an answer may wait for it.
    pub answer: Duration,
}

/// A request body as it arrives.
struct Arriving {
    body: Incoming,
    limit: Duration,
    /// From the first time that it had to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
    /// While shutdown must wait for it.
    starved: Option<Starved>,
    /// Counts this request, and records that its body was late.
    exchange: Arc<Exchange>,
}

/// One request and its answer.
struct Exchange {
    under_way: UnderWay,
    late: AtomicBool,
}

/// An answer's body, in pieces; its request is open until all of them are written.
struct Leaving {
    body: Body,
    /// What is left of the last data that it gave.
    rest: Bytes,
    exchange: Arc<Exchange>,
}

/// Some bytes of an answer. The task that writes them drops this.
struct Piece {
    bytes: Bytes,
    _unwritten: Unwritten,
    _exchange: Arc<Exchange>,
}

/// The body did not arrive in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body did not arrive within {} s", .0.as_secs())]
struct LateBody(Duration);

/// Puts the layers of an instrumented service around its routes: the SERVER span outside, the claim's key inside it.
pub fn instrumented(routes: Router, server: Server) -> Router {
    routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not allow the method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(claim_id::mark))
        .layer(from_fn_with_state(server, telemetry::server::trace))
}

// === impl Serve ===

impl Serve {
    /// Answers to the names that the environment lists.
    ///
    /// # Errors
    /// One of them is no host name.
    pub fn read(env: &dyn Environment, limits: Limits) -> Result<Self, ConfigError> {
        Ok(Self::new(Hosts::read(env)?, limits))
    }

    #[must_use]
    pub fn new(hosts: Hosts, limits: Limits) -> Self {
        Self { hosts, limits, connections: Connections::new(limits.connections) }
    }

    /// Serves each router on its listener until `shutdown` resolves, then drains running requests, within some seconds.
    pub async fn run(
        &self,
        listeners: impl IntoIterator<Item = (TcpListener, Router)>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (ending, ended) = watch::channel(false);
        let loops = listeners.into_iter().map(|(listener, app)| self.accept_each(listener, app, ended.clone()));
        tokio::select! {
            _ = join_all(loops) => {}
            () = shutdown => {}
        }
        drop(ended);
        ending.send_replace(true);
        ending.closed().await;
    }

    async fn accept_each(&self, listener: TcpListener, app: Router, ended: watch::Receiver<bool>) {
        loop {
            let (connection, peer) = self.accept(&listener).await;
            let place = self.connections.enter().await;
            tokio::spawn(self.clone().serve(connection, peer, place, app.clone(), ended.clone()));
        }
    }

    async fn accept(&self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        loop {
            match listener.accept().await {
                Ok((connection, peer)) => {
                    // Otherwise the last part of an answer waits for the client to acknowledge the first, 40 ms on
                    // Linux. A connection without the option still works.
                    let _ = connection.set_nodelay(true);
                    return (connection, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    self.connections.make_room();
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// Serves one connection to its end.
    async fn serve(self, io: TcpStream, peer: SocketAddr, place: Place, app: Router, mut ended: watch::Receiver<bool>) {
        let limits = self.limits;
        let connection = Arc::clone(place.connection());
        let Ok(local) = io.local_addr().map(|address| address.ip()) else { return };
        let answers = service_fn(move |request| {
            let under_way = connection.begin();
            answer(self.clone(), app.clone(), peer, local, under_way, request)
        });
        let mut protocols = Builder::new(TokioExecutor::new());
        let mut http1 = protocols.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(limits.next_head).max_buf_size(limits.ahead);
        let mut http2 = protocols.http2();
        http2.timer(TokioTimer::new()).keep_alive_interval(limits.next_head).max_concurrent_streams(limits.streams);
        http2.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        http2.max_header_list_size(u32::try_from(limits.ahead).unwrap_or(u32::MAX).min(MAX_HEADER_LIST_BYTES));
        let serving = protocols
            .serve_connection(TokioIo::new(Outgoing::new(io, limits.answer)), TowerToHyperService::new(answers));
        let mut serving = std::pin::pin!(serving);
        let mut overdue = std::pin::pin!(overdue(&place, limits, ended.clone()));
        tokio::select! {
            // How a connection ends is its peer's affair.
            _ = &mut serving => return,
            () = &mut overdue => return,
            // The sender is dropped only after it has sent.
            _ = ended.wait_for(|ending| *ending) => serving.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = serving => {}
            () = overdue => {}
        }
    }
}

/// Resolves when a connection is to be closed, whatever its peer still means to send.
async fn overdue(place: &Place, limits: Limits, mut ended: watch::Receiver<bool>) {
    let connection = place.connection();
    let silent = async {
        // A client that opens a connection ahead of its requests may be quiet for long, but only after the first.
        if tokio::time::timeout(limits.first_head, connection.asked()).await.is_ok() {
            std::future::pending().await
        }
    };
    let undrained = async {
        let _ = ended.wait_for(|ending| *ending).await;
        sleep(LAST_CALL).await;
        if !connection.waits_for_peer() {
            sleep(DRAIN_FOR - LAST_CALL).await;
            tracing::warn!(waited_s = DRAIN_FOR.as_secs(), "a request was still running at shutdown");
        }
    };
    tokio::select! {
        () = silent => {}
        () = connection.unread(limits.answer) => {}
        () = connection.displaced() => {}
        () = undrained => {}
    }
}

async fn answer(
    serve: Serve,
    mut app: Router,
    peer: SocketAddr,
    local: IpAddr,
    under_way: UnderWay,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let exchange = Arc::new(Exchange { under_way, late: AtomicBool::new(false) });
    let (mut parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
    let response = if let Err(misdirected) = serve.hosts.check(&parts, local) {
        refusal(content_type.as_ref(), misdirected.into(), tonic::Status::permission_denied)
    } else {
        parts.extensions.insert(ConnectInfo(peer));
        let limit = serve.limits.body;
        let body = Arriving { body, limit, deadline: None, starved: None, exchange: Arc::clone(&exchange) };
        let response = app.call(Request::from_parts(parts, Body::new(body))).await?;
        // Whatever the handler made of a body that broke off.
        if exchange.late.load(Relaxed) {
            let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, LateBody(limit).to_string());
            refusal(content_type.as_ref(), problem, tonic::Status::deadline_exceeded)
        } else {
            response
        }
    };
    Ok(response.map(|body| Body::new(Leaving { body, rest: Bytes::new(), exchange })))
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            // With as many calls to other services, below the usual 1,024 descriptors of a process.
            connections: 384,
            streams: 32,
            // A lesson sends headers beyond the 8 KiB that others take.
            ahead: 128 << 10,
            first_head: Duration::from_secs(10),
            next_head: Duration::from_secs(120),
            body: Duration::from_secs(20),
            answer: Duration::from_secs(20),
        }
    }
}

// === impl Arriving ===

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.starved = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if self.starved.is_none() {
            self.starved = Some(self.exchange.under_way.starve());
        }
        let limit = self.limit;
        ready!(self.deadline.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        self.exchange.late.store(true, Relaxed);
        Poll::Ready(Some(Err(LateBody(limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Leaving ===

impl Leaving {
    fn next_piece(&mut self) -> Bytes {
        let bytes = self.rest.split_to(PIECE_BYTES.min(self.rest.len()));
        let exchange = Arc::clone(&self.exchange);
        Bytes::from_owner(Piece { bytes, _unwritten: exchange.under_way.hand_out(), _exchange: exchange })
    }
}

impl hyper::body::Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

// === impl Piece ===

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
