//! What the desk can do, for the API and for the pages.
//!
//! - here: [`Lab`], the only type that routes and pages use
//! - `answering`: which services answer, while a page is open
//! - `annotations`: annotates in Grafana when settings changed
//! - `control`: switches settings and waits until all services have applied them
//! - `front_door`: sends claims through the front door, singly or as traffic
//! - `kept`: keeps what is known of claims for the next desk
//! - `observer`, `log`: looks once at each claim, and remembers the newest
//! - `reference`: a healthy claim to compare with
//! - `reader`: gathers the evidence of a claim: its spans, and the third party's record
//! - `check`: sends probes and judges their evidence
//!
//! What would give a drill's answer away is a [`Spoiler`] in all of these, and is opened here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::StatusCode;
use chain::{Kind, Service, Topology};
use evidence::{Answer, Collected, Diagnosis, Patience, Picture, Reading};
use reqwest::Url;
use scenario::Scenario;
use service::Problem;
use settings::{Active, Schema};
use tokio::sync::{Mutex, mpsc};

use crate::api::events::Changes;
use crate::api::{
    CheckEvent, CheckReport, CheckRequest, ClaimEvent, ClaimRow, ClaimsRequest, DrillAnswer, DrillRequest, DrillStatus,
    HEALTHY, Hint, Judgement, LabStatus, LookQuery, ScenarioBrief, Scoreboard, Seen, SentClaim, ServiceValues,
    SetRequest, Status, Traffic,
};
use crate::drill::grading::{self, Grade};
use crate::drill::{Change, Drills, Ended, Ending, Hypothesis, Lesson, Mask, Spoiler, Viewer};
use crate::{Config, StartError, clock};

mod annotations;
mod answering;
mod check;
mod control;
mod front_door;
pub(crate) mod kept;
mod log;
mod observer;
mod reader;
mod reference;

use annotations::Annotations;
use answering::Answering;
use control::{Control, Watched};
use front_door::FrontDoor;
use kept::Kept;
use log::ClaimLog;
pub(crate) use log::REMEMBERED;
use observer::Observer;
use reader::{EvidenceReader, Trace};
use reference::Reference;

/// How long a health poll may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request for a trace waits for spans that may not arrive.
const LOOK_PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(3), settle: Duration::from_millis(300), poll: Duration::from_millis(100) };
/// How far back a claim is searched for, in seconds. Tempo searches through 168 hours at most, and margins are added.
const LOOK_BACK_SECONDS: u64 = 6 * 24 * 3600;
/// How long a switch waits for the spans of a healthy claim, once in the life of a lab.
const REFERENCE_PATIENCE: Patience = Patience { deadline: Duration::from_secs(3), ..LOOK_PATIENCE };
const LONGEST_ID_BYTES: usize = 128;

/// The lab as this desk drives it and sees it. It lives as long as the desk, and its tasks as long as the runtime.
#[derive(Debug)]
pub(crate) struct Lab {
    control: Arc<Control>,
    answering: Answering,
    front_door: FrontDoor,
    reader: EvidenceReader,
    observer: Observer,
    reference: Reference,
    drills: Drills,
    changes: Changes,
    trace_source: Url,
    grafana: Option<Url>,
    annotations: Option<Annotations>,
    lock_reveal: bool,
    /// When a scenario was chosen last; 0 if none was since the desk started.
    switched_unix_ms: AtomicU64,
    /// Held while a drill is started, answered or ended.
    drill_turn: Mutex<()>,
}

// === impl Lab ===

