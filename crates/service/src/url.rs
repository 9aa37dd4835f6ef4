//! Where other services answer.

use reqwest::Url;

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

#[cfg(test)]
mod tests {
    use super::*;

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
