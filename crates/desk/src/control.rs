//! Switches settings, and waits until every service follows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use chain::Service;
use error_reporter::Report;
use futures_util::future::join_all;
use reqwest::{Client, Url};
use scenario::{Active, Catalogue, Scenario, Schema, Settings};
use service::Problem;
use service::health::Health;
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
    /// When a scenario was switched to last, in milliseconds since the Unix epoch.
    switched_unix_ms: AtomicU64,
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
        // Nobody switches between the start of the lab and that of its desk.
        let switched =
            std::fs::metadata(&active).and_then(|it| it.modified()).ok().map_or_else(crate::unix_millis, millis);
        Self {
            client,
            services,
            catalogue,
            schema,
            active: Mutex::new(active),
            hints: Mutex::default(),
            switched_unix_ms: AtomicU64::new(switched),
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn switched_unix_ms(&self) -> u64 {
        self.switched_unix_ms.load(Relaxed)
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
        self.switch(scenario, Some(scenario.id.clone())).await
    }

    /// Sets what a scenario sets, but names none.
    pub(crate) async fn use_hidden(&self, id: &str) -> Result<Status, Problem> {
        self.switch(self.find(id)?, None).await
    }

    /// Says which scenario holds, and changes nothing else.
    pub(crate) async fn name_scenario(&self, id: &str) -> Result<Status, Problem> {
        self.change(|active| active.scenario = Some(id.to_owned())).await
    }

    async fn switch(&self, scenario: &Scenario, name: Option<String>) -> Result<Status, Problem> {
        let path = self.active.lock().await;
        // The old settings are not needed, so a file that was spoilt by hand is mended by this.
        let generation = match Active::generation_in(&path) {
            Some(generation) => generation,
            None => self.services().await.iter().filter_map(|service| service.generation).max().unwrap_or_default(),
        };
        let active = Active { generation, scenario: name, settings: scenario.settings.clone() };
        let status = self.publish(&path, active).await?;
        self.switched_unix_ms.store(crate::unix_millis(), Relaxed);
        Ok(status)
    }

    pub(crate) async fn set(&self, request: &SetRequest) -> Result<Status, Problem> {
        let SetRequest { service, key, value } = request;
        let refused = |error: &dyn std::error::Error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        self.schema.check(service, key, value).map_err(|refusal| refused(&refusal))?;
        let service: Service = service.parse().map_err(|unknown: chain::UnknownService| refused(&unknown))?;
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

    /// The next hint for a scenario; the last one again when all were given.
    pub(crate) async fn next_hint(&self, scenario: &Scenario) -> Hint {
        let mut given = self.hints.lock().await;
        if given.0 != scenario.id {
            *given = (scenario.id.clone(), 0);
        }
        given.1 = (given.1 + 1).min(scenario.hints.len());
        Hint::of(scenario, given.1)
    }

    pub(crate) async fn services(&self) -> Vec<ServiceStatus> {
        join_all(self.services.iter().map(|(service, url)| self.health(*service, url))).await
    }

    async fn change(&self, edit: impl FnOnce(&mut Active)) -> Result<Status, Problem> {
        let path = self.active.lock().await;
        let mut active = self.load(&path)?;
        edit(&mut active);
        self.publish(&path, active).await
    }

    /// Writes a new generation and waits until it is followed. What follows is told, not assumed.
    async fn publish(&self, path: &Path, mut active: Active) -> Result<Status, Problem> {
        active.generation = active.generation.saturating_add(1);
        active.write(path).map_err(|error| Problem::internal(&error))?;
        let deadline = Instant::now() + SETTLE_DEADLINE;
        loop {
            let status = self.seen(active.clone()).await;
            if status.settled || Instant::now() >= deadline {
                return Ok(status);
            }
            sleep(SETTLE_POLL).await;
        }
    }

    fn load(&self, path: &Path) -> Result<Active, Problem> {
        Active::load(path, &self.schema).map_err(|error| {
            // The learner may have edited the file; what is wrong with it is theirs to know.
            tracing::warn!(error = %Report::new(&error), "the active settings cannot be read");
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
            masked: false,
            services,
        }
    }

    async fn health(&self, service: Service, url: &Url) -> ServiceStatus {
        let ask = async {
            let url = url.join("healthz").ok()?;
            self.client.get(url).send().await.ok()?.json::<Health>().await.ok()
        };
        // Whoever else listens on that port is not this service.
        let health = ask.await.filter(|health| health.service == service.name());
        ServiceStatus {
            service: service.name().to_owned(),
            url: url.to_string(),
            generation: health.as_ref().map(|health| health.following.generation),
            refused: health.as_ref().and_then(|health| health.following.refused.clone()),
            spans: health.and_then(|health| health.spans),
        }
    }
}

fn millis(time: std::time::SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
