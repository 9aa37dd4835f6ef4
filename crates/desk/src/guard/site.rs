//! Which requests the desk answers: those of programs, and of pages that the desk itself served.
//!
//! A web page somewhere can make a browser send requests here: `Origin` and `Sec-Fetch-Site` give it away
//! ([Fetch Metadata](https://www.w3.org/TR/fetch-metadata/)). Under which names anything is answered, is decided before
//! ([`service::hosts`]).

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service::Problem;

const SECURITY_HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // Not `no-referrer`: with it a form of the desk's own would send `Origin: null`.
    ("referrer-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// The layer: refuses with 403 what a page of another site asks.
pub(crate) async fn same_site(request: Request, next: Next) -> Response {
    match refusal(&request) {
        None => next.run(request).await,
        Some(why) => Problem::new(StatusCode::FORBIDDEN, why).into_response(),
    }
}

fn refusal(request: &Request) -> Option<&'static str> {
    let headers = request.headers();
    let site = text(headers, HeaderName::from_static("sec-fetch-site"));
    if request.method().is_safe() {
        // Any site may link to a page, but need not load what programs read.
        let foreign = site.is_some_and(|site| site == "cross-site") && !is_page(request.uri().path());
        return foreign.then_some("a page of another site may not read this");
    }
    // HTTP/2 has the host in the request line.
    let host = text(headers, header::HOST).or_else(|| request.uri().authority().map(Authority::as_str));
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let same_origin = text(headers, header::ORIGIN).is_none_or(|origin| {
        let asked = origin.split_once("://").and_then(|(_, asked)| asked.parse::<Authority>().ok());
        asked.is_some() && asked == host
    });
    let same_site = site.is_none_or(|site| site == "same-origin" || site == "none");
    (!same_origin || !same_site).then_some("a page of another site may not change anything here")
}

fn is_page(path: &str) -> bool {
    path == "/" || path == "/login" || ["/claims/", "/settings/"].iter().any(|pages| path.starts_with(pages))
}

/// The layer that tells browsers what the desk's pages may do: load from here, and nothing else
/// ([CSP](https://www.w3.org/TR/CSP3/)).
pub(crate) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    // A header that is there but not readable counts as foreign.
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn only_programs_and_own_pages_may_ask() {
        let own = "http://127.0.0.1:7700";
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, &'a str);
        let table: &[Row<'_>] = &[
            ("GET", &[("host", "127.0.0.1:7700")], true, "a program reads"),
            ("POST", &[("host", "localhost:7700")], true, "a program writes"),
            ("POST", &[("host", "[::1]:7700")], true, "over IPv6"),
            ("POST", &[("host", "desk"), ("origin", "http://desk")], true, "under another name"),
            (
                "POST",
                &[("host", "127.0.0.1:7700"), ("origin", own), ("sec-fetch-site", "same-origin")],
                true,
                "own page",
            ),
            ("POST", &[("origin", own)], false, "no host"),
            ("POST", &[("host", "127.0.0.1:7700"), ("origin", "http://evil.example")], false, "another origin"),
            ("POST", &[("host", "127.0.0.1:7700"), ("origin", "http://127.0.0.1:8000")], false, "another port"),
            ("POST", &[("host", "127.0.0.1:7700"), ("origin", "null")], false, "an opaque origin"),
            ("POST", &[("host", "127.0.0.1:7700"), ("sec-fetch-site", "cross-site")], false, "another site"),
            ("GET", &[("host", "127.0.0.1:7700"), ("sec-fetch-site", "cross-site")], false, "another site, reading"),
            ("DELETE", &[("host", "127.0.0.1:7700"), ("sec-fetch-site", "same-site")], false, "a neighbour"),
        ];
        for (method, headers, allowed, why) in table {
            let mut request = Request::builder().method(*method).uri("/api/lab");
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let refused = refusal(&request.body(Body::empty()).unwrap());
            assert_eq!(refused.is_none(), *allowed, "{why}: {refused:?}");
        }
    }
}
