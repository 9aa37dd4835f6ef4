//! A plain streaming reverse proxy in front of java-claims; like an unconfigured nginx it creates no spans.
//!
//! It forwards every header but those of a single connection (`forward`), and writes an access log with the trace
//! headers that it received and those that it forwarded. What else it can do with headers is in [`seams`].

use std::borrow::Cow;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use chain::Service;
use service::url::Call;
use settings::{ConfigError, Environment, Live};
use wire::trace_headers;

use crate::forward::Upstream;
use crate::seams::Seams;

mod forward;
pub mod seams;

/// How long java-claims may take to answer.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
/// A trace header is far shorter; baggage may be longer.
const LONGEST_LOGGED_BYTES: usize = 512;

/// The services that this one calls.
pub const CALLS: &[Call] = &[UPSTREAM];
const UPSTREAM: Call = Call { variable: "UPSTREAM_URL", to: Service::JavaClaims };

/// The trace headers of a request as they left, on its response.
#[derive(Clone, Debug, Default)]
struct Forwarded(String);

/// What the service needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where java-claims answers.
    pub upstream: String,
}

pub fn app(config: &Config, seams: Live<Seams>) -> Router {
    Router::new()
        .fallback(forward::forward)
        .with_state(Upstream::new(&config.upstream, UPSTREAM_TIMEOUT))
        .layer(from_fn(keep_forwarded))
        .layer(from_fn_with_state(seams, seams::forward_headers))
        .layer(from_fn(access_log))
}

async fn access_log(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let received = logged(request.headers());
    let mut response = next.run(request).await;
    let Forwarded(forwarded) = response.extensions_mut().remove().unwrap_or_default();
    tracing::info!(
        %method,
        path,
        status = response.status().as_u16(),
        duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        received,
        forwarded,
        "request"
    );
    response
}

/// Below all that changes headers: keeps for the access log which trace headers leave.
async fn keep_forwarded(request: Request, next: Next) -> Response {
    let forwarded = Forwarded(logged(request.headers()));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(forwarded);
    response
}

/// The trace headers, as they are logged.
fn logged(headers: &HeaderMap) -> String {
    let line = |name| Some(format!("{name}: {}", beginning(headers.get(name)?.to_str().ok()?)));
    trace_headers().filter_map(line).collect::<Vec<_>>().join("; ")
}

/// As much of a header's value as is logged.
fn beginning(value: &str) -> Cow<'_, str> {
    match value.get(..LONGEST_LOGGED_BYTES) {
        Some(beginning) if beginning.len() < value.len() => format!("{beginning}… ({} bytes)", value.len()).into(),
        _ => value.into(),
    }
}

// === impl Config ===

impl Config {
    /// What the environment says.
    ///
    /// # Errors
    /// A value that cannot be used.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        Ok(Self { upstream: UPSTREAM.url(env)?.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_header_is_logged_by_its_beginning() {
        for length in [0, 55, LONGEST_LOGGED_BYTES] {
            assert_eq!(beginning(&"x".repeat(length)).len(), length, "it is short enough");
        }
        let long = beginning(&"x".repeat(380_000)).into_owned();
        assert_eq!(long, format!("{}… (380000 bytes)", "x".repeat(LONGEST_LOGGED_BYTES)));
    }
}
