//! Serves policies from SQLite: the stand-in for an Express service.
//!
//! `GET /policies/{id}` reads the seeded catalogue. The service calls no other service.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use chain::RouteSyntax;
use database::rusqlite::types::Type;
use database::rusqlite::{self, Connection, OptionalExtension, Row};
use jiff::civil::Date;
use service::Problem;
use service::contract::Policy;
use service::url::database_url;
use settings::Environment;
use telemetry::db::{Statement, sqlite};
use telemetry::server::Server;

/// The name of its database.
pub const DATABASE: &str = "policies";

/// What the service needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DATABASE_URL`, such as `sqlite:///var/lib/policies.db`.
    pub database_url: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the policy catalogue at {url} cannot be opened")]
pub struct StartError {
    url: String,
    source: database::OpenError,
}

/// Read on the request's own thread, as by the SQLite module of Node.
type Catalogue = Arc<Mutex<Connection>>;

/// The service, its catalogue seeded.
///
/// # Errors
/// The database cannot be opened or seeded.
pub fn app(config: &Config) -> Result<Router, StartError> {
    let opened = database::connect(&config.database_url, include_str!("catalogue.sql"));
    let opened = opened.map_err(|source| StartError { url: config.database_url.clone(), source })?;
    let catalogue: Catalogue = Arc::new(Mutex::new(opened));
    let routes = Router::new().route("/policies/{id}", get(policy)).with_state(catalogue);
    Ok(service::serve::instrumented(routes, Server::new(RouteSyntax::Express)))
}

async fn policy(State(catalogue): State<Catalogue>, Path(policy_id): Path<String>) -> Result<Json<Policy>, Problem> {
    let tenant = service::baggage::tenant();
    tracing::debug!(tenant, policy_id, "policy requested");
    let catalogue = catalogue.lock().unwrap_or_else(PoisonError::into_inner);
    match find_policy(&catalogue, &policy_id) {
        Ok(Some(policy)) => Ok(Json(policy)),
        Ok(None) => Err(Problem::new(StatusCode::NOT_FOUND, "there is no such policy")),
        Err(error) => Err(Problem::internal(&error)),
    }
}

fn find_policy(db: &Connection, policy_id: &str) -> rusqlite::Result<Option<Policy>> {
    const TEXT: &str = "SELECT * FROM policies WHERE policy_id = ?";
    let statement = Statement { namespace: "policies", operation: "SELECT", collection: "policies", text: TEXT };
    sqlite(statement, || db.prepare_cached(TEXT)?.query_row([policy_id], read).optional())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Policy> {
    let day = |column: &str| -> rusqlite::Result<Date> {
        let index = row.as_ref().column_index(column)?;
        let wrong = |error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error));
        row.get::<_, String>(index)?.parse().map_err(wrong)
    };
    Ok(Policy {
        policy_id: row.get("policy_id")?,
        holder: row.get("holder")?,
        product: row.get("product")?,
        valid_from: day("valid_from")?,
        valid_until: day("valid_until")?,
        limit_cents: row.get("limit_cents")?,
        deductible_cents: row.get("deductible_cents")?,
    })
}

// === impl Config ===

impl Config {
    /// What the environment says.
    #[must_use]
    pub fn read(env: &dyn Environment) -> Self {
        Self { database_url: database_url(env, DATABASE) }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get(path: &str) -> (StatusCode, serde_json::Value) {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { database_url: format!("sqlite://{}", folder.path().join("policies.db").display()) };
        // Twice, as after a restart: seeding again must change nothing.
        drop(app(&config).unwrap());
        let app = app(&config).unwrap();
        let response = app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn answers_with_a_policy_of_the_catalogue() {
        let (status, policy) = get("/policies/POL-1003").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(policy["holder"], "Alan Turing");
        assert_eq!(policy["valid_from"], "2022-03-15");
        assert_eq!(policy["limit_cents"], 200_000);
    }

    #[tokio::test]
    async fn an_unknown_policy_is_a_problem() {
        for path in ["/policies/POL-9", "/policies/%27%3B%20DROP%20TABLE%20policies", "/other"] {
            let (status, problem) = get(path).await;
            assert_eq!((status, &problem["status"]), (StatusCode::NOT_FOUND, &serde_json::json!(404)), "{path}");
        }
    }
}
