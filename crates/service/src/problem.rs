//! Errors as `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)), without internals.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use error_reporter::Report;
use serde::{Deserialize, Serialize};

/// What a caller sees of an error. The cause is logged once, where it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub status: u16,
    pub title: String,
    /// What is wrong with this request.
    pub detail: String,
    /// The fields at fault, if the body is at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    pub field: String,
    /// What is wrong, and what is allowed.
    pub detail: String,
}

// === impl Problem ===

impl Problem {
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// A problem with a status and a sentence.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { status: status.as_u16(), title, detail: detail.into(), errors: Vec::new() }
    }

    /// A body that can be read but not accepted.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "the request has fields that cannot be accepted") }
    }

    /// Another service that is needed cannot be reached or did not answer.
    #[must_use]
    pub fn unavailable(whom: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{whom} is not available, try again"))
    }

    /// An internal error; logs the cause, which the caller does not see.
    #[must_use]
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(cause = %Report::new(cause), "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be processed")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Self::MEDIA_TYPE));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl std::error::Error for Problem {}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.title, self.detail)?;
        self.errors.iter().try_for_each(|error| write!(f, "; {}: {}", error.field, error.detail))
    }
}
