//! Limits of writes and of wrong tokens per second, by purpose and by caller.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
/// How long an address from which the token was shown is not kept from trying others.
const PROVEN_FOR: Duration = Duration::from_secs(3600);
/// Of so many the writes are counted at once; beyond, those who have not written for longest are forgotten.
const MOST_WRITERS: usize = 1024;

/// Caller and purpose: one bucket each, so that no caller empties another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Writer {
    purpose: Purpose,
    from: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    Change,
    /// For which it needs no token.
    LogIn,
    /// To show a token that is not the right one.
    Guess,
}

/// A bucket for each writer, with the writes that are free and since when.
#[derive(Debug, Default)]
pub(crate) struct Writes(Mutex<HashMap<Writer, (f64, Instant)>>);

/// Wrong tokens, by address. Beyond their bucket, what that address shows is not even compared. A client that
/// has shown the right token from there is not locked out by the guesses of others, and no client on this machine is.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    wrong: Writes,
    /// When the right token was last shown.
    proven: Mutex<HashMap<IpAddr, Instant>>,
}

/// The layer, inside the one that demands the token: refuses with 429 what writes too often.
pub(crate) async fn writes(State(writes): State<Arc<Writes>>, request: Request, next: Next) -> Response {
    if Writer::of(&request).is_none_or(|writer| writes.take(writer, Instant::now())) {
        return next.run(request).await;
    }
    too_many("too many changes at once, try again")
}

pub(super) fn too_many(what: &str) -> Response {
    let mut refused = Problem::new(StatusCode::TOO_MANY_REQUESTS, what).into_response();
    refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refused
}

/// The address by which a request is counted.
pub(super) fn sender(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    match peer.map_or(Ipv4Addr::LOCALHOST.into(), |ConnectInfo(peer)| peer.ip().to_canonical()) {
        // A single machine may send from any of these.
        local if local.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        other => other,
    }
}

// === impl Writer ===

impl Writer {
    /// None if nothing can come of the request: it reads, or nothing is written where everybody may go.
    fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let purpose = if path == LOGIN { Purpose::LogIn } else { Purpose::Change };
        let writes = !request.method().is_safe() && (purpose == Purpose::LogIn || !OPEN.contains(&path));
        writes.then(|| Self { purpose, from: sender(request) })
    }
}

// === impl Writes ===

impl Writes {
    fn take(&self, writer: Writer, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget_oldest(&mut buckets, &writer, |(_, since)| *since);
        let (free, since) = buckets.entry(writer).or_insert((WRITES_AT_ONCE, now));
        *free = refilled((*free, *since), now);
        *since = now;
        let taken = *free >= 1.0;
        if taken {
            *free -= 1.0;
        }
        taken
    }

    fn has(&self, writer: Writer, now: Instant) -> bool {
        let buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get(&writer).is_none_or(|bucket| refilled(*bucket, now) >= 1.0)
    }
}

fn refilled((free, since): (f64, Instant), now: Instant) -> f64 {
    (free + now.duration_since(since).as_secs_f64() * WRITES_PER_SECOND).min(WRITES_AT_ONCE)
}

/// Makes room for `key` if there is none.
fn forget_oldest<K: Copy + Eq + Hash, V>(kept: &mut HashMap<K, V>, key: &K, since: impl Fn(&V) -> Instant) {
    if kept.len() >= MOST_WRITERS && !kept.contains_key(key) {
        let oldest = kept.iter().min_by_key(|(_, value)| since(value)).map(|(oldest, _)| *oldest);
        oldest.and_then(|oldest| kept.remove(&oldest));
    }
}

// === impl Guesses ===

impl Guesses {
    /// Whether what `from` shows is to be compared.
    pub(super) fn may(&self, from: IpAddr, now: Instant) -> bool {
        from.is_loopback() || self.is_proven(from, now) || self.wrong.has(Writer { purpose: Purpose::Guess, from }, now)
    }

