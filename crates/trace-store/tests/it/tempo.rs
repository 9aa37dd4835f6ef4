//! The same questions to this store and to a real Tempo, whose answers were recorded.
//!
//! `tests/interop/record_tempo.py` recorded them: the spans of one Lab 1 claim went through a real Collector into a real
//! Tempo. What order does not mean anything is put in order on both sides, and the cost of a query is left out. So are the
//! flags of spans and links: the store keeps them, Tempo's blocks have no column for them.

use std::path::{Path, PathBuf};

use axum::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use trace_store::Store;
use trace_store::tempopb::TraceByIdResponse;

use crate::support::{MAX_BYTES, get};

/// What was asked of Tempo, and what it said.
#[derive(Debug, Deserialize)]
struct Exchange {
    path: String,
    accept: String,
    status: u16,
    content_type: String,
    /// The file of the body.
    file: String,
}

#[tokio::test]
async fn the_store_answers_as_tempo_did() {
    let store = Store::new(MAX_BYTES);
    for file in std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.to_string_lossy().ends_with(".otlp.pb") {
            store.insert(ExportTraceServiceRequest::decode(std::fs::read(file).unwrap().as_slice()).unwrap());
        }
    }
    let exchanges: Vec<Exchange> =
        serde_json::from_slice(&std::fs::read(folder().join("exchanges.json")).unwrap()).unwrap();
    let searches = exchanges.iter().filter(|it| it.path.starts_with("/api/search")).count();
    assert!(searches >= 3 && exchanges.len() >= searches + 8, "both traces were asked for in every way: {exchanges:?}");
    for exchange in exchanges {
        let asked = format!("GET {} as {}", exchange.path, exchange.accept);
        let recorded = Bytes::from(std::fs::read(folder().join(&exchange.file)).unwrap());
        let answer = get(&store, &exchange.path, &exchange.accept).await;
        assert_eq!(answer.status, exchange.status, "{asked}: {}", answer.text());
        if exchange.status != 200 {
            // Tempo tells which window it made of the one asked for.
            let reason = |text: &str| text.split(" received ").next().unwrap_or_default().trim_end().to_owned();
            assert_eq!(reason(&answer.text()), reason(&String::from_utf8_lossy(&recorded)), "{asked}");
            continue;
        }
        assert_eq!(answer.content_type(), exchange.content_type, "{asked}");
        let (ours, tempos) = match exchange.path.starts_with("/api/v2/") {
            _ if exchange.content_type == "application/json" => (json(&answer.body), json(&recorded)),
            true => (v2(&answer.body), v2(&recorded)),
            false => (v1(&answer.body), v1(&recorded)),
        };
        assert_eq!(ours, tempos, "{asked}");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tempo")
}

fn v1(body: &Bytes) -> Vec<String> {
    spans(TracesData::decode(body.clone()).unwrap())
}

fn v2(body: &Bytes) -> Vec<String> {
    let answer = TraceByIdResponse::decode(body.clone()).unwrap();
    let status = format!("status {}", answer.status);
    std::iter::once(status).chain(spans(answer.trace.unwrap_or_default())).collect()
}

/// Every span with its resource and scope, as a line.
fn spans(trace: TracesData) -> Vec<String> {
    let mut lines = Vec::new();
    for mut batch in trace.resource_spans {
        if let Some(resource) = &mut batch.resource {
            resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
        }
        for scope in batch.scope_spans {
            for mut span in scope.spans {
                span.attributes.sort_by(|a, b| a.key.cmp(&b.key));
                span.flags = 0;
                span.links.iter_mut().for_each(|link| link.flags = 0);
                lines.push(format!("{span:?} of {:?} in {:?}", scope.scope, batch.resource));
            }
        }
    }
    lines.sort();
    lines
}

/// The leaves of a document, each with its path; positions in lists are left out, the cost of the query too.
fn json(body: &Bytes) -> Vec<String> {
    fn walk(at: &str, value: &Value, leaves: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                // Which attribute, span or trace a leaf belongs to is part of where it stands.
                let name = ["key", "spanId", "spanID", "traceID"].iter().find_map(|key| fields.get(*key)?.as_str());
                let at = name.map_or_else(|| at.to_owned(), |name| format!("{at}[{name}]"));
                for (key, value) in fields {
                    walk(&format!("{at}.{key}"), value, leaves);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(at, item, leaves)),
            _ if at.ends_with(".flags") => {}
            leaf => leaves.push(format!("{at} = {leaf}")),
        }
    }
    let mut document: Value = serde_json::from_slice(body).unwrap();
    document.as_object_mut().unwrap().remove("metrics");
    let mut leaves = Vec::new();
    walk("", &document, &mut leaves);
    leaves.sort();
    leaves
}
