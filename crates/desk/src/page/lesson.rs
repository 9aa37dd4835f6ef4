//! The rail beside every page: a lesson or a drill in five steps, from symptom to proof; and the bar below it, with what
//! is always in reach.

use ::chain::{Kind, Place};
use axum::extract::State;
use axum::response::Html;
use evidence::CellStatus;
use evidence::diagnose::Cell;
use evidence::{Diagnosis, Outcome};
use maud::{Markup, html};
use scenario::file::source_name;
use service::Problem;

use super::glossary::{inline, term};
use super::{Page, beginning, claims, clock, encoded, minutes, part as as_part};
use crate::api::extract::InPath;
use crate::api::routes::Shared;
use crate::api::{
    CheckReport, ClaimRow, CurrentDrill, DrillAnswer, DrillRecord, EndedDrill, Judgement, LookQuery, ScenarioBrief,
};
use crate::drill::{Lesson, grading};
use crate::lab::Lab;

/// The steps of a lesson, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Symptom,
    Look,
    Hypothesis,
    Fix,
    Proof,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The learner has not done it, or not yet.
    Open,
    /// The lesson goes on without it: the hypothesis was incorrect or left out, or there is nothing to fix.
    Passed,
    Done,
}

/// What became of each step of a lesson or of a drill.
struct Rail([(Stage, Progress); 5]);

pub(super) async fn part(State(lab): Shared) -> Html<String> {
    as_part(state(&lab).await)
}

/// What is known of the active scenario, or of the drill. The script reads from it what has to be asked first.
pub(super) async fn state(lab: &Lab) -> Markup {
    let drills = lab.drill();
    let (record, in_drill, is_covered) =
        (record(&drills.record, drills.last.as_ref()), drills.current.is_some(), lab.is_covered());
    html! {
        div.lesson data-in-drill[in_drill] data-covered[is_covered] {
            @match (drills.current, lab.lesson()) {
                (Some(drill), _) => (in_a_drill(lab, drill)),
                (None, Some(lesson)) => (match lab.current().await {
                    Ok(Some(scenario)) => in_a_lesson(lab, &scenario, &lesson).await,
                    Ok(None) => html! {},
                    Err(problem) => html! { p.bad { (problem.detail) } },
                }),
                (None, None) => (no_lesson(lab).await),
            }
            (record)
        }
        @if !lab.drill().left_out.is_empty() {
            p.note { "A drill leaves out the scenarios that need a service of the lab's own where yours is." }
        }
    }
}

async fn no_lesson(lab: &Lab) -> Markup {
    html! {
        h2 #lesson-title tabindex="-1" { "No lesson is on" }
        @match lab.current().await {
            Ok(Some(scenario)) => p { (inline(&scenario.symptom)) },
            Ok(None) => {},
            Err(problem) => p.bad { (problem.detail) },
        }
        p { a href="/#scenarios" { "Choose a scenario" } ", or find out what is wrong in a hidden one:" }
        (start_drill())
    }
}

fn start_drill() -> Markup {
    html! {
        form data-post="/api/drill" data-into="lab-result" data-say="A drill is on. Find the place, and what happened there." data-wait="Hiding a scenario" data-then="lesson-title" {
            button.quiet #start-drill { "Start a drill" }
        }
    }
}

fn in_a_drill(lab: &Lab, drill: CurrentDrill) -> Markup {
    let has_claims = lab.has_claims_since(drill.started_unix_ms);
    let rail = Rail::new(Progress::done(lab.is_looked_at()), Progress::Open, Progress::Open, Progress::Open);
    html! {
        h2 #lesson-title tabindex="-1" { "A " (term("drill", "drill")) " is on" }
        p { "Time: " (clock(drill.started_unix_ms)) ". Wrong answers: " (drill.wrong_answers) ". Hints: " (drill.hints) "." }
        ol.stages {
            (rail.step(Stage::Symptom, true, &html! {
                p { "A scenario was chosen at random, and the settings are hidden. Find the place, and what happened there. It may only look broken." }
            }))
            (rail.step(Stage::Look, true, &look(&[], has_claims)))
            (rail.step(Stage::Hypothesis, true, &html! { (answer_form("/parts/answer", "Answer")) (answers(lab)) }))
            (rail.step(Stage::Fix, false, &html! { p { "Once your answer is correct." } }))
            (rail.step(Stage::Proof, false, &html! { p { "Check says HEALTHY when the claims are." } }))
        }
    }
}

