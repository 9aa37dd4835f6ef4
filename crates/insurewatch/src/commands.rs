//! The commands that ask the desk: what they print, and how they end.

use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use chain::Topology;
use desk::api::{
    CheckEvent, CheckReport, CheckRequest, ClaimEvent, ClaimReport, ClaimsRequest, Hint, ScenarioBrief, SentClaim,
    SetRequest, Status, UseRequest,
};
use evidence::CellStatus;
use evidence::diagnose::HopDiagnosis;
use evidence::{Diagnosis, Outcome, Reading};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use scenario::Scenario;
use scenario::file::{Fault, Practice};
use serde::Serialize;

use crate::cli;
use crate::lab_file::DeskClient;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
const UNSURE: Style = AnsiColor::Yellow.on_default().bold();
/// After the title of a scenario that services in seats cannot show.
const NEEDS_OURS: &str = " (needs a service of the lab's own where yours is)";

pub(crate) async fn scenario(lab: &cli::Lab, command: cli::Scenario) -> anyhow::Result<ExitCode> {
    let desk = DeskClient::find(lab)?;
    match command {
        cli::Scenario::List(json) => {
            let scenarios: Vec<ScenarioBrief> = desk.get("api/scenarios").await?;
            if json.json {
                return print_json(&scenarios);
            }
            let mut group = None;
            for scenario in scenarios {
                if group.replace(scenario.group) != Some(scenario.group) {
                    anstream::println!("{BOLD}{}{BOLD:#}", scenario.group.heading());
                }
                let note = if scenario.needs_ours { NEEDS_OURS } else { "" };
                anstream::println!("  {:<28} {}{DIM}{note}{DIM:#}", scenario.id, scenario.title);
            }
        }
        cli::Scenario::Show { id, answer: true, .. } => {
            return print_json(&desk.get::<serde_json::Value>(&format!("api/scenarios/{id}/answer")).await?);
        }
        cli::Scenario::Show { id, json, .. } => {
            let scenario: ScenarioBrief = desk.get(&format!("api/scenarios/{id}")).await?;
            if json.json {
                return print_json(&scenario);
            }
            anstream::println!("{BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}", scenario.title, scenario.topic);
            print_wrapped("", &scenario.symptom);
            for look in &scenario.look {
                print_wrapped("- ", look);
            }
        }
        cli::Scenario::Use { id, json } => {
            let status = switching(desk.post("api/settings/use", &UseRequest { id })).await?;
            return print_switched(&status, json);
        }
        cli::Scenario::Set { service, assignment: (key, value), json } => {
            let status = switching(desk.post("api/settings/set", &SetRequest { service, key, value })).await?;
            return print_status(&status, json);
        }
        cli::Scenario::Reset(json) => {
            let status = switching(desk.post("api/settings/reset", &serde_json::Value::Null)).await?;
            return print_switched(&status, json);
        }
        cli::Scenario::Status(json) => return print_status(&desk.get("api/settings").await?, json),
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn claim(lab: &cli::Lab, options: cli::Claim) -> anyhow::Result<ExitCode> {
    let desk = DeskClient::find(lab)?;
    let baggage = (!options.baggage.is_empty()).then(|| options.baggage.join(","));
    let request =
        ClaimsRequest { count: options.count, per_second: options.rate, traceparent: options.traceparent, baggage };
    let bar = progress_bar(options.count, options.json.json);
    let mut claims = Vec::new();
    let mut ended = None;
    desk.lines("api/claims", &request, |event| match event {
        ClaimEvent::Claim(claim) => {
            bar.inc(1);
            if !options.json.json {
                bar.suspend(|| print_claim(&claim));
            }
            claims.push(claim);
        }
        ClaimEvent::Done { accepted, failed } => ended = Some((accepted, failed)),
    })
    .await?;
    bar.finish_and_clear();
    let (accepted, failed) = ended.context("the desk closed the connection before every claim was answered")?;
    if options.json.json {
        print_json(&serde_json::json!({ "accepted": accepted, "failed": failed, "claims": claims }))?;
    } else if options.count > 1 {
        anstream::println!("{accepted} accepted, {failed} failed");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn trace(lab: &cli::Lab, options: cli::Trace) -> anyhow::Result<ExitCode> {
    let desk = DeskClient::find(lab)?;
    let id = options.id.unwrap_or_else(|| "last".to_owned());
    let path = format!("api/claims/{id}");
    let report = match waiting("waiting for spans", desk.find_one::<ClaimReport>(&path)).await? {
        Ok(report) => report,
        Err(problem) => {
            anstream::eprintln!("insurewatch: {}", problem.detail);
            return Ok(ExitCode::FAILURE);
        }
    };
    if options.json.json {
        return print_json(&report);
    }
    let drawing = if options.ledger { evidence::render_ledger } else { evidence::render };
    anstream::print!("{}", draw(&report, drawing));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn check(lab: &cli::Lab, options: cli::Check) -> anyhow::Result<ExitCode> {
    let desk = DeskClient::find(lab)?;
    let spinner = spinner("waiting for the desk");
    let mut report = None;
    desk.lines("api/checks", &CheckRequest { id: options.id }, |event| match event {
        CheckEvent::Progress(text) => spinner.set_message(text),
        CheckEvent::Report(found) => report = Some(found),
    })
    .await?;
    spinner.finish_and_clear();
    let report = report.context("the desk closed the connection before it had a verdict")?;
    if options.json.json {
        print_json(&report)?;
    } else {
        print_report(&report);
    }
    Ok(ExitCode::from(report.exit_code()))
}

pub(crate) async fn diagnose(lab: &cli::Lab, options: cli::Diagnose) -> anyhow::Result<ExitCode> {
    let desk = DeskClient::find(lab)?;
    let path = match &options.id {
        Some(id) => format!("api/claims/{id}/diagnosis?wait_ms=10000"),
        None => "api/diagnoses".to_owned(),
    };
    let diagnosis: Diagnosis = waiting("gathering evidence", desk.post(&path, &serde_json::Value::Null)).await?;
    if options.json.json {
        print_json(&diagnosis)?;
    } else {
        print_diagnosis(&diagnosis);
    }
    Ok(ExitCode::from(diagnosis.outcome.exit_code()))
}

pub(crate) async fn hint(lab: &cli::Lab, json: cli::Json) -> anyhow::Result<ExitCode> {
    let hint: Hint = DeskClient::find(lab)?.post("api/hint", &serde_json::Value::Null).await?;
    if json.json {
        return print_json(&hint);
    }
    if hint.of > 0 {
        anstream::println!("{DIM}hint {} of {}{DIM:#}", hint.number, hint.of);
    }
    print_wrapped("", &hint.text);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn reveal(lab: &cli::Lab, json: cli::Json) -> anyhow::Result<ExitCode> {
    let scenario: Scenario = DeskClient::find(lab)?.post("api/reveal", &serde_json::Value::Null).await?;
    if json.json {
        return print_json(&scenario);
    }
    anstream::println!("{BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}", scenario.title, scenario.id);
    let Some(fault @ Fault { cause, fixes, practice, .. }) = &scenario.fault else {
        anstream::println!("Nothing is broken on purpose.");
        return Ok(ExitCode::SUCCESS);
    };
    anstream::println!("{BAD}{}, {}{BAD:#}", cause.place, cause.kind);
    print_wrapped("", &cause.text);
    for source in &cause.sources {
        anstream::println!("{DIM}{source}{DIM:#}");
    }
    anstream::println!("{}:", fault.observed());
    for observation in fault.observations() {
        print_wrapped("- ", &observation);
    }
    if !fixes.is_empty() {
        anstream::println!("How to fix it here:");
    }
    for fix in fixes {
        print_wrapped("- ", &fix.text);
        for (service, key, value) in fix.settings.iter() {
            anstream::println!("  insurewatch scenario set {service} {key}={value}");
        }
    }
    if !practice.is_empty() {
        anstream::println!("How to fix it in other systems:");
    }
    for Practice { stack, text, code, source } in practice {
        print_wrapped("- ", &format!("{stack}: {text}"));
        for line in code.iter().flat_map(|code| code.trim_matches('\n').lines()) {
            anstream::println!("    {line}");
        }
        anstream::println!("  {DIM}{source}{DIM:#}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn healthcheck(options: cli::Healthcheck) -> anyhow::Result<ExitCode> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?;
    client.get(options.url).send().await?.error_for_status()?;
    Ok(ExitCode::SUCCESS)
}

/// A claim's traces, as the terminal can show them.
pub(crate) fn draw(report: &ClaimReport, drawing: fn(&Reading<'_>, &evidence::Style) -> String) -> String {
    let terminal = console::Term::stdout();
    let style = evidence::Style {
        width: terminal.size_checked().map_or(100, |(_, columns)| usize::from(columns)),
        colour: !matches!(anstream::AutoStream::choice(&std::io::stdout()), anstream::ColorChoice::Never),
        unicode: console::Term::stdout().features().wants_emoji() || utf8_locale(),
    };
    let reading = Reading::new(Topology::LAB, &report.collected);
    let mut text = drawing(&reading, &style);
    let when = evidence::prose::absent(&report.collected);
    for missing in reading.not_received() {
        text.push_str(&format!("{when}: {}\n", evidence::prose::missing(missing)));
    }
    text
}

fn utf8_locale() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    cfg!(windows) || locale.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"))
}

fn print_claim(claim: &SentClaim) {
    let id = claim.claim_id.as_deref().unwrap_or("no claim id");
    let status = claim.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let trace = claim.trace_id.as_deref().unwrap_or("-");
    let style = if claim.accepted() { GOOD } else { BAD };
    anstream::println!("{id}  {style}{status}{style:#}  trace {trace}  {DIM}{:.0} ms{DIM:#}", claim.duration_ms);
    if let Some(error) = &claim.error {
        anstream::println!("  {error}");
    }
}

fn print_report(report: &CheckReport) {
    let (style, word) = match report.masked {
        true => (DIM, "NO VERDICT"),
        false => outcome_in_words(report.verdict.outcome),
    };
    anstream::println!("{style}{word}{style:#}");
    print_wrapped("", &report.verdict.sentence);
    for evidence in &report.verdict.evidence {
        print_wrapped("- ", evidence);
    }
    if !report.unmet.is_empty() {
        anstream::println!("The scenario is not fixed: the claims differ from those of a healthy chain.");
        for difference in &report.unmet {
            print_wrapped("- ", difference);
        }
    }
    for claim in &report.verdict.claims {
        let traces = claim.traces.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        anstream::println!("{DIM}{}  {traces}{DIM:#}", claim.claim_id);
    }
    anstream::println!(
        "{DIM}check waited {:.1} s for spans; it waits {:.0} s at most{DIM:#}",
        seconds(report.waited_ms),
        seconds(report.deadline_ms)
    );
}

/// The four steps, a line per hop, and what was seen where one failed.
fn print_diagnosis(diagnosis: &Diagnosis) {
    let (style, word) = outcome_in_words(diagnosis.outcome);
    anstream::println!("{style}{word}{style:#}  {DIM}{}{DIM:#}", diagnosis.claim_id);
    print_wrapped("", &diagnosis.sentence);
    anstream::println!("\n{DIM}{:<36} injected  survived  extracted  used{DIM:#}", "hop");
    for hop in &diagnosis.hops {
        let [injected, survived, extracted, used] = hop.cells().map(|(_, cell)| mark(cell.status));
        anstream::println!("{:<36} {injected}    {survived}    {extracted}     {used}", hop.hop.to_string());
    }
    for inside in &diagnosis.inside {
        let used = mark(inside.used.status);
        anstream::println!("{:<36} {:<31}{used}", format!("inside {}", inside.service), "");
    }
    for finding in diagnosis.findings() {
        let first = if diagnosis.first.as_ref() == Some(finding) { ", where it breaks first" } else { "" };
        let place = finding.place.map_or_else(|| "elsewhere".to_owned(), |place| place.to_string());
        anstream::println!("\n{BAD}{place}{BAD:#}{DIM}{first}{DIM:#}");
        print_wrapped("", &finding.sentence);
        for other in &finding.alternatives {
            print_wrapped("or: ", &other.sentence);
        }
    }
    for (_, cell) in diagnosis.hops.iter().flat_map(HopDiagnosis::cells) {
        if cell.status == CellStatus::Failed {
            for (name, values) in cell.headers.iter() {
                anstream::println!("{DIM}  {name}: {}{DIM:#}", printable(&values.join(", ")));
            }
        }
    }
    for undecided in &diagnosis.undecided {
        print_wrapped("? ", undecided);
    }
}

/// Ten columns.
fn mark(status: CellStatus) -> String {
    let (style, word) = match status {
        CellStatus::Ok => (GOOD, "yes"),
        CellStatus::Failed => (BAD, "NO"),
        CellStatus::Unknown => (UNSURE, "?"),
        CellStatus::NotApplicable => (DIM, "-"),
    };
    format!("{style}{word:<6}{style:#}")
}

/// Foreign text must not command the terminal.
fn printable(text: &str) -> String {
    let shown: String = text.chars().filter(|char| !char.is_control()).take(160).collect();
    if shown.chars().count() < text.chars().count() { format!("{shown}…") } else { shown }
}

fn outcome_in_words(outcome: Outcome) -> (Style, &'static str) {
    match outcome {
        Outcome::Healthy => (GOOD, "HEALTHY"),
        Outcome::NotAPropagationBreak => (UNSURE, "NOT A PROPAGATION BREAK"),
        Outcome::Broken => (BAD, "BROKEN"),
        Outcome::Leaking => (BAD, "LEAKING"),
        Outcome::CannotTell => (UNSURE, "CANNOT TELL"),
    }
}

/// Without the settings: they would be the answer.
fn print_switched(status: &Status, json: cli::Json) -> anyhow::Result<ExitCode> {
    if json.json || !status.settled {
        return print_status(status, json);
    }
    anstream::println!(
        "{BOLD}{}{BOLD:#} is active; all services have applied it",
        status.scenario.as_deref().unwrap_or("-")
    );
    Ok(ExitCode::SUCCESS)
}

/// Exit code 1 if a service has not applied it.
fn print_status(status: &Status, json: cli::Json) -> anyhow::Result<ExitCode> {
    if json.json {
        print_json(status)?;
    } else {
        let scenario = status.scenario.as_deref().unwrap_or("-");
        anstream::println!("scenario {BOLD}{scenario}{BOLD:#}, generation {} of the settings", status.generation);
        if status.masked {
            anstream::println!("  {DIM}settings are hidden: a drill is on, or the answers are locked{DIM:#}");
        }
        for (service, key, value) in status.settings.iter() {
            anstream::println!("  {service:<18} {key}={value}");
        }
        for service in &status.services {
            let ServiceLine { style, text } = ServiceLine::of(service, status.generation);
            anstream::println!("  {:<18} {style}{text}{style:#}", service.service);
        }
    }
    Ok(if status.settled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct ServiceLine {
    style: Style,
    text: String,
}

// === impl ServiceLine ===

impl ServiceLine {
    fn of(service: &desk::api::ServiceStatus, newest: u64) -> Self {
        match (service.generation, &service.refused) {
            _ if service.starting => Self { style: UNSURE, text: "is being started".to_owned() },
            (None, None) => Self { style: BAD, text: "does not answer".to_owned() },
            (None, Some(refused)) => Self { style: BAD, text: refused.clone() },
            (Some(_), Some(refused)) => Self { style: BAD, text: format!("rejects the settings: {refused}") },
            (Some(generation), None) if generation < newest => {
                Self { style: UNSURE, text: format!("has not applied it: still at generation {generation}") }
            }
            (Some(_), None) if !service.not_applied.is_empty() => Self {
                style: UNSURE,
                text: format!("not applied, since it is a service of yours: {}", service.not_applied.join(", ")),
            },
            (Some(_), None) => Self { style: DIM, text: "applied".to_owned() },
        }
    }
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<ExitCode> {
    anstream::println!("{}", serde_json::to_string_pretty(value)?);
    Ok(ExitCode::SUCCESS)
}

/// Breaks a paragraph at the terminal's width, at most 100 columns.
pub(crate) fn print_wrapped(bullet: &str, text: &str) {
    let width = console::Term::stdout().size_checked().map_or(100, |(_, columns)| usize::from(columns)).clamp(40, 100);
    let indent = " ".repeat(bullet.len());
    let options = textwrap::Options::new(width)
        .initial_indent(bullet)
        .subsequent_indent(&indent)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    let paragraph = text.split_whitespace().collect::<Vec<_>>().join(" ");
    anstream::println!("{}", textwrap::fill(&paragraph, options));
}

async fn switching<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    waiting("waiting until all services have applied it", work).await
}

pub(crate) async fn waiting<T>(what: &'static str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let spinner = spinner(what);
    let result = work.await;
    spinner.finish_and_clear();
    result
}

/// On standard error, and only on a terminal.
fn spinner(what: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn progress_bar(count: u64, hidden: bool) -> ProgressBar {
    if hidden || count < 2 {
        return ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} claims, {eta} left");
    let bar = ProgressBar::new(count);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, who read one decimal")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
