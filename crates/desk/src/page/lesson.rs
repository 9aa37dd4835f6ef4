//! Symptom, clock, hints, check, diagnose, reveal, and drills.

use ::chain::{Kind, Place};
use axum::extract::State;
use axum::response::Html;
use evidence::CellStatus;
use evidence::diagnose::Cell;
use evidence::{Diagnosis, Outcome};
use maud::{Markup, html};
use service::Problem;

use super::glossary::term;
use super::{Page, beginning, clock, encoded, minutes, part as as_part};
use crate::api::extract::InPath;
use crate::api::routes::Shared;
use crate::api::{CheckReport, CurrentDrill, DrillAnswer, DrillRecord, EndedDrill, LookQuery, ScenarioBrief};
use crate::drill::grading;
use crate::lab::Lab;

pub(super) async fn part(State(lab): Shared) -> Html<String> {
    as_part(state(&lab).await)
}

/// What is known of the active scenario, or of the drill.
pub(super) async fn state(lab: &Lab) -> Markup {
    let drills = lab.drill();
    html! {
        @match drills.current {
            Some(drill) => (drill_on(drill)),
            None => (match lab.current().await {
                Ok(scenario) => html! { @if let Some(scenario) = scenario { (lesson(lab, &scenario)) } },
                Err(problem) => html! { p.bad { (problem.detail) } },
            }),
        }
        (record(&drills.record, drills.last.as_ref()))
    }
}

fn lesson(lab: &Lab, scenario: &ScenarioBrief) -> Markup {
    html! {
        h3 { (scenario.title) " " span.quiet { (scenario.id) } }
        p { (scenario.symptom) }
        p { "Active for " (clock(lab.switched_unix_ms())) }
        @if !scenario.look.is_empty() {
            details #details-look {
                summary { "What to look at" }
                ul { @for look in &scenario.look { li { (look) } } }
            }
        }
        form data-post="/api/drill" data-into="lab-result" data-say="A drill is on. Find the place, and what happened there." data-wait="Hiding a scenario" {
            button.quiet { "Start a drill" }
        }
        @if !lab.drill().left_out.is_empty() {
            p.note { "A drill leaves out the scenarios that need a service of the lab's own where yours is." }
        }
    }
}

fn drill_on(drill: CurrentDrill) -> Markup {
    html! {
        h3 { "A " (term("drill", "drill")) " is on" }
        p { "A scenario was chosen at random, and the settings are hidden. Find the place, and what happened there." }
        p { "Time: " (clock(drill.started_unix_ms)) ". Wrong answers: " (drill.wrong_answers) ". Hints: " (drill.hints) "." }
        form.row data-post="/parts/answer" data-into="lab-result" data-wait="Sending probes and judging your answer" {
            div {
                label for="drill-place" { "Place" }
                select #drill-place name="place" required {
                    option value="" { "choose" }
                    @for place in grading::places() { option { (place) } }
                }
            }
            div {
                label for="drill-kind" { "What happened there" }
                select #drill-kind name="kind" required {
                    option value="" { "choose" }
                    @for kind in Kind::ALL { option value=(kind.name()) { (kind) } }
                }
            }
            button { "Answer" }
        }
        details #details-kinds {
            summary { "What the kinds mean" }
            dl { @for kind in Kind::ALL { dt { (kind) } dd { (kind.meaning()) } } }
        }
        p.note { "To diagnose, to reveal the answer or to switch scenarios ends the drill." }
    }
}

fn record(record: &DrillRecord, last: Option<&EndedDrill>) -> Markup {
    let seconds = |millis: u64| minutes(millis / 1000);
    html! {
        @if let Some(last) = last {
            p {
                "Last drill: " code { (last.scenario) } ", " (seconds(last.duration_ms)) ", score " (last.score) ". " (last.ending)
            }
            p {
                "Solved " (record.solved) ", not solved " (record.not_solved) ", score " (record.score)
                ", streak " (record.streak) " (best " (record.best_streak) ")"
                @if let Some(best) = record.best_ms { ", fastest " (seconds(best)) }
                "."
            }
        }
    }
}

/// The buttons are outside of the part that is refreshed, so that they keep the focus.
pub(super) fn actions() -> Markup {
    html! {
        div.row {
            form data-post="/parts/check" data-into="lab-result" data-wait="Sending probes and waiting for their spans, for 10 s at most" { button { "Check" } }
            form data-post="/parts/hint" data-into="lab-result" { button { "Hint" } }
            form data-post="/parts/diagnosis" data-into="lab-result" data-wait="Sending probes and waiting for their spans, for 10 s at most" { button { "Diagnose" } }
            form data-post="/parts/reveal" data-into="lab-result" { button.quiet { "Reveal" } }
        }
        div #lab-result.result aria-live="polite" {}
    }
}

