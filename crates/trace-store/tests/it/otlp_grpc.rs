//! OTLP over gRPC, by the Rust SDK and by a bare client.

use axum::body::Body;
use axum::http::Request;
use opentelemetry::trace::{Link, Span as _, SpanContext, SpanKind, TraceContextExt, Tracer, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use trace_store::{MAX_REQUEST_BYTES, NotKept, Store, grpc_router};

use crate::support::{MAX_BYTES, Running, Small, ask, request, small_messages, span, spans, text, trace};

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_exporters_spans_come_back_whole() {
    let running = Running::start().await;
    let grpc = SpanExporter::builder().with_tonic().with_endpoint(format!("http://{}", running.grpc)).build().unwrap();
    let http = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("http://{}/v1/traces", running.http));
    let http = tokio::task::spawn_blocking(|| http.build().unwrap()).await.unwrap();
    for (exporter, transport) in [(grpc, "gRPC"), (http, "http/protobuf")] {
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder_empty().with_attribute(KeyValue::new("service.name", "sender")).build())
            .build();
        let (parent, child, linked) = tokio::task::spawn_blocking(move || {
            let contexts = export_two(&provider);
            provider.force_flush().expect("the store takes what the exporter sends");
            provider.shutdown().unwrap();
            contexts
        })
        .await
        .unwrap();

        let read = trace(&running.store, &parent.trace_id().to_string()).await;
        let resource = read.resource_spans[0].resource.as_ref().unwrap();
        assert_eq!(resource.attributes[0].value.as_ref().unwrap().value, Some(text("sender")), "{transport}: resource");
        assert_eq!(read.resource_spans[0].scope_spans[0].scope.as_ref().unwrap().name, "test", "{transport}: scope");
        let spans = spans(&read);
        let found = |context: &SpanContext| {
            let id = context.span_id().to_bytes();
            *spans.iter().find(|span| span.span_id == id).unwrap_or_else(|| panic!("{transport}: {context:?} was sent"))
        };
        assert_eq!(spans.len(), 2, "{transport}: parent and child");
        assert!(found(&parent).parent_span_id.is_empty(), "{transport}: the parent is a root");
        let child = found(&child);
        assert_eq!(child.parent_span_id, parent.span_id().to_bytes(), "{transport}: the child names its parent");
        assert_eq!(child.kind, 3, "{transport}: CLIENT is 3 in OTLP");
        assert_eq!(child.links[0].span_id, linked.span_id().to_bytes(), "{transport}: link");
        assert_eq!(child.events[0].name, "asked", "{transport}: event");
        assert_eq!(child.attributes[0].key, "claim", "{transport}: attribute");
    }
    running.stop().await;
}

/// Exports a parent and a child with a link, an event and an attribute; returns their contexts and the link's.
fn export_two(provider: &SdkTracerProvider) -> (SpanContext, SpanContext, SpanContext) {
    let tracer = provider.tracer("test");
    let linked = tracer.start("linked").span_context().clone();
    let parent = Context::new().with_span(tracer.start_with_context("parent", &Context::new()));
    let mut child = tracer
        .span_builder("child")
        .with_kind(SpanKind::Client)
        .with_attributes([KeyValue::new("claim", "c-1")])
        .with_links(vec![Link::with_context(linked.clone())])
        .start_with_context(&tracer, &parent);
    child.add_event("asked", Vec::new());
    child.end();
    parent.span().end();
    (parent.span().span_context().clone(), child.span_context().clone(), linked)
}

#[tokio::test]
async fn compressed_messages_are_taken() {
    let running = Running::start().await;
    for (id, encoding) in [(1, CompressionEncoding::Gzip), (2, CompressionEncoding::Deflate)] {
        let mut client = TraceServiceClient::connect(format!("http://{}", running.grpc)).await.unwrap();
        client = client.send_compressed(encoding);
        let answer = client.export(request("sender", vec![span(id, 1, 0)])).await.unwrap();
        assert_eq!(answer.into_inner().partial_success, None, "{encoding:?}: nothing was rejected");
        assert_eq!(spans(&trace(&running.store, &format!("{id:x}")).await).len(), 1, "{encoding:?}: and it is there");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_resource_exhausted() {
    let running = Running::start().await;
    let mut large = span(1, 1, 0);
    large.name = "n".repeat(MAX_REQUEST_BYTES);
    for encoding in [None, Some(CompressionEncoding::Gzip)] {
        let mut client = TraceServiceClient::connect(format!("http://{}", running.grpc)).await.unwrap();
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding);
        }
        let error = client.export(request("sender", vec![large.clone()])).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{encoding:?}: {error}");
    }
    assert_eq!(running.store.counters().spans_received, 0, "nothing of it was taken");
}

#[tokio::test]
async fn a_message_that_is_large_decoded_is_resource_exhausted() {
    for small in [Small::Links, Small::Spans] {
        let message = small_messages(small);
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        let store = Store::new(MAX_BYTES);
        let request = Request::post("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            .header("content-type", "application/grpc")
            .body(Body::from(framed))
            .unwrap();
        let answer = ask(grpc_router(store.clone()), request).await;
        assert_eq!(answer.headers["grpc-status"], "8", "{small:?}: RESOURCE_EXHAUSTED");
        let reason = answer.headers["grpc-message"].to_str().unwrap();
        assert!(reason.contains("33554432"), "{small:?} tells what is allowed: {reason}");
        assert_eq!(store.counters().spans_received, 0, "{small:?}: nothing of it was decoded");
    }
}

#[tokio::test]
async fn refused_spans_are_told() {
    let running = Running::start().await;
    let mut client = TraceServiceClient::connect(format!("http://{}", running.grpc)).await.unwrap();
    let answer = client.export(request("sender", vec![span(0, 1, 0), span(1, 1, 0)])).await.unwrap();
    let partial = answer.into_inner().partial_success.expect("one span had a trace id of zeros");
    assert_eq!(partial.rejected_spans, 1, "the other was taken");
    assert!(partial.error_message.contains("1 with an invalid trace id"), "{}", partial.error_message);
}

#[tokio::test]
async fn other_signals_are_counted_and_not_kept() {
    let store = Store::new(MAX_BYTES);
    let export = async |service: &str| {
        let empty_message = Body::from(vec![0; 5]);
        let request = Request::post(format!("/opentelemetry.proto.collector.{service}/Export"))
            .header("content-type", "application/grpc")
            .body(empty_message)
            .unwrap();
        ask(grpc_router(store.clone()), request).await
    };
    for service in ["metrics.v1.MetricsService", "logs.v1.LogsService"] {
        let answer = export(service).await;
        assert_eq!(answer.body.as_ref(), [0; 5], "{service}: an empty answer, which is success");
    }
    assert_eq!(store.counters().requests_not_kept, NotKept { metrics: 1, logs: 1 });
    let answer = export("profiles.v1development.ProfilesService").await;
    assert_eq!(answer.headers["grpc-status"], "12", "what else there may be is UNIMPLEMENTED");
}
