//! What the gateway can be told to do with request headers. The defaults forward everything, as nginx and HAProxy do.

use std::str::FromStr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use telemetry::config::{Environment, LiveVariable, read};
use telemetry::live::Live;
use telemetry::propagation::w3c::{TRACEPARENT, TraceParent};
use telemetry::{ConfigError, choice};

choice! {
    /// What becomes of the caller's trace context.
    TraceContext = "TRACE_CONTEXT" {
        /// It passes.
        Pass = "pass",
        /// The gateway sends one of its own, as `proxy_set_header traceparent "00-$request_id-…"` would.
        Own = "own",
        /// The gateway continues the trace with a span of its own, which nobody exports: a mesh without a backend.
        Continue = "continue",
    }
}

/// Which request headers are forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardHeaders {
    /// All.
    #[default]
    All,
    /// Only these.
    Only(Vec<HeaderName>),
}

const HEADERS: &str = "`all`, or a comma list of header names";
const FORWARD_HEADERS: LiveVariable =
    LiveVariable { name: "FORWARD_HEADERS", allowed: HEADERS, check: |list| ForwardHeaders::from_str(list).map(drop) };

/// What this service can be told.
pub const SETTINGS: &[LiveVariable] = &[FORWARD_HEADERS, TraceContext::VARIABLE];

/// What can be set while the service runs.
#[derive(Clone, Debug, Default)]
pub struct Seams {
    forward_headers: Live<ForwardHeaders>,
    trace_context: Live<TraceContext>,
}

/// The layer that changes requests on their way.
pub(crate) async fn forward_headers(State(seams): State<Seams>, mut request: Request, next: Next) -> Response {
    if let ForwardHeaders::Only(names) = seams.forward_headers.get() {
        let all = std::mem::take(request.headers_mut());
        let allowed =
            names.iter().flat_map(|name| all.get_all(name).iter().map(move |value| (name.clone(), value.clone())));
        let allowed: HeaderMap = allowed.collect();
        *request.headers_mut() = allowed;
    }
    seams.trace_context.get().write(request.headers_mut());
    next.run(request).await
}

// === impl TraceContext ===

impl TraceContext {
    fn write(self, headers: &mut HeaderMap) {
        // Zero is no id: <https://www.w3.org/TR/trace-context/#trace-id>.
        let (trace, span) = (fastrand::u128(1..), fastrand::u64(1..));
        let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()?.parse::<TraceParent>().ok());
        let value = match (self, caller) {
            (Self::Pass, _) => return,
            (Self::Continue, Some(caller)) => format!("00-{}-{span:016x}-{:02x}", caller.trace_id, caller.flags),
            (Self::Own, _) | (Self::Continue, None) => format!("00-{trace:032x}-{span:016x}-01"),
        };
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

// === impl ForwardHeaders ===

impl FromStr for ForwardHeaders {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        if list == "all" {
            return Ok(Self::All);
        }
        let names = list
            .split(',')
            .map(|name| HeaderName::try_from(name.trim()).map_err(|_| format!("`{name}` is no header name")));
        names.collect::<Result<_, _>>().map(Self::Only)
    }
}

// === impl Seams ===

impl Seams {
    /// Takes over what the environment says.
    ///
    /// # Errors
    /// A value that is not allowed; nothing is changed then.
    pub fn apply(&self, env: &impl Environment) -> Result<(), ConfigError> {
        let forward_headers = read(env, FORWARD_HEADERS.name, HEADERS, ForwardHeaders::from_str)?;
        let trace_context = TraceContext::read(env)?;
        self.forward_headers.set(forward_headers.unwrap_or_default());
        self.trace_context.set(trace_context);
        Ok(())
    }
}
