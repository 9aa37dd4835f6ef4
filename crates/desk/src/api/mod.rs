//! Requests and responses of the desk, as JSON.
//!
//! - here: the values themselves, which the command line reads too
//! - `routes`: which path accepts and returns which of them; `openapi`: the same as a document
//! - `events`: notifies pages of changes
//! - `extract`: paths and queries, whose errors are problems

#![expect(missing_docs, reason = "a field whose name says it all has no more to say")]

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use chain::{Kind, Topology};
use evidence::{Answer, Collected, HopRow, Outcome, Reading, Verdict, prose};
use scenario::{Group, Scenario};
use serde::{Deserialize, Serialize};
use service::Problem;
use service::health::SpanCounts;
use settings::Settings;
use utoipa::ToSchema;

use crate::clock;
use crate::drill::Mask;

pub(crate) mod events;
pub(crate) mod extract;
pub(crate) mod openapi;
pub(crate) mod routes;

/// The scenario in which nothing is set.
pub const HEALTHY: &str = "healthy";
/// The most claims per second that can be asked for.
pub const MAX_PER_SECOND: f64 = 1000.0;

/// `GET /api/lab`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LabStatus {
    /// The URL of the front door.
    pub front_door: String,
    /// Where traces are read.
    pub trace_source: String,
    /// Every service of the chain.
    pub services: Vec<ServiceStatus>,
    /// What is sent continuously.
    pub traffic: Traffic,
}

/// A service as its `/healthz` reports it; one that knows nothing of the lab, as its keeper does.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    pub service: String,
    /// Where it answers.
    pub url: String,
    /// The generation of settings that it has applied; absent if it does not answer.
    pub generation: Option<u64>,
    /// Why it refuses newer settings, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What became of its spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub spans: Option<SpanCounts>,
    /// Whether it is being started, for new settings or since it ended.
    #[serde(default)]
    pub starting: bool,
    /// Which settings its environment has: they are in force where nothing is set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The keys of active settings that it cannot be made to follow, since it is none of the lab's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_applied: Vec<String>,
}

/// `GET /api/scenarios` and `GET /api/scenarios/{id}`: a lesson without its answer, which settings and hints are too.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ScenarioBrief {
    pub id: String,
    pub title: String,
    /// The chapter that it belongs to.
    #[schema(value_type = String)]
    pub group: Group,
    pub topic: String,
    /// What is noticed.
    pub symptom: String,
    pub look: Vec<String>,
    /// Whether it needs a service of the lab's own in a seat that another fills.
    #[serde(default)]
    pub needs_ours: bool,
}

/// `GET /api/settings`, and the answer to every change of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub generation: u64,
    /// The scenario that was chosen last, if any.
    pub scenario: Option<String>,
    /// What is set beyond each service's environment.
    #[schema(value_type = HashMap<String, HashMap<String, String>>)]
    pub settings: Settings,
    /// Whether settings are hidden, because a drill is on or the answers are locked; a drill hides the scenario too.
    #[serde(default)]
    pub masked: bool,
    /// Whether all services have applied the newest generation.
    pub settled: bool,
    pub services: Vec<ServiceStatus>,
}

/// `POST /api/settings/use`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UseRequest {
    pub id: String,
}

/// `POST /api/settings/set`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    pub service: String,
    pub key: String,
    pub value: String,
}

/// What the page's form of one service sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceValues {
    pub(crate) service: String,
    /// By key; without a value it is left to the service's environment and its default.
    pub(crate) values: BTreeMap<String, Option<String>>,
}

/// `POST /api/claims`; answered by lines of [`ClaimEvent`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimsRequest {
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 100_000)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimEvent {
    Claim(SentClaim),
    Done {
        /// How many were accepted.
        accepted: u64,
        failed: u64,
    },
}

/// A claim that was sent, and its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SentClaim {
    /// Its id; absent if there was no answer with one.
    pub claim_id: Option<String>,
    /// The answer's status; absent if there was no answer.
    pub status: Option<u16>,
    /// The trace that the front door made of it, by the answer's `traceresponse` header.
    pub trace_id: Option<String>,
    pub traceresponse: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long the answer took, in milliseconds.
    pub duration_ms: f64,
}

