//! An embedded, bounded OTLP receiver and trace store that answers the part of Tempo's HTTP API that the lab uses.
//!
//! - [`Store`]: traces in memory, bounded by bytes, with [`Counters`] of all that came, went and was rejected
//! - [`grpc_router`] and [`otlp_http_app`]: OTLP in, over gRPC and over HTTP
//! - [`query_app`]: traces by id and search out, as Tempo answers
//! - [`run`]: the three of them on three listeners until shutdown
//!
//! It writes nothing to disk, knows one tenant, takes no metrics and no logs, and of TraceQL it understands one spanset
//! of equalities. One client reads from it and from a real Tempo.

mod index;
mod json;
mod otlp;
mod query;
mod read;
mod receive;
mod size;
mod store;
pub mod tempopb;
mod traceql;

use std::io;

use axum::serve::ListenerExt as _;
use futures_util::FutureExt;
use futures_util::future::try_join3;
use tokio::net::{TcpListener, TcpStream};

pub use crate::otlp::{MAX_REQUEST_BYTES, grpc_router, otlp_http_app};
pub use crate::query::query_app;
pub use crate::size::{ATTRIBUTE_OVERHEAD_BYTES, BATCH_OVERHEAD_BYTES, SPAN_OVERHEAD_BYTES};
pub use crate::store::{Counters, Limits, Rejected, Store};

/// Where the store listens.
#[derive(Debug)]
pub struct Listeners {
    /// OTLP over gRPC (HTTP/2 without TLS), by convention port 4317.
    pub grpc: TcpListener,
    /// OTLP over HTTP, by convention port 4318.
    pub http: TcpListener,
    /// Tempo's HTTP API, by convention port 3200.
    pub query: TcpListener,
}

/// Serves all three until `shutdown` is ready; requests that run by then are finished.
///
/// # Errors
/// When a listener cannot be served.
pub async fn run(
    listeners: Listeners,
    store: Store,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let shutdown = shutdown.shared();
    let serve = |listener: TcpListener, app| {
        axum::serve(listener.tap_io(send_at_once), app).with_graceful_shutdown(shutdown.clone()).into_future()
    };
    try_join3(
        serve(listeners.grpc, grpc_router(store.clone())),
        serve(listeners.http, otlp_http_app(store.clone())),
        serve(listeners.query, query_app(store)),
    )
    .await?;
    Ok(())
}

/// Otherwise the last part of an answer waits for the client to acknowledge the first, 40 ms on Linux.
fn send_at_once(connection: &mut TcpStream) {
    // A connection without the option still works.
    let _ = connection.set_nodelay(true);
}
