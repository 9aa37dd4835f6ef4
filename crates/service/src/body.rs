//! JSON request bodies.

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::Problem;

/// A JSON body; a bad one is answered with a problem that says what and where.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

// === impl Body ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(problem(&rejection)),
        }
    }
}

fn problem(rejection: &JsonRejection) -> Problem {
    let text = rejection.body_text();
    let detail = match rejection {
        // What comes before the colon speaks of types, what comes after it of the body.
        JsonRejection::JsonDataError(_) | JsonRejection::JsonSyntaxError(_) => {
            text.split_once(": ").map_or(text.as_str(), |(_, what)| what)
        }
        _ => &text,
    };
    Problem::new(rejection.status(), detail)
}