async fn in_a_lesson(lab: &Lab, scenario: &ScenarioBrief, lesson: &Lesson) -> Markup {
    let has_claims = lab.has_claims_since(lesson.started_unix_ms);
    let is_covered = !lesson.is_uncovered;
    let pair = lab.before_and_after(lesson).filter(|_| !is_covered);
    let control = lab.why_control().await.filter(|_| !is_covered);
    let rail = Rail::new(
        Progress::done(lesson.is_looked_at),
        match &lesson.hypothesis {
            _ if is_covered => Progress::Open,
            Some(said) if said.is_correct => Progress::Done,
            _ => Progress::Passed,
        },
        if control.is_some() { Progress::Passed } else { Progress::done(pair.is_some() || lesson.is_proved) },
        Progress::done(lesson.is_proved),
    );
    let (to_fix, to_prove) = (rail.at() == Some(Stage::Fix), rail.at() == Some(Stage::Proof));
    html! {
        h2 #lesson-title tabindex="-1" { (scenario.title) }
        p { "Active for " (clock(lesson.started_unix_ms)) "." @if !is_covered { " " span.quiet { "This scenario is " code { (scenario.id) } "." } } }
        ol.stages {
            (rail.step(Stage::Symptom, is_covered, &html! { p { (inline(&scenario.symptom)) } }))
            (rail.step(Stage::Look, is_covered, &look(&scenario.look, has_claims)))
            (rail.step(Stage::Hypothesis, is_covered && has_claims, &html! {
                @if !is_covered { (committed(lab, lesson)) }
                @else if lab.is_locked() {
                    p { "An instructor has locked the answers, so no hypothesis is judged here. Write yours down, then show the colours." }
                    (skip("Show colours and verdict"))
                } @else { (answer_form("/parts/hypothesis", "Commit to this")) (skip("Give up: show colours and settings")) (answers(lab)) }
            }))
            (rail.step(Stage::Fix, to_fix, &html! { (fix(lab, is_covered, control)) @if !is_covered && !lesson.is_proved { (answers(lab)) } }))
            (rail.step(Stage::Proof, to_prove || lesson.is_proved, &html! {
                @if let Some((before, after)) = &pair { (before_and_after(lab, before, after).await) }
                @if lesson.is_proved { (proved(lab, lesson)) }
                @else if let Some(why) = control { p { (proof_of_control(why)) } }
                @else { p { "Press Check: it sends three claims and judges their spans." } }
            }))
        }
        (start_drill())
    }
}

fn look(look: &[String], has_claims: bool) -> Markup {
    html! {
        @if look.is_empty() {
            p { "Send a claim. In how many traces are its spans? Where does each trace begin? At every hop, compare what was sent with what was received." }
        } @else {
            ul { @for look in look { li { (inline(look)) } } }
        }
        @if has_claims { p { a #newest-claim href="/claims/last" { "Look at the newest claim" } } } @else { p { "Send a claim first." } }
        form data-post="/parts/hint" data-into="lab-result" { button.quiet #hint { "Hint" } }
    }
}

fn answer_form(post: &str, button: &str) -> Markup {
    html! {
        form.answer data-post=(post) data-into="lab-result" data-wait="Judging your answer by the newest claim" {
            label for="drill-place" { "Place" }
            select #drill-place name="place" required {
                option value="" { "choose" }
                @for place in grading::places() { option { (place) } }
            }
            label for="drill-kind" { "What happened there" }
            select #drill-kind name="kind" required {
                option value="" { "choose" }
                @for kind in Kind::ALL { option value=(kind.name()) { (kind) } }
            }
            button #answer { (button) }
        }
        details #details-kinds {
            summary { "The four steps, and what else it may be" }
            p { "As the " (term("glossary", "the-four-steps")) " has them:" }
            dl { @for kind in Kind::ALL { dt { (kind.name()) } dd { (kind.meaning()) } } }
        }
    }
}

