//! CLIENT spans, by the [stable HTTP conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Extensions, HeaderMap};
use opentelemetry::trace::{FutureExt, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_semantic_conventions::attribute as semconv;
use reqwest::{Request, Response, Url};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error, Middleware, Next, Result};

use crate::SCOPE;
use crate::carrier::{HeaderInjector, recorded_headers};
use crate::server::{method_attributes, protocol_version, request_method};

/// The client middleware: a CLIENT span around each request, its context injected into the headers.
#[derive(Clone)]
pub struct Tracing {
    inject: Arc<Inject>,
}

/// Writes the context of a request into its headers.
type Inject = dyn Fn(&Context, &mut HeaderMap) + Send + Sync;

/// An instrumented client; `timeout` bounds a whole request.
///
/// # Errors
/// The client cannot be built, which only a broken system causes.
pub fn traced(timeout: Duration) -> std::result::Result<ClientWithMiddleware, reqwest::Error> {
    Ok(ClientBuilder::new(reqwest::Client::builder().timeout(timeout).build()?).with(Tracing::default()).build())
}

/// Writes a context into headers, as the propagator of this process does.
pub fn inject(cx: &Context, headers: &mut HeaderMap) {
    global::get_text_map_propagator(|propagator| propagator.inject_context(cx, &mut HeaderInjector(headers)));
}

// === impl Tracing ===

impl Tracing {
    /// Injects by `inject` instead of the propagator. What it writes is on record in the CLIENT span, as always.
    pub fn injecting(inject: impl Fn(&Context, &mut HeaderMap) + Send + Sync + 'static) -> Self {
        Self { inject: Arc::new(inject) }
    }
}

impl Default for Tracing {
    /// Injects by the propagator of this process.
    fn default() -> Self {
        Self::injecting(inject)
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing").finish_non_exhaustive()
    }
}

#[async_trait]
impl Middleware for Tracing {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let tracer = global::tracer(SCOPE);
        let span = tracer
            .span_builder(request_method(request.method()).unwrap_or("HTTP").to_owned())
            .with_kind(SpanKind::Client)
            .with_attributes(request_attributes(&request))
            .start(&tracer);
        let cx = Context::current_with_span(span);
        (self.inject)(&cx, request.headers_mut());
        cx.span().set_attributes(recorded_headers(request.headers()));

        let result = next.run(request, extensions).with_context(cx.clone()).await;

        let span = cx.span();
        match &result {
            Ok(response) => {
                let status = response.status();
                span.set_attribute(KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
                span.set_attribute(KeyValue::new(
                    semconv::NETWORK_PROTOCOL_VERSION,
                    protocol_version(response.version()),
                ));
                if status.is_client_error() || status.is_server_error() {
                    span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, status.as_str().to_owned()));
                    span.set_status(Status::error(""));
                }
            }
            Err(error) => {
                span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, error_type(error)));
                span.record_error(error);
                span.set_status(Status::error(error.to_string()));
            }
        }
        span.end();
        result
    }
}

fn request_attributes(request: &Request) -> Vec<KeyValue> {
    let url = request.url();
    let mut attributes = method_attributes(request.method());
    attributes.push(KeyValue::new(semconv::URL_FULL, without_credentials(url)));
    attributes.extend(url.host_str().map(|host| KeyValue::new(semconv::SERVER_ADDRESS, host.to_owned())));
    attributes.extend(url.port_or_known_default().map(|port| KeyValue::new(semconv::SERVER_PORT, i64::from(port))));
    attributes
}

/// The conventions: user name and password must not be recorded.
fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        let _ = url.set_username("REDACTED");
        let _ = url.set_password(Some("REDACTED"));
    }
    url.into()
}

fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Reqwest(error) if error.is_timeout() => "timeout",
        Error::Reqwest(error) if error.is_connect() => "connect",
        _ => "_OTHER",
    }
}