    /// What came of it.
    pub(super) fn note(&self, from: IpAddr, right: bool, now: Instant) {
        if !right {
            self.wrong.take(Writer { purpose: Purpose::Guess, from }, now);
            return;
        }
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        forget_oldest(&mut proven, &from, |shown| *shown);
        proven.insert(from, now);
    }

    fn is_proven(&self, from: IpAddr, now: Instant) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.get(&from).is_some_and(|shown| now.duration_since(*shown) < PROVEN_FOR)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn writes_are_limited_and_come_back() {
        let writes = Writes::default();
        let writer = Writer { purpose: Purpose::Change, from: Ipv4Addr::LOCALHOST.into() };
        let now = Instant::now();
        let taken = (0..1000).filter(|_| writes.take(writer, now)).count();
        assert_eq!(taken, 100, "a burst is taken, a flood is not");
        for other in
            [Writer { purpose: Purpose::LogIn, ..writer }, Writer { from: "192.0.2.1".parse().unwrap(), ..writer }]
        {
            assert!(writes.take(other, now), "{other:?} has its own bucket");
        }
        assert!(writes.take(writer, now + Duration::from_secs(1)), "a second later there is room again");
    }

    #[test]
    fn guesses_are_limited_and_keep_nobody_out_who_knows_the_token() {
        let [guesser, owner] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse::<IpAddr>().unwrap());
        let (guesses, now) = (Guesses::default(), Instant::now());
        let tried = |from: IpAddr, now: Instant| {
            (0..1000).filter(|_| guesses.may(from, now) && (guesses.note(from, false, now), true).1).count()
        };
        assert_eq!(tried(guesser, now), 100, "the others are not compared");
        assert_eq!(tried(guesser, now + Duration::from_secs(1)), 25, "so many a second");
        assert!(guesses.may(owner, now), "another address has its own bucket");
        guesses.note(owner, true, now);
        assert_eq!(tried(owner, now), 1000, "somebody else there guesses");
        assert!(guesses.may(owner, now), "who has shown the token is still compared");
        assert_eq!(tried(owner, now + PROVEN_FOR), 100, "but not for ever");
        assert_eq!(tried(Ipv4Addr::LOCALHOST.into(), now), 1000, "this machine is its owner's");
    }

    #[test]
    fn writers_are_counted_without_an_end_of_memory() {
        let writes = Writes::default();
        for number in 0..10_000 {
            writes.take(Writer { purpose: Purpose::LogIn, from: Ipv4Addr::from_bits(number).into() }, Instant::now());
        }
        assert_eq!(writes.0.lock().unwrap().len(), MOST_WRITERS);
    }

    #[test]
    fn a_writer_is_an_address_and_a_purpose() {
        let of = |method: &str, path: &str, peer: &str| {
            let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
            Writer::of(&request).map(|Writer { purpose, from }| (purpose, from.to_string()))
        };
        let here = || Some((Purpose::Change, "127.0.0.1".to_owned()));
        for (method, path, peer, writer, why) in [
            ("POST", "/api/claims", "127.0.0.1:1", here(), "a change"),
            ("POST", "/api/claims", "127.9.9.9:1", here(), "the same machine"),
            ("POST", "/api/claims", "[::ffff:127.0.0.1]:1", here(), "the same, written as IPv6"),
            ("POST", "/login", "127.0.0.1:1", Some((Purpose::LogIn, "127.0.0.1".to_owned())), "a login"),
            (
                "POST",
                "/login",
                "[2001:db8::1:2]:1",
                Some((Purpose::LogIn, "2001:db8::".to_owned())),
                "one of many addresses",
            ),
            ("GET", "/api/claims", "127.0.0.1:1", None, "it reads"),
            ("POST", "/healthz", "127.0.0.1:1", None, "nothing is written there"),
        ] {
            assert_eq!(of(method, path, peer), writer, "{method} {path} from {peer}: {why}");
        }
    }
}
