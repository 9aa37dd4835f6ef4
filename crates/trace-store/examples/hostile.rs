//! Shows what requests cost that are small to send and large to serve: memory and time of each, in one process.
//!
//! `cargo run --release -p trace-store --example hostile`; Linux only, as it reads `/proc/self/status`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use flate2::Compression;
use flate2::read::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tower::ServiceExt;
use trace_store::{Store, otlp_http_app, query_app};

const MAX_BYTES: usize = 64 << 20;
const CONDITIONS: usize = 3_700;
const PATIENCE: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let store = Store::new(MAX_BYTES);
    report("an empty store of 64 MiB", &store, "")?;
    for (what, count, messages) in [("links", 8, 4 << 20), ("spans", 4, 4 << 20), ("links, all kept", 100, 60_000)] {
        let requests = (1..=count).map(|id| match what {
            "spans" => gzip(&within(1, &within(2, &[2 << 3 | 2, 0].repeat(messages)))),
            _ => gzip(&within(1, &within(2, &within(2, &span_with_links(id, messages))))),
        });
        let requests = requests.collect::<io::Result<Vec<_>>>()?;
        let length = requests.iter().map(Vec::len).max().unwrap_or_default() / 1024;
        let begin = Instant::now();
        let posting = requests.into_iter().map(|body| tokio::spawn(post(otlp_http_app(store.clone()), body)));
        let mut answers = BTreeMap::<_, usize>::new();
        for posting in posting.collect::<Vec<_>>() {
            *answers.entry(posting.await??.as_u16()).or_default() += 1;
        }
        let answers = format!("{answers:?} in {:?}", begin.elapsed());
        report(&format!("{count} requests of {length} KB, empty {what}"), &store, &answers)?;
    }

    let store = Store::new(MAX_BYTES);
    let keys = (0..CONDITIONS).map(|key| format!("k{key}")).collect::<Vec<_>>();
    let attributes = keys.iter().map(|key| KeyValue {
        key: key.clone(),
        value: Some(AnyValue { value: Some(Value::IntValue(1)) }),
        ..KeyValue::default()
    });
    let attributes = attributes.collect::<Vec<_>>();
    for id in 1..=50_u128 {
        let span = Span {
            trace_id: id.to_be_bytes().to_vec(),
            span_id: vec![1; 8],
            attributes: attributes.clone(),
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
        store.insert(ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        });
    }
    let query = keys.iter().map(|key| format!(".{key}!=2")).collect::<Vec<_>>().join("%26%26");
    let uri = format!("/api/search?limit=4000000000&spss=0&q=%7B{query}%7D");
    let length = uri.len() / 1024;
    let begin = Instant::now();
    let searching = tokio::spawn(query_app(store.clone()).oneshot(Request::get(uri).body(Body::empty())?));
    let answer = match tokio::time::timeout(PATIENCE, searching).await {
        Ok(answer) => format!("{} in {:?}", answer??.status(), begin.elapsed()),
        Err(_) => format!("no answer in {PATIENCE:?}"),
    };
    report(&format!("a query of {length} KB over {} spans", store.counters().spans_held), &store, &answer)?;
    Ok(())
}

fn report(what: &str, store: &Store, answer: &str) -> Result<(), Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    let held = store.counters().bytes_held / 1_000_000;
    writeln!(io::stdout(), "{what}: {answer}; {held} MB held by its own measure, {peak} resident at most so far")?;
    Ok(())
}

async fn post(app: Router, body: Vec<u8>) -> Result<StatusCode, axum::http::Error> {
    let request = Request::post("/v1/traces")
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "gzip")
        .body(Body::from(body))?;
    let Ok(response) = app.oneshot(request).await;
    Ok(response.status())
}

/// Each in a separate trace, so that none hits the limit of one trace.
fn span_with_links(trace: u128, links: usize) -> Vec<u8> {
    let ids = Span { trace_id: trace.to_be_bytes().to_vec(), span_id: vec![1; 8], ..Span::default() };
    [ids.encode_to_vec(), [13 << 3 | 2, 0].repeat(links)].concat()
}

fn within(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    prost::encoding::bytes::encode(tag, &content.to_vec(), &mut message);
    message
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    GzEncoder::new(bytes, Compression::best()).read_to_end(&mut compressed)?;
    Ok(compressed)
}