impl Lab {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(config: Config) -> Result<Self, StartError> {
        let client = reqwest::Client::builder().no_proxy().timeout(HEALTH_TIMEOUT).build()?;
        let url =
            |service: Service| config.services.iter().find(|(name, _)| *name == service).map(|(_, url)| url.clone());
        let front_door = url(Service::PythonApi).ok_or(StartError::Missing(Service::PythonApi))?;
        let changes = Changes::new();
        let annotations = config.grafana.as_ref().map(|public| {
            let api = config.grafana_api.as_ref().unwrap_or(public);
            Annotations::start(api, public)
        });
        let annotations = annotations.transpose()?;
        notify_of_settings(&changes, config.active.clone(), Arc::clone(&config.schema), annotations.clone());
        let reader = EvidenceReader::new(&config.trace_source, client.clone(), url(Service::FraudPartner));
        let folder = config.active.parent().unwrap_or(Path::new("")).to_owned();
        // The lab may begin with a scenario, and a lesson outlives the desk.
        let active = Active::load(&config.active, &config.schema).unwrap_or_default();
        let scenario = active.scenario.unwrap_or_else(|| HEALTHY.to_owned());
        let services = Watched::of(config.services, &config.seats);
        let control = Control::new(client, services, config.active, config.catalogue, config.schema, config.backends);
        let control = Arc::new(control);
        let needs_ours = |scenario: &Scenario| control.needs_ours(scenario);
        let drills = Drills::load(&folder, config.drills, control.catalogue(), needs_ours)?;
        drills.resume_lesson(&scenario);
        let kept = Kept::load(&folder);
        let log = ClaimLog::of(kept.rows);
        let reference = Reference::load(&folder);
        let observer = Observer::start(reader.clone(), changes.clone(), log, reference.clone());
        observer.log().set_scenario(Some(scenario).filter(|_| !drills.is_on()));
        let front_door = FrontDoor::new(&front_door, observer.clone(), changes.clone(), [kept.accepted, kept.failed])?;
        Kept::keep(&folder, observer.clone(), front_door.clone(), &changes);
        front_door.set_traffic(config.traffic_per_second);
        Ok(Self {
            front_door,
            observer,
            reference,
            reader,
            drills,
            answering: Answering::start(Arc::clone(&control), changes.clone()),
            changes,
            control,
            trace_source: config.trace_source,
            grafana: config.grafana,
            annotations,
            lock_reveal: config.lock_reveal,
            switched_unix_ms: AtomicU64::default(),
            drill_turn: Mutex::default(),
        })
    }

