//! The endpoints that a setting may name for spans, because a service then sends requests to them.

use axum::http::{StatusCode, Uri};
use reqwest::Url;
use service::Problem;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Hosts beside those of loopback: that of the backend that the lab was started with, and those that its operator lists.
#[derive(Clone, Debug, Default)]
pub struct Backends(Vec<String>);

// === impl Backends ===

impl Backends {
    /// The host of the URL `configured`, and those that are listed.
    #[must_use]
    pub fn new(configured: Option<&str>, listed: Vec<String>) -> Self {
        let configured = configured.and_then(|url| Some(url.trim().parse::<Uri>().ok()?.host()?.to_owned()));
        Self(configured.into_iter().chain(listed).collect())
    }

    /// Refuses with 422 an endpoint that is somewhere else.
    pub(crate) fn check(&self, key: &str, value: &str) -> Result<(), Problem> {
        // Exporters read a URL in two ways, by the protocol; neither may lead elsewhere.
        let hosts = (value.parse::<Uri>(), value.parse::<Url>());
        let known = matches!(&hosts, (Ok(uri), Ok(url)) if [uri.host(), url.host_str()].map(|host| self.has(host)) == [true; 2]);
        if key != ENDPOINT || known {
            return Ok(());
        }
        let others: String = self.0.iter().map(|host| format!(", {host}")).collect();
        let detail = format!(
            "`{value}` is not allowed for {ENDPOINT}: spans may be sent to loopback{others}; the person who runs \
             this lab can allow other hosts in INSUREWATCH_ALLOWED_BACKENDS"
        );
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
    }

    fn has(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return false };
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        let loopback = address.is_ok_and(|address| address.to_canonical().is_loopback());
        loopback
            || ["localhost"]
                .into_iter()
                .chain(self.0.iter().map(String::as_str))
                .any(|own| own.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_to_known_hosts_only() {
        let backends = Backends::new(Some("http://otel-collector:4318"), vec!["tempo.example.org".to_owned()]);
        for (endpoint, allowed, why) in [
            ("http://127.0.0.1:9", true, "loopback"),
            ("http://localhost:4318", true, "its name"),
            ("http://[::1]:4318", true, "over IPv6"),
            ("http://otel-collector:4317", true, "the configured backend, by another protocol"),
            ("http://tempo.example.org", true, "listed"),
            ("http://169.254.169.254/latest", false, "a cloud's metadata"),
            ("http://evil.example", false, "anywhere"),
            ("http://127.0.0.1@evil.example", false, "a user, not a host"),
            ("http://127.0.0.1.evil.example", false, "a name that starts like loopback"),
            ("http://2130706433", false, "loopback to one reader, a name to the other"),
            ("http://", false, "nowhere"),
        ] {
            assert_eq!(backends.check(ENDPOINT, endpoint).is_ok(), allowed, "{endpoint}: {why}");
        }
        assert!(backends.check("OTEL_PROPAGATORS", "b3").is_ok(), "another setting is no request");
        let refused = backends.check(ENDPOINT, "http://evil.example").unwrap_err().detail;
        for word in ["otel-collector", "tempo.example.org", "INSUREWATCH_ALLOWED_BACKENDS"] {
            assert!(refused.contains(word), "it says what is allowed: {refused}");
        }
    }
}
