//! Sends claims through the front door, singly or as traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use error_reporter::Report;
use reqwest::{Client, Url};
use serde_json::json;
use service::url::resource;
use service::{Problem, claim_id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::events::Changes;
use crate::api::{ClaimEvent, ClaimsRequest, SentClaim, Traffic};
use crate::lab::observer::Observer;

/// How long an answer may take; longer than the services wait for each other.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// At most so many claims are in flight at once, for all who ask; the rate suffers before the lab does.
const MAX_UNDER_WAY: usize = 256;
/// The time between two claims of the slowest traffic; rates close to 0 would ask for more than a clock can hold.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// A handle; all clones share counters, rate, and the task that sends the traffic, which ends with the runtime.
#[derive(Clone, Debug)]
pub(crate) struct FrontDoor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    /// One permit for each claim in flight.
    free: Arc<Semaphore>,
    front_door: Url,
    claims: Url,
    number: AtomicU64,
    observer: Observer,
    changes: Changes,
    rate: watch::Sender<f64>,
    accepted: AtomicU64,
    failed: AtomicU64,
}

/// The headers of a caller that has a context.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub(crate) traceparent: Option<String>,
    pub(crate) baggage: Option<String>,
}

// === impl FrontDoor ===

impl FrontDoor {
    /// Must be called within a Tokio runtime, which carries the traffic. It goes on counting claims where an earlier desk ended.
    pub(crate) fn new(
        front_door: &Url,
        observer: Observer,
        changes: Changes,
        [accepted, failed]: [u64; 2],
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build()?;
        let (rate, rates) = watch::channel(0.0);
        let door = Self(Arc::new(Inner {
            client,
            free: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
            front_door: front_door.clone(),
            claims: resource(front_door, &["claims"]),
            number: AtomicU64::default(),
            observer,
            changes,
            rate,
            accepted: accepted.into(),
            failed: failed.into(),
        }));
        tokio::spawn(door.clone().drive(rates));
        Ok(door)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0.front_door
    }

    pub(crate) fn set_traffic(&self, per_second: f64) {
        self.0.rate.send_replace(per_second);
        let traffic = self.traffic();
        self.0.changes.notify(|pulse| pulse.traffic = traffic);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let Inner { rate, accepted, failed, .. } = &*self.0;
        Traffic { per_second: *rate.borrow(), accepted: accepted.load(Relaxed), failed: failed.load(Relaxed) }
    }