    pub(crate) async fn overview(&self) -> LabStatus {
        let services = self.control.services().await;
        LabStatus {
            front_door: self.front_door.url().to_string(),
            trace_source: self.trace_source.to_string(),
            services: self.lock(self.drills.show(services, Viewer::Api), Mask::masked),
            traffic: self.front_door.traffic(),
        }
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    pub(crate) fn grafana(&self) -> Option<&Url> {
        self.grafana.as_ref()
    }

    /// Whether the desk answers, and whether Grafana listens to it.
    pub(crate) fn health(&self) -> serde_json::Value {
        let annotations = self.annotations.as_ref().map(|annotations| {
            let (posted, dropped) = annotations.counts();
            serde_json::json!({ "posted": posted, "dropped": dropped })
        });
        serde_json::json!({ "service": "desk", "annotations": annotations })
    }

    /// What may be set.
    pub(crate) fn schema(&self) -> &Schema {
        self.control.schema()
    }

    /// While the page covers a lesson, which scenario was chosen is no secret, as with locked answers.
    pub(crate) async fn status(&self, viewer: Viewer) -> Result<Status, Problem> {
        let status = self.drills.show(self.control.status().await?, Viewer::Api);
        let locked = self.lock_reveal || self.drills.hides_from(viewer);
        Ok(if locked { status.locked() } else { status })
    }

    pub(crate) async fn set(&self, request: &SetRequest) -> Result<Status, Problem> {
        self.have_reference().await;
        let began = clock::unix_millis();
        let status = self.control.set(request).await?;
        self.note_change(began).await?;
        Ok(self.lock(self.drills.show(status, Viewer::Api), Status::locked))
    }

    /// Changes settings of one service, all or none.
    pub(crate) async fn set_all(&self, request: &ServiceValues) -> Result<(), Problem> {
        self.have_reference().await;
        let began = clock::unix_millis();
        self.control.set_all(request).await?;
        self.note_change(began).await
    }

    /// Notes that settings were changed in a lesson, since then and until now.
    async fn note_change(&self, began_unix_ms: u64) -> Result<(), Problem> {
        let Some(lesson) = self.lesson() else { return Ok(()) };
        let is_changed = self.control.is_changed(&lesson.scenario).await?;
        let change = Change { began_unix_ms, ended_unix_ms: clock::unix_millis() };
        self.drills.note_change(is_changed.then_some(change))?;
        self.changes.notify(|pulse| pulse.drill += 1);
        Ok(())
    }

    /// Switching gives up the drill that is on.
    pub(crate) async fn use_scenario(&self, id: &str) -> Result<Status, Problem> {
        let _turn = self.drill_turn.lock().await;
        self.control.brief(id)?;
        self.have_reference().await;
        // Covered before it is set, so that the page does not show it in between.
        self.drills.begin_lesson(id)?;
        let status = self.control.use_scenario(id).await?;
        self.observer.log().set_scenario(Some(id.to_owned()));
        self.switched_unix_ms.store(clock::unix_millis(), Relaxed);
        Ok(self.lock(status.after(&self.end_drill(Ending::Abandoned)?), Status::locked))
    }

    /// Every scenario, in the order of the catalogue.
    pub(crate) fn briefs(&self) -> Vec<ScenarioBrief> {
        self.control.briefs().collect()
    }

    pub(crate) fn brief(&self, id: &str) -> Result<ScenarioBrief, Problem> {
        self.control.brief(id)
    }

    /// A claim as the fault was set, and one under the settings that fix it; none while none were changed.
    pub(crate) fn before_and_after(&self, lesson: &Lesson) -> Option<(ClaimRow, ClaimRow)> {
        self.observer.log().before_and_after(lesson.started_unix_ms, lesson.changed?)
    }

    /// What a claim comes to, in a sentence: the first finding if there is one.
    pub(crate) async fn sentence(&self, claim_id: &str) -> Option<String> {
        let found = self.find(claim_id, LookQuery::AT_ONCE).await.ok()?;
        Some(Reading::new(Topology::LAB, &found).conclude().diagnosis().sentence)
    }

    /// Whether a claim was accepted since then.
    pub(crate) fn has_claims_since(&self, since: u64) -> bool {
        self.observer.log().newest_since(since).is_some()
    }

    /// Why nothing is broken in the lesson that is on, as the page may say once it is uncovered; `None` if something is.
    pub(crate) async fn why_control(&self) -> Option<Kind> {
        let current = self.drills.open(self.control.current().await.ok()?)?;
        current.fault.as_ref().map(|fault| fault.cause.kind).filter(|_| current.is_control())
    }

    /// The active scenario; none while a drill is on.
    pub(crate) async fn current(&self) -> Result<Option<ScenarioBrief>, Problem> {
        let current = self.control.current().await?;
        Ok(self.drills.open(current).map(ScenarioBrief::from))
    }

    /// One scenario with its answer; not while a drill is on.
    pub(crate) fn answer(&self, id: &str) -> Result<Scenario, Problem> {
        self.unlocked()?;
        let answer = self.drills.open(self.control.find(id)?);
        answer.cloned().ok_or_else(|| conflict("a drill is on, so answers are hidden"))
    }

    pub(crate) async fn hint(&self) -> Result<Hint, Problem> {
        if let Some(hidden) = self.drills.hidden() {
            let hint = self.drills.hint(self.control.hidden(hidden)?)?;
            self.changes.notify(|pulse| pulse.drill += 1);
            return Ok(hint);
        }
        let current = self.control.current().await?;
        let current = self.drills.open(current).ok_or_else(|| conflict("a drill has just begun"))?;
        Ok(self.control.next_hint(current).await)
    }

    pub(crate) async fn reveal(&self) -> Result<Scenario, Problem> {
        self.unlocked()?;
        let _turn = self.drill_turn.lock().await;
        let ended = self.end_drill(Ending::Revealed)?;
        self.uncover(None)?;
        self.name_scenario(&ended).await?;
        Ok(self.control.current().await?.after(&ended).clone())
    }

    pub(crate) async fn diagnose_claim(&self, id: &str, query: LookQuery) -> Result<Diagnosis, Problem> {
        self.unlocked()?;
        let collected = self.find(id, query).await?;
        let diagnosis = Reading::new(Topology::LAB, &collected).conclude().diagnosis();
        self.diagnosed(Spoiler::new(diagnosis)).await
    }

    pub(crate) async fn diagnose_probe(&self) -> Result<Diagnosis, Problem> {
        self.unlocked()?;
        self.diagnosed(check::diagnose(&self.front_door, &self.reader).await?).await
    }

    /// Tells how far it is, and then the report; in a drill it says only healthy or broken.
    pub(crate) async fn check(&self, request: CheckRequest, events: mpsc::Sender<CheckEvent>) {
        let report = self.report(request.id, Some(&events), Viewer::Api).await;
        let _ = events.send(CheckEvent::Report(Box::new(report))).await;
    }

    pub(crate) async fn report(
        &self,
        id: Option<String>,
        events: Option<&mpsc::Sender<CheckEvent>>,
        viewer: Viewer,
    ) -> CheckReport {
        // Whether some scenario in particular is healed would say whether it is the hidden one.
        let wanted = id.and_then(|id| self.drills.open(self.control.wanted(&id)).flatten());
        self.drills.show(check::report(&self.front_door, &self.reader, wanted, events).await, viewer)
    }

    /// A check on the page, by the proof of the lesson that is on and uncovered; and whether it meets that proof.
    pub(crate) async fn check_lesson(&self) -> Result<(CheckReport, Option<bool>), Problem> {
        let Some(lesson) = self.lesson().filter(|lesson| lesson.is_uncovered) else {
            return Ok((self.report(None, None, Viewer::Page).await, None));
        };
        let report = self.report(Some(lesson.scenario.clone()), None, Viewer::Page).await;
        let is_met = report.exit_code() == 0;
        if report.masked || self.lesson().is_none_or(|now| now.started_unix_ms != lesson.started_unix_ms) {
            return Ok((report, None));
        }
        if is_met {
            self.drills.prove(&lesson)?;
            self.changes.notify(|pulse| pulse.drill += 1);
        }
        Ok((report, Some(is_met)))
    }

    pub(crate) fn drill(&self) -> DrillStatus {
        self.drills.status()
    }

    pub(crate) async fn start_drill(&self, request: &DrillRequest) -> Result<DrillStatus, Problem> {
        let _turn = self.drill_turn.lock().await;
        if self.drills.is_on() {
            return Err(conflict("a drill is on already"));
        }
        let id = self.drills.choose(request.scenarios.as_deref())?;
        self.have_reference().await;
        // Hidden before it is set, so that it cannot be seen in between.
        let before = self.observer.log().set_scenario(None);
        self.drills.start(id.clone())?;
        if let Err(problem) = self.control.use_hidden(&id).await {
            self.observer.log().set_scenario(before);
            self.drills.undo_start()?;
            return Err(problem);
        }
        self.changes.notify(|pulse| pulse.drill += 1);
        Ok(self.drills.status())
    }

    pub(crate) async fn answer_drill(&self, answer: &DrillAnswer) -> Result<Judgement, Problem> {
        let answer = answer.parsed()?;
        let _turn = self.drill_turn.lock().await;
        let hidden = self.drills.hidden().ok_or_else(|| conflict("no drill is on"))?;
        let scenario = self.control.hidden(hidden)?;
        let since = self.drills.started_unix_ms().unwrap_or_default();
        let (correct, evidence) = self.grade(answer, scenario, since).await?.judgement();
        match correct {
            Some(true) => {
                let ended = self.end_drill(Ending::Solved)?;
                self.uncover(Some(Hypothesis::new(answer, true, &evidence)))?;
                self.name_scenario(&ended).await?;
            }
            Some(false) => {
                self.drills.count_wrong_answer()?;
                self.changes.notify(|pulse| pulse.drill += 1);
            }
            None => {}
        }
        Ok(Judgement { correct, evidence, drill: self.drills.status() })
    }

    /// Commits the learner to a hypothesis about the lesson that is on, which uncovers it.
    pub(crate) async fn hypothesize(&self, given: &DrillAnswer) -> Result<Judgement, Problem> {
        self.unlocked()?;
        let answer = given.parsed()?;
        let _turn = self.drill_turn.lock().await;
        let lesson = self.drills.lesson().ok_or_else(|| conflict("no lesson is on: choose a scenario first"))?;
        let scenario = self.control.find(&lesson.scenario)?;
        let (correct, evidence) = self.grade(answer, scenario, lesson.started_unix_ms).await?.judgement();
        if let Some(is_correct) = correct {
            self.uncover(Some(Hypothesis::new(answer, is_correct, &evidence)))?;
        }
        Ok(Judgement { correct, evidence, drill: self.drills.status() })
    }

    /// Shows on the page what a lesson covers.
    pub(crate) fn uncover(&self, hypothesis: Option<Hypothesis>) -> Result<(), Problem> {
        self.drills.uncover(hypothesis)?;
        self.changes.notify(|pulse| pulse.drill += 1);
        Ok(())
    }

    /// The lesson that is on; none in a drill, nor of the healthy scenario.
    pub(crate) fn lesson(&self) -> Option<Lesson> {
        self.drills.lesson()
    }

    /// When the drill or lesson that is on began, or else the lab became healthy if it was not always, in milliseconds since
    /// the Unix epoch.
    pub(crate) fn began_unix_ms(&self) -> u64 {
        let began = self.drills.started_unix_ms().or_else(|| self.lesson().map(|lesson| lesson.started_unix_ms));
        began.unwrap_or_else(|| self.switched_unix_ms.load(Relaxed))
    }

    /// Whether a claim that was sent in the drill or lesson that is on was opened.
    pub(crate) fn is_looked_at(&self) -> bool {
        self.drills.is_looked_at()
    }

    /// Notes that somebody opened a claim.
    pub(crate) fn look_at(&self, claim_id: &str) {
        let Some(row) = self.observer.log().row_of(claim_id) else { return };
        match self.drills.look_at(row.sent_unix_ms) {
            Ok(true) => self.changes.notify(|pulse| pulse.drill += 1),
            Ok(false) => {}
            Err(problem) => tracing::warn!(problem = problem.detail, "that a claim was opened cannot be kept"),
        }
    }

    /// The next scenario in the order of the catalogue whose lesson was not proved; none if all were.
    pub(crate) fn next_lesson(&self, current: &str) -> Option<ScenarioBrief> {
        let all = self.briefs();
        let at = all.iter().position(|it| it.id == current).map_or(0, |at| at + 1);
        let mut later = all.iter().cycle().skip(at).take(all.len());
        let is_open = |it: &&ScenarioBrief| it.id != HEALTHY && !it.needs_ours && !self.is_proved(&it.id);
        later.find(is_open).cloned()
    }

    /// Whether the lesson of a scenario was proved, now or before.
    pub(crate) fn is_proved(&self, scenario: &str) -> bool {
        self.drills.is_proved(scenario)
    }

    /// Whether answers, settings and diagnoses are locked.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock_reveal
    }

