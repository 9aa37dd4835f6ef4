//! The services of the chain, as this binary runs them: the settings of each, what it needs, how it starts.
//!
//! Everything else about a service is in its own crate, and in its row of [`chain`].

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use chain::Service;
use claims_queue::Queue;
use futures_util::FutureExt;
use service::health::App;
use service::url::Call;
use settings::{ProcessEnvironment as Env, Schema, Setting};
use telemetry::config::LIVE_SETTINGS;

use crate::process::{Health, Process};

/// What a service needs when it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    pub(crate) calls: &'static [Call],
    /// The name of its database, if it has one.
    pub(crate) database: Option<&'static str>,
    /// Whether it sends to the claims queue or receives from it.
    pub(crate) queue: bool,
}

/// The settings of a service, beside those of its SDK.
pub(crate) const fn settings(service: Service) -> &'static [Setting] {
    match service {
        Service::PythonApi => python_api::seams::SETTINGS,
        Service::Gateway => gateway::seams::SETTINGS,
        Service::JavaClaims => java_claims::seams::SETTINGS,
        Service::ClaimsWorker => claims_worker::seams::SETTINGS,
        Service::NodePolicyStore | Service::FraudPartner => &[],
    }
}

/// The schema of the whole chain.
pub(crate) fn schema() -> Schema {
    Service::ALL.iter().fold(Schema::new(), |schema, service| {
        let schema = schema.with(*service, settings(*service));
        if service.has_sdk() { schema.with(*service, LIVE_SETTINGS) } else { schema }
    })
}

/// What a service needs when it starts.
pub(crate) const fn needs(service: Service) -> Needs {
    match service {
        Service::PythonApi => Needs { calls: python_api::CALLS, database: None, queue: false },
        Service::Gateway => Needs { calls: gateway::CALLS, database: None, queue: false },
        Service::JavaClaims => Needs { calls: java_claims::CALLS, database: Some(java_claims::DATABASE), queue: true },
        Service::NodePolicyStore => Needs { calls: &[], database: Some(node_policy_store::DATABASE), queue: false },
        Service::ClaimsWorker => Needs { calls: claims_worker::CALLS, database: None, queue: true },
        Service::FraudPartner => Needs { calls: &[], database: None, queue: false },
    }
}

