//! Asks node-policy-store.

use axum::http::StatusCode;
use reqwest::Url;
use reqwest_middleware::ClientWithMiddleware;
use service::contract::Policy;
use service::problem::{Chain, FieldError};
use service::{ClaimId, Problem, claim_id};

#[derive(Clone, Debug)]
pub(crate) struct Policies {
    client: ClientWithMiddleware,
    base: Url,
}

// === impl Policies ===

impl Policies {
    pub(crate) fn new(client: ClientWithMiddleware, base: Url) -> Self {
        Self { client, base }
    }

    #[tracing::instrument(name = "look_up_policy", skip_all)]
    pub(crate) async fn look_up(&self, claim_id: &ClaimId, policy_id: &str) -> Result<Policy, Problem> {
        let unavailable = |cause: &dyn std::error::Error| {
            tracing::warn!(cause = %Chain(cause), "the policy store did not answer");
            Problem::unavailable("the policy store")
        };
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["policies", policy_id]);
        }
        let request = self.client.get(url).header(claim_id::HEADER, claim_id);
        let response = request.send().await.map_err(|error| unavailable(&error))?;
        match response.status() {
            StatusCode::OK => response.json().await.map_err(|error| unavailable(&error)),
            StatusCode::NOT_FOUND => Err(Problem::invalid(vec![FieldError {
                field: "policy_id".to_owned(),
                detail: "there is no such policy".to_owned(),
            }])),
            status => {
                tracing::warn!(status = status.as_u16(), "the policy store could not answer");
                Err(Problem::unavailable("the policy store"))
            }
        }
    }
}
