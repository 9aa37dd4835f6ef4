//! The host names that requests may use.
//!
//! A web page somewhere can let its host name resolve to this machine, and then read what listens here as if that
//! were its own site (DNS rebinding). The name gives it away: it is in `Host`, or in `:authority` of HTTP/2.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use settings::{ConfigError, Environment};

use crate::Problem;

const ALLOWED_HOSTS: &str = "INSUREWATCH_ALLOWED_HOSTS";

/// Names that an operator lists, beside those that always hold: `localhost`, the addresses of loopback, and the address
/// on which a connection arrived. Ports do not matter. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<[String]>);

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misdirected {
    #[error("the request names no host")]
    Nobody,
    #[error("the host name `{0}` is not allowed here; the person who runs this lab can allow it in {ALLOWED_HOSTS}")]
    Stranger(String),
}

// === impl Hosts ===

impl Hosts {
    /// The names in `INSUREWATCH_ALLOWED_HOSTS`.
    ///
    /// # Errors
    /// One is not a host name.
    pub fn read(env: &dyn Environment) -> Result<Self, ConfigError> {
        let value = env.get(ALLOWED_HOSTS).unwrap_or_default();
        let names = value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_ascii_lowercase);
        let names: Vec<_> = names.collect();
        let is_host = |name: &&String| name.parse::<Authority>().is_ok_and(|authority| authority.host() == **name);
        match names.iter().find(|name| !is_host(name)) {
            None => Ok(Self(names.into())),
            Some(other) => Err(ConfigError {
                variable: ALLOWED_HOSTS,
                reason: format!("`{other}` is not a host name"),
                value,
                allowed: "host names without ports, separated by commas",
            }),
        }
    }

    /// Every name that the request gives must be one of ours; `local` is where its connection arrived.
    pub(crate) fn check(&self, request: &Parts, local: IpAddr) -> Result<(), Misdirected> {
        let headers = request.headers.get_all(header::HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes()));
        let line = request.uri.authority().map(|authority| authority.as_str().into());
        let mut named = headers.chain(line).peekable();
        if named.peek().is_none() {
            return Err(Misdirected::Nobody);
        }
        match named.find(|host| !host.parse().is_ok_and(|host| self.are(&host, local))) {
            None => Ok(()),
            Some(stranger) => Err(Misdirected::Stranger(stranger.chars().take(256).collect())),
        }
    }

    fn are(&self, authority: &Authority, local: IpAddr) -> bool {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let address = address.is_ok_and(|address| {
            let address = address.to_canonical();
            address.is_loopback() || address == local.to_canonical()
        });
        let name = || host.eq_ignore_ascii_case("localhost") || self.0.iter().any(|own| own.eq_ignore_ascii_case(host));
        !authority.as_str().contains('@') && (address || name())
    }
}

/// Refuses a request in the form that its sender reads: gRPC has its own status.
pub(crate) fn refusal(
    content_type: Option<&HeaderValue>,
    problem: Problem,
    grpc: fn(String) -> tonic::Status,
) -> Response {
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        grpc(problem.detail).into_http()
    } else {
        problem.into_response()
    }
}

// === impl Misdirected ===

impl From<Misdirected> for Problem {
    fn from(misdirected: Misdirected) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, misdirected.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::Request;

    use super::*;

    fn hosts(list: &str) -> Result<Hosts, ConfigError> {
        Hosts::read(&BTreeMap::from([(ALLOWED_HOSTS.to_owned(), list.to_owned())]))
    }

    #[test]
    fn only_own_names_are_answered() {
        let hosts = hosts("desk, Lab.Example.org").unwrap();
        let table = [
            ("/", &["127.0.0.1:7700"][..], true, "loopback"),
            ("/", &["127.0.0.7"], true, "another address of loopback"),
            ("/", &["localhost:1"], true, "its name, with any port"),
            ("/", &["LocalHost"], true, "in any case"),
            ("/", &["[::1]:4318"], true, "over IPv6"),
            ("/", &["10.1.2.3:7703"], true, "the address of the connection, as a probe of Kubernetes asks"),
            ("/", &["desk:7700"], true, "a listed name"),
            ("/", &["lab.example.org"], true, "a listed name in other case"),
            ("http://localhost/", &[], true, "HTTP/2 has it in the request line"),
            ("/", &["evil.example"], false, "DNS rebinding"),
            ("/", &["127.0.0.1.evil.example"], false, "a name that starts like loopback"),
            ("/", &["127.0.0.1@evil.example"], false, "a user, not a host"),
            ("/", &["evil.example@127.0.0.1"], false, "nobody writes this"),
            ("/", &["10.1.2.4"], false, "another address"),
            ("/", &["sub.desk"], false, "a name below a listed one"),
            ("/", &["localhost.evil.example"], false, "a name below a stranger's"),
            ("/", &["127.0.0.1", "evil.example"], false, "one of two"),
            ("http://evil.example/", &["127.0.0.1"], false, "two that differ"),
            ("/", &["\u{fc}"], false, "no name at all"),
            ("/", &[""], false, "an empty one"),
            ("/", &[], false, "none"),
        ];
        for (uri, named, answered, why) in table {
            let mut request = Request::get(uri);
            for host in named {
                request = request.header("host", host.as_bytes());
            }
            let checked = hosts.check(&request.body(()).unwrap().into_parts().0, "10.1.2.3".parse().unwrap());
            assert_eq!(checked.is_ok(), answered, "{why}: {checked:?}");
        }
    }

    #[test]
    fn what_is_no_host_name_cannot_be_listed() {
        for list in ["desk:7700", "http://desk", "a b", "desk/"] {
            let error = hosts(list).unwrap_err();
            assert_eq!(error.allowed, "host names without ports, separated by commas", "{list}");
        }
        assert!(hosts(" , ").is_ok(), "nothing is listed");
    }
}
