//! Consumes the claims queue: has each claim checked by fraud-partner and reports the result to java-claims.
//!
//! - [`Config`], [`run`], [`report`]: the worker
//! - [`seams`]: what can be set while it runs
//!
//! A message is delivered at least once; a result that is reported twice counts once. The worker serves only its health.

use std::sync::Arc;
use std::time::Duration;

use chain::Service;
use claims_queue::{Delivery, Queue, SettleError};
use error_reporter::Report;
use opentelemetry::Context;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{FutureExt, Status, TraceContextExt};
use reqwest::Url;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use service::contract::{FraudCheck, FraudFinding, FraudQuestion};
use service::health::{self, MakeReport};
use service::url::{Call, resource};
use service::{ClaimId, claim_id};
use settings::{ConfigError, Environment, Live};
use telemetry::client::{self, Tracing};
use telemetry::messaging::{self, Attributes, Operation};
use tokio::task::JoinSet;

use crate::seams::{AllowedBaggage, MessageContext, Seams};

pub mod seams;

const PROCESS: Operation = Operation { name: "process", kind: "process", system: "insurewatch", destination: "claims" };
/// Another name of the same type, as systems may choose: a batch's span is the parent of its messages' spans.
const PROCESS_BATCH: Operation = Operation { name: "process_batch", ..PROCESS };
/// How long a call of another service may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
const BATCH: usize = 10;
/// Also bounds how long the end waits for a last message.
const WAIT: Duration = Duration::from_secs(1);
/// At most so many messages are in hand.
const MAX_UNDER_WAY: usize = 32;
/// A message that could not be processed comes again after this, and each time [`RETRY_FACTOR`] times as late: with the
/// five attempts of the queue, an outage of half a minute costs no message.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const RETRY_FACTOR: u32 = 4;
const QUEUE_BACKOFF: Duration = Duration::from_secs(1);

/// The services that this one calls.
pub const CALLS: &[Call] = &[FRAUD_PARTNER, CLAIMS];
const FRAUD_PARTNER: Call = Call { variable: "FRAUD_PARTNER_URL", to: Service::FraudPartner };
const CLAIMS: Call = Call { variable: "CLAIMS_URL", to: Service::JavaClaims };

/// What the worker needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    pub queue: Arc<dyn Queue>,
    /// Where the third party answers.
    pub fraud_partner: Url,
    /// Where java-claims answers.
    pub claims: Url,
}

#[derive(Clone, Debug)]
struct Worker {
    config: Config,
    seams: Live<Seams>,
    /// For calls that leave the company.
    outside: ClientWithMiddleware,
    inside: ClientWithMiddleware,
}