/// `GET /api/claims/{claim id, trace id, or last}?wait_ms=`
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LookQuery {
    /// How long to wait for spans, in milliseconds; at most 30000.
    wait_ms: Option<u64>,
}

/// What is known of a claim.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimReport {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub collected: Collected,
    /// What each hop sent and received.
    #[schema(value_type = Vec<Object>)]
    pub ledger: Vec<HopRow>,
}

/// `POST /api/checks`; answered by lines of [`CheckEvent`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// A scenario whose healed expectation must be met too.
    #[serde(default)]
    pub id: Option<String>,
}

/// A line of the answer to `POST /api/checks`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckEvent {
    Progress(String),
    Report(Box<CheckReport>),
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// While a drill is on it has no verdict: only what was observed.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub verdict: Verdict,
    /// Whether the verdict is hidden: in a drill, and on the page in a lesson until there is a hypothesis.
    pub masked: bool,
    /// If the verdict names no propagation break: what differs all the same from what must be seen once the scenario is
    /// fixed that was asked for, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
    /// The claims that were sent for it.
    pub probes: Vec<SentClaim>,
    /// After how many milliseconds a span counts as not received.
    pub deadline_ms: u64,
    /// How many milliseconds the evidence was waited for.
    pub waited_ms: u64,
}

/// `POST /api/hint`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hint {
    /// Which hint it is, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    pub text: String,
}

/// `GET /api/traffic`
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// Claims per second; 0 for none.
    pub per_second: f64,
    /// Claims accepted since the lab started.
    pub accepted: u64,
    /// Claims not accepted since the lab started.
    pub failed: u64,
}

/// `POST /api/traffic`
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrafficRequest {
    /// Claims per second; 0 for none.
    #[schema(minimum = 0, maximum = 1000)]
    pub per_second: f64,
}

/// A line of the answer to `GET /api/claims`: a claim that was sent, and what was seen of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClaimRow {
    /// The claim and its answer.
    #[serde(flatten)]
    pub claim: SentClaim,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_unix_ms: u64,
    /// The scenario that was active then; absent in a drill.
    #[serde(default)]
    pub scenario: Option<String>,
    /// What was seen of it so far; absent until a span has arrived, or is known not to come.
    pub seen: Option<Seen>,
}

/// What was seen of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Seen {
    /// How many traces it was split into.
    pub traces: usize,
    /// Who has spans in each, in the order of the claim's page.
    #[serde(default)]
    pub fragments: Vec<Vec<String>>,
    /// Who has spans in them.
    pub services: Vec<String>,
    /// The service of each span without a parent.
    pub roots: Vec<String>,
    /// How many spans they have.
    pub spans: usize,
    /// Whether it is one complete trace, in which every hop's parent is its sender.
    pub whole: bool,
    /// Whether its evidence is settled: complete and unchanged for a while, or what is missing counts as not received.
    pub settled: bool,
}

/// `GET /api/scoreboard`: the claims of the last minutes whose evidence is settled, among those that are remembered.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Scoreboard {
    /// How far it looks back, in seconds: less under traffic, since only so many claims are remembered.
    pub window_s: u64,
    /// Whether that is because no more claims are remembered.
    #[serde(default)]
    pub is_cut: bool,
    /// How many claims these are.
    pub claims: usize,
    /// How many of them are complete.
    pub whole: usize,
    /// How many claims were split into each number of traces.
    #[schema(value_type = HashMap<String, usize>)]
    pub by_traces: BTreeMap<usize, usize>,
    /// How many spans without a parent each service has.
    pub roots: BTreeMap<String, usize>,
    /// The same by the scenario that was active, the newest first.
    #[serde(default)]
    pub by_scenario: Vec<ScenarioCounts>,
}

