//! Every file of `scenarios/`: its fault is seen and diagnosed while it is set, nothing tells it, each of its fixes heals
//! it, and a healthy chain does not show it. A new scenario needs nothing here.

use std::sync::Mutex;
use std::{env, thread};

use chain::{Place, Step, Topology};
use desk::api::{HEALTHY, ScenarioBrief};
use evidence::CellStatus;
use evidence::diagnose::HopDiagnosis;
use evidence::{ClaimEvidence, Collected, Diagnosis, Expectation, Finding, Mismatch};
use scenario::Scenario;
use scenario::file::{Cause, Fault, Fix, LogLine};

use crate::agreement::{
    assert_answers_weighed, assert_checked_alike, assert_covered, assert_diagnosed_alike, assert_graded_alike, uncover,
};
use crate::answer_key::AnswerKey;
use crate::lab::{Lab, eventually, mismatches, one_trace, shapes};
use crate::silence::{Telling, assert_plain};

/// Each has its own lab, in which it mostly waits.
const WORKERS: usize = 4;
/// `OTLP-URL TEMPO-URL`: a Collector and a Tempo to run against instead of the embedded store; see
/// `tests/interop/real_observations.py`.
const BACKEND: &str = "INSUREWATCH_TEST_BACKEND";

/// What the healthy chain shows.
struct Healthy {
    expectation: Expectation,
    probes: Vec<ClaimEvidence>,
    /// What its services logged, all in one.
    logs: String,
}

#[test]
fn every_scenario_is_seen_broken_and_healed() {
    let answers = answers(&Lab::start());
    assert!(answers.iter().any(|answer| answer.id == HEALTHY), "the catalogue says what healthy is");
    let telling = Telling::of(&answers);
    let key = AnswerKey::default();
    let lessons: Vec<_> = answers.into_iter().filter(|answer| answer.id != HEALTHY).collect();
    let lessons = Mutex::new(lessons.into_iter());
    let next = || lessons.lock().unwrap().next();
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let lab = start();
                let healthy = Healthy::see(&lab);
                while let Some(lesson) = next() {
                    let said = prove(&lab, &lesson, &healthy, &telling, &key);
                    wrong.lock().unwrap().extend(said.err());
                }
                telling.assert_untold(&lab);
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "diagnose must find every cause: {wrong:#?}");
    key.assert_kept();
}

fn start() -> Lab {
    let backend = env::var(BACKEND).unwrap_or_default();
    match backend.split_once(' ') {
        Some((otlp, tempo)) => Lab::start_with(&["--port-base", "0", "--otlp-endpoint", otlp, "--tempo", tempo]),
        None => Lab::start(),
    }
}

/// Every scenario with its answer.
pub(crate) fn answers(lab: &Lab) -> Vec<Scenario> {
    let briefs: Vec<ScenarioBrief> = lab.get("api/scenarios");
    briefs.iter().map(|brief| lab.get(&format!("api/scenarios/{}/answer", brief.id))).collect()
}

/// Proves all of one scenario; what `diagnose` gets wrong is returned, so that one run tells it of every scenario.
fn prove(lab: &Lab, lesson: &Scenario, healthy: &Healthy, telling: &Telling, key: &AnswerKey) -> Result<(), String> {
    let Scenario { id, fault, healed, .. } = lesson;
    let (id, control) = (id.as_str(), lesson.is_control());
    let Fault { cause, fixes, broken, logs, .. } =
        fault.as_ref().unwrap_or_else(|| panic!("{id} is not healthy, so it has a fault"));
    let healed = healed.as_ref().unwrap_or(&healthy.expectation);
    assert!(control || !fixes.is_empty(), "{id} is a fault, so there is a way to fix it");

    for evidence in &healthy.probes {
        assert!(!mismatches(broken, evidence).is_empty(), "{id}: a healthy chain shows the fault too");
    }

    lab.cli(&["scenario", "use", id]).ended(0, "all services apply it");
    let (code, report, probes) = lab.check(Some(id));
    assert_covered(lab, lesson, probes.last().expect("probes were sent"));
    uncover(lab);
    assert_eq!(code, i32::from(!control), "{id}: a fault ends check with 1, a control with 0: {report:#?}");
    for evidence in &probes {
        assert_holds(broken, evidence, &format!("{id}, broken"));
        telling.assert_untold_by(evidence.spans(), id);
    }
    for LogLine { service, contains } in logs {
        eventually(&format!("{id}: {service} logs `{contains}` while it is broken"), || {
            lab.log(service.name()).contains(contains).then_some(()).ok_or_else(|| lab.log(service.name()))
        });
        assert!(!healthy.logs.contains(contains), "{id}: a healthy chain logs `{contains}` too");
    }
    telling.assert_untold_at_the_door(lab, id);
    assert_checked_alike(lab, &report, healed, &format!("{id}, broken"));
    let weigh = |evidence: &ClaimEvidence| {
        // Of what was not sampled there is nothing to look at.
        let collected = match evidence.fragments.is_empty() {
            true => Collected { evidence: evidence.clone(), ..Collected::default() },
            false => lab.look(&evidence.claim_id).collected,
        };
        assert_answers_weighed(id, cause, &collected)
    };
    let mut judged: Vec<_> = probes.iter().map(weigh).collect();
    key.add(lesson, judged.pop().expect("probes were sent"));
    let answer = lab.cli(&["diagnose", "--json"]);
    let diagnosis: Diagnosis = answer.json();
    assert_diagnosed_alike(lab, &diagnosis, id);
    let diagnosed = diagnosed(&diagnosis, answer.code, cause, control).map_err(|wrong| format!("{id}: {wrong}"));
    assert_graded_alike(lab, id, cause, &diagnosis);

    for Fix { text, settings } in fixes {
        lab.cli(&["scenario", "use", id]).ended(0, "each fix is complete by itself, so it starts from the fault");
        uncover(lab);
        for (service, key, value) in settings.iter() {
            lab.cli(&["scenario", "set", service.name(), &format!("{key}={value}")]).ended(0, "all services apply it");
        }
        let (code, report, probes) = lab.check(Some(id));
        assert_eq!(code, 0, "{id}, fixed by `{text}`: {report:#?}");
        for evidence in &probes {
            assert_holds(healed, evidence, &format!("{id}, fixed by `{text}`"));
            assert!(!mismatches(broken, evidence).is_empty(), "{id}, fixed by `{text}`: the fault is seen still");
        }
        assert_checked_alike(lab, &report, healed, &format!("{id}, fixed by `{text}`"));
    }
    diagnosed
}

