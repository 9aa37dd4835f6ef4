//! `drill`: a hidden scenario, answered with the place and what happened there.

use std::process::ExitCode;
use std::time::Duration;

use desk::api::{DrillAnswer, DrillRequest, DrillStatus, EndedDrill, Judgement, ScenarioBrief};

use crate::cli;
use crate::commands::{BAD, BOLD, DIM, GOOD, print_json, print_wrapped, waiting};
use crate::lab_file::DeskClient;

pub(crate) async fn drill(lab: &cli::Lab, command: cli::Drill) -> anyhow::Result<ExitCode> {
    let desk = DeskClient::find(lab)?;
    match command {
        cli::Drill::Start { scenarios, json } => {
            let scenarios = (!scenarios.is_empty()).then_some(scenarios);
            let request = DrillRequest { scenarios };
            if !json.json {
                print_left_out(&desk.get("api/drill").await?);
            }
            let status: DrillStatus = waiting("hiding a scenario", desk.post("api/drill", &request)).await?;
            print_status(&status, json)
        }
        cli::Drill::Status(json) => print_status(&desk.get("api/drill").await?, json),
        cli::Drill::Answer { place, kind, json } => {
            let answer = DrillAnswer { place: spaced(&place), kind };
            let judgement: Judgement = waiting("judging", desk.post("api/drill/answer", &answer)).await?;
            if json.json {
                print_json(&judgement)?;
            } else {
                print_judgement(&judgement);
                if judgement.correct == Some(true)
                    && let Some(last) = &judgement.drill.last
                {
                    let scenario: ScenarioBrief = desk.get(&format!("api/scenarios/{}", last.scenario)).await?;
                    print_solved(&scenario, last);
                }
            }
            Ok(ExitCode::from(match judgement.correct {
                Some(true) => 0,
                Some(false) => 1,
                None => 2,
            }))
        }
    }
}

/// `a->b` is easier to type than `a -> b`.
fn spaced(place: &str) -> String {
    place.split("->").map(str::trim).collect::<Vec<_>>().join(" -> ")
}

fn print_judgement(judgement: &Judgement) {
    let (style, word) = match judgement.correct {
        Some(true) => (GOOD, "Correct"),
        Some(false) => (BAD, "Incorrect"),
        None => (DIM, "Not judged"),
    };
    anstream::println!("{style}{word}{style:#}");
    for sentence in &judgement.evidence {
        print_wrapped("- ", sentence);
    }
}

fn print_solved(scenario: &ScenarioBrief, drill: &EndedDrill) {
    anstream::println!(
        "It was “{}” ({BOLD}{}{BOLD:#}): score {} in {}",
        scenario.title,
        drill.scenario,
        drill.score,
        minutes(drill.duration_ms)
    );
    anstream::println!("{DIM}it stays active; `reveal` explains it, and `check` tells whether a fix works{DIM:#}");
}

fn print_left_out(status: &DrillStatus) {
    if !status.left_out.is_empty() {
        let why = "left out, since they need a service of the lab's own where yours is";
        print_wrapped("", &format!("{why}: {}", status.left_out.join(", ")));
    }
}

fn print_status(status: &DrillStatus, json: cli::Json) -> anyhow::Result<ExitCode> {
    if json.json {
        return print_json(status);
    }
    match &status.current {
        Some(drill) => {
            let time = minutes(drill.age_ms());
            anstream::println!(
                "{BOLD}a drill has been on{BOLD:#} for {time} (minutes:seconds): find the place, and what happened there"
            );
            anstream::println!("wrong answers {}, hints {}", drill.wrong_answers, drill.hints);
        }
        None => anstream::println!("no drill is on"),
    }
    print_left_out(status);
    if let Some(last) = &status.last {
        anstream::println!("{DIM}last: {}, score {}. {}{DIM:#}", last.scenario, last.score, last.ending);
    }
    let record = &status.record;
    anstream::println!(
        "solved {}, not solved {}, score {}, streak {} (best {})",
        record.solved,
        record.not_solved,
        record.score,
        record.streak,
        record.best_streak
    );
    Ok(ExitCode::SUCCESS)
}

fn minutes(millis: u64) -> String {
    let seconds = Duration::from_millis(millis).as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
