//! Shows the whole store in one process: three listeners on free ports, their addresses as one line of JSON.
//!
//! Point an OpenTelemetry SDK at `grpc` or `http`, then ask `query` as you would ask a Tempo. Ctrl-C ends it.

use std::io::{self, Write};

use service::hosts::Hosts;
use service::serve::{Limits, Serve};
use tokio::net::TcpListener;
use trace_store::{Store, grpc_router, otlp_http_app, query_app};

const MAX_BYTES: usize = 64 * 1024 * 1024;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listen = || TcpListener::bind("127.0.0.1:0");
    let (grpc, http, query) = (listen().await?, listen().await?, listen().await?);
    let url = |listener: &TcpListener| listener.local_addr().map(|address| format!("http://{address}"));
    let addresses = serde_json::json!({ "grpc": url(&grpc)?, "http": url(&http)?, "query": url(&query)? });
    writeln!(io::stdout(), "{addresses}")?;
    let store = Store::new(MAX_BYTES);
    let listeners =
        [(grpc, grpc_router(store.clone())), (http, otlp_http_app(store.clone())), (query, query_app(store))];
    // Without a handler for Ctrl-C the process would end at once, which is the same.
    let shutdown = async { drop(tokio::signal::ctrl_c().await) };
    Serve::new(Hosts::default(), Limits::default()).run(listeners, shutdown).await;
    Ok(())
}