/// Whether `diagnose` says the cause: first of all, or, where it says that it infers, as another cause of the same
/// evidence. What only looks broken is nobody's fault.
fn diagnosed(diagnosis: &Diagnosis, code: i32, cause: &Cause, control: bool) -> Result<(), String> {
    let Diagnosis { first, sentence, outcome, .. } = diagnosis;
    let expected = (Some(cause.place), cause.kind.step());
    let right = match first {
        None => control && code == 0,
        Some(finding) => !control && code == 1 && says(finding, &expected),
    };
    if right { Ok(()) } else { Err(format!("not {expected:?} but {outcome:?}: {sentence} {first:#?}")) }
}

fn says(finding: &Finding, cause: &(Option<Place>, Option<Step>)) -> bool {
    let first = (finding.place, finding.step) == *cause;
    let others = finding.alternatives.iter().any(|other| (other.place, other.step) == *cause);
    first || (finding.inferred && others)
}

fn assert_holds(expectation: &Expectation, evidence: &ClaimEvidence, what: &str) {
    let mismatches: Vec<_> = mismatches(expectation, evidence).iter().map(Mismatch::to_string).collect();
    assert!(mismatches.is_empty(), "{what}: {mismatches:#?}\nseen: {:#?}", shapes(evidence));
}

// === impl Healthy ===

impl Healthy {
    fn see(lab: &Lab) -> Self {
        let answer: Scenario = lab.get(&format!("api/scenarios/{HEALTHY}/answer"));
        assert!(answer.fault.is_none(), "nothing is wrong with the healthy chain");
        let expectation = answer.healed.expect("the healthy scenario says what healthy is");
        lab.cli(&["scenario", "use", HEALTHY]).ended(0, "all services apply it");
        let (code, report, probes) = lab.check(Some(HEALTHY));
        assert_eq!(code, 0, "the healthy chain is healthy: {report:#?}");
        assert_checked_alike(lab, &report, &expectation, HEALTHY);
        for evidence in &probes {
            assert_holds(&expectation, evidence, "the healthy chain");
            assert_eq!(shapes(evidence), [one_trace()], "one claim, one trace");
        }
        let answer = lab.cli(&["diagnose", "--json"]).ended(0, "there is nothing to find");
        let Diagnosis { first, hops, inside, .. } = answer.json();
        assert_eq!(first, None, "nobody is blamed");
        let cells = hops.iter().flat_map(HopDiagnosis::cells).map(|(_, cell)| cell);
        for cell in cells.chain(inside.iter().map(|inside| &inside.used)) {
            let fine = matches!(cell.status, CellStatus::Ok | CellStatus::NotApplicable);
            assert!(fine, "every step of a healthy claim is known to succeed: {cell:?}");
        }
        let logs: String = Topology::LAB.services().map(|service| lab.log(service.name())).collect();
        assert!(logs.contains("claim accepted"), "the front door logs each claim");
        assert_plain(&logs);
        Self { expectation, probes, logs }
    }
}
