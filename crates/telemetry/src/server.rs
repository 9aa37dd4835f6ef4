//! SERVER spans, by the [stable HTTP conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;
use chain::RouteSyntax;
use http::{HeaderMap, HeaderValue, Method, Version, header};
use opentelemetry::trace::{FutureExt, Link, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_semantic_conventions::attribute as semconv;

use crate::SCOPE;
use crate::carrier::{HeaderExtractor, recorded_headers};
use crate::propagation::traceparent;

/// Tells the caller which trace its request became, whichever format the services propagate among themselves. No level of
/// Trace Context has it as a standard: it comes from an [editor's draft], which later moved to `Server-Timing`.
///
/// [editor's draft]: https://github.com/w3c/trace-context/blob/3f51f68/spec/21-http_response_header_format.md
pub const TRACERESPONSE: &str = "traceresponse";

/// What the server layer needs to know about its service.
#[derive(Clone)]
pub struct Server {
    syntax: RouteSyntax,
    extract: Arc<Extract>,
    start: Arc<dyn Fn(Entry) -> Started + Send + Sync>,
}

/// Reads the caller's context from the headers of a request.
type Extract = dyn Fn(&HeaderMap) -> Context + Send + Sync;

/// A SERVER span that is about to start.
#[derive(Debug)]
pub struct Entry {
    /// The name of the span.
    pub name: String,
    /// What is known of the request.
    pub attributes: Vec<KeyValue>,
    /// What was extracted from the headers: the caller's span and baggage.
    pub caller: Context,
}

/// A SERVER span that has started, in the context in which its request runs. It ends when the request is answered.
#[derive(Debug)]
pub struct Started {
    /// The context, with the span in it.
    pub cx: Context,
    /// For a span that was started through `tracing`: its other half, without which it would end at once.
    pub bridged: Option<tracing::Span>,
}

/// The server layer: `router.layer(axum::middleware::from_fn_with_state(server, server::trace))`.
///
/// Extracts the caller's context, runs the request inside a SERVER span, and answers with `traceresponse`. The span
/// carries every trace header that arrived.
pub async fn trace(State(server): State<Server>, request: Request, next: Next) -> Response {
    let caller = (server.extract)(request.headers());
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
    let entry = Entry { name, attributes: request_attributes(&request, route), caller };
    let Started { cx, bridged } = (server.start)(entry);

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

/// Reads a context from headers, as the propagator of this process does.
#[must_use]
pub fn extract(headers: &HeaderMap) -> Context {
    global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers))
    })
}

// === impl Server ===

impl Server {
    /// A server whose SERVER spans join the traces of their callers.
    #[must_use]
    pub fn new(syntax: RouteSyntax) -> Self {
        Self::starting(syntax, Entry::join)
    }

    /// A server whose SERVER spans start as `start` wants it, which is asked for each request.
    pub fn starting(syntax: RouteSyntax, start: impl Fn(Entry) -> Started + Send + Sync + 'static) -> Self {
        Self { syntax, extract: Arc::new(extract), start: Arc::new(start) }
    }

    /// Extracts by `extract` instead of the propagator. What arrived is on record in the SERVER span, as always.
    #[must_use]
    pub fn extracting(self, extract: impl Fn(&HeaderMap) -> Context + Send + Sync + 'static) -> Self {
        Self { extract: Arc::new(extract), ..self }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("syntax", &self.syntax).finish_non_exhaustive()
    }
}

// === impl Entry ===

impl Entry {
    /// The span is a child of the caller's.
    #[must_use]
    pub fn join(self) -> Started {
        let parent = self.caller.clone();
        self.start(&parent, Vec::new())
    }

    /// The span begins a new trace, linked to the caller's, and the caller's baggage stays outside: a trust boundary.
    #[must_use]
    pub fn restart(self) -> Started {
        let caller = self.caller.span().span_context().clone();
        let links = caller.is_valid().then(|| Link::with_context(caller));
        self.start(&Context::new(), links.into_iter().collect())
    }

    fn start(self, parent: &Context, links: Vec<Link>) -> Started {
        let tracer = global::tracer(SCOPE);
        let builder = tracer.span_builder(self.name).with_kind(SpanKind::Server).with_attributes(self.attributes);
        let span = builder.with_links(links).start_with_context(&tracer, parent);
        Started { cx: parent.with_span(span), bridged: None }
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
