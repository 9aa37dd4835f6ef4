//! Sending claims, the newest of them, and the scoreboard.

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

use super::glossary::term;
use super::{beginning, chain, encoded, part as as_part, service_class};
use crate::api::extract::InQuery;
use crate::api::routes::Shared;
use crate::api::{ClaimRow, ScenarioCounts};
use crate::drill::Viewer;
use crate::lab::{Lab, REMEMBERED};

/// How many claims are listed at first.
const FIRST: usize = 20;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    all: bool,
    #[serde(default)]
    show: Shown,
}

/// Which claims are listed: by what anyone can count, so that it may be asked in a drill too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shown {
    #[default]
    All,
    OneTrace,
    SeveralTraces,
    Refused,
}

pub(super) async fn part(State(lab): Shared, InQuery(query): InQuery<ListQuery>) -> Html<String> {
    as_part(list(&lab, query))
}

pub(super) async fn scoreboard(State(lab): Shared) -> Html<String> {
    as_part(board(&lab))
}

pub(super) fn forms(lab: &Lab) -> Markup {
    html! {
        div.row {
            div {
                label for="show" { "Show" }
                select #show data-filters="part-claims" {
                    @for shown in Shown::ALL { option value=(shown.name()) { (shown.words()) } }
                }
            }
            button.quiet #pause type="button" data-pauses="part-claims" aria-pressed="false" { "Pause the list" }
            form.row data-post="/api/traffic" data-into="traffic-result" data-say="The rate was changed." {
                div {
                    label for="rate" { "Claims per second" }
                    input #rate name="per_second" type="number" min="0" max="1000" step="any" value=(lab.traffic().per_second) data-number required;
                }
                button.quiet { "Set traffic" }
            }
            p #traffic.quiet { (traffic_words(lab)) }
        }
        p #traffic-result.result aria-live="polite" {}
    }
}

fn traffic_words(lab: &Lab) -> String {
    let traffic = lab.traffic();
    format!("{} accepted, {} failed", traffic.accepted, traffic.failed)
}

pub(super) fn list(lab: &Lab, ListQuery { all, show }: ListQuery) -> Markup {
    let (mut claims, is_covered) = (lab.claims(Viewer::Page), lab.is_covered());
    let (sent, drill) = (claims.len(), lab.drill().current.map(|drill| drill.started_unix_ms));
    claims.retain(|row| show.takes(row));
    let shown = if all { claims.len() } else { claims.len().min(FIRST) };
    let load = |all: bool| format!("/parts/claims?all={all}&show={}", show.name());
    html! {
        @if sent == 0 { p { "No claim has been sent yet." } }
        @else if claims.is_empty() { p { "None of the newest " (sent) " claims is one of these." } }
        @else {
            div.scroll.bounded role="region" aria-label="Newest claims" tabindex="0" {
                table.claims {
                    thead { tr { th scope="col" { "Claim" } th scope="col" { "Status" } th scope="col" { "Traces" } th scope="col" { "Healthy" } th scope="col" { "Its traces" } th scope="col" { "Sent at" } th scope="col" { "Took" } } }
                    tbody { @for row in claims.iter().take(shown) { (claim(row, is_covered, drill)) } }
                }
            }
        }
        @if shown < claims.len() {
            button.quiet #all-claims data-load=(load(true)) data-into="part-claims" { "Show all " (claims.len()) " (" (claims.len() - shown) " hidden)" }
        } @else if shown > FIRST {
            button.quiet #few-claims data-load=(load(false)) data-into="part-claims" { "Show only the newest " (FIRST) }
        }
    }
}

