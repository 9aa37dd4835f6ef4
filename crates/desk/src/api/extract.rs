//! Paths and queries, whose errors are problems as everywhere else.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use service::Problem;

/// The parameters of a path.
#[derive(Debug)]
pub(crate) struct InPath<T>(pub(crate) T);

/// The parameters of a query.
#[derive(Debug)]
pub(crate) struct InQuery<T>(pub(crate) T);

// === impl InPath ===

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = Path::from_request_parts(parts, state).await;
        found.map(|Path(value)| Self(value)).map_err(|error| Problem::new(error.status(), error.body_text()))
    }
}

// === impl InQuery ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let found = Query::from_request_parts(parts, state).await;
        found.map(|Query(value)| Self(value)).map_err(|error| Problem::new(error.status(), error.body_text()))
    }
}
