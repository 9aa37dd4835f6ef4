//! Our client of Tempo's API, on answers of a real Tempo and on the embedded store: it must read the same from both.
//!
//! `tests/interop/record_tempo.py` recorded the answers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use evidence::{Span, TraceSource};
use serde::Deserialize;
use trace_store::Store;
use wire::TraceId;

#[derive(Debug, Deserialize)]
struct Exchange {
    path: String,
    accept: String,
    status: u16,
    content_type: String,
    file: String,
}

#[tokio::test]
async fn the_client_reads_the_same_from_tempo_and_from_the_embedded_store() {
    let exchanges: Arc<[Exchange]> =
        serde_json::from_slice::<Vec<_>>(&std::fs::read(folder().join("exchanges.json")).unwrap()).unwrap().into();
    let claim_id = exchanges[0].path.split("%22").nth(1).expect("the first question names the claim").to_owned();
    let start = exchanges[0].path.split("start=").nth(1).and_then(|rest| rest.split('&').next());
    let since = start.expect("the first question has a window").parse().unwrap();
    let tempo = source(Router::new().fallback(replay).with_state(exchanges)).await;
    let embedded = source(trace_store::query_app(store().await)).await;

    let found = tempo.traces_of_claim(evidence::span::CLAIM_ID, &claim_id, since).await.unwrap();
    assert_eq!(found.len(), 2, "Lab 1 splits a claim in two");
    // The recorded answer holds for the recorded window; the embedded store has nothing else.
    assert_eq!(
        embedded.traces_of_claim(evidence::span::CLAIM_ID, &claim_id, since).await.unwrap(),
        found,
        "both find the same traces"
    );
    for id in found {
        let read = spans(&tempo, id).await;
        assert!(read.len() >= 3, "the trace was read: {read:?}");
        assert_eq!(spans(&embedded, id).await, read, "trace {id} is the same from both");
    }
    let unknown = "00000000000000000000000000000001".parse().unwrap();
    assert!(
        tempo.trace(unknown).await.unwrap().is_none(),
        "Tempo answers an empty trace to an id that it does not know"
    );
    assert!(embedded.trace(unknown).await.unwrap().is_none(), "and so does the embedded store");
}

async fn spans(source: &TraceSource, id: TraceId) -> BTreeSet<String> {
    let trace = source.trace(id).await.unwrap().expect("the trace is there");
    assert_eq!((trace.malformed, trace.partial), (0, false), "every span was readable");
    let line = |span: &Span| format!("{span:?}");
    trace.spans.iter().map(line).collect()
}

async fn source(app: Router) -> TraceSource {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    TraceSource::new(format!("http://{address}"), reqwest::Client::builder().no_proxy().build().unwrap())
}

/// What Tempo answered to this path; a search is known by its question, since the time of asking is another.
async fn replay(State(exchanges): State<Arc<[Exchange]>>, request: Request) -> Response {
    let path = request.uri().path();
    let accept = request.headers().get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or("application/json");
    let search = path == "/api/search";
    let known = exchanges.iter().find(|it| match search {
        true => it.path.starts_with("/api/search"),
        false => it.path == path && it.accept == accept,
    });
    let Some(known) = known else { return StatusCode::NOT_IMPLEMENTED.into_response() };
    let body = std::fs::read(folder().join(&known.file)).unwrap();
    let status = StatusCode::from_u16(known.status).unwrap();
    (status, [(header::CONTENT_TYPE, known.content_type.clone())], body).into_response()
}

/// An embedded store with the spans that were sent to Tempo.
async fn store() -> Store {
    let store = Store::new(64 << 20);
    let app = trace_store::otlp_http_app(store.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for file in std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.to_string_lossy().ends_with(".otlp.pb") {
            let sent = client.post(&url).header(header::CONTENT_TYPE, "application/x-protobuf");
            let answer = sent.body(std::fs::read(file).unwrap()).send().await.unwrap();
            assert!(answer.status().is_success(), "the embedded store takes the spans: {answer:?}");
        }
    }
    store
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../trace-store/tests/data/tempo")
}