fn claim(row: &ClaimRow, is_covered: bool, drill: Option<u64>) -> Markup {
    let id = row.claim.claim_id.as_deref().unwrap_or_default();
    let class = if row.claim.accepted() { "good" } else { "bad" };
    let status = row.claim.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    html! {
        tr {
            th scope="row" { a #(format!("claim-{id}")) href=(format!("/claims/{}", encoded(id))) { code { (beginning(id, 12)) } } }
            td.(class) title=(row.claim.error.as_deref().unwrap_or_default()) { (status) }
            @match &row.seen {
                None => { td { "…" } td { "…" } td { "no span yet" } },
                Some(seen) => {
                    td { (seen.traces) }
                    td { @if is_covered { span.quiet { "covered" } } @else if seen.whole { span.good { "yes" } } @else if seen.settled { span.bad { "no" } } @else { "…" } }
                    td { @if seen.fragments.is_empty() { "no span received" } @else { (glyph(&seen.fragments)) } }
                },
            }
            td.nowrap { time data-at=(row.sent_unix_ms) { (time_of_day(row.sent_unix_ms)) " UTC" } @if drill.is_some_and(|began| row.sent_unix_ms < began) { span.quiet { ", before the drill" } } }
            td.nowrap { (format!("{:.0} ms", row.claim.duration_ms)) }
        }
    }
}

/// A script writes it in the reader's own time.
fn time_of_day(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The traces of a claim, each with its letter and a mark for each service that has spans in it.
pub(super) fn glyph(fragments: &[Vec<String>]) -> Markup {
    html! {
        @for (at, services) in fragments.iter().enumerate() {
            span.glyph.(chain::tint(Some(&at))) title=(services.join(", ")) {
                (chain::letter(at))
                @for service in services { i.(service_class(service)) { span.hidden { " " (service) } } }
            } " "
        }
    }
}

pub(super) fn board(lab: &Lab) -> Markup {
    let board = lab.scoreboard(Viewer::Page);
    let share = percent(board.whole, board.claims);
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let window = if board.window_s.is_multiple_of(60) {
        format!("{} minutes", board.window_s / 60)
    } else {
        format!("{} s", board.window_s)
    };
    html! {
        @if let Some(share) = share {
            dl.board aria-label=(format!("The last {window}")) {
                div { dt { "Healthy claims" } dd { strong { (share) " %" } " of " (board.claims) } }
                div { dt { "Claims by their traces" } dd { @for (at, (traces, claims)) in board.by_traces.iter().enumerate() { @if at > 0 { ", " } span.nowrap { (counted(*claims, "claim")) " in " (counted(*traces, "trace")) } } } }
                div { dt { (term("Root spans", "root-span")) } dd { @for (service, roots) in &board.roots { span.nowrap { (service) ": " (roots) } " " } } }
            }
        }
        @if !board.by_scenario.is_empty() {
            table.per-scenario {
                caption.quiet {
                    "Settled claims of the last " (window)
                    @if board.is_cut { ": the desk remembers " (REMEMBERED) " claims" } "."
                }
                thead { tr { th scope="col" { "Scenario" } th scope="col" { "Claims" } th scope="col" { "In several traces" } th scope="col" { "Healthy" } } }
                tbody { @for counts in &board.by_scenario { (per_scenario(lab, counts)) } }
            }
        }
    }
}

/// Rounded half up; none of nothing.
fn percent(part: usize, whole: usize) -> Option<usize> {
    (part * 100 + whole / 2).checked_div(whole)
}

fn per_scenario(lab: &Lab, counts: &ScenarioCounts) -> Markup {
    let brief = counts.scenario.as_deref().and_then(|id| lab.brief(id).ok());
    html! {
        tr {
            th scope="row" { (brief.map_or_else(|| "In a drill".to_owned(), |brief| brief.title)) }
            td { (counts.claims) } td { (counts.split) }
            td { @if lab.is_covered() { span.quiet { "covered" } } @else { (counts.whole) } }
        }
    }
}

// === impl Shown ===

impl Shown {
    const ALL: [Self; 4] = [Self::All, Self::OneTrace, Self::SeveralTraces, Self::Refused];

    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::OneTrace => "one-trace",
            Self::SeveralTraces => "several-traces",
            Self::Refused => "refused",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::All => "all claims",
            Self::OneTrace => "in one trace",
            Self::SeveralTraces => "in several traces",
            Self::Refused => "not accepted",
        }
    }

    fn takes(self, row: &ClaimRow) -> bool {
        let traces = row.seen.as_ref().map_or(0, |seen| seen.traces);
        match self {
            Self::All => true,
            Self::OneTrace => traces == 1,
            Self::SeveralTraces => traces > 1,
            Self::Refused => !row.claim.accepted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_half_up() {
        let table = [(3, 7, Some(43)), (1, 8, Some(13)), (1, 3, Some(33)), (7, 7, Some(100)), (0, 0, None)];
        for (part, whole, share) in table {
            assert_eq!(percent(part, whole), share, "{part} of {whole}");
        }
    }
}