    /// Whether the page shows neither settings nor judgements.
    pub(crate) fn is_covered(&self) -> bool {
        self.drills.hides_from(Viewer::Page)
    }

    /// What an answer is worth, by the claims since then; it sends none.
    async fn grade(&self, answer: Answer, scenario: Spoiler<&Scenario>, since: u64) -> Result<Grade, Problem> {
        let cause = scenario.map(|scenario| {
            let cause = scenario.fault.as_ref().map(|fault| &fault.cause);
            cause.ok_or_else(|| conflict("this scenario has no cause to find"))
        });
        let cause = cause.transpose()?;
        Ok(match (grading::names(answer, &cause), grading::differs_by_time(answer, &cause)) {
            (Some(right), _) => right,
            (None, Some(by_time)) => by_time.grade(answer, self.old_claim(since).await.as_ref()),
            (None, None) => match self.newest_claim(since).await {
                Some(newest) => grading::grade(answer, &cause, &Reading::new(Topology::LAB, &newest).conclude()),
                None => Grade::NoClaim,
            },
        })
    }

    /// What there is of the newest claim since then; its spans are waited for.
    async fn newest_claim(&self, since: u64) -> Option<Collected> {
        let newest = self.observer.log().newest_since(since)?;
        let claim_id = newest.claim.claim_id.as_deref()?;
        let collected = self.reader.collect(claim_id, since / 1000, &Patience::default()).await;
        Some(collected.with_traceresponse(newest.claim.traceresponse))
    }

