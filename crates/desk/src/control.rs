//! Switches settings, and waits until every service follows them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use reqwest::{Client, Url};
use scenario::{Active, Catalogue, Scenario, Schema, Service, Settings};
use service::Problem;
use service::health::Health;
use service::problem::Chain;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::api::{Hint, ServiceStatus, SetRequest, Status};

/// How long services may take to follow a change before somebody is told that one does not.
const SETTLE_DEADLINE: Duration = Duration::from_secs(5);
const SETTLE_POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Control {
    client: Client,
    services: Vec<(Service, Url)>,
    catalogue: Catalogue,
    schema: Arc<Schema>,
    /// The file of active settings; one change at a time.
    active: Mutex<PathBuf>,
    /// How many hints were given, and of which scenario.
    hints: Mutex<(String, usize)>,
}

// === impl Control ===

impl Control {
    pub(crate) fn new(
        client: Client,
        services: Vec<(Service, Url)>,
        active: PathBuf,
        catalogue: Catalogue,
        schema: Arc<Schema>,
    ) -> Self {
        Self { client, services, catalogue, schema, active: Mutex::new(active), hints: Mutex::default() }
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub(crate) fn find(&self, id: &str) -> Result<&Scenario, Problem> {
        self.catalogue.get(id).map_err(|error| Problem::new(StatusCode::NOT_FOUND, error.to_string()))
    }

    pub(crate) async fn status(&self) -> Result<Status, Problem> {
        let path = self.active.lock().await;
        let active = self.load(&path)?;
        drop(path);
        Ok(self.seen(active).await)
    }

    pub(crate) async fn use_scenario(&self, id: &str) -> Result<Status, Problem> {
        let scenario = self.find(id)?;
        self.change(|active| {
            active.scenario = Some(scenario.id.clone());
            active.settings = scenario.settings.clone();
        })
        .await
    }

    pub(crate) async fn set(&self, request: &SetRequest) -> Result<Status, Problem> {
        let SetRequest { service, key, value } = request;
        let refused = |error: &dyn std::error::Error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        self.schema.check(service, key, value).map_err(|refusal| refused(&refusal))?;
        let service: Service = service.parse().map_err(|unknown: scenario::UnknownService| refused(&unknown))?;
        let mut change = Settings::default();
        change.set(service, key, value);
        self.change(|active| active.settings.merge(&change)).await
    }

    /// The scenario that holds.
    pub(crate) async fn current(&self) -> Result<&Scenario, Problem> {
        let path = self.active.lock().await;
        let active = self.load(&path)?;
        self.find(active.scenario.as_deref().unwrap_or(crate::api::HEALTHY))
    }

    /// The next hint for the scenario that holds; the last one again when all were given.
    pub(crate) async fn next_hint(&self) -> Result<Hint, Problem> {
        let scenario = self.current().await?;
        let mut given = self.hints.lock().await;
        if given.0 != scenario.id {
            *given = (scenario.id.clone(), 0);
        }
        given.1 = (given.1 + 1).min(scenario.hints.len());
        let hint = given.1.checked_sub(1).and_then(|last| scenario.hints.get(last)).cloned();
        let text =
            hint.unwrap_or_else(|| "Nothing is broken on purpose here, so there is nothing to hint at.".to_owned());
        Ok(Hint { number: given.1, of: scenario.hints.len(), text })
    }

    pub(crate) async fn services(&self) -> Vec<ServiceStatus> {
        join_all(self.services.iter().map(|(service, url)| self.health(*service, url))).await
    }

    /// Writes a new generation and waits until it is followed. What follows is told, not assumed.
    async fn change(&self, edit: impl FnOnce(&mut Active)) -> Result<Status, Problem> {
        let path = self.active.lock().await;
        let mut active = self.load(&path)?;
        edit(&mut active);
        active.generation += 1;
        active.write(&path).map_err(|error| Problem::internal(&error))?;
        let deadline = Instant::now() + SETTLE_DEADLINE;
        loop {
            let status = self.seen(active.clone()).await;
            if status.settled || Instant::now() >= deadline {
                return Ok(status);
            }
            sleep(SETTLE_POLL).await;
        }
    }

    fn load(&self, path: &std::path::Path) -> Result<Active, Problem> {
        Active::load(path, &self.schema).map_err(|error| {
            // The learner may have edited the file; what is wrong with it is theirs to know.
            tracing::warn!(error = %Chain(&error), "the active settings cannot be read");
            Problem::new(StatusCode::CONFLICT, format!("the active settings cannot be read: {error}"))
        })
    }

    async fn seen(&self, active: Active) -> Status {
        let services = self.services().await;
        let follows = |status: &ServiceStatus| {
            status.refused.is_none() && status.generation.is_some_and(|generation| generation >= active.generation)
        };
        Status {
            generation: active.generation,
            settled: services.iter().all(follows),
            scenario: active.scenario,
            settings: active.settings,
            services,
        }
    }

    async fn health(&self, service: Service, url: &Url) -> ServiceStatus {
        let ask = async {
            let url = url.join("healthz").ok()?;
            self.client.get(url).send().await.ok()?.json::<Health>().await.ok()
        };
        let health = ask.await;
        ServiceStatus {
            service: service.name().to_owned(),
            url: url.to_string(),
            generation: health.as_ref().map(|health| health.following.generation),
            refused: health.as_ref().and_then(|health| health.following.refused.clone()),
            spans: health.and_then(|health| health.spans),
        }
    }
}
