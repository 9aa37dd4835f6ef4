//! The bearer token that a desk requires if other machines can reach it.
//!
//! Programs send `Authorization: Bearer …` ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)); browsers
//! cannot, so the login page turns the token into a cookie that scripts cannot read and other sites cannot send.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use service::Problem;
use tokio::time::Instant;

use crate::guard::limits::{Guesses, sender, too_many};

const COOKIE: &str = "insurewatch_desk";
/// So many tokens of a request are compared: a program shows one, and a browser may have one of another desk besides.
const MOST_SHOWN: usize = 4;
pub(super) const LOGIN: &str = "/login";
/// The paths that need no token: health, and the login.
pub(super) const OPEN: [&str; 3] = ["/healthz", LOGIN, "/assets/desk.css"];

/// A secret that must be shown; `Debug` does not show it.
#[derive(Clone)]
pub struct Token(String);

/// The desk must not start like this.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} can be reached from other machines: set INSUREWATCH_DESK_TOKEN, or, if it is published on loopback only, \
     INSUREWATCH_PUBLISHED_ON_LOOPBACK=1"
)]
pub struct Exposed(SocketAddr);

// === impl Token ===

impl Token {
    /// A token; `None` if it is blank.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        Some(secret.trim()).filter(|secret| !secret.is_empty()).map(|secret| Self(secret.to_owned()))
    }

    /// In a time that does not depend on where the two differ.
    fn is(&self, shown: &[u8]) -> bool {
        let differs = self.0.bytes().zip(shown).fold(0, |differs, (ours, theirs)| differs | (ours ^ theirs));
        differs == 0 && self.0.len() == shown.len()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// A desk that listens beyond loopback wants a token, unless its container is published on loopback only.
///
/// # Errors
/// [`Exposed`] if it has none.
pub fn check_exposure(listen: SocketAddr, token: Option<&Token>, published_on_loopback: bool) -> Result<(), Exposed> {
    let safe = listen.ip().to_canonical().is_loopback() || token.is_some() || published_on_loopback;
    if safe { Ok(()) } else { Err(Exposed(listen)) }
}

/// The layer: answers 401 to requests without the token, or with the login page where a page was requested, and 429 to
/// every request from an address that has sent too many wrong tokens.
pub(crate) async fn demand(
    State((token, guesses)): State<(Option<Arc<Token>>, Arc<Guesses>)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(token) = token else { return next.run(request).await };
    let path = request.uri().path();
    if OPEN.contains(&path) {
        return next.run(request).await;
    }
    if shown(request.headers()).next().is_some() {
        let (from, now) = (sender(&request), Instant::now());
        if !guesses.may(from, now) {
            return too_many("too many wrong tokens from this address, try again");
        }
        let right = shown(request.headers()).take(MOST_SHOWN).any(|shown| token.is(&shown));
        guesses.note(from, right, now);
        if right {
            return next.run(request).await;
        }
    }
    if request.method().is_safe()
        && (path == "/" || ["/claims/", "/settings/"].iter().any(|pages| path.starts_with(pages)))
    {
        return Redirect::to(LOGIN).into_response();
    }
    let mut refused = Problem::new(StatusCode::UNAUTHORIZED, "the desk requires its bearer token").into_response();
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refused
}

/// `POST /login`: turns the token into a cookie, or asks again.
pub(crate) async fn log_in(token: Option<Arc<Token>>, body: Bytes, again: impl IntoResponse) -> Response {
    let field = url::form_urlencoded::parse(&body).find(|(name, _)| name == "token");
    let shown = field.map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    if token.is_some_and(|token| !token.is(shown.as_bytes())) {
        return (StatusCode::UNAUTHORIZED, again).into_response();
    }
    let mut response = Redirect::to("/").into_response();
    // A token may have characters that a cookie may not (https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1).
    let value = utf8_percent_encode(&shown, NON_ALPHANUMERIC);
    if let Ok(cookie) = HeaderValue::from_str(&format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict")) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// As bytes: programs send a token as it is.
fn shown(headers: &HeaderMap) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let bearer = headers.get_all(header::AUTHORIZATION).into_iter().filter_map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(b"bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii().into())
    });
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let cookies = cookies.flat_map(|value| value.split(';')).filter_map(|cookie| {
        let value = cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')?;
        Some(percent_decode(value.as_bytes()).into())
    });
    bearer.chain(cookies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_desk_out_of_reach_starts_without_a_token() {
        let token = Token::new("secret");
        for (listen, token, published, starts, why) in [
            ("127.0.0.1:7700", None, false, true, "loopback"),
            ("[::1]:7700", None, false, true, "loopback over IPv6"),
            ("[::ffff:127.0.0.1]:7700", None, false, true, "loopback, written as IPv6"),
            ("0.0.0.0:7700", None, false, false, "every interface"),
            ("192.0.2.7:7700", None, false, false, "a network"),
            ("0.0.0.0:7700", token.as_ref(), false, true, "a token"),
            ("0.0.0.0:7700", None, true, true, "a container that is published on loopback"),
        ] {
            assert_eq!(check_exposure(listen.parse().unwrap(), token, published).is_ok(), starts, "{why}");
        }
    }

    #[test]
    fn the_token_must_be_the_same() {
        let token = Token::new(" secret ").unwrap();
        for (shown, same) in [("secret", true), ("secre", false), ("secret2", false), ("", false), ("Secret", false)] {
            assert_eq!(token.is(shown.as_bytes()), same, "{shown}");
        }
        assert!(Token::new("  ").is_none(), "blank is no secret");
    }
}
