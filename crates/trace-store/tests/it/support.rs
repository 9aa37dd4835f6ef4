//! Requests, spans and answers that the tests share.

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};
use prost::Message;
use service::hosts::Hosts;
use service::serve::{Limits, Serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use trace_store::{Store, grpc_router, otlp_http_app, query_app};

pub(crate) const MAX_BYTES: usize = 64 * 1024 * 1024;
pub(crate) const PROTOBUF: &str = "application/protobuf";

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn content_type(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn ask(app: Router, request: Request<Body>) -> Answer {
    let response = app.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub(crate) async fn get(store: &Store, uri: &str, accept: &str) -> Answer {
    let request = Request::get(uri).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    ask(query_app(store.clone()), request).await
}

/// The trace as a client of Tempo v1 reads it.
pub(crate) async fn trace(store: &Store, id: &str) -> TracesData {
    let answer = get(store, &format!("/api/traces/{id}"), PROTOBUF).await;
    assert_eq!(answer.status, StatusCode::OK, "trace {id} was sent");
    TracesData::decode(answer.body).unwrap()
}

pub(crate) fn spans(trace: &TracesData) -> Vec<&Span> {
    trace.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans).collect()
}

pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = vec![attribute("service.name", text(service))];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes, ..Resource::default() });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    }
}

/// A span of one second that starts `id` seconds after the epoch; parent 0 makes a root.
pub(crate) fn span(trace: u128, id: u64, parent: u64) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: format!("span {id}"),
        start_time_unix_nano: id * 1_000_000_000,
        end_time_unix_nano: (id + 1) * 1_000_000_000,
        ..Span::default()
    }
}

pub(crate) fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(crate) fn text(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}

pub(crate) fn texts(texts: &[&str]) -> any_value::Value {
    let values = texts.iter().map(|item| AnyValue { value: Some(text(item)) }).collect();
    any_value::Value::ArrayValue(ArrayValue { values })
}

/// What is small on the wire and large decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Small {
    Links,
    Spans,
    JsonSpans,
}

/// A request of eight mebibytes of such messages, all empty: four million of them, or of two in JSON.
pub(crate) fn small_messages(small: Small) -> Vec<u8> {
    const BYTES: usize = 4 << 20;
    let within = |tag: u32, content: Vec<u8>| {
        let mut message = Vec::new();
        prost::encoding::bytes::encode(tag, &content, &mut message);
        message
    };
    match small {
        Small::Links => within(1, within(2, within(2, [13 << 3 | 2, 0].repeat(BYTES / 2)))),
        Small::Spans => within(1, within(2, [2 << 3 | 2, 0].repeat(BYTES / 2))),
        Small::JsonSpans => {
            let spans = ["{}"; BYTES / 4].join(",");
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#).into_bytes()
        }
    }
}

/// The store on three free ports.
pub(crate) struct Running {
    pub(crate) store: Store,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start() -> Self {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listeners = [listen().await, listen().await, listen().await];
        let [grpc, http, _] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let store = Store::new(MAX_BYTES);
        let apps = [grpc_router(store.clone()), otlp_http_app(store.clone()), query_app(store.clone())];
        let (shutdown, told) = oneshot::channel();
        let serving = tokio::spawn(async {
            let serve = Serve::new(Hosts::default(), Limits::default());
            let told = async { drop(told.await) };
            serve.run(listeners.into_iter().zip(apps), told).await;
        });
        Self { store, grpc, http, shutdown, serving }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.send(()).unwrap();
        let stopped = tokio::time::timeout(std::time::Duration::from_secs(10), self.serving).await;
        stopped.expect("all three servers end after shutdown").unwrap();
    }
}
