//! Limits of writes per second, by purpose and by caller.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service::Problem;
use tokio::time::Instant;

use crate::guard::token::{LOGIN, OPEN};

/// The largest request body, in bytes: far above any.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// Far above what a class does by hand, far below what hurts.
const WRITES_PER_SECOND: f64 = 25.0;
const WRITES_AT_ONCE: f64 = 100.0;
/// Of so many the writes are counted at once; beyond, those who have not written for longest are forgotten.
const MOST_WRITERS: usize = 1024;

/// Caller and purpose: one bucket each, so that no caller empties another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Writer {
    /// Whether it logs in, for which it needs no token, or changes something.
    logs_in: bool,
    from: IpAddr,
}

/// A bucket for each writer, with the writes that are free and since when.
#[derive(Debug, Default)]
pub(crate) struct Writes(Mutex<HashMap<Writer, (f64, Instant)>>);

/// The layer, inside the one that demands the token: refuses with 429 what writes too often.
pub(crate) async fn writes(State(writes): State<Arc<Writes>>, request: Request, next: Next) -> Response {
    if Writer::of(&request).is_none_or(|writer| writes.take(writer, Instant::now())) {
        return next.run(request).await;
    }
    let mut refused =
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many changes at once, try again").into_response();
    refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

// === impl Writer ===

impl Writer {
    /// None if nothing can come of the request: it reads, or nothing is written where everybody may go.
    fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let logs_in = path == LOGIN;
        if request.method().is_safe() || (OPEN.contains(&path) && !logs_in) {
            return None;
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let from = match peer.map_or(Ipv4Addr::LOCALHOST.into(), |ConnectInfo(peer)| peer.ip().to_canonical()) {
            // A single machine may send from any of these.
            local if local.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            other => other,
        };
        Some(Self { logs_in, from })
    }
}

// === impl Writes ===

impl Writes {
    fn take(&self, writer: Writer, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_WRITERS && !buckets.contains_key(&writer) {
            let oldest = buckets.iter().min_by_key(|(_, (_, since))| *since).map(|(oldest, _)| *oldest);
            oldest.and_then(|oldest| buckets.remove(&oldest));
        }
        let (free, since) = buckets.entry(writer).or_insert((WRITES_AT_ONCE, now));
        *free = (*free + now.duration_since(*since).as_secs_f64() * WRITES_PER_SECOND).min(WRITES_AT_ONCE);
        *since = now;
        let taken = *free >= 1.0;
        if taken {
            *free -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;

    use super::*;

    #[test]
    fn writes_are_limited_and_come_back() {
        let writes = Writes::default();
        let writer = Writer { logs_in: false, from: Ipv4Addr::LOCALHOST.into() };
        let now = Instant::now();
        let taken = (0..1000).filter(|_| writes.take(writer, now)).count();
        assert_eq!(taken, 100, "a burst is taken, a flood is not");
        for other in [Writer { logs_in: true, ..writer }, Writer { from: "192.0.2.1".parse().unwrap(), ..writer }] {
            assert!(writes.take(other, now), "{other:?} has its own bucket");
        }
        assert!(writes.take(writer, now + Duration::from_secs(1)), "a second later there is room again");
    }

    #[test]
    fn writers_are_counted_without_an_end_of_memory() {
        let writes = Writes::default();
        for number in 0..10_000 {
            writes.take(Writer { logs_in: true, from: Ipv4Addr::from_bits(number).into() }, Instant::now());
        }
        assert_eq!(writes.0.lock().unwrap().len(), MOST_WRITERS);
    }

    #[test]
    fn a_writer_is_an_address_and_a_purpose() {
        let of = |method: &str, path: &str, peer: &str| {
            let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
            Writer::of(&request).map(|Writer { logs_in, from }| (logs_in, from.to_string()))
        };
        let here = || Some((false, "127.0.0.1".to_owned()));
        for (method, path, peer, writer, why) in [
            ("POST", "/api/claims", "127.0.0.1:1", here(), "a change"),
            ("POST", "/api/claims", "127.9.9.9:1", here(), "the same machine"),
            ("POST", "/api/claims", "[::ffff:127.0.0.1]:1", here(), "the same, written as IPv6"),
            ("POST", "/login", "127.0.0.1:1", Some((true, "127.0.0.1".to_owned())), "a login"),
            ("POST", "/login", "[2001:db8::1:2]:1", Some((true, "2001:db8::".to_owned())), "one of many addresses"),
            ("GET", "/api/claims", "127.0.0.1:1", None, "it reads"),
            ("POST", "/healthz", "127.0.0.1:1", None, "nothing is written there"),
        ] {
            assert_eq!(of(method, path, peer), writer, "{method} {path} from {peer}: {why}");
        }
    }
}