/// The claims of one scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScenarioCounts {
    /// The scenario; absent for drills.
    pub scenario: Option<String>,
    pub claims: usize,
    /// How many of them are complete.
    pub whole: usize,
    /// How many were split into more than one trace.
    pub split: usize,
}

/// `GET /api/events`: counters that grow when something changed, so that a reader knows what to ask for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pulse {
    /// Claims that were answered.
    pub claims: u64,
    /// Looks at claims that showed something new.
    pub looks: u64,
    /// Changes of the settings.
    pub settings: u64,
    /// The generation of the settings.
    pub generation: u64,
    /// Changes of the drill, and hints.
    pub drill: u64,
    /// Changes of which services answer; noticed while somebody reads these events.
    pub services: u64,
    /// What is sent continuously.
    pub traffic: Traffic,
}

/// `POST /api/drill`
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// The scenarios to choose from; absent: all that the leader allows.
    #[serde(default)]
    pub scenarios: Option<Vec<String>>,
}

/// `POST /api/drill/answer`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillAnswer {
    /// The hop, written `from -> to`, or the service.
    pub place: String,
    /// What happened there: the first step that fails (`inject`, `transit`, `extract` or `use`), `leak`, or what only
    /// looks like a break (`links`, `not-sampled`, `not-exported` or `late`).
    #[schema(value_type = String)]
    pub kind: Kind,
}

/// `GET /api/drill`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DrillStatus {
    /// The drill that is on.
    pub current: Option<CurrentDrill>,
    /// How the last drill ended.
    pub last: Option<EndedDrill>,
    pub record: DrillRecord,
    /// The scenarios that a drill may choose from; empty while a drill is on.
    pub scenarios: Vec<String>,
    /// Those of the set that it does not choose, since they need a service of the lab's own in a seat that another fills; empty
    /// while a drill is on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// A drill that is on, without its scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CurrentDrill {
    /// When it began, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    pub wrong_answers: u32,
    pub hints: u32,
}

/// A drill that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndedDrill {
    pub scenario: String,
    /// Whether it was answered correctly.
    pub solved: bool,
    /// How it ended, in a sentence.
    pub ending: String,
    /// Its score, from 10 to 100; 0 if it was not solved.
    pub score: u32,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    pub wrong_answers: u32,
    pub hints: u32,
}

/// What all drills come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DrillRecord {
    pub solved: u32,
    /// How many ended in another way.
    pub not_solved: u32,
    /// The sum of scores.
    pub score: u32,
    /// How many were solved in a row.
    pub streak: u32,
    /// The longest row.
    pub best_streak: u32,
    /// The shortest time to a diagnosis, in milliseconds.
    pub best_ms: Option<u64>,
}

/// What an answer was found to be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Judgement {
    /// Whether the answer is correct; absent if it is too early to tell, and then it does not count.
    pub correct: Option<bool>,
    /// What supports or contradicts it, one sentence each.
    pub evidence: Vec<String>,
    /// The current state of the drill.
    pub drill: DrillStatus,
}

fn one() -> u64 {
    1
}

fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

// === impl DrillAnswer ===

impl DrillAnswer {
    pub(crate) fn parsed(&self) -> Result<Answer, Problem> {
        let place = self.place.parse().map_err(|unknown: chain::UnknownPlace| invalid(unknown.to_string()))?;
        Ok(Answer::new(place, self.kind))
    }
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

// === impl Hint ===

impl Hint {
    /// A hint by its number, from 1.
    pub(crate) fn of(scenario: &Scenario, number: usize) -> Self {
        let hint = number.checked_sub(1).and_then(|at| scenario.hints.get(at)).cloned();
        let text = hint.unwrap_or_else(|| "Nothing is broken on purpose, so there are no hints.".to_owned());
        Self { number, of: scenario.hints.len(), text }
    }
}

// === impl Status ===

impl Mask for Status {
    fn masked(self) -> Self {
        let services = self.services.masked();
        Self { scenario: None, settings: Settings::default(), masked: true, services, ..self }
    }
}

impl Status {
    /// The scenario was chosen by name, so that is no secret.
    pub(crate) fn locked(self) -> Self {
        let scenario = self.scenario.clone();
        Self { scenario, ..self.masked() }
    }
}

// === impl ServiceStatus ===

impl Mask for Vec<ServiceStatus> {
    fn masked(self) -> Self {
        self.into_iter().map(ServiceStatus::masked).collect()
    }
}

impl ServiceStatus {
    /// Whether it has applied all of this generation that it can.
    pub(crate) fn follows(&self, generation: u64) -> bool {
        self.refused.is_none() && !self.starting && self.generation.is_some_and(|applied| applied >= generation)
    }

