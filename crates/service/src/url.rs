//! The URLs of other services and of databases.

use chain::Service;
use reqwest::Url;
use settings::{ConfigError, Environment};

/// That a service calls another one, and the variable with the other one's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The variable, such as `CLAIMS_URL`.
    pub variable: &'static str,
    /// Who is called, as seen from here: a proxy, if there is one.
    pub to: Service,
}

/// The URL of a resource of the service at `base`, which may itself have a path. Each segment is escaped.
#[must_use]
pub fn resource(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    // An http URL always has a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// The database that `DATABASE_URL` names; by default a file of this name in the working directory.
#[must_use]
pub fn database_url(env: &dyn Environment, name: &str) -> String {
    env.get("DATABASE_URL").unwrap_or_else(|| format!("sqlite://{name}.db"))
}

// === impl Call ===

impl Call {
    /// The other service's URL; by default on this machine, at its usual port.
    ///
    /// # Errors
    /// The variable holds no URL.
    pub fn url(&self, env: &dyn Environment) -> Result<Url, ConfigError> {
        let usual = || format!("http://127.0.0.1:{}", self.to.row().port);
        let value = env.get(self.variable).unwrap_or_else(usual);
        value.trim().parse().map_err(|error| ConfigError {
            variable: self.variable,
            reason: format!("not a URL: {error}"),
            value,
            allowed: "an http:// URL",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_call_goes_where_its_variable_says_or_to_the_usual_port() {
        let call = Call { variable: "CLAIMS_URL", to: Service::Gateway };
        let env = |value: &str| BTreeMap::from([("CLAIMS_URL".to_owned(), value.to_owned())]);
        assert_eq!(call.url(&env("http://there:1")).unwrap().as_str(), "http://there:1/");
        assert_eq!(call.url(&env("")).unwrap().as_str(), "http://127.0.0.1:7702/", "empty is unset");
        let message = "CLAIMS_URL=nowhere: not a URL: relative URL without a base; allowed: an http:// URL";
        assert_eq!(call.url(&env("nowhere")).unwrap_err().to_string(), message);
    }

    #[test]
    fn segments_are_added_below_whatever_path_there_is() {
        let table = [
            ("http://a:1", &["claims", "CLM-1"][..], "http://a:1/claims/CLM-1", "no path"),
            ("http://a:1/", &["claims"], "http://a:1/claims", "a slash is no segment"),
            ("http://a:1/lab/b", &["claims"], "http://a:1/lab/b/claims", "behind a prefix"),
            ("http://a:1/lab/", &["claims"], "http://a:1/lab/claims", "behind a prefix with a slash"),
            ("http://a:1", &["policies", "a/b?c#d"], "http://a:1/policies/a%2Fb%3Fc%23d", "a segment stays one"),
        ];
        for (base, segments, expected, why) in table {
            assert_eq!(resource(&base.parse().unwrap(), segments).as_str(), expected, "{why}");
        }
    }

    #[test]
    fn a_host_beyond_ascii_is_refused_by_name() {
        for url in ["http://b\u{fc}cher.example", "http://b%C3%BCcher.example"] {
            let error = url.parse::<Url>().unwrap_err().to_string();
            assert_eq!(error, "invalid international domain name", "{url}: idna is built without Unicode tables");
        }
        let ascii = "http://xn--bcher-kva.example/";
        assert_eq!(ascii.parse::<Url>().unwrap().as_str(), ascii, "the ASCII form of such a host can be used");
    }
}