/// A message could not be processed.
#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error("the message cannot be read")]
    Message(#[from] serde_json::Error),
    #[error("{whom} did not answer")]
    Call { whom: &'static str, source: reqwest_middleware::Error },
    #[error("{whom} answered {status}")]
    Answer { whom: &'static str, status: u16 },
    #[error("{whom} sent an unreadable answer")]
    Body { whom: &'static str, source: reqwest::Error },
}

/// Tells whether the queue can be written; what waits in it, java-claims tells.
#[must_use]
pub fn report(queue: Arc<dyn Queue>) -> MakeReport {
    Arc::new(move || {
        let queue = queue.clone();
        Box::pin(async move {
            let trouble = health::trouble("the queue", queue.trouble()).await;
            health::Report { backlog: None, troubles: trouble.into_iter().collect() }
        })
    })
}

/// Works until `shutdown` resolves, then finishes what is in hand.
///
/// # Errors
/// The HTTP client cannot be built.
pub async fn run(config: Config, seams: Live<Seams>, shutdown: impl Future<Output = ()>) -> Result<(), reqwest::Error> {
    let http = reqwest::Client::builder().timeout(CALL_TIMEOUT).build()?;
    let outside = seams.clone();
    let limited =
        Tracing::injecting(move |cx, headers| client::inject(&limited(cx, &outside.get().outside_baggage), headers));
    let worker = Worker {
        outside: ClientBuilder::new(http.clone()).with(limited).build(),
        inside: ClientBuilder::new(http).with(Tracing::default()).build(),
        config,
        seams,
    };
    let mut under_way = JoinSet::new();
    let mut ending = false;
    tokio::pin!(shutdown);
    while !ending {
        while under_way.try_join_next().is_some() {}
        if under_way.len() >= MAX_UNDER_WAY {
            under_way.join_next().await;
            continue;
        }
        // Never cancelled half-way: no other receiver would get the messages that it holds before their visibility timeout. And no
        // span: an empty poll is no request.
        let receiving = worker.config.queue.receive(BATCH, WAIT);
        tokio::pin!(receiving);
        let received = tokio::select! {
            received = &mut receiving => received,
            () = &mut shutdown => {
                ending = true;
                receiving.await
            }
        };
        match received {
            Ok(batch) => worker.clone().start(batch, &mut under_way),
            Err(error) => {
                tracing::warn!(error = %Report::new(&error), "the queue did not answer");
                tokio::time::sleep(QUEUE_BACKOFF).await;
            }
        }
    }
    while under_way.join_next().await.is_some() {}
    Ok(())
}

/// The context, with only those members of its baggage that may leave.
fn limited(cx: &Context, allowed: &AllowedBaggage) -> Context {
    match allowed {
        AllowedBaggage::All => cx.clone(),
        AllowedBaggage::Only(keys) => {
            let members = telemetry::baggage::members(cx, |key| keys.iter().any(|allowed| allowed == key));
            cx.with_baggage(members)
        }
    }
}

// === impl Config ===

impl Config {
    /// What the environment says beside the queue.
    ///
    /// # Errors
    /// A value that cannot be used.
    pub fn read(env: &dyn Environment, queue: Arc<dyn Queue>) -> Result<Self, ConfigError> {
        Ok(Self { queue, fraud_partner: FRAUD_PARTNER.url(env)?, claims: CLAIMS.url(env)? })
    }
}

// === impl Worker ===

impl Worker {
    fn start(self, batch: Vec<Delivery>, under_way: &mut JoinSet<()>) {
        match self.seams.get().message_context {
            MessageContext::Extract => {
                for delivery in batch {
                    let parent = messaging::extract(&attributes(&delivery));
                    under_way.spawn(self.clone().handle(delivery, parent));
                }
            }
            MessageContext::Ignore => {
                for delivery in batch {
                    under_way.spawn(self.clone().handle(delivery, Context::new()));
                }
            }
            MessageContext::LinkBatch if batch.is_empty() => {}
            MessageContext::LinkBatch => drop(under_way.spawn(self.handle_batch(batch))),
        }
    }

    /// One span for the batch, linked to every producer; each message's own is its child. Baggage has no place in a
    /// link, so each message keeps that of its sender.
    async fn handle_batch(self, batch: Vec<Delivery>) {
        let senders: Vec<Context> = batch.iter().map(|delivery| messaging::extract(&attributes(delivery))).collect();
        let links = senders.iter().map(|sender| sender.span().span_context().clone()).collect();
        let batch_cx = messaging::consume_batch(PROCESS_BATCH, links, batch.len());
        let mut processing = JoinSet::new();
        for (delivery, sender) in batch.into_iter().zip(senders) {
            let parent = sender.with_remote_span_context(batch_cx.span().span_context().clone());
            let worker = self.clone();
            processing.spawn(async move { (worker.process_traced(&delivery, &parent).await, delivery) });
        }
        let mut settling = JoinSet::new();
        while let Some(processed) = processing.join_next().await {
            // A message whose processing panicked comes again.
            if let Ok((processed, delivery)) = processed {
                settling.spawn(self.clone().settle(delivery, processed));
            }
        }
        batch_cx.span().end();
        while settling.join_next().await.is_some() {}
    }

    async fn handle(self, delivery: Delivery, parent: Context) {
        let processed = self.process_traced(&delivery, &parent).await;
        self.settle(delivery, processed).await;
    }

    async fn process_traced(&self, delivery: &Delivery, parent: &Context) -> Result<(), ProcessError> {
        let cx = messaging::consume(PROCESS, &delivery.message.id, &attributes(delivery), parent);
        let processed = self.process(delivery).with_context(cx.clone()).await;
        if let Err(error) = &processed {
            cx.span().set_status(Status::error(error.to_string()));
        }
        cx.span().end();
        processed
    }

    async fn settle(self, delivery: Delivery, processed: Result<(), ProcessError>) {
        let queue = &self.config.queue;
        let settled = match &processed {
            Ok(()) => queue.ack(&delivery).await,
            Err(error) => {
                tracing::warn!(error = %Report::new(error), attempt = delivery.attempt, "a message could not be processed");
                queue.release(&delivery, retry_after(delivery.attempt)).await
            }
        };
        match settled {
            Ok(()) | Err(SettleError::NotHeld) => {}
            Err(error) => tracing::warn!(error = %Report::new(&error), "a message may be delivered again"),
        }
    }

    async fn process(&self, delivery: &Delivery) -> Result<(), ProcessError> {
        let question: FraudQuestion = serde_json::from_str(&delivery.message.body)?;
        question.claim_id.mark_span();
        let tenant = service::baggage::tenant();
        let finding = self.ask_partner(&question).await?;
        self.report(&question.claim_id, FraudCheck { finding }).await?;
        tracing::info!(claim_id = %question.claim_id, tenant, "claim checked");
        Ok(())
    }

    async fn ask_partner(&self, question: &FraudQuestion) -> Result<FraudFinding, ProcessError> {
        let whom = "fraud-partner";
        let url = resource(&self.config.fraud_partner, &["checks"]);
        let request = self.outside.post(url).header(claim_id::HEADER, &question.claim_id).json(question);
        let response = request.send().await.map_err(|source| ProcessError::Call { whom, source })?;
        if !response.status().is_success() {
            return Err(ProcessError::Answer { whom, status: response.status().as_u16() });
        }
        let check: FraudCheck = response.json().await.map_err(|source| ProcessError::Body { whom, source })?;
        Ok(check.finding)
    }

    async fn report(&self, claim_id: &ClaimId, check: FraudCheck) -> Result<(), ProcessError> {
        let whom = "java-claims";
        let url = resource(&self.config.claims, &["api", "claims", claim_id.as_str(), "fraud-check"]);
        let request = self.inside.put(url).header(claim_id::HEADER, claim_id).json(&check);
        let response = request.send().await.map_err(|source| ProcessError::Call { whom, source })?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(ProcessError::Answer { whom, status: status.as_u16() }),
        }
    }
}

fn retry_after(attempt: u32) -> Duration {
    RETRY_AFTER.saturating_mul(RETRY_FACTOR.saturating_pow(attempt.saturating_sub(1)))
}

fn attributes(delivery: &Delivery) -> Attributes {
    let attributes = &delivery.message.attributes;
    attributes.iter().map(|(name, attribute)| (name.clone(), attribute.string_value.clone())).collect()
}