/// Not everyone is here to learn.
fn skip(button: &str) -> Markup {
    html! {
        form data-post="/parts/uncover" data-into="lab-result" { button.quiet #uncover { (button) } }
    }
}

/// What shows the answer.
fn answers(lab: &Lab) -> Markup {
    html! {
        @if lab.is_locked() { p.quiet { "An instructor has locked Diagnose and Reveal." } }
        @else { div.row {
            form data-post="/parts/diagnosis" data-into="lab-result" data-wait="Sending probes and waiting for their spans, for 10 s at most" { button.quiet #diagnose { "Diagnose" } }
            form data-post="/parts/reveal" data-into="lab-result" { button.quiet #reveal { "Reveal" } }
        } }
    }
}

fn committed(lab: &Lab, lesson: &Lesson) -> Markup {
    html! {
        @match &lesson.hypothesis {
            Some(said) => {
                p { "Yours: " strong { (said.answer) } ". " @if said.is_correct { span.good { "Correct." } } @else { span.bad { "Incorrect." } } }
                @if !said.evidence.is_empty() {
                    details #details-reply { summary { "Why" } @for sentence in &said.evidence { p { (inline(sentence)) } } }
                }
            },
            None if lab.is_locked() => p.quiet { "None was judged: the answers are locked." },
            None => p.quiet { "You went on without one." },
        }
    }
}

/// How to see that nothing is broken.
fn proof_of_control(why: Kind) -> &'static str {
    match why {
        Kind::Late => {
            "Send a claim, wait for longer than the slowest exporter does, and look at it again: nothing is missing any more. Then \
             press Check: it shows that no hop is broken."
        }
        _ => "Press Check: it sends three claims, and shows that no hop is broken.",
    }
}

fn fix(lab: &Lab, is_covered: bool, control: Option<Kind>) -> Markup {
    html! {
        @if is_covered { p { "First commit to a hypothesis: until then the settings are covered." } }
        @else {
            @if control.is_some() { p { "Propagation is not broken here, so there is nothing to fix." } }
            @else {
                p {
                    "Change the " a href="/#settings" { "settings" } " until Check says HEALTHY."
                    @if !lab.is_locked() { " Diagnose names the place; Reveal lists the ways to fix it." }
                }
            }
        }
    }
}

/// The end of a lesson, and the ways on.
fn proved(lab: &Lab, lesson: &Lesson) -> Markup {
    html! {
        p.good { "Check has proved it." }
        // Here, and no longer in the step before.
        (answers(lab))
        @match lab.next_lesson(&lesson.scenario) {
            Some(next) => form data-post="/api/settings/use" data-into="lab-result" data-say=(format!("“{}” is active.", next.title)) data-then="lesson-title" data-wait="Waiting until all services have applied it" {
                input type="hidden" name="id" value=(next.id);
                button #next-lesson { "Next lesson: " (next.title) }
            },
            None => p { "You have proved every lesson of this lab." },
        }
        form data-post="/api/settings/reset" data-into="lab-result" data-say="The healthy scenario is active." data-wait="Waiting until all services have applied it" data-then="lesson-title" {
            button.quiet #back-to-healthy { "Back to healthy" }
        }
    }
}

async fn before_and_after(lab: &Lab, before: &ClaimRow, after: &ClaimRow) -> Markup {
    let id = |row: &ClaimRow| row.claim.claim_id.clone().unwrap_or_default();
    // The counts are often the same, as where only baggage was lost.
    let what = async |row: &ClaimRow| lab.sentence(&id(row)).await.filter(|_| !lab.is_locked());
    let (was, is) = (what(before).await, what(after).await);
    let side = |heading: &str, row: &ClaimRow, what: Option<String>| {
        html! {
            div {
                h3 { (heading) }
                p { a href=(format!("/claims/{}", encoded(&id(row)))) { code { (beginning(&id(row), 12)) } } }
                @if let Some(seen) = &row.seen {
                    p { (claims::glyph(&seen.fragments)) }
                    p { (seen.traces) @if seen.traces == 1 { " trace" } @else { " traces" } @if seen.whole { ", healthy" } @else { ", not healthy" } }
                }
                @if let Some(what) = &what { p.quiet { (inline(what)) } }
            }
        }
    };
    html! {
        div.before-after { (side("Before", before, was)) (side("After", after, is)) }
        p { a #compare-proof href=(format!("/claims/{}?with={}#compared", encoded(&id(before)), encoded(&id(after)))) { "Compare them span by span" } }
    }
}

fn record(record: &DrillRecord, last: Option<&EndedDrill>) -> Markup {
    let seconds = |millis: u64| minutes(millis / 1000);
    html! {
        @if let Some(last) = last {
            div.record.quiet {
                p { "Last drill: " code { (last.scenario) } ", " (seconds(last.duration_ms)) ", score " (last.score) ". " (last.ending) }
                p {
                    "Solved " (record.solved) ", not solved " (record.not_solved) ", score " (record.score)
                    ", streak " (record.streak) " (best " (record.best_streak) ")"
                    @if let Some(best) = record.best_ms { ", fastest " (seconds(best)) }
                    "."
                }
            }
        }
    }
}

/// What is always in reach. It is outside of the parts that are refreshed, so that buttons keep the focus.
pub(super) fn bar() -> Markup {
    html! {
        section.actions aria-label="Actions and their results" {
            div.drawer {
                button.quiet #close-result type="button" { "Close" }
                div #lab-result.result role="region" aria-label="Result" aria-live="polite" tabindex="0" {}
            }
            div.row {
                form data-post="/api/claims" data-into="claims-result" data-wait="Sending" { button #send-claim { "Send a claim" } }
                form data-post="/parts/check" data-into="lab-result" data-wait="Sending probes and waiting for their spans, for 10 s at most" { button #check { "Check" } }
                p #claims-result aria-live="polite" {}
            }
        }
    }
}

pub(super) async fn check(State(lab): Shared) -> Page {
    let (report, is_proof) = lab.check_lesson().await?;
    let is_control = is_proof.is_some() && lab.why_control().await.is_some();
    Ok(as_part(verdict(&report, is_proof, is_control)))
}

/// `is_proof`: whether it proves the lesson that is on and uncovered; `None` without one.
fn verdict(report: &CheckReport, is_proof: Option<bool>, is_control: bool) -> Markup {
    let looks_healed = matches!(report.verdict.outcome, Outcome::Healthy | Outcome::NotAPropagationBreak);
    html! {
        @if report.masked { p { strong.outcome { "NO VERDICT" } } }
        @else if is_proof == Some(true) { p { (outcome_as(report.verdict.outcome, "good")) " " span.good { @if is_control { "This proves that nothing is to be fixed." } @else { "This proves the fix." } } } }
        @else { p { (outcome(report.verdict.outcome)) } }
        p { (inline(&report.verdict.sentence)) }
        @if is_proof == Some(false) && looks_healed {
            p { strong { "The lesson is not fixed." } " Check finds no propagation break now, but the claims differ from those of a healthy chain:" }
            ul { @for difference in &report.unmet { li { (inline(difference)) } } }
        }
        @if !report.verdict.evidence.is_empty() { ul { @for sentence in &report.verdict.evidence { li { (inline(sentence)) } } } }
        p.quiet {
            "Probes: "
            @for id in report.probes.iter().filter_map(|probe| probe.claim_id.as_deref()) {
                a href=(format!("/claims/{}", encoded(id))) { code { (beginning(id, 12)) } } " "
            }
            "Check waited " (report.waited_ms) " ms for spans; it waits " (report.deadline_ms / 1000) " s at most."
        }
    }
}

pub(super) async fn hint(State(lab): Shared) -> Page {
    let hint = lab.hint().await?;
    Ok(as_part(html! {
        @if hint.of > 0 { p.quiet { "Hint " (hint.number) " of " (hint.of) } }
        p { (inline(&hint.text)) }
    }))
}

pub(super) async fn reveal(State(lab): Shared) -> Page {
    let scenario = lab.reveal().await?;
    Ok(as_part(html! {
        h3 { (scenario.title) }
        @match &scenario.fault {
            None => p { "Nothing is broken on purpose." },
            Some(fault) => {
                p { strong { (fault.cause.place) ", " (fault.cause.kind) } }
                p {
                    (inline(&fault.cause.text))
                    @for source in &fault.cause.sources { " " a href=(source) rel="noopener" { (source_name(source)) } }
                }
                p { (fault.observed()) ":" }
                ul { @for observation in fault.observations() { li { (inline(&observation)) } } }
                @if !fault.fixes.is_empty() { p { "How to fix it here:" } }
                @for (at, fix) in fault.fixes.iter().enumerate() {
                    p { @if at > 0 { strong { "Or: " } } (inline(&fix.text)) }
                    ul { @for (service, key, value) in fix.settings.iter() { li { (service) " " code { (key) "=" (value) } } } }
                }
                @if !fault.practice.is_empty() { p { "How to fix it in other systems:" } }
                @for practice in &fault.practice {
                    p { strong { (practice.stack) ": " } (inline(&practice.text)) " " a href=(practice.source) rel="noopener" { (source_name(&practice.source)) } }
                    @if let Some(code) = &practice.code { pre { code { (code.trim_matches('\n')) } } }
                }
            }
        }
    }))
}

pub(super) async fn diagnose(State(lab): Shared) -> Page {
    Ok(as_part(four_steps(&lab.diagnose_probe().await?)))
}

pub(super) async fn diagnose_claim(State(lab): Shared, InPath(id): InPath<String>) -> Page {
    Ok(as_part(four_steps(&lab.diagnose_claim(&id, LookQuery::default()).await?)))
}

fn four_steps(diagnosis: &Diagnosis) -> Markup {
    html! {
        p { (outcome(diagnosis.outcome)) }
        p { (inline(&diagnosis.sentence)) }
        div.scroll role="region" aria-label="The four steps of every hop" tabindex="0" {
            table.steps {
                thead { tr { th scope="col" { "Hop" } th scope="col" { "Injected" } th scope="col" { "Survived" } th scope="col" { "Extracted" } th scope="col" { "Used" } } }
                tbody {
                    @for hop in &diagnosis.hops {
                        tr { th scope="row" { (super::hop_name(hop.hop)) } @for (_, one) in hop.cells() { (cell(one)) } }
                    }
                    @for inside in &diagnosis.inside {
                        tr { th scope="row" { "inside " (inside.service) } td {} td {} td {} (cell(&inside.used)) }
                    }
                }
            }
        }
        @for finding in diagnosis.findings() {
            p { strong { (place(finding.place)) } @if diagnosis.first.as_ref() == Some(finding) { " (where it breaks first)" } ": " (inline(&finding.sentence)) }
            @if !finding.alternatives.is_empty() {
                p { "Or one of these, which leave the same evidence:" }
                ul { @for other in &finding.alternatives { li { (place(other.place)) ": " (inline(&other.sentence)) } } }
            }
        }
        @if !diagnosis.undecided.is_empty() { ul.quiet { @for sentence in &diagnosis.undecided { li { (inline(sentence)) } } } }
    }
}

fn place(place: Option<Place>) -> String {
    place.map_or_else(|| "elsewhere".to_owned(), |place| place.to_string())
}

fn cell(cell: &Cell) -> Markup {
    let (class, word) = match cell.status {
        CellStatus::Ok => ("good", "yes"),
        CellStatus::Failed => ("bad", "NO"),
        CellStatus::Unknown => ("unsure", "?"),
        CellStatus::NotApplicable => ("quiet", "–"),
    };
    html! { td.(class) title=(cell.reason) { (word) } }
}

/// Green only where nothing is left to be explained.
fn outcome(outcome: Outcome) -> Markup {
    outcome_as(
        outcome,
        match outcome {
            Outcome::Healthy => "good",
            Outcome::NotAPropagationBreak | Outcome::CannotTell => "unsure",
            Outcome::Broken | Outcome::Leaking => "bad",
        },
    )
}

fn outcome_as(outcome: Outcome, class: &str) -> Markup {
    let word = match outcome {
        Outcome::Healthy => "HEALTHY",
        Outcome::NotAPropagationBreak => "NOT A PROPAGATION BREAK",
        Outcome::Broken => "BROKEN",
        Outcome::Leaking => "LEAKING",
        Outcome::CannotTell => "CANNOT TELL",
    };
    html! { strong.outcome.(class) { (word) } }
}

/// The answer to a drill.
pub(super) async fn answer(State(lab): Shared, answer: DrillAnswer) -> Result<Html<String>, Problem> {
    let judgement = lab.answer_drill(&answer).await?;
    let control = lab.why_control().await;
    Ok(as_part(html! {
        (judged(&judgement))
        @if judgement.correct == Some(true) && let Some(last) = &judgement.drill.last {
            p { "It was " code { (last.scenario) } ": score " (last.score) " in " (minutes(last.duration_ms / 1000)) ". It is still active" @if control.is_some() { ", and there is nothing to fix." } @else { ": now fix it." } }
        }
    }))
}

/// The hypothesis of a lesson.
pub(super) async fn hypothesis(State(lab): Shared, answer: DrillAnswer) -> Result<Html<String>, Problem> {
    let judgement = lab.hypothesize(&answer).await?;
    let control = lab.why_control().await;
    Ok(as_part(html! {
        (judged(&judgement))
        @match (judgement.correct, control) {
            (Some(true), Some(why)) => p { "So there is nothing to fix. " (proof_of_control(why)) },
            (Some(true), None) => p { "Now fix it, and prove that it is fixed." },
            (Some(false), _) => p { "Colours, verdict and settings are shown now. Look again; Diagnose names the place." },
            (None, _) => {},
        }
    }))
}

fn judged(judgement: &Judgement) -> Markup {
    html! {
        p { @match judgement.correct {
            Some(true) => strong.outcome.good { "Correct" },
            Some(false) => strong.outcome.bad { "Incorrect" },
            None => strong.outcome.unsure { "Not judged" },
        } }
        @for sentence in &judgement.evidence { p { (inline(sentence)) } }
    }
}

pub(super) async fn uncover(State(lab): Shared) -> Page {
    lab.uncover(None)?;
    Ok(as_part(html! {
        @if lab.is_locked() { p { "Colours and verdict of this lesson are shown; its settings are locked." } }
        @else { p { "Colours, verdict and settings of this lesson are shown." } }
    }))
}

// === impl Stage ===

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Symptom => "Symptom",
            Self::Look => "Look",
            Self::Hypothesis => "Hypothesis",
            Self::Fix => "Fix",
            Self::Proof => "Proof",
        }
    }
}

// === impl Progress ===

impl Progress {
    const fn done(is_done: bool) -> Self {
        if is_done { Self::Done } else { Self::Open }
    }
}

// === impl Rail ===

impl Rail {
    /// The symptom is shown above the other steps, so it is read.
    const fn new(look: Progress, hypothesis: Progress, fix: Progress, proof: Progress) -> Self {
        Self([
            (Stage::Symptom, Progress::Done),
            (Stage::Look, look),
            (Stage::Hypothesis, hypothesis),
            (Stage::Fix, fix),
            (Stage::Proof, proof),
        ])
    }

    /// The step to take now: the one after all that were taken. None at the end.
    fn at(&self) -> Option<Stage> {
        let left = self.0.iter().rev().take_while(|(_, progress)| *progress == Progress::Open);
        left.last().map(|(stage, _)| *stage)
    }

    /// One step. Its id changes when the lesson moves on, so that the script does not leave it as it was before.
    fn step(&self, stage: Stage, is_open: bool, content: &Markup) -> Markup {
        let (at, name) = (self.at(), stage.name());
        let progress = self.0.iter().find(|(it, _)| *it == stage).map_or(Progress::Open, |(_, progress)| *progress);
        let here = at == Some(stage);
        let state = match progress {
            Progress::Done => "done",
            Progress::Passed => "passed",
            Progress::Open if here => "now",
            Progress::Open => "open",
        };
        html! {
            li.(state) aria-current=[here.then_some("step")] {
                details #(format!("stage-{name}-{}{}", at.map_or("end", Stage::name), if is_open { "-open" } else { "" })) open[is_open] {
                    summary { (name) @if progress == Progress::Done { span.hidden { ", done" } } }
                    (content)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_to_take_is_the_one_after_all_that_were_taken() {
        use Progress::{Done, Open, Passed};
        let table = [
            ((Open, Open, Open, Open), Some(Stage::Look), "the symptom is read"),
            ((Done, Open, Open, Open), Some(Stage::Hypothesis), "a claim was opened"),
            ((Open, Done, Open, Open), Some(Stage::Fix), "no claim was opened, and none has to be any more"),
            ((Done, Passed, Open, Open), Some(Stage::Fix), "the hypothesis was incorrect"),
            ((Done, Done, Passed, Open), Some(Stage::Proof), "there is nothing to fix"),
            ((Done, Done, Done, Done), None, "all is proved"),
        ];
        for ((look, hypothesis, fix, proof), at, why) in table {
            assert_eq!(Rail::new(look, hypothesis, fix, proof).at(), at, "{why}");
        }
    }
}
