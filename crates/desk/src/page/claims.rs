//! Sending claims, the newest of them, and the scoreboard.

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;

use super::glossary::term;
use super::{beginning, chain, encoded, part as as_part, service_class};
use crate::api::ClaimRow;
use crate::api::extract::InQuery;
use crate::api::routes::Shared;
use crate::drill::Viewer;
use crate::lab::Lab;

/// How many claims are listed at first.
const FIRST: usize = 20;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    all: bool,
}

pub(super) async fn part(State(lab): Shared, InQuery(query): InQuery<ListQuery>) -> Html<String> {
    as_part(list(&lab, query.all))
}

pub(super) async fn scoreboard(State(lab): Shared) -> Html<String> {
    as_part(board(&lab))
}

pub(super) fn forms(lab: &Lab) -> Markup {
    html! {
        div.row {
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

pub(super) fn list(lab: &Lab, all: bool) -> Markup {
    let (claims, is_covered) = (lab.claims(Viewer::Page), lab.is_covered());
    let shown = if all { claims.len() } else { claims.len().min(FIRST) };
    html! {
        @if claims.is_empty() { p { "No claim has been sent yet." } } @else {
            div.scroll role="region" aria-label="Newest claims" tabindex="0" {
                table.claims {
                    thead { tr { th scope="col" { "Claim" } th scope="col" { "Status" } th scope="col" { "Traces" } th scope="col" { "Complete" } th scope="col" { "Its traces" } } }
                    tbody { @for row in claims.iter().take(shown) { (claim(row, is_covered)) } }
                }
            }
        }
        @if shown < claims.len() {
            button.quiet #all-claims data-load="/parts/claims?all=true" data-into="part-claims" { "Show all " (claims.len()) " (" (claims.len() - shown) " are hidden)" }
        } @else if shown > FIRST {
            button.quiet #few-claims data-load="/parts/claims" data-into="part-claims" { "Show only the newest " (FIRST) }
        }
    }
}

fn claim(row: &ClaimRow, is_covered: bool) -> Markup {
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
        }
    }
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
    let share = (board.whole * 100).checked_div(board.claims);
    html! {
        @if let Some(share) = share {
            dl.board aria-label=(format!("The last {} minutes", board.window_s / 60)) {
                div { dt { "Complete claims" } dd { strong { (share) " %" } " of " (board.claims) } }
                div { dt { "Traces per claim" } dd { @for (traces, claims) in &board.by_traces { span.nowrap { (traces) ": " (claims) "×" } " " } } }
                div { dt { (term("Root spans", "root-span")) } dd { @for (service, roots) in &board.roots { span.nowrap { (service) ": " (roots) } " " } } }
            }
            p.quiet { "Settled claims of the last " (board.window_s / 60) " minutes." }
        }
    }
}
