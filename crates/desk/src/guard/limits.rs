//! How much may be asked: writes per second.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service::Problem;
use tokio::time::Instant;

/// The largest request body, in bytes: far above any.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Far above what a class does by hand, far below what hurts.
const WRITES_PER_SECOND: f64 = 25.0;
const WRITES_AT_ONCE: f64 = 100.0;

/// A bucket that holds the writes which are free now.
#[derive(Debug)]
pub(crate) struct Writes(Mutex<(f64, Instant)>);

/// The layer: refuses with 429 what writes too often.
pub(crate) async fn writes(State(writes): State<Arc<Writes>>, request: Request, next: Next) -> Response {
    if request.method().is_safe() || writes.take(Instant::now()) {
        return next.run(request).await;
    }
    let mut refused =
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many changes at once, try again").into_response();
    refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

// === impl Writes ===

impl Writes {
    pub(crate) fn new() -> Self {
        Self(Mutex::new((WRITES_AT_ONCE, Instant::now())))
    }

    fn take(&self, now: Instant) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (free, since) = *bucket;
        let free = (free + now.duration_since(since).as_secs_f64() * WRITES_PER_SECOND).min(WRITES_AT_ONCE);
        let taken = free >= 1.0;
        *bucket = (if taken { free - 1.0 } else { free }, now);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn writes_are_limited_and_come_back() {
        let writes = Writes::new();
        let now = Instant::now();
        let taken = (0..1000).filter(|_| writes.take(now)).count();
        assert_eq!(taken, 100, "a burst is taken, a flood is not");
        assert!(writes.take(now + Duration::from_secs(1)), "a second later there is room again");
    }
}
