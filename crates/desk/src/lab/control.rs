//! Switches settings, and waits until all services have applied them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use chain::Service;
use error_reporter::Report;
use futures_util::future::join_all;
use reqwest::{Client, Url};
use scenario::{Catalogue, Group, Scenario};
use service::Problem;
use service::health::{self, Health};
use settings::{Active, Schema, Settings};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::HealthAt;
use crate::api::{Hint, ScenarioBrief, ServiceStatus, ServiceValues, SetRequest, Status};
use crate::drill::Spoiler;
use crate::guard::backends::Backends;
use crate::lab::check::Wanted;

/// How long services may take to apply a change before it is reported that one has not.
const SETTLE_DEADLINE: Duration = Duration::from_secs(5);
/// The same while a service is being started for it: an application server takes its time. Shorter than a client of the desk
/// waits.
const START_DEADLINE: Duration = Duration::from_secs(50);
const SETTLE_POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Control {
    client: Client,
    services: Vec<Watched>,
    catalogue: Catalogue,
    schema: Arc<Schema>,
    backends: Backends,
    /// The file of active settings; one change at a time.
    active: Mutex<PathBuf>,
    /// How many hints were given, and of which scenario.
    hints: Mutex<(String, usize)>,
}

/// A service of the chain, and where it is asked what it has applied.
#[derive(Debug)]
pub(crate) struct Watched {
    service: Service,
    url: Url,
    seat: Option<HealthAt>,
}

// === impl Watched ===

impl Watched {
    pub(crate) fn of(services: Vec<(Service, Url)>, seats: &[(Service, HealthAt)]) -> Vec<Self> {
        let seat = |service| seats.iter().find(|(name, _)| *name == service).map(|(_, at)| at.clone());
        services.into_iter().map(|(service, url)| Self { service, url, seat: seat(service) }).collect()
    }
}

// === impl Control ===

