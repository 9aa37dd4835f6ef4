//! What can be asked of the desk, by the API and by the pages alike.
//!
//! - `control`: switches settings and waits until every service follows them
//! - `door`: sends claims through the front door, singly or as traffic
//! - `observer`, `log`: looks once at each claim, and remembers the newest
//! - `looker`: gathers the evidence of a claim: its spans, and what the third party remembers
//! - `check`: sends probes and judges their evidence

use std::time::Duration;

use axum::http::StatusCode;
use chain::{Place, Topology};
use evidence::{Collected, Diagnosis, Patience, Reading};
use reqwest::Url;
use scenario::Scenario;
use service::Problem;
use tokio::sync::Mutex;

use crate::api::events::Pulses;
use crate::api::{
    DrillAnswer, DrillRequest, DrillStatus, Hint, Judgement, Lab, LookQuery, ServiceStatus, SetRequest, Status,
};
use crate::drill::judge::{Answer, Grade};
use crate::drill::{Drills, Ending};

pub(crate) mod check;
pub(crate) mod control;
pub(crate) mod door;
pub(crate) mod log;
pub(crate) mod looker;
pub(crate) mod observer;

use control::Control;
use door::Door;
use looker::Looker;
use observer::Observer;

/// Somebody who asks for a trace waits no longer for spans that may never come.
const LOOK_PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(3), settle: Duration::from_millis(300), poll: Duration::from_millis(100) };
/// How far back a claim is searched for, in seconds. Tempo searches through 168 hours at most, and margins are added.
const LOOK_BACK_SECONDS: u64 = 6 * 24 * 3600;
const LONGEST_ID_BYTES: usize = 128;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) control: Control,
    pub(crate) door: Door,
    pub(crate) looker: Looker,
    pub(crate) observer: Observer,
    pub(crate) drills: Drills,
    pub(crate) pulses: Pulses,
    pub(crate) trace_source: Url,
    pub(crate) grafana: Option<Url>,
    pub(crate) lock_reveal: bool,
    /// Held by whoever starts, answers or ends a drill.
    pub(crate) drill_turn: Mutex<()>,
}

// === impl Desk ===

impl Desk {
    pub(crate) async fn lab(&self) -> Lab {
        let services = self.control.services().await;
        let masked = self.drills.is_on();
        Lab {
            front_door: self.door.url().to_string(),
            trace_source: self.trace_source.to_string(),
            services: if masked { services.into_iter().map(ServiceStatus::masked).collect() } else { services },
            traffic: self.door.traffic(),
        }
    }

    pub(crate) async fn status(&self) -> Result<Status, Problem> {
        self.control.status().await.map(|status| self.mask(status))
    }

    pub(crate) async fn set(&self, request: &SetRequest) -> Result<Status, Problem> {
        self.control.set(request).await.map(|status| self.mask(status))
    }

    /// Who switches gives up the drill that is on.
    pub(crate) async fn use_scenario(&self, id: &str) -> Result<Status, Problem> {
        let _turn = self.drill_turn.lock().await;
        let status = self.control.use_scenario(id).await?;
        self.end_drill(Ending::Abandoned)?;
        Ok(status)
    }

    pub(crate) async fn hint(&self) -> Result<Hint, Problem> {
        let Some(hidden) = self.drills.hidden() else {
            return Ok(self.control.next_hint(self.control.current().await?).await);
        };
        let scenario = self.control.find(&hidden.scenario)?;
        let number = usize::try_from(hidden.drill.hints).unwrap_or(usize::MAX).saturating_add(1);
        if number >= scenario.hints.len() {
            return Err(conflict("the last hint is all but the answer: in a drill, reveal it or diagnose instead"));
        }
        self.drills.count_hint()?;
        self.pulses.beat(|pulse| pulse.drill += 1);
        Ok(Hint::of(scenario, number))
    }

    pub(crate) async fn reveal(&self) -> Result<Scenario, Problem> {
        self.unlocked()?;
        let _turn = self.drill_turn.lock().await;
        if let Some(id) = self.end_drill(Ending::Revealed)? {
            self.control.name_scenario(&id).await?;
        }
        self.control.current().await.cloned()
    }

    pub(crate) async fn diagnose_claim(&self, id: &str, query: LookQuery) -> Result<Diagnosis, Problem> {
        let collected = self.find(id, query).await?;
        let diagnosis = Reading::new(Topology::LAB, &collected).conclude().diagnosis();
        self.diagnosed().await?;
        Ok(diagnosis)
    }

    pub(crate) async fn diagnose_probe(&self) -> Result<Diagnosis, Problem> {
        let diagnosis = check::diagnose(self).await?;
        self.diagnosed().await?;
        Ok(diagnosis)
    }

