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

use crate::connections::{Connections, Place, Starved, UnderWay};
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
    /// How long the head of a connection's first request may take.
    pub first_head: Duration,
    /// How long the head of each later one may take, and so how long a connection may be idle. Longer than our clients
    /// keep theirs (90 s), so that none sends on a connection that is being closed.
    pub next_head: Duration,
    /// How long a request body may take as a whole.
    pub body: Duration,
    /// How long a peer may take nothing of an answer that waits for it.
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

/// An answer's body; its request is open until all of it is written.
struct Leaving {
    body: Body,
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
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        Ok(Self::new(Hosts::read(env)?, Limits::default()))
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
        protocols.http1().timer(TokioTimer::new()).header_read_timeout(limits.next_head);
        protocols.http2().timer(TokioTimer::new()).keep_alive_interval(limits.next_head);
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
    Ok(response.map(|body| Body::new(Leaving { body, _exchange: exchange })))
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            // With as many calls to other services, below the usual 1,024 descriptors of a process.
            connections: 384,
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

impl hyper::body::Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
