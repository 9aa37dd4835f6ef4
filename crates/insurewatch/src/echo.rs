//! An endpoint for the conformance tests of [w3c/trace-context](https://github.com/w3c/trace-context/tree/main/test):
//! a request names the URLs to call, and it calls them through the same server layer and client that the services use.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use chain::RouteSyntax;
use reqwest_middleware::ClientWithMiddleware;
use serde::Deserialize;
use service::Problem;
use telemetry::server::Server;

/// What the tests ask for.
#[derive(Debug, Deserialize)]
struct Call {
    url: String,
    arguments: serde_json::Value,
}

/// The endpoint: `POST /test`.
pub(crate) fn app() -> Result<Router, reqwest::Error> {
    let client = telemetry::client::traced(Duration::from_secs(5))?;
    let routes = Router::new().route("/test", post(call_each)).with_state(client);
    Ok(service::serve::instrumented(routes, Server::new(RouteSyntax::Flask)))
}

async fn call_each(State(client): State<ClientWithMiddleware>, Json(calls): Json<Vec<Call>>) -> Result<(), Problem> {
    for call in calls {
        let answer = client.post(call.url).json(&call.arguments).send().await;
        answer.map_err(|error| Problem::new(StatusCode::BAD_GATEWAY, error.to_string()))?;
    }
    Ok(())
}