    /// What there is of the oldest claim since then of which every span should have come by now.
    async fn old_claim(&self, since: u64) -> Option<Collected> {
        let old = self.observer.log().oldest_since(since).filter(|row| row.age_ms() > grading::LATEST_SPAN_S * 1000)?;
        let at_once = Patience { deadline: Duration::ZERO, ..Patience::default() };
        Some(self.reader.collect(old.claim.claim_id.as_deref()?, since / 1000, &at_once).await)
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.front_door.traffic()
    }

    pub(crate) fn set_traffic(&self, per_second: f64) -> Traffic {
        self.front_door.set_traffic(per_second);
        self.front_door.traffic()
    }

    pub(crate) async fn send_claims(&self, request: &ClaimsRequest, events: &mpsc::Sender<ClaimEvent>) {
        self.front_door.send(request, events).await;
    }

    /// Newest first; without what any of them comes to, while that is hidden.
    pub(crate) fn claims(&self, viewer: Viewer) -> Vec<ClaimRow> {
        self.drills.show(Spoiler::new(self.observer.log().newest()), viewer)
    }

    pub(crate) fn last_claim(&self) -> Option<SentClaim> {
        self.observer.log().last()
    }

    /// The claim to show, and how many newer ones are awaited.
    pub(crate) fn claim_to_show(&self) -> Option<(ClaimRow, usize)> {
        self.observer.log().to_show()
    }

