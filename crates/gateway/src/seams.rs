//! The gateway's settings for request headers. The defaults forward everything, as nginx and HAProxy do.

use std::str::FromStr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use settings::{ConfigError, Environment, Live, Setting, Values, choice};
use wire::{SpanId, TRACEPARENT, TraceId, TraceParent};

choice! {
    /// What the gateway does with the trace context that it received.
    TraceContext = "TRACE_CONTEXT" {
        /// It passes.
        Pass = "pass",
        /// The gateway sends its own, as `proxy_set_header traceparent "00-$request_id-…"` would.
        Own = "own",
        /// The gateway continues the trace with a span that is not exported: a mesh without a backend.
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

const FORWARD_HEADERS: Setting = Setting::new(
    "FORWARD_HEADERS",
    "Which request headers the gateway forwards.",
    "`all`, or a comma list of header names",
    |list| ForwardHeaders::from_str(list).map(drop),
)
.with(Values::SuchAs(&["all"]))
.or("all");

/// The settings of this service.
pub const SETTINGS: &[Setting] = &[FORWARD_HEADERS, TraceContext::SETTING];

/// How each seam is set: one value, which a change of settings replaces as a whole. A request takes it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seams {
    forward_headers: ForwardHeaders,
    trace_context: TraceContext,
}

/// The layer that changes requests on their way.
pub(crate) async fn forward_headers(State(seams): State<Live<Seams>>, mut request: Request, next: Next) -> Response {
    let seams = seams.get();
    if let ForwardHeaders::Only(names) = &seams.forward_headers {
        let all = std::mem::take(request.headers_mut());
        let allowed =
            names.iter().flat_map(|name| all.get_all(name).iter().map(move |value| (name.clone(), value.clone())));
        let allowed: HeaderMap = allowed.collect();
        *request.headers_mut() = allowed;
    }
    seams.trace_context.write(request.headers_mut());
    next.run(request).await
}

// === impl TraceContext ===

impl TraceContext {
    fn write(self, headers: &mut HeaderMap) {
        let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()?.parse::<TraceParent>().ok());
        let own = match (self, caller) {
            (Self::Pass, _) => return,
            (Self::Continue, Some(caller)) => span_id().map(|parent_id| TraceParent { parent_id, ..caller }),
            (Self::Own, _) | (Self::Continue, None) => own_context(),
        };
        if let Some(value) = own.and_then(|own| HeaderValue::try_from(own.to_string()).ok()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// A trace of the gateway's own. Like nginx's `$request_id`, it does not say that its id was made at random.
fn own_context() -> Option<TraceParent> {
    let trace_id = TraceId::new(fastrand::u128(1..))?;
    Some(TraceParent { trace_id, parent_id: span_id()?, sampled: true, random: false })
}

fn span_id() -> Option<SpanId> {
    SpanId::new(fastrand::u64(1..))
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
            .map(|name| HeaderName::try_from(name.trim()).map_err(|_| format!("`{name}` is not a header name")));
        names.collect::<Result<_, _>>().map(Self::Only)
    }
}

// === impl Seams ===

impl Seams {
    /// What the environment says.
    ///
    /// # Errors
    /// A value that is not allowed.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        Ok(Self {
            forward_headers: FORWARD_HEADERS.read(env, ForwardHeaders::from_str)?.unwrap_or_default(),
            trace_context: TraceContext::read(env)?,
        })
    }
}