    pub(crate) async fn start_drill(&self, request: &DrillRequest) -> Result<DrillStatus, Problem> {
        let _turn = self.drill_turn.lock().await;
        if self.drills.is_on() {
            return Err(conflict("a drill is on already"));
        }
        let id = self.drills.choose(request.scenarios.as_deref())?;
        // Hidden before it is set, so that nobody can see it in between.
        self.drills.start(id.clone())?;
        if let Err(problem) = self.control.use_hidden(&id).await {
            self.drills.undo_start()?;
            return Err(problem);
        }
        self.pulses.beat(|pulse| pulse.drill += 1);
        Ok(self.drills.status())
    }

    pub(crate) async fn answer_drill(&self, answer: &DrillAnswer) -> Result<Judgement, Problem> {
        let place: Place = answer.place.parse().map_err(|unknown: chain::UnknownPlace| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, unknown.to_string())
        })?;
        let _turn = self.drill_turn.lock().await;
        let hidden = self.drills.hidden().ok_or_else(|| conflict("no drill is on"))?;
        let scenario = self.control.find(&hidden.scenario)?;
        let cause = scenario.fault.as_ref().map(|fault| &fault.cause);
        let cause = cause.ok_or_else(|| conflict("this scenario has no cause that could be found"))?;
        let said = Answer::new(place, answer.step);
        let (right, evidence) = if said.is(cause) {
            (true, vec![cause.text.clone()])
        } else {
            match said.grade(cause, &check::diagnose(self).await?) {
                Grade::SameEvidence(sentence) => {
                    let same = "No evidence can tell this from the cause that was set, so it counts.".to_owned();
                    (true, vec![sentence, same, cause.text.clone()])
                }
                Grade::Against(sentences) => (false, sentences),
            }
        };
        if right {
            let id = self.end_drill(Ending::Solved)?;
            self.control.name_scenario(&id.unwrap_or_default()).await?;
        } else {
            self.drills.count_wrong_answer()?;
            self.pulses.beat(|pulse| pulse.drill += 1);
        }
        Ok(Judgement { right, evidence, drill: self.drills.status() })
    }

    /// The evidence of a claim, named by its id, by the id of one of its traces, or as the last that was sent.
    pub(crate) async fn find(&self, id: &str, query: LookQuery) -> Result<Collected, Problem> {
        let unknown = |what: &str| Problem::new(StatusCode::NOT_FOUND, what.to_owned());
        // Claim ids travel in headers; what cannot, is none, and is no question for the trace store.
        if id.len() > LONGEST_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unknown("this is no claim id and no trace id"));
        }
        let log = self.observer.log();
        let sent = match id {
            "last" => Some(log.last().ok_or_else(|| unknown("no claim was sent through this desk yet"))?),
            id => log.sent(id),
        };
        let claim_id = match (&sent, id.parse()) {
            (Some(sent), _) => sent.claim_id.clone().unwrap_or_default(),
            (None, Ok(trace_id)) => match self.looker.claim_of(trace_id).await? {
                Ok(claim_id) => claim_id,
                // A read: one trace that belongs to no submission.
                Err(trace) => return Ok(trace),
            },
            (None, Err(_)) => id.to_owned(),
        };
        let patience = Patience { deadline: query.wait().unwrap_or(LOOK_PATIENCE.deadline), ..LOOK_PATIENCE };
        let since = crate::unix_seconds().saturating_sub(LOOK_BACK_SECONDS);
        let collected = self.looker.collect(&claim_id, since, &patience).await;
        if collected.source_down {
            tracing::warn!(errors = ?collected.source_errors, "the trace store could not be asked");
            return Err(Problem::unavailable("the trace store"));
        }
        if collected.evidence.fragments.is_empty() {
            return Err(unknown("no span of such a claim or trace has arrived"));
        }
        let collected = collected.with_traceresponse(sent.and_then(|sent| sent.traceresponse));
        self.observer.note(&claim_id, &collected);
        Ok(collected)
    }

    pub(crate) fn unlocked(&self) -> Result<(), Problem> {
        if self.lock_reveal {
            return Err(Problem::new(StatusCode::FORBIDDEN, "the answers are locked"));
        }
        Ok(())
    }

    pub(crate) fn outside_drill(&self) -> Result<(), Problem> {
        if self.drills.is_on() { Err(conflict("a drill is on: its answer has to be found")) } else { Ok(()) }
    }

    fn mask(&self, status: Status) -> Status {
        if self.drills.is_on() { status.masked() } else { status }
    }

    async fn diagnosed(&self) -> Result<(), Problem> {
        let _turn = self.drill_turn.lock().await;
        if let Some(id) = self.end_drill(Ending::Diagnosed)? {
            self.control.name_scenario(&id).await?;
        }
        Ok(())
    }

    fn end_drill(&self, ending: Ending) -> Result<Option<String>, Problem> {
        let ended = self.drills.end(ending)?;
        if ended.is_some() {
            self.pulses.beat(|pulse| pulse.drill += 1);
        }
        Ok(ended)
    }
}

fn conflict(detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}
