//! Shows the whole store in one process: three listeners on free ports, their addresses as one line of JSON.
//!
//! Point an OpenTelemetry SDK at `grpc` or `http`, then ask `query` as you would ask a Tempo. Ctrl-C ends it.

use std::io::{self, Write};

use tokio::net::TcpListener;
use trace_store::{Listeners, Store, run};

const MAX_BYTES: usize = 64 * 1024 * 1024;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listen = || TcpListener::bind("127.0.0.1:0");
    let listeners = Listeners { grpc: listen().await?, http: listen().await?, query: listen().await? };
    let url = |listener: &TcpListener| listener.local_addr().map(|address| format!("http://{address}"));
    let addresses = serde_json::json!({
        "grpc": url(&listeners.grpc)?,
        "http": url(&listeners.http)?,
        "query": url(&listeners.query)?,
    });
    writeln!(io::stdout(), "{addresses}")?;
    run(listeners, Store::new(MAX_BYTES), async {
        // Without a handler for Ctrl-C the process would end at once, which is the same.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await
}