    /// Sends the requested number of claims; stops when the client has disconnected.
    pub(crate) async fn send(&self, request: &ClaimsRequest, events: &mpsc::Sender<ClaimEvent>) {
        let caller = Caller { traceparent: request.traceparent.clone(), baggage: request.baggage.clone() };
        let mut ticks = request.per_second.map(ticks);
        let (mut accepted, mut failed) = (0, 0);
        let mut under_way = JoinSet::new();
        let mut left = request.count;
        let mut due = false;
        while left > 0 || !under_way.is_empty() {
            // Without a rate each claim waits for the one before it.
            let may_follow = ticks.is_some() || under_way.is_empty();
            let tick = async {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
            };
            tokio::select! {
                () = tick, if left > 0 && !due && may_follow => due = true,
                free = self.free(), if due => {
                    (due, left) = (false, left - 1);
                    let (door, caller) = (self.clone(), caller.clone());
                    under_way.spawn(async move {
                        let _free = free;
                        door.submit(&caller).await
                    });
                }
                Some(Ok(sent)) = under_way.join_next() => {
                    if sent.accepted() { accepted += 1 } else { failed += 1 }
                    if events.send(ClaimEvent::Claim(sent)).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = events.send(ClaimEvent::Done { accepted, failed }).await;
    }

    async fn free(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0.free).acquire_owned().await.ok()
    }

    /// Sends one claim, which the observer then looks at.
    pub(crate) async fn submit(&self, caller: &Caller) -> SentClaim {
        let began = Instant::now();
        let mut sent = self.post(caller).await;
        sent.duration_ms = began.elapsed().as_secs_f64() * 1000.0;
        let count = if sent.accepted() { &self.0.accepted } else { &self.0.failed };
        count.fetch_add(1, Relaxed);
        if sent.claim_id.is_some() {
            self.0.observer.sent(&sent);
        }
        let traffic = self.traffic();
        self.0.changes.notify(|pulse| pulse.traffic = traffic);
        sent
    }

    /// Sends one claim that nobody looks at and the counters do not count.
    pub(crate) async fn submit_unseen(&self) -> SentClaim {
        self.post(&Caller::default()).await
    }

    async fn post(&self, caller: &Caller) -> SentClaim {
        let mut request = self.0.client.post(self.0.claims.clone()).json(&self.next_claim());
        for (name, value) in [("traceparent", &caller.traceparent), ("baggage", &caller.baggage)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return SentClaim { error: Some(Report::new(&error).to_string()), ..SentClaim::default() },
        };
        let status = response.status();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let traceresponse = header("traceresponse");
        let mut sent = SentClaim {
            claim_id: header(claim_id::HEADER),
            status: Some(status.as_u16()),
            trace_id: traceresponse.as_deref().and_then(|value| value.split('-').nth(1)).map(str::to_owned),
            traceresponse,
            ..SentClaim::default()
        };
        if !sent.accepted() {
            let problem = response.json::<Problem>().await;
            sent.error = Some(problem.map_or_else(|_| status.to_string(), |problem| problem.to_string()));
        } else if sent.claim_id.is_none() {
            // A front door of somebody else may say it in the body alone.
            let claim = response.json::<serde_json::Value>().await.unwrap_or_default();
            sent.claim_id = claim.get("claim_id").and_then(|id| id.as_str()).map(str::to_owned);
        }
        sent
    }

    fn next_claim(&self) -> serde_json::Value {
        let number = self.0.number.fetch_add(1, Relaxed);
        let people = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Radia Perlman"];
        let accidents = ["hail on the roof", "a burst pipe", "a scratched door", "a stolen wheel", "coffee, mostly"];
        let pick = |list: &[&str]| {
            let index = usize::try_from(number).unwrap_or_default() % list.len().max(1);
            list.get(index).copied().unwrap_or_default().to_owned()
        };
        json!({
            "policy_id": format!("POL-{}", 1001 + number % 10),
            "claimant": pick(&people),
            "incident_date": "2025-06-15",
            "amount_cents": 120_000 + (number % 50) * 1_000,
            "description": pick(&accidents),
        })
    }

    /// Sends traffic at the rate that was set last.
    async fn drive(self, mut rate: watch::Receiver<f64>) {
        let mut under_way = JoinSet::new();
        loop {
            let per_second = *rate.borrow_and_update();
            let mut ticks = (per_second > 0.0).then(|| ticks(per_second));
            let mut due = false;
            loop {
                let tick = async {
                    match &mut ticks {
                        Some(ticks) => drop(ticks.tick().await),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = rate.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    Some(_) = under_way.join_next() => {}
                    () = tick, if !due => due = true,
                    free = self.free(), if due => {
                        due = false;
                        let door = self.clone();
                        under_way.spawn(async move {
                            let _free = free;
                            door.submit(&Caller::default()).await
                        });
                    }
                }
            }
        }
    }
}

fn ticks(per_second: f64) -> tokio::time::Interval {
    let pause = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
    let mut ticks = interval(pause);
    // A late tick is made up for, so that the rate holds on average.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_rate_is_too_low_or_too_high() {
        for (per_second, pause) in
            [(f64::MIN_POSITIVE, LONGEST_PAUSE), (0.5, Duration::from_secs(2)), (1000.0, Duration::from_millis(1))]
        {
            assert_eq!(ticks(per_second).period(), pause, "{per_second} per second");
        }
    }
}
