//! SERVER spans, by the [stable HTTP conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server).

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;
use chain::RouteSyntax;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{FutureExt, Link, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_semantic_conventions::attribute as semconv;

use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::carrier::{HeaderExtractor, recorded_headers};
use crate::live::Live;
use crate::propagation::traceparent;
use crate::{SCOPE, baggage};

/// Tells the caller which trace its request became, whichever format the services speak among themselves. No level of
/// Trace Context has it as a standard: it comes from an [editor's draft], which later moved to `Server-Timing`.
///
/// [editor's draft]: https://github.com/w3c/trace-context/blob/3f51f68/spec/21-http_response_header_format.md
pub const TRACERESPONSE: &str = "traceresponse";

/// What the server layer needs to know of its service.
#[derive(Clone, Debug)]
pub struct Server {
    /// How routes are written.
    pub syntax: RouteSyntax,
    /// What becomes of the caller's context.
    pub caller: Live<CallerContext>,
}

/// What becomes of the context that a caller sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerContext {
    /// The SERVER span is its child.
    #[default]
    Joined,
    /// A new trace begins, linked to it, and its baggage stays outside: a trust boundary.
    Linked,
    /// It is set as parent after the span has started, and the error is ignored.
    SetTooLate,
}

/// The server layer: `router.layer(axum::middleware::from_fn_with_state(server, server::trace))`.
///
/// Extracts the caller's context, runs the request inside a SERVER span, and answers with `traceresponse`. The span
/// carries every trace header that arrived.
pub async fn trace(State(server): State<Server>, request: Request, next: Next) -> Response {
    let caller = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &HeaderExtractor(request.headers()))
    });
    let syntax = server.syntax;
    let method = request_method(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| syntax.write(path.as_str()));
    // Without a route the path stays out of the name: names are of low cardinality.
    let name = match (&route, method) {
        (Some(route), Some(method)) => format!("{method} {route}"),
        (None, Some(method)) => method.to_owned(),
        (Some(route), None) => format!("HTTP {route}"),
        (None, None) => "HTTP".to_owned(),
    };
    let Started { cx, bridged } = server.caller.get().start(name, request_attributes(&request, route), &caller);

    let mut response = next.run(request).with_context(cx.clone()).await;

    let status = response.status();
    let span = cx.span();
    span.set_attribute(KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, status.as_str().to_owned()));
        span.set_status(Status::error(""));
    }
    if let Some(value) = traceparent(&cx).and_then(|parent| HeaderValue::try_from(parent.to_string()).ok()) {
        response.headers_mut().entry(TRACERESPONSE).or_insert(value);
    }
    span.end();
    drop(bridged);
    response
}

// === impl Server ===

impl Server {
    /// A server whose SERVER spans join their callers' traces.
    #[must_use]
    pub fn new(syntax: RouteSyntax) -> Self {
        Self { syntax, caller: Live::new(CallerContext::Joined) }
    }
}

/// A SERVER span that has started.
struct Started {
    cx: Context,
    /// Its side of the bridge from `tracing`, if it has one: the span ends with it.
    bridged: Option<tracing::Span>,
}

// === impl CallerContext ===

impl CallerContext {
    /// Starts the SERVER span.
    fn start(self, name: String, attributes: Vec<KeyValue>, caller: &Context) -> Started {
        let tracer = global::tracer(SCOPE);
        let builder = tracer.span_builder(name.clone()).with_kind(SpanKind::Server).with_attributes(attributes.clone());
        let cx = match self {
            Self::Joined => caller.with_span(builder.start_with_context(&tracer, caller)),
            Self::Linked => {
                let cx = Context::new();
                let links = vec![Link::with_context(caller.span().span_context().clone())];
                let links = links.into_iter().filter(|link| link.span_context.is_valid()).collect();
                cx.with_span(builder.with_links(links).start_with_context(&tracer, &cx))
            }
            Self::SetTooLate => {
                let outside = Context::new().with_baggage(baggage::members(caller, |_| true));
                let _attached = outside.attach();
                let span = tracing::info_span!("request", otel.name = name, otel.kind = "server");
                // The context is asked for, which starts the span; only then the parent is set.
                let cx = span.context();
                let _ = span.set_parent(caller.clone());
                cx.span().set_attributes(attributes);
                return Started { cx, bridged: Some(span) };
            }
        };
        Started { cx, bridged: None }
    }
}

/// The methods that the conventions know; others are `_OTHER`, and `HTTP` in a span's name.
pub(crate) fn request_method(method: &Method) -> Option<&str> {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.contains(&method.as_str()).then(|| method.as_str())
}

pub(crate) fn method_attributes(method: &Method) -> Vec<KeyValue> {
    match request_method(method) {
        Some(known) => vec![KeyValue::new(semconv::HTTP_REQUEST_METHOD, known.to_owned())],
        None => vec![
            KeyValue::new(semconv::HTTP_REQUEST_METHOD, "_OTHER"),
            KeyValue::new("http.request.method_original", method.as_str().to_owned()),
        ],
    }
}

pub(crate) fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

fn request_attributes(request: &Request, route: Option<String>) -> Vec<KeyValue> {
    let headers = request.headers();
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let mut attributes = method_attributes(request.method());
    let mut add = |key: &'static str, value: Option<String>| {
        attributes.extend(value.map(|value| KeyValue::new(key, value)));
    };
    add(semconv::URL_SCHEME, Some("http".to_owned()));
    add(semconv::URL_PATH, Some(request.uri().path().to_owned()));
    add(semconv::URL_QUERY, request.uri().query().map(str::to_owned));
    add(semconv::HTTP_ROUTE, route);
    add(semconv::NETWORK_PROTOCOL_VERSION, Some(protocol_version(request.version()).to_owned()));
    add(semconv::USER_AGENT_ORIGINAL, text(header::USER_AGENT).map(str::to_owned));
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    add(semconv::CLIENT_ADDRESS, forwarded_for(headers).or_else(|| peer.map(|peer| peer.ip().to_string())));
    add(semconv::NETWORK_PEER_ADDRESS, peer.map(|peer| peer.ip().to_string()));
    let server = text(header::HOST).and_then(|host| host.parse::<Authority>().ok());
    add(semconv::SERVER_ADDRESS, server.as_ref().map(|server| server.host().to_owned()));
    let number = |key, port: Option<u16>| port.map(|port| KeyValue::new(key, i64::from(port)));
    attributes.extend(number(semconv::NETWORK_PEER_PORT, peer.map(|peer| peer.port())));
    attributes.extend(number(semconv::SERVER_PORT, server.and_then(|server| server.port_u16())));
    attributes.extend(recorded_headers(headers));
    attributes
}

fn forwarded_for(headers: &HeaderMap) -> Option<String> {
    let first = headers.get("x-forwarded-for")?.to_str().ok()?.split(',').next()?.trim();
    (!first.is_empty()).then(|| first.to_owned())
}