/// Runs a service until `shutdown` resolves.
pub(crate) async fn run(
    service: Service,
    listen: SocketAddr,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<ExitCode> {
    match service {
        Service::PythonApi => {
            let (process, seams) = Process::start(service, schema(), python_api::seams::Seams::read)?;
            let app = async || Ok(python_api::app(&python_api::Config::read(&Env)?, seams)?);
            process.serve(listen, shutdown, app).await
        }
        Service::Gateway => {
            let (process, seams) = Process::start(service, schema(), gateway::seams::Seams::read)?;
            let app = async || Ok(gateway::app(&gateway::Config::read(&Env)?, seams));
            process.serve(listen, shutdown, app).await
        }
        Service::JavaClaims => {
            let (process, seams) = Process::start(service, schema(), java_claims::seams::Seams::read)?;
            let app = async || {
                let config = java_claims::Config::read(&Env, queue().await?)?;
                Ok(java_claims::app(&config, seams).await?)
            };
            process.serve(listen, shutdown, app).await
        }
        Service::NodePolicyStore => {
            let (process, _) = Process::start(service, schema(), |_| Ok(()))?;
            let app = async || Ok(node_policy_store::app(&node_policy_store::Config::read(&Env))?);
            process.serve(listen, shutdown, app).await
        }
        Service::ClaimsWorker => {
            let (process, seams) = Process::start(service, schema(), claims_worker::seams::Seams::read)?;
            let shutdown = shutdown.shared();
            let work = async |health: &Health| {
                let config = claims_worker::Config::read(&Env, queue().await?)?;
                let app = App { routes: Router::new(), report: Some(claims_worker::report(config.queue.clone())) };
                let health = health.serve(listen, shutdown.clone(), app);
                let work = async { Ok(claims_worker::run(config, seams, shutdown.clone()).await?) };
                tokio::try_join!(health, work).map(|((), ())| ())
            };
            process.run(work).await
        }
        Service::FraudPartner => {
            let (process, _) = Process::start(service, schema(), |_| Ok(()))?;
            process.serve(listen, shutdown, async || Ok(fraud_partner::app())).await
        }
    }
}

/// The claims queue that `QUEUE_URL` names.
async fn queue() -> anyhow::Result<Arc<dyn Queue>> {
    let url = std::env::var("QUEUE_URL").unwrap_or_else(|_| "sqlite://queue.db".to_owned());
    Ok(claims_queue::connect(&url, "claims", claims_queue::Options::default()).await?)
}

#[cfg(test)]
mod tests {
    use chain::{CarrierKind, Topology};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn services_call_whom_the_chain_says() {
        let calls = Service::ALL.iter().flat_map(|from| needs(*from).calls.iter().map(|call| (*from, call.to)));
        let mut calls: Vec<_> = calls.collect();
        let mut hops = Vec::new();
        for hop in Topology::LAB.hops {
            match (hop.carrier, hop.via) {
                (CarrierKind::Http, None) => hops.push((hop.from, hop.to)),
                (CarrierKind::Http, Some(via)) => hops.extend([(hop.from, via), (via, hop.to)]),
                (CarrierKind::Queue { .. }, _) => {
                    assert!(needs(hop.from).queue && needs(hop.to).queue, "both ends of {hop} must know the queue");
                }
            }
        }
        calls.sort();
        hops.sort();
        assert_eq!(calls, hops, "each call is a hop, and each hop is a call");
    }

    #[test]
    fn compose_tells_each_service_what_it_needs() {
        let compose = include_str!("../../../compose.yaml");
        let url = |to: Service| format!("http://{to}:{}", to.row().port);
        for service in Service::ALL {
            let row = service.row();
            let part = compose.split_once(&format!("\n  {service}:\n"));
            let part = part.unwrap_or_else(|| panic!("{service} is missing")).1.split("\n\n").next().unwrap();
            let mut lines = vec![format!("command: [serve, {service}, --listen, \"0.0.0.0:{}\"]", row.port)];
            lines.extend(needs(*service).calls.iter().map(|call| format!("{}: {}", call.variable, url(call.to))));
            for line in lines {
                assert!(part.contains(&format!("    {line}\n")), "{service} needs `{line}`");
            }
            assert_eq!(part.contains("DATABASE_URL: "), needs(*service).database.is_some(), "{service}: its database");
            assert_eq!(part.contains("QUEUE_URL: "), needs(*service).queue, "{service}: the queue");
            let line = format!("      {}: {}\n", row.url_variable, url(*service));
            assert!(compose.contains(&line), "the desk needs `{line}`");
        }
    }

    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/edited.rs"));

    const FILES: &[&str] = &[
        "generation = 7\nscenario = \"lab-1-b3-vs-w3c\"\n\n[settings.python-api]\nOTEL_PROPAGATORS = \"b3\"\n",
        "generation = 1\n[settings.java-claims]\nOTEL_BSP_MAX_QUEUE_SIZE = \"2048\"\nOTEL_TRACES_SAMPLER = \"always_on\"\n",
        "[settings.gateway]\nOTEL_EXPORTER_OTLP_HEADERS = 'a=b,c=%20'\n[settings.claims-worker]\n",
    ];
    const VALUES: &[&str] = &[
        "",
        "true",
        "0",
        "2048",
        "18446744073709551615",
        "0.5",
        "b3,tracecontext",
        "parentbased_traceidratio",
        "http://127.0.0.1:4318",
        "key=value,other=%C3%A9",
        "always_on",
        "none",
    ];

    proptest! {
        #[test]
        fn fuzz_the_file_of_settings(text in edited(FILES)) {
            if let Err(problem) = settings::Active::parse("active.toml".as_ref(), &text, &schema()) {
                prop_assert!(problem.to_string().contains("active.toml"), "{}", problem);
            }
        }

        #[test]
        fn fuzz_values_of_settings(
            service in prop::sample::select(Service::ALL.to_vec()),
            setting in any::<prop::sample::Index>(),
            value in edited(VALUES),
        ) {
            let schema = schema();
            let settings = schema.settings(service).collect::<Vec<_>>();
            if !settings.is_empty() {
                let key = setting.get(&settings).key;
                if let Err(error) = schema.check(service.name(), key, &value) {
                    prop_assert!(error.to_string().contains(key), "{}", error);
                }
            }
        }
    }
}