    /// The healthy claim that is kept to compare others with.
    pub(crate) fn healthy_claim(&self) -> Option<Arc<Collected>> {
        self.reference.get()
    }

    /// Sends a claim while the chain is still healthy, if none is kept: once it is broken, there is none to compare with.
    /// The list does not show it.
    async fn have_reference(&self) {
        if self.drills.is_on() || !self.control.is_healthy().await || !self.reference.is_wanted() {
            return;
        }
        let since = clock::unix_seconds();
        let sent = self.front_door.submit_unseen().await;
        if let Some(id) = sent.claim_id.as_deref().filter(|_| sent.accepted()) {
            let collected = self.reader.collect(id, since, &REFERENCE_PATIENCE).await;
            let collected = collected.with_traceresponse(sent.traceresponse);
            if Seen::of(&collected).whole {
                self.reference.keep(&collected);
            }
        }
    }

    /// Whether the page may say what is wrong; not in a drill, and not in a lesson before the hypothesis.
    pub(crate) fn judges(&self) -> bool {
        !self.is_covered()
    }

    pub(crate) fn was_sent(&self, claim_id: &str) -> bool {
        self.observer.log().sent(claim_id).is_some()
    }

    /// The picture of a claim on the page; without any judgement while that is hidden.
    pub(crate) fn picture(&self, reading: &Reading<'_>) -> Picture {
        self.drills.show(Spoiler::new(reading.conclude().picture()), Viewer::Page)
    }

    /// The services that did not answer when they were asked last.
    pub(crate) fn silent_services(&self) -> Vec<Service> {
        self.answering.silent()
    }

    /// Nothing is counted as complete or not while that is hidden.
    pub(crate) fn scoreboard(&self, viewer: Viewer) -> Scoreboard {
        self.drills.show(Spoiler::new(self.observer.log().scoreboard()), viewer)
    }

    /// The evidence of a claim, named by its id, by the id of one of its traces, or as the last that was sent.
    pub(crate) async fn find(&self, id: &str, query: LookQuery) -> Result<Collected, Problem> {
        let collected = self.look(id, query).await?;
        if collected.evidence.fragments.is_empty() {
            let answered = collected.evidence.traceresponse.as_ref().map(|_| {
                let answered = evidence::prose::sampling(&collected.evidence);
                format!(". {answered} The gateway's log has the headers of its request")
            });
            let detail = format!("no span of this claim or trace has arrived{}", answered.unwrap_or_default());
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        }
        Ok(collected)
    }

