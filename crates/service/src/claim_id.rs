//! The application key that joins a claim's traces.
//!
//! Application code sets it on every call and in every message, never through context, baggage or instrumentation, so
//! it survives whatever happens to the trace headers, as request ids do in real systems.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::{SpanRef, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Problem;

/// The header that carries the key.
pub const HEADER: &str = "x-claim-id";
/// The span attribute that carries the key.
pub use chain::vocabulary::CLAIM_ID as ATTRIBUTE;

/// A claim's id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimId(String);

/// Makes the ids of new claims. With an idempotency key the id is always the same for the same key, so that a caller who
/// sends a claim again does not make two; without the secret it cannot be computed from the key.
#[derive(Clone)]
pub struct Mint {
    secret: Uuid,
}

// === impl Mint ===

impl Mint {
    /// With a new secret that is not saved: keys are known until the process ends.
    #[must_use]
    pub fn forgetful() -> Self {
        Self { secret: Uuid::new_v4() }
    }

    /// With the secret that a file keeps, a UUID; the file is made if there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds something else.
    pub fn kept_in(path: &Path) -> std::io::Result<Self> {
        let read = || {
            let text = std::fs::read_to_string(path)?;
            text.trim().parse().map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
        };
        let secret = match read() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Whole or not at all, and only for this user's eyes.
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let mut draft = tempfile::NamedTempFile::new_in(folder)?;
                draft.write_all(Uuid::new_v4().to_string().as_bytes())?;
                draft.as_file().sync_all()?;
                match draft.persist_noclobber(path) {
                    Err(error) if error.error.kind() != ErrorKind::AlreadyExists => return Err(error.error),
                    _ => read()?,
                }
            }
            read => read?,
        };
        Ok(Self { secret })
    }

    /// An id for a new claim.
    #[must_use]
    pub fn id(&self, idempotency_key: Option<&[u8]>) -> ClaimId {
        // Hashed twice, as HMAC does: a hash alone could be continued by anyone who knows the id of a beginning.
        let keyed = |key| Uuid::new_v5(&self.secret, Uuid::new_v5(&self.secret, key).as_bytes());
        let uuid = idempotency_key.map_or_else(Uuid::new_v4, keyed);
        ClaimId(format!("CLM-{}", uuid.simple()))
    }
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint").finish_non_exhaustive()
    }
}

// === impl ClaimId ===

impl ClaimId {
    /// The id as in headers, bodies and attributes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Records the key on the active span.
    pub fn mark_span(&self) {
        self.mark(&Context::current().span());
    }

    /// Records the key on a span.
    pub fn mark(&self, span: &SpanRef<'_>) {
        span.set_attribute(KeyValue::new(ATTRIBUTE, self.0.clone()));
    }

    /// The id that a caller within the chain sent; an answer of 400 if there is none or it is not one.
    ///
    /// # Errors
    /// A missing or malformed header.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = headers.get(HEADER).and_then(|value| value.to_str().ok());
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, format!("header {HEADER} must carry a claim id")))
    }
}

/// The text is no claim id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a claim id is CLM- and 32 lower-case hex digits")]
pub struct NotAClaimId;

impl std::str::FromStr for ClaimId {
    type Err = NotAClaimId;

    fn from_str(text: &str) -> Result<Self, NotAClaimId> {
        let digits = text.strip_prefix("CLM-").ok_or(NotAClaimId)?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (digits.len() == 32 && digits.bytes().all(hex)).then(|| Self(text.to_owned())).ok_or(NotAClaimId)
    }
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&ClaimId> for HeaderValue {
    fn from(id: &ClaimId) -> Self {
        // Hex digits and a dash are always a header value.
        Self::from_str(&id.0).unwrap_or_else(|_| Self::from_static(""))
    }
}

/// A layer inside the server layer: a request that belongs to a submission carries its key, and so does its SERVER span.
pub async fn mark(request: Request, next: Next) -> Response {
    if let Ok(id) = ClaimId::of(request.headers()) {
        id.mark_span();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_makes_the_same_id_for_all_who_have_the_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claim-id.key");
        let (mint, restarted, other) =
            (Mint::kept_in(&path).unwrap(), Mint::kept_in(&path).unwrap(), Mint::forgetful());
        assert_eq!(mint.id(Some(b"a")), restarted.id(Some(b"a")), "the file keeps the secret");
        assert_ne!(mint.id(Some(b"a")), mint.id(Some(b"b")), "another key is another claim");
        assert_ne!(mint.id(None), mint.id(None), "without a key every claim is new");
        assert_ne!(mint.id(Some(b"a")), other.id(Some(b"a")), "without the secret the key tells nothing");
        let guess = format!("CLM-{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, b"a").simple());
        assert_ne!(mint.id(Some(b"a")).as_str(), guess, "no well-known namespace is used");
        std::fs::write(&path, "no uuid").unwrap();
        assert_eq!(Mint::kept_in(&path).unwrap_err().kind(), ErrorKind::InvalidData, "a damaged file is not replaced");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "no uuid", "anyone who has a copy can fix it");
    }

    #[test]
    fn only_ids_are_read_as_ids() {
        let minted = Mint::forgetful().id(None);
        assert_eq!(minted.as_str().parse(), Ok(minted.clone()));
        for text in
            ["", "CLM-", "CLM-xyz", "clm-0af7651916cd43dd8448eb211c80319c", "CLM-0AF7651916CD43DD8448EB211C80319C"]
        {
            assert_eq!(text.parse::<ClaimId>(), Err(NotAClaimId), "{text:?}");
        }
    }
}