impl Control {
    pub(crate) fn new(
        client: Client,
        services: Vec<Watched>,
        active: PathBuf,
        catalogue: Catalogue,
        schema: Arc<Schema>,
        backends: Backends,
    ) -> Self {
        Self { client, services, catalogue, schema, backends, active: Mutex::new(active), hints: Mutex::default() }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Whether a scenario needs a service of the lab's own where somebody else's is in the seat: one that follows its settings,
    /// or shows what it is about.
    pub(crate) fn needs_ours(&self, scenario: &Scenario) -> bool {
        let seat = |service| self.services.iter().find(|it| it.service == service).and_then(|it| it.seat.as_ref());
        let follows = |(service, key, _)| seat(service).is_none_or(|seat| seat.follows(key));
        // The lab's own front door puts baggage into its requests.
        let without_baggage = scenario.group == Group::Baggage && seat(Service::PythonApi).is_some();
        without_baggage || !scenario.settings.iter().all(follows)
    }

    pub(crate) fn briefs(&self) -> impl Iterator<Item = ScenarioBrief> {
        self.catalogue.iter().map(|scenario| self.brief_of(scenario))
    }

    pub(crate) fn brief(&self, id: &str) -> Result<ScenarioBrief, Problem> {
        self.get(id).map(|scenario| self.brief_of(scenario))
    }

    fn brief_of(&self, scenario: &Scenario) -> ScenarioBrief {
        ScenarioBrief { needs_ours: self.needs_ours(scenario), ..scenario.into() }
    }

    pub(crate) fn find(&self, id: &str) -> Result<Spoiler<&Scenario>, Problem> {
        self.get(id).map(Spoiler::new)
    }

    /// The scenario that a drill hides.
    pub(crate) fn hidden(&self, id: Spoiler<String>) -> Result<Spoiler<&Scenario>, Problem> {
        id.map(|id| self.get(&id)).transpose()
    }

    /// What a scenario wants to see when it is healed; none if there is no such scenario.
    pub(crate) fn wanted(&self, id: &str) -> Spoiler<Option<Wanted>> {
        let wanted = |scenario: &Scenario| Wanted {
            healed: self.catalogue.healed(scenario).clone(),
            is_control: scenario.is_control(),
        };
        Spoiler::new(self.catalogue.get(id).ok().map(wanted))
    }

    pub(crate) async fn status(&self) -> Result<Spoiler<Status>, Problem> {
        let path = self.active.lock().await;
        let active = self.load(&path)?;
        drop(path);
        Ok(Spoiler::new(self.seen(active).await))
    }

    pub(crate) async fn use_scenario(&self, id: &str) -> Result<Spoiler<Status>, Problem> {
        let scenario = self.get(id)?;
        self.switch(scenario, Some(scenario.id.clone())).await
    }

    /// Sets what a scenario sets, but names none.
    pub(crate) async fn use_hidden(&self, id: &str) -> Result<Spoiler<Status>, Problem> {
        self.switch(self.get(id)?, None).await
    }

    /// Says which scenario is active, and changes nothing else.
    pub(crate) async fn name_scenario(&self, id: &str) -> Result<Spoiler<Status>, Problem> {
        self.change(|active| active.scenario = Some(id.to_owned())).await
    }

    async fn switch(&self, scenario: &Scenario, name: Option<String>) -> Result<Spoiler<Status>, Problem> {
        let path = self.active.lock().await;
        // The old settings are not needed, so a file that was spoilt by hand is repaired by this.
        let generation = match Active::generation_in(&path) {
            Some(generation) => generation,
            None => self
                .healths(&Active::default())
                .await
                .iter()
                .filter_map(|service| service.generation)
                .max()
                .unwrap_or_default(),
        };
        let active = Active { generation, scenario: name, settings: scenario.settings.clone() };
        self.publish(&path, active).await
    }

    pub(crate) async fn set(&self, request: &SetRequest) -> Result<Spoiler<Status>, Problem> {
        let SetRequest { service, key, value } = request;
        let values = BTreeMap::from([(key.clone(), Some(value.clone()))]);
        self.set_all(&ServiceValues { service: service.clone(), values }).await
    }

    /// Changes settings of one service, all or none.
    pub(crate) async fn set_all(&self, request: &ServiceValues) -> Result<Spoiler<Status>, Problem> {
        let refused = |error: &dyn std::error::Error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        for (key, value) in &request.values {
            let Some(value) = value else { continue };
            self.schema.check(&request.service, key, value).map_err(|refusal| refused(&refusal))?;
            self.backends.check(key, value)?;
        }
        let service: Service = request.service.parse().map_err(|unknown: chain::UnknownService| refused(&unknown))?;
        let change = |active: &mut Active| {
            for (key, value) in &request.values {
                match value {
                    Some(value) => active.settings.set(service, key, value),
                    None => active.settings.unset(service, key),
                }
            }
        };
        self.change(change).await
    }

    /// Whether nothing is set.
    pub(crate) async fn is_healthy(&self) -> bool {
        let path = self.active.lock().await;
        self.load(&path).is_ok_and(|active| active.settings == Settings::default())
    }

    /// Whether settings differ from those that a scenario has.
    pub(crate) async fn is_changed(&self, id: &str) -> Result<bool, Problem> {
        let path = self.active.lock().await;
        Ok(self.load(&path)?.settings != self.get(id)?.settings)
    }

    /// The active scenario.
    pub(crate) async fn current(&self) -> Result<Spoiler<&Scenario>, Problem> {
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

    pub(crate) async fn services(&self) -> Spoiler<Vec<ServiceStatus>> {
        let path = self.active.lock().await.clone();
        let active = self.load(&path).unwrap_or_default();
        Spoiler::new(self.healths(&active).await)
    }

    /// The services that do not answer; one that is being started is not among them.
    pub(crate) async fn silent_services(&self) -> Vec<Service> {
        let healths = self.healths(&Active::default()).await;
        let silent = healths.iter().zip(&self.services).filter(|(it, _)| it.generation.is_none() && !it.starting);
        silent.map(|(_, watched)| watched.service).collect()
    }

    fn get(&self, id: &str) -> Result<&Scenario, Problem> {
        self.catalogue.get(id).map_err(|error| Problem::new(StatusCode::NOT_FOUND, error.to_string()))
    }

    async fn healths(&self, active: &Active) -> Vec<ServiceStatus> {
        join_all(self.services.iter().map(|watched| self.health(watched, active))).await
    }

    async fn change(&self, edit: impl FnOnce(&mut Active)) -> Result<Spoiler<Status>, Problem> {
        let path = self.active.lock().await;
        let mut active = self.load(&path)?;
        edit(&mut active);
        self.publish(&path, active).await
    }

    /// Writes a new generation and waits until it is applied; which services have is asked, not assumed.
    async fn publish(&self, path: &Path, mut active: Active) -> Result<Spoiler<Status>, Problem> {
        active.generation = active.generation.saturating_add(1);
        active.write(path).map_err(|error| Problem::internal(&error))?;
        let began = Instant::now();
        loop {
            let status = self.seen(active.clone()).await;
            let starting = status.services.iter().any(|service| service.starting);
            let deadline = if starting { START_DEADLINE } else { SETTLE_DEADLINE };
            // What cannot be applied is not waited for.
            if status.services.iter().all(|it| it.follows(active.generation)) || began.elapsed() >= deadline {
                return Ok(Spoiler::new(status));
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
        let services = self.healths(&active).await;
        let applied = |it: &ServiceStatus| it.follows(active.generation) && it.not_applied.is_empty();
        Status {
            generation: active.generation,
            settled: services.iter().all(applied),
            scenario: active.scenario,
            settings: active.settings,
            masked: false,
            services,
        }
    }

    async fn health(&self, watched: &Watched, active: &Active) -> ServiceStatus {
        let Watched { service, url, seat } = watched;
        let unknown =
            ServiceStatus { service: service.name().to_owned(), url: url.to_string(), ..ServiceStatus::default() };
        let asked = match seat {
            Some(HealthAt::Plainly(url)) => {
                let status = health::ask_plainly(&self.client, url.clone()).await;
                return ServiceStatus {
                    generation: status.map(|_| active.generation),
                    refused: status.filter(|it| *it != StatusCode::OK).map(|it| format!("{} answers {it}", url.path())),
                    not_applied: active.for_service(*service).keys().cloned().collect(),
                    ..unknown
                };
            }
            Some(HealthAt::Keeper(keeper)) => keeper,
            None => url,
        };
        let ask = async {
            let url = asked.join("healthz").ok()?;
            self.client.get(url).send().await.ok()?.json::<Health>().await.ok()
        };
        // Anything else that listens on that port is not this service.
        let Some(health) = ask.await.filter(|health| health.service == service.name()) else { return unknown };
        let health::Seat { answers, starting, not_applied } =
            health.seat.unwrap_or(health::Seat { answers: true, ..health::Seat::default() });
        ServiceStatus {
            generation: answers.then_some(health.following.generation),
            refused: health.following.refused,
            spans: health.spans,
            environment: health.environment,
            starting,
            not_applied,
            ..unknown
        }
    }
}
