//! Asks node-policy-store.

use std::time::Duration;

use axum::http::StatusCode;
use error_reporter::Report;
use reqwest::Url;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use service::contract::Policy;
use service::problem::FieldError;
use service::url::resource;
use service::{ClaimId, Problem, claim_id};
use telemetry::client::Tracing;

use crate::hand_built;
use crate::seams::PolicyClient;

#[derive(Clone, Debug)]
pub(crate) struct Policies {
    clients: Clients,
    base: Url,
}

/// All on one pool of connections.
#[derive(Clone, Debug)]
struct Clients {
    traced: ClientWithMiddleware,
    hand_built: ClientWithMiddleware,
    plain: ClientWithMiddleware,
}

// === impl Policies ===

impl Policies {
    pub(crate) fn new(base: Url, timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(timeout).build()?;
        let build = || ClientBuilder::new(client.clone());
        let clients = Clients {
            traced: build().with(Tracing::default()).build(),
            hand_built: build().with(Tracing::injecting(hand_built::inject)).build(),
            plain: build().build(),
        };
        Ok(Self { clients, base })
    }

    fn client(&self, chosen: PolicyClient) -> &ClientWithMiddleware {
        match chosen {
            PolicyClient::Traced => &self.clients.traced,
            PolicyClient::HandBuilt => &self.clients.hand_built,
            PolicyClient::Plain => &self.clients.plain,
        }
    }

    pub(crate) async fn look_up(
        &self,
        chosen: PolicyClient,
        claim_id: &ClaimId,
        policy_id: &str,
    ) -> Result<Policy, Problem> {
        let unavailable = |cause: &dyn std::error::Error| {
            tracing::warn!(cause = %Report::new(cause), "the policy store did not answer");
            Problem::unavailable("the policy store")
        };
        let url = resource(&self.base, &["policies", policy_id]);
        let request = self.client(chosen).get(url).header(claim_id::HEADER, claim_id);
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