    /// The same, also if none of its spans was received: the answer and the third party's record may be known.
    pub(crate) async fn look(&self, id: &str, query: LookQuery) -> Result<Collected, Problem> {
        let unknown = |what: &str| Problem::new(StatusCode::NOT_FOUND, what.to_owned());
        // Claim ids travel in headers; what cannot, is none, and is no question for the trace store.
        if id.len() > LONGEST_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unknown("this is neither a claim id nor a trace id"));
        }
        let log = self.observer.log();
        let sent = match id {
            "last" => Some(log.last().ok_or_else(|| unknown("no claim has been sent through this desk yet"))?),
            id => log.sent(id),
        };
        let claim_id = match (&sent, id.parse()) {
            (Some(sent), _) => sent.claim_id.clone().unwrap_or_default(),
            (None, Ok(trace_id)) => match self.reader.trace(trace_id).await? {
                Trace::OfClaim(claim_id) => claim_id,
                Trace::Alone(trace) => return Ok(*trace),
            },
            (None, Err(_)) => id.to_owned(),
        };
        let patience = Patience { deadline: query.wait().unwrap_or(LOOK_PATIENCE.deadline), ..LOOK_PATIENCE };
        let since = clock::unix_seconds().saturating_sub(LOOK_BACK_SECONDS);
        let collected = self.reader.collect(&claim_id, since, &patience).await;
        if collected.source_down {
            tracing::warn!(errors = collected.source_errors.join("; "), "the trace store did not answer");
            return Err(Problem::unavailable("the trace store"));
        }
        let mut collected = collected.with_traceresponse(sent.and_then(|sent| sent.traceresponse));
        if collected.evidence.fragments.is_empty() {
            // No span says how old it is.
            let row = log.row_of(&claim_id);
            collected.age_millis = row.map_or(collected.age_millis, |row| row.age_ms());
        } else {
            self.observer.note(&claim_id, &collected);
        }
        Ok(collected)
    }

    /// Hides what a locked answer could be read from.
    fn lock<T>(&self, value: T, hide: fn(T) -> T) -> T {
        if self.lock_reveal { hide(value) } else { value }
    }

    fn unlocked(&self) -> Result<(), Problem> {
        if self.lock_reveal {
            return Err(Problem::new(StatusCode::FORBIDDEN, "the answers are locked"));
        }
        Ok(())
    }

    /// A diagnosis is shown at the price of the drill.
    async fn diagnosed(&self, diagnosis: Spoiler<Diagnosis>) -> Result<Diagnosis, Problem> {
        let _turn = self.drill_turn.lock().await;
        let ended = self.end_drill(Ending::Diagnosed)?;
        self.uncover(None)?;
        self.name_scenario(&ended).await?;
        Ok(diagnosis.after(&ended))
    }

    fn end_drill(&self, ending: Ending) -> Result<Ended, Problem> {
        let ended = self.drills.end(ending)?;
        if ended.scenario().is_some() {
            self.changes.notify(|pulse| pulse.drill += 1);
        }
        Ok(ended)
    }

    /// The file of active settings may name again what a drill hid.
    async fn name_scenario(&self, ended: &Ended) -> Result<(), Problem> {
        if let Some(id) = ended.scenario() {
            self.observer.log().set_scenario(Some(id.to_owned()));
            self.control.name_scenario(id).await?;
        }
        Ok(())
    }
}

/// By the file, however it was written.
fn notify_of_settings(changes: &Changes, active: PathBuf, schema: Arc<Schema>, annotations: Option<Annotations>) {
    let mut watch = settings::active::watch(active, schema);
    let changes = changes.clone();
    watch.mark_changed();
    tokio::spawn(async move {
        // A generation may change no setting, and what the lab begins with is no change.
        let mut before = Arc::clone(&watch.borrow().active);
        while watch.changed().await.is_ok() {
            let active = Arc::clone(&watch.borrow_and_update().active);
            let generation = active.generation;
            if let Some(annotations) = &annotations
                && active.settings != before.settings
            {
                annotations.settings_changed(clock::unix_millis());
            }
            before = active;
            changes.notify(|pulse| {
                pulse.settings += 1;
                pulse.generation = generation;
            });
        }
    });
}

fn conflict(detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, detail)
}
