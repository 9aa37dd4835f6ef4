//! A listener, a router and a graceful end.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::serve::ListenerExt;
use axum::{Router, extract::DefaultBodyLimit};
use telemetry::server::Server;
use tokio::net::TcpListener;

use crate::{Problem, claim_id};

/// How long running requests may take after shutdown was asked for.
const DRAIN_FOR: Duration = Duration::from_secs(5);
/// The largest request body, in bytes: far above any claim.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Puts the layers of an instrumented service around its routes: the SERVER span outside, the claim's key inside it.
pub fn instrumented(routes: Router, server: Server) -> Router {
    routes
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not know the method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(claim_id::mark))
        .layer(from_fn_with_state(server, telemetry::server::trace))
}

/// Serves until `shutdown` resolves, then drains running requests, within some seconds.
///
/// # Errors
/// The listener fails.
pub async fn run(
    listener: TcpListener,
    app: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (ending, mut ended) = tokio::sync::watch::channel(false);
    let graceful = async move {
        shutdown.await;
        let _ = ending.send(true);
    };
    // Otherwise the last part of an answer waits for the client to acknowledge the first, 40 ms on Linux. A connection
    // without the option still works.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    let server = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(graceful)
        .into_future();
    let overdue = async move {
        // The sender is dropped only after it has sent.
        let _ = ended.wait_for(|ending| *ending).await;
        tokio::time::sleep(DRAIN_FOR).await;
    };
    tokio::select! {
        result = server => result,
        () = overdue => {
            tracing::warn!(waited_s = DRAIN_FOR.as_secs(), "requests were still running at shutdown");
            Ok(())
        }
    }
}
