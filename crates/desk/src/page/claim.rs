//! One claim: its hops, its fragments, and a healthy claim to compare with.

use std::sync::Arc;

use ::chain::Topology;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use evidence::{Collected, Reading};
use maud::{Markup, html};
use serde::Deserialize;
use service::Problem;
use wire::TraceId;

use super::glossary::term;
use super::{Page, beginning, chain, compare, encoded, ledger, part as as_part, waterfall, whole};
use crate::api::LookQuery;
use crate::api::extract::{InPath, InQuery};
use crate::api::routes::Shared;
use crate::lab::Lab;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ClaimQuery {
    /// Another claim to put beside it, or `healthy`.
    with: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct RowsQuery {
    #[serde(default)]
    from: usize,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct FindQuery {
    #[serde(default)]
    text: String,
}

pub(super) async fn page(
    State(lab): Shared,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<ClaimQuery>,
) -> Response {
    if id == "last"
        && let Some(id) = lab.last_claim().and_then(|claim| claim.claim_id)
    {
        let query = query.with.map(|with| format!("?with={}", encoded(&with))).unwrap_or_default();
        return Redirect::to(&format!("/claims/{}{query}", encoded(&id))).into_response();
    }
    lab.look_at(&id);
    let (status, body) = match content(&lab, &id, &query).await {
        Ok(body) => (StatusCode::OK, body),
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, html! { p.bad { (problem.detail) } })
        }
    };
    let mut url = format!("/parts/claims/{}", encoded(&id));
    if let Some(with) = &query.with {
        url.push_str(&format!("?with={}", encoded(with)));
    }
    let main = html! {
        h1 { "Claim " code { (beginning(&id, 36)) } }
        p { a href="/#claims" { "All claims" } }
        div #part-claim data-part=(url) data-on="looks" { (body) }
        section #span-panel aria-labelledby="span-title" hidden {
            div.close { button.quiet #close-span type="button" { "Close" } }
            div #span-detail { h2 #span-title { "Span" } }
        }
        @if status == StatusCode::OK {
            section aria-labelledby="diagnosis-title" {
                h2 #diagnosis-title { "Diagnosis: " (term("the four steps", "the-four-steps")) }
                form data-post=(format!("/parts/diagnosis/{}", encoded(&id))) data-into="diagnosis-result" data-wait="Looking for spans" { button { "Diagnose this claim" } }
                div #diagnosis-result.result aria-live="polite" {}
            }
        }
    };
    (status, whole(&lab, &format!("Claim {}", beginning(&id, 12)), &main).await).into_response()
}

pub(super) async fn part(State(lab): Shared, InPath(id): InPath<String>, InQuery(query): InQuery<ClaimQuery>) -> Page {
    content(&lab, &id, &query).await.map(as_part)
}

/// More rows of one trace.
pub(super) async fn rows(
    State(lab): Shared,
    InPath((id, trace)): InPath<(String, String)>,
    InQuery(query): InQuery<RowsQuery>,
) -> Page {
    let found = lab.find(&id, LookQuery::AT_ONCE).await?;
    let trace: TraceId = trace.parse().map_err(|_| not_found("this is not a trace id"))?;
    let fragment = found.evidence.fragments.iter().find(|fragment| fragment.trace_id == trace);
    let fragment = fragment.ok_or_else(|| not_found("the claim has no such trace"))?;
    Ok(as_part(waterfall::rows(&Reading::new(Topology::LAB, &found), &id, fragment, query.from)))
}

/// The spans of a claim that hold a text.
pub(super) async fn find(State(lab): Shared, InPath(id): InPath<String>, InQuery(query): InQuery<FindQuery>) -> Page {
    let found = lab.find(&id, LookQuery::AT_ONCE).await?;
    Ok(as_part(waterfall::find(&found.evidence, &query.text)))
}

async fn content(lab: &Lab, id: &str, query: &ClaimQuery) -> Result<Markup, Problem> {
    let found = match lab.find(id, LookQuery::AT_ONCE).await {
        Ok(found) => found,
        Err(problem) if problem.status == StatusCode::NOT_FOUND && lab.was_sent(id) => {
            return Ok(html! { p { "No span of this claim has arrived yet. This page shows it when it does." } });
        }
        Err(problem) => return Err(problem),
    };
    let other = match query.with.as_deref() {
        None => None,
        Some("healthy") => lab.healthy_claim(id).await.map(Ok),
        Some(other) => Some(lab.find(other, LookQuery::AT_ONCE).await.map(Arc::new)),
    };
    let judges = lab.judges();
    let reading = Reading::new(Topology::LAB, &found);
    Ok(html! {
        section aria-labelledby="hops-title" { h2 #hops-title { (term("Hops", "hop")) } (chain::picture(lab, &reading, "")) }
        section aria-labelledby="traces-title" {
            h2 #traces-title { (term("Traces", "trace")) }
            @if let Some(link) = in_grafana(lab, &found) { p { a href=(link) rel="noreferrer" { "This claim in Grafana" } } }
            @match (&query.with, other) {
                (None, _) => { p { a #compare href=(format!("/claims/{}?with=healthy", encoded(id))) { "Compare with a healthy claim" } } (waterfall::draw(lab, &reading, id)) },
                (Some(_), Some(Ok(other))) => (pair(lab, id, &reading, &Reading::new(Topology::LAB, &other), judges)),
                (Some(_), Some(Err(problem))) => { p.bad { "The other claim: " (problem.detail) } (waterfall::draw(lab, &reading, id)) },
                (Some(_), None) => {
                    p { "This lab has seen no healthy claim yet. Once the chain is healthy again, send one and return to this page." }
                    (waterfall::draw(lab, &reading, id))
                }
            }
        }
        section aria-labelledby="ledger-title" { h2 #ledger-title { (term("Ledger", "ledger")) ": headers at each hop" } (ledger::table(&reading, judges, "")) }
    })
}

/// Its first and its last trace side by side; a claim in one trace has it on both sides.
fn in_grafana(lab: &Lab, found: &Collected) -> Option<String> {
    let fragments = &found.evidence.fragments;
    let (left, right) = (fragments.first()?.trace_id.to_string(), fragments.last()?.trace_id.to_string());
    Some(super::in_grafana(lab.grafana()?, &dashboards::link::one_claim(&found.evidence.claim_id, &left, &right)))
}

fn pair(lab: &Lab, id: &str, one: &Reading<'_>, other: &Reading<'_>, judges: bool) -> Markup {
    let other_id = &other.evidence().claim_id;
    html! {
        p { a href=(format!("/claims/{}", encoded(id))) { "Show this claim alone" } }
        h3 { "Compared with the healthy claim " code { (beginning(other_id, 12)) } }
        (compare::draw(one, other))
        h3 { "Hops of the healthy claim" }
        (chain::picture(lab, other, "-other"))
        details #details-other-ledger { summary { "Headers of the healthy claim" } (ledger::table(other, judges, "other-")) }
    }
}

pub(super) fn not_found(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, what.to_owned())
}
