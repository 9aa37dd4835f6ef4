//! What goes in and out of the desk, as JSON.

use std::time::Duration;

use axum::http::StatusCode;
use evidence::{Collected, HopRow, Verdict};
use scenario::{Group, Scenario, Settings};
use serde::{Deserialize, Serialize};
use service::Problem;

/// The scenario in which nothing is set.
pub const HEALTHY: &str = "healthy";
/// The most claims per second that can be asked for.
pub const MAX_PER_SECOND: f64 = 1000.0;

/// `GET /api/lab`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lab {
    /// Where claims go in.
    pub front_door: String,
    /// Where traces are read.
    pub trace_source: String,
    /// Every service of the chain.
    pub services: Vec<ServiceStatus>,
    /// What is sent continuously.
    pub traffic: Traffic,
}

/// A service as its `/healthz` tells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub service: String,
    /// Where it answers.
    pub url: String,
    /// The generation of settings that it follows; absent if it does not answer.
    pub generation: Option<u64>,
    /// Why it refuses newer settings, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What became of its spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spans: Option<serde_json::Value>,
}

/// `GET /api/scenarios` and `GET /api/scenarios/{id}`: a lesson without its answer, which settings and hints are too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioBrief {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The chapter that it belongs to.
    pub group: Group,
    /// What it teaches.
    pub topic: String,
    /// What is noticed.
    pub symptom: String,
    /// What to look at.
    pub look: Vec<String>,
}

/// `GET /api/settings`, and the answer to every change of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The newest generation.
    pub generation: u64,
    /// The scenario that was chosen last, if any.
    pub scenario: Option<String>,
    /// What is set beyond each service's environment.
    pub settings: Settings,
    /// Whether every service follows the newest generation.
    pub settled: bool,
    /// Every service.
    pub services: Vec<ServiceStatus>,
}

/// `POST /api/settings/use`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseRequest {
    /// The scenario.
    pub id: String,
}

/// `POST /api/settings/set`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Whose setting.
    pub service: String,
    /// Which setting.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// `POST /api/claims`; answered by lines of [`ClaimEvent`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimsRequest {
    /// How many.
    #[serde(default = "one")]
    pub count: u64,
    /// How many per second; absent: one after the other.
    #[serde(default)]
    pub per_second: Option<f64>,
    /// A caller's `traceparent` header.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// A caller's `baggage` header.
    #[serde(default)]
    pub baggage: Option<String>,
}

/// A line of the answer to `POST /api/claims`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimEvent {
    /// A claim was answered.
    Claim(SentClaim),
    /// All were answered.
    Done {
        /// How many were accepted.
        accepted: u64,
        /// How many were not.
        failed: u64,
    },
}

/// A claim that was sent, and its answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SentClaim {
    /// Its id; absent if no answer told it.
    pub claim_id: Option<String>,
    /// The answer's status; absent if there was no answer.
    pub status: Option<u16>,
    /// The trace that the front door made of it, by the answer's `traceresponse` header.
    pub trace_id: Option<String>,
    /// That header.
    pub traceresponse: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long the answer took, in milliseconds.
    pub duration_ms: f64,
}

/// `GET /api/claims/{claim id, trace id, or last}?wait_ms=`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct LookQuery {
    wait_ms: Option<u64>,
}

/// What is known of a claim.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClaimReport {
    /// Its traces.
    #[serde(flatten)]
    pub collected: Collected,
    /// What each hop sent and received.
    pub ledger: Vec<HopRow>,
}

/// `POST /api/checks`; answered by lines of [`CheckEvent`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// A scenario whose healed expectation must hold too.
    #[serde(default)]
    pub id: Option<String>,
}

/// A line of the answer to `POST /api/checks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckEvent {
    /// What is being done.
    Progress(String),
    /// The end of it.
    Report(Box<CheckReport>),
}

/// What a check found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckReport {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The claims that were sent for it.
    pub probes: Vec<SentClaim>,
    /// After how many milliseconds an unseen span counts as absent.
    pub deadline_ms: u64,
    /// How many milliseconds the evidence was waited for.
    pub waited_ms: u64,
}

/// `POST /api/hint`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hint {
    /// Which hint it is, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// The hint.
    pub text: String,
}

/// `GET /api/traffic`
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Claims per second; 0 for none.
    pub per_second: f64,
    /// Claims accepted since the desk started.
    pub accepted: u64,
    /// Claims not accepted since the desk started.
    pub failed: u64,
}

/// `POST /api/traffic`
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficRequest {
    /// Claims per second; 0 for none.
    pub per_second: f64,
}

fn one() -> u64 {
    1
}

fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

// === impl ClaimsRequest ===

impl ClaimsRequest {
    pub(crate) fn validate(&self) -> Result<(), Problem> {
        if !(1..=100_000).contains(&self.count) {
            return Err(invalid("count must be from 1 to 100000".to_owned()));
        }
        if self.per_second.is_some_and(|rate| !(rate > 0.0 && rate <= MAX_PER_SECOND)) {
            return Err(invalid(format!("per_second must be above 0 and at most {MAX_PER_SECOND}")));
        }
        let headers = [("traceparent", &self.traceparent), ("baggage", &self.baggage)];
        for (name, value) in headers {
            if value.as_ref().is_some_and(|value| http::HeaderValue::from_str(value).is_err()) {
                return Err(invalid(format!("{name} must be a header value: visible ASCII characters on one line")));
            }
        }
        Ok(())
    }
}

// === impl TrafficRequest ===

impl TrafficRequest {
    pub(crate) fn validate(self) -> Result<(), Problem> {
        if (0.0..=MAX_PER_SECOND).contains(&self.per_second) {
            return Ok(());
        }
        Err(invalid(format!("per_second must be from 0 to {MAX_PER_SECOND}")))
    }
}

// === impl SentClaim ===

impl SentClaim {
    /// Whether the claim was accepted.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.status == Some(StatusCode::CREATED.as_u16())
    }
}

// === impl LookQuery ===

impl LookQuery {
    /// At most half a minute.
    pub(crate) fn wait(self) -> Option<Duration> {
        self.wait_ms.map(|millis| Duration::from_millis(millis.min(30_000)))
    }
}

// === impl ClaimReport ===

impl ClaimReport {
    pub(crate) fn new(collected: Collected) -> Self {
        Self { ledger: evidence::ledger(&collected.evidence), collected }
    }
}

// === impl ScenarioBrief ===

impl From<&Scenario> for ScenarioBrief {
    fn from(scenario: &Scenario) -> Self {
        Self {
            id: scenario.id.clone(),
            title: scenario.title.clone(),
            group: scenario.group,
            topic: scenario.topic.clone(),
            symptom: scenario.symptom.clone(),
            look: scenario.look.clone(),
        }
    }
}