    /// The words of a refusal name settings, and lost spans name an exporter.
    fn masked(self) -> Self {
        let refused = self.refused.map(|_| "what it refuses is hidden".to_owned());
        let not_applied = self.not_applied.iter().map(|_| "hidden".to_owned()).collect();
        Self { refused, not_applied, spans: None, ..self }
    }
}

// === impl CheckReport ===

impl CheckReport {
    /// The exit code of `check`: that of a break also where the scenario that was asked for is not fixed but hidden.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if self.unmet.is_empty() { self.verdict.outcome.exit_code() } else { Outcome::Broken.exit_code() }
    }
}

impl Mask for Vec<ClaimRow> {
    /// What was received is no secret; what it comes to is: nothing is decided as long as a drill is on.
    fn masked(self) -> Self {
        let undecided = |seen: Seen| Seen { whole: false, settled: false, ..seen };
        self.into_iter().map(|row| ClaimRow { seen: row.seen.map(undecided), ..row }).collect()
    }
}

impl Mask for Scoreboard {
    fn masked(self) -> Self {
        let counts = self.by_scenario.into_iter().map(|counts| ScenarioCounts { whole: 0, ..counts });
        Self { claims: 0, whole: 0, by_scenario: counts.collect(), ..self }
    }
}

impl Mask for CheckReport {
    /// What was observed, without what it comes to.
    fn masked(self) -> Self {
        let (mut observed, mut same) = (Vec::new(), Vec::new());
        for claim in &self.verdict.claims {
            let first = self.verdict.claims.first().filter(|first| first.claim_id != claim.claim_id);
            match first.is_some_and(|first| prose::observed_alike(&first.observed, &claim.observed)) {
                true => same.push(claim.claim_id.as_str()),
                false => observed.extend_from_slice(&claim.observed),
            }
        }
        if !same.is_empty() {
            let claims = if same.len() == 1 { "claim" } else { "claims" };
            observed.push(format!("The same was observed of {claims} {}, with other ids.", same.join(" and ")));
        }
        let verdict = Verdict {
            outcome: Outcome::CannotTell,
            sentence: "The verdict is hidden until you have answered. This was observed:".to_owned(),
            claims: Vec::new(),
            evidence: observed,
        };
        Self { verdict, masked: true, unmet: Vec::new(), ..self }
    }
}

// === impl CurrentDrill ===

impl CurrentDrill {
    /// How long it has been on, in milliseconds, by this machine's clock.
    #[must_use]
    pub fn age_ms(&self) -> u64 {
        clock::unix_millis().saturating_sub(self.started_unix_ms)
    }
}

// === impl ClaimRow ===

impl ClaimRow {
    /// How long ago it was sent, in milliseconds, by this machine's clock.
    #[must_use]
    pub fn age_ms(&self) -> u64 {
        clock::unix_millis().saturating_sub(self.sent_unix_ms)
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
    /// One look.
    pub(crate) const AT_ONCE: Self = Self { wait_ms: Some(0) };

    /// At most half a minute.
    pub(crate) fn wait(self) -> Option<Duration> {
        self.wait_ms.map(|millis| Duration::from_millis(millis.min(30_000)))
    }
}

// === impl ClaimReport ===

impl ClaimReport {
    pub(crate) fn new(collected: Collected) -> Self {
        let ledger = Reading::new(Topology::LAB, &collected).into_rows();
        Self { ledger, collected }
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
            needs_ours: false,
        }
    }
}