pub(super) async fn check(State(lab): Shared) -> Html<String> {
    let report = lab.report(None, None).await;
    as_part(verdict(&report))
}

fn verdict(report: &CheckReport) -> Markup {
    html! {
        @if report.masked { p { strong.outcome { "NO VERDICT" } } } @else { p { (outcome(report.verdict.outcome)) } }
        p { (report.verdict.sentence) }
        @if !report.verdict.evidence.is_empty() { ul { @for sentence in &report.verdict.evidence { li { (sentence) } } } }
        p.quiet {
            "Probes: "
            @for id in report.probes.iter().filter_map(|probe| probe.claim_id.as_deref()) {
                a href=(format!("/claims/{}", encoded(id))) { code { (beginning(id, 12)) } } " "
            }
            "Waited " (report.waited_ms) " ms; spans that come later than " (report.deadline_ms / 1000) " s after the claims are not counted."
        }
    }
}

pub(super) async fn hint(State(lab): Shared) -> Page {
    let hint = lab.hint().await?;
    Ok(as_part(html! {
        @if hint.of > 0 { p.quiet { "Hint " (hint.number) " of " (hint.of) } }
        p { (hint.text) }
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
                    (fault.cause.text)
                    @for source in &fault.cause.sources { " " a href=(source) rel="noopener" { "source" } }
                }
                p { (fault.observed()) ":" }
                ul { @for observation in fault.observations() { li { (observation) } } }
                @if !fault.fixes.is_empty() { p { "How to fix it here:" } }
                @for fix in &fault.fixes {
                    p { (fix.text) }
                    ul { @for (service, key, value) in fix.settings.iter() { li { (service) " " code { (key) "=" (value) } } } }
                }
                @if !fault.practice.is_empty() { p { "How to fix it in other systems:" } }
                @for practice in &fault.practice {
                    p { strong { "In " (practice.stack) ": " } (practice.text) " " a href=(practice.source) rel="noopener" { "source" } }
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
        p { (diagnosis.sentence) }
        div.scroll role="region" aria-label="The four steps of every hop" tabindex="0" {
            table.steps {
                thead { tr { th scope="col" { "Hop" } th scope="col" { "Injected" } th scope="col" { "Survived" } th scope="col" { "Extracted" } th scope="col" { "Used" } } }
                tbody {
                    @for hop in &diagnosis.hops {
                        tr { th scope="row" { (hop.hop) } @for (_, one) in hop.cells() { (cell(one)) } }
                    }
                    @for inside in &diagnosis.inside {
                        tr { th scope="row" { "inside " (inside.service) } td {} td {} td {} (cell(&inside.used)) }
                    }
                }
            }
        }
        @for finding in diagnosis.findings() {
            p { strong { (place(finding.place)) } @if diagnosis.first.as_ref() == Some(finding) { " (where it breaks first)" } ": " (finding.sentence) }
            @if !finding.alternatives.is_empty() {
                p { "Other causes leave the same evidence:" }
                ul { @for other in &finding.alternatives { li { (place(other.place)) ": " (other.sentence) } } }
            }
        }
        @if !diagnosis.undecided.is_empty() { ul.quiet { @for sentence in &diagnosis.undecided { li { (sentence) } } } }
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

fn outcome(outcome: Outcome) -> Markup {
    let (class, word) = match outcome {
        Outcome::Healthy => ("good", "HEALTHY"),
        Outcome::NotAPropagationBreak => ("good", "NOT A PROPAGATION BREAK"),
        Outcome::Broken => ("bad", "BROKEN"),
        Outcome::Leaking => ("bad", "LEAKING"),
        Outcome::CannotTell => ("unsure", "CANNOT TELL"),
    };
    html! { strong.outcome.(class) { (word) } }
}

pub(super) async fn answer(State(lab): Shared, answer: DrillAnswer) -> Result<Html<String>, Problem> {
    let judgement = lab.answer_drill(&answer).await?;
    Ok(as_part(html! {
        p { @match judgement.correct {
            Some(true) => strong.outcome.good { "Correct" },
            Some(false) => strong.outcome.bad { "Incorrect" },
            None => strong.outcome.unsure { "Too early" },
        } }
        @for sentence in &judgement.evidence { p { (sentence) } }
        @if judgement.correct == Some(true) && let Some(last) = &judgement.drill.last {
            p { "It was " code { (last.scenario) } ": score " (last.score) " in " (minutes(last.duration_ms / 1000)) ". It is still active: now fix it." }
        }
    }))
}
