//! One service: what it is built from, read from the environment.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use chain::Service;
use claims_queue::Queue;
use futures_util::FutureExt;
use reqwest::Url;
use scenario::{Active, Catalogue, Scenario};
use telemetry::Telemetry;
use telemetry::config::ProcessEnvironment;

use crate::cli::{Serve, ServeName};
use crate::process::{Process, bind, shutdown_asked, variable};
use crate::schema::schema;

/// What the built-in trace store holds at most, in bytes.
const TRACE_STORE_BYTES: usize = 64 << 20;

/// Runs one service until it is told to end.
pub(crate) async fn serve(options: Serve) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown_asked(options.supervised)?;
    let name = options.service;
    let listen = options.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, name.port())));
    match name {
        ServeName::PythonApi => {
            let seams = python_api::seams::Seams::default();
            let followed = seams.clone();
            let process = Process::start(Service::PythonApi, move |env| followed.apply(&env))?;
            let work = async |process: &Process| {
                let config = python_api::Config { claims: url("CLAIMS_URL", ServeName::Gateway)? };
                process.serve(listen, python_api::app(&config, seams)?, shutdown).await
            };
            process.finish(work).await?;
        }
        ServeName::Gateway => {
            let seams = gateway::seams::Seams::default();
            let followed = seams.clone();
            let process = Process::start(Service::Gateway, move |env| followed.apply(&env))?;
            let config = gateway::Config { upstream: url("UPSTREAM_URL", ServeName::JavaClaims)?.to_string() };
            process.serve(listen, gateway::app(&config, seams), shutdown).await?;
        }
        ServeName::JavaClaims => {
            let seams = java_claims::seams::Seams::default();
            let followed = seams.clone();
            let process = Process::start(Service::JavaClaims, move |env| followed.apply(&env))?;
            let work = async |process: &Process| {
                let config = java_claims::Config {
                    database_url: database_url("claims"),
                    policy_store: url("POLICY_STORE_URL", ServeName::NodePolicyStore)?,
                    queue: queue().await?,
                };
                process.serve(listen, java_claims::app(&config, seams).await?, shutdown).await
            };
            process.finish(work).await?;
        }
        ServeName::NodePolicyStore => {
            let process = Process::start(Service::NodePolicyStore, |_| Ok(()))?;
            let work = async |process: &Process| {
                let config = node_policy_store::Config { database_url: database_url("policies") };
                process.serve(listen, node_policy_store::app(&config).await?, shutdown).await
            };
            process.finish(work).await?;
        }
        ServeName::ClaimsWorker => {
            let seams = claims_worker::seams::Seams::default();
            let followed = seams.clone();
            let process = Process::start(Service::ClaimsWorker, move |env| followed.apply(&env))?;
            let shutdown = shutdown.shared();
            let work = async |process: &Process| {
                let config = claims_worker::Config {
                    queue: queue().await?,
                    fraud_partner: url("FRAUD_PARTNER_URL", ServeName::FraudPartner)?,
                    claims: url("CLAIMS_URL", ServeName::JavaClaims)?,
                };
                let health = process.serve(listen, Router::new(), shutdown.clone());
                let work = async { Ok(claims_worker::run(config, seams, shutdown.clone()).await?) };
                tokio::try_join!(health, work).map(|((), ())| ())
            };
            process.finish(work).await?;
        }
        ServeName::FraudPartner => {
            let process = Process::start(Service::FraudPartner, |_| Ok(()))?;
            process.serve(listen, fraud_partner::app(), shutdown).await?;
        }
        ServeName::TraceContextEcho => {
            let telemetry = Telemetry::init(&ProcessEnvironment)?;
            service::serve::run(bind(listen).await?, crate::echo::app()?, shutdown).await?;
            telemetry.shutdown().await;
        }
        ServeName::Desk => {
            telemetry::logs::init(name.name(), None).context("logs cannot be set up")?;
            let config = desk_config()?;
            let published = std::env::var("INSUREWATCH_PUBLISHED_ON_LOOPBACK").is_ok_and(|value| value == "1");
            desk::guard::token::check_exposure(listen, config.token.as_ref(), published)?;
            service::serve::run(bind(listen).await?, desk::app(config)?, shutdown).await?;
        }
        ServeName::TraceStore => {
            telemetry::logs::init(name.name(), None).context("logs cannot be set up")?;
            let listeners = trace_store::Listeners {
                grpc: bind(options.otlp_grpc).await?,
                http: bind(options.otlp_http).await?,
                query: bind(listen).await?,
            };
            let bytes = variable("INSUREWATCH_TRACE_STORE_MAX_BYTES", "a number of bytes")?;
            let store = trace_store::Store::new(bytes.unwrap_or(TRACE_STORE_BYTES));
            trace_store::run(listeners, store, shutdown).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The lessons: those that were built in, or an author's.
pub(crate) fn catalogue() -> anyhow::Result<Catalogue> {
    Ok(match std::env::var_os("INSUREWATCH_SCENARIOS_DIR") {
        Some(folder) => Catalogue::from_dir(folder.as_ref(), &schema())?,
        None => Catalogue::embedded(&schema())?,
    })
}

fn desk_config() -> anyhow::Result<desk::Config> {
    let services = Service::ALL.iter().map(|service| {
        let name = ServeName::of(*service);
        Ok((*service, url(name.url_variable(), name)?))
    });
    let list = |name: &str| -> Vec<String> {
        let list = std::env::var(name).unwrap_or_default();
        list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let active = std::env::var_os("INSUREWATCH_SETTINGS").map_or_else(|| "active.toml".into(), PathBuf::from);
    let catalogue = catalogue()?;
    if let Some(id) = variable::<String>("INSUREWATCH_SCENARIO", "the id of a scenario")? {
        begin(&active, catalogue.get(&id)?)?;
    }
    Ok(desk::Config {
        services: services.collect::<anyhow::Result<_>>()?,
        trace_source: url("TEMPO_URL", ServeName::TraceStore)?,
        active,
        catalogue,
        schema: Arc::new(schema()),
        allowed_hosts: list("INSUREWATCH_ALLOWED_HOSTS"),
        token: std::env::var("INSUREWATCH_DESK_TOKEN").ok().and_then(|token| desk::guard::token::Token::new(&token)),
        drills: list("INSUREWATCH_DRILLS"),
        grafana: variable("INSUREWATCH_GRAFANA_URL", "an http:// URL")?,
        lock_reveal: variable("INSUREWATCH_LOCK_REVEAL", "true or false")?.unwrap_or(false),
        traffic_per_second: variable("INSUREWATCH_TRAFFIC_PER_SECOND", "a number")?.unwrap_or(0.0),
    })
}

/// Writes the settings that a lab begins with; whoever follows the file already sees a new generation.
pub(crate) fn begin(path: &Path, scenario: &Scenario) -> anyhow::Result<()> {
    let active = Active {
        generation: Active::generation_in(path).unwrap_or_default().saturating_add(1),
        scenario: Some(scenario.id.clone()),
        settings: scenario.settings.clone(),
    };
    Ok(active.write(path)?)
}

/// A variable that names another service's URL; by default it is on this machine, at its usual port.
fn url(name: &str, default: ServeName) -> anyhow::Result<Url> {
    let usual = || Ok(format!("http://127.0.0.1:{}", default.port()).parse()?);
    variable(name, "an http:// URL")?.map_or_else(usual, Ok)
}

fn database_url(name: &str) -> String {
    std::env::var("DATABASE_URL").unwrap_or_else(|_| format!("sqlite://{name}.db"))
}

/// The claims queue that `QUEUE_URL` names.
async fn queue() -> anyhow::Result<Arc<dyn Queue>> {
    let url = std::env::var("QUEUE_URL").unwrap_or_else(|_| "sqlite:queue.db".to_owned());
    Ok(claims_queue::connect(&url, "claims", claims_queue::Options::default()).await?)
}

// === impl ServeName ===

impl ServeName {
    /// The process of a service of the chain.
    pub(crate) fn of(service: Service) -> Self {
        match service {
            Service::PythonApi => Self::PythonApi,
            Service::Gateway => Self::Gateway,
            Service::JavaClaims => Self::JavaClaims,
            Service::NodePolicyStore => Self::NodePolicyStore,
            Service::ClaimsWorker => Self::ClaimsWorker,
            Service::FraudPartner => Self::FraudPartner,
        }
    }

    /// As it is written on the command line, and as `service.name`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PythonApi => Service::PythonApi.name(),
            Self::Gateway => Service::Gateway.name(),
            Self::JavaClaims => Service::JavaClaims.name(),
            Self::NodePolicyStore => Service::NodePolicyStore.name(),
            Self::ClaimsWorker => Service::ClaimsWorker.name(),
            Self::FraudPartner => Service::FraudPartner.name(),
            Self::TraceStore => "trace-store",
            Self::Desk => "desk",
            Self::TraceContextEcho => "trace-context-echo",
        }
    }

    /// The variable in which the desk is told where it answers.
    pub(crate) fn url_variable(self) -> &'static str {
        match self {
            Self::PythonApi => "PYTHON_API_URL",
            Self::Gateway => "GATEWAY_URL",
            Self::JavaClaims => "JAVA_CLAIMS_URL",
            Self::NodePolicyStore => "NODE_POLICY_STORE_URL",
            Self::ClaimsWorker => "CLAIMS_WORKER_URL",
            Self::FraudPartner => "FRAUD_PARTNER_URL",
            Self::TraceStore => "TEMPO_URL",
            Self::Desk => "DESK_URL",
            Self::TraceContextEcho => "TRACE_CONTEXT_ECHO_URL",
        }
    }

    /// The usual port.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Desk => 7700,
            Self::PythonApi => 7701,
            Self::Gateway => 7702,
            Self::JavaClaims => 7703,
            Self::NodePolicyStore => 7704,
            Self::ClaimsWorker => 7705,
            Self::FraudPartner => 7706,
            Self::TraceStore => 3200,
            Self::TraceContextEcho => 7780,
        }
    }
}
