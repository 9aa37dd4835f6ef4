//! One claim: its hops, its fragments, and a healthy claim to compare with.

use std::sync::Arc;

use ::chain::Topology;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use evidence::{Collected, Reading, prose};
use maud::{Markup, html};
use serde::Deserialize;
use service::Problem;
use wire::TraceId;

use super::glossary::{inline, term};
use super::ledger::Apart;
use super::{Page, beginning, chain, compare, encoded, ledger, part as as_part, waterfall, whole};
use crate::api::extract::{InPath, InQuery};
use crate::api::routes::Shared;
use crate::api::{HEALTHY, LookQuery};
use crate::lab::Lab;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct ClaimQuery {
    /// Another claim to put beside it, or `healthy`.
    with: Option<String>,
    /// Whether all headers are taken apart in the page, for a browser that runs no script.
    #[serde(default)]
    apart: bool,
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
        @if status == StatusCode::OK && !lab.is_locked() {
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

/// The headers of a claim that is put beside another.
pub(super) async fn headers(
    State(lab): Shared,
    InPath(id): InPath<String>,
    InQuery(query): InQuery<ClaimQuery>,
) -> Page {
    let found = shown(&lab, &id, &query).await?;
    let whose = query.with.map(|with| format!("?with={}", encoded(&with))).unwrap_or_default();
    let apart = Apart::Loaded { claim: &id, whose: &whose };
    Ok(as_part(ledger::table(&Reading::new(Topology::LAB, &found), lab.judges(), apart)))
}

/// One hop's headers taken apart.
pub(super) async fn hop(
    State(lab): Shared,
    InPath((id, at)): InPath<(String, usize)>,
    InQuery(query): InQuery<ClaimQuery>,
) -> Page {
    let found = shown(&lab, &id, &query).await?;
    let apart = ledger::of_hop(&Reading::new(Topology::LAB, &found), lab.judges(), at);
    Ok(as_part(apart.ok_or_else(|| not_found("the chain has no such hop"))?))
}

/// The claim, or the one beside it if one is named.
async fn shown(lab: &Lab, id: &str, query: &ClaimQuery) -> Result<Arc<Collected>, Problem> {
    match &query.with {
        None => Ok(Arc::new(lab.look(id, LookQuery::AT_ONCE).await?)),
        Some(with) => beside(lab, with).await,
    }
}

/// The claim to put beside another.
pub(super) async fn beside(lab: &Lab, with: &str) -> Result<Arc<Collected>, Problem> {
    if with != HEALTHY {
        return Ok(Arc::new(lab.find(with, LookQuery::AT_ONCE).await?));
    }
    let none = "this lab has seen no healthy claim yet; once the chain is healthy again, send one";
    lab.healthy_claim().ok_or_else(|| not_found(none))
}

/// The spans of a claim that hold a text.
pub(super) async fn find(State(lab): Shared, InPath(id): InPath<String>, InQuery(query): InQuery<FindQuery>) -> Page {
    let found = lab.find(&id, LookQuery::AT_ONCE).await?;
    Ok(as_part(waterfall::find(&found.evidence, &query.text)))
}

async fn content(lab: &Lab, id: &str, query: &ClaimQuery) -> Result<Markup, Problem> {
    let found = lab.look(id, LookQuery::AT_ONCE).await?;
    let is_seen = !found.evidence.fragments.is_empty();
    if !is_seen && !lab.was_sent(id) {
        return Err(not_found("no span of this claim or trace has arrived"));
    }
    let other = match query.with.as_deref() {
        None => None,
        Some(with) => Some(beside(lab, with).await),
    };
    let judges = lab.judges();
    let reading = Reading::new(Topology::LAB, &found);
    let apart = if query.apart { Apart::InPlace } else { Apart::Loaded { claim: id, whose: "" } };
    let alone = || html! { @if is_seen { (waterfall::draw(lab, &reading, id)) } };
    let not_sampled = found.evidence.response_context().is_some_and(|it| it.sampled == Some(false));
    Ok(html! {
        section aria-labelledby="hops-title" { h2 #hops-title { (term("Hops", "hop")) } (chain::picture(lab, &reading, "")) }
        section aria-labelledby="traces-title" {
            h2 #traces-title { (term("Traces", "trace")) }
            @if let Some(link) = in_grafana(lab, &found) { p { a href=(link) rel="noreferrer" { "This claim in Grafana" } } }
            @if !is_seen { p { "Spans of this claim: " (prose::absent(&found)) "." } }
            @if !is_seen || not_sampled { p { (inline(&prose::sampling(&found.evidence))) } }
            @match (&query.with, other) {
                (Some(with), Some(Ok(other))) => (pair(lab, id, &reading, with, &Reading::new(Topology::LAB, &other))),
                (_, Some(Err(problem))) => { p.bad #compared tabindex="-1" { "The other claim: " (problem.detail) "." } (alone()) },
                _ => { p { a #compare href=(format!("/claims/{}?with=healthy#compared", encoded(id))) { "Compare with a healthy claim" } } (alone()) },
            }
        }
        section aria-labelledby="ledger-title" { h2 #ledger-title { (term("Ledger", "ledger")) ": headers at each hop" } (ledger::table(&reading, judges, apart)) }
    })
}

/// Its first and its last trace side by side; a claim in one trace has it on both sides.
fn in_grafana(lab: &Lab, found: &Collected) -> Option<String> {
    let fragments = &found.evidence.fragments;
    let (left, right) = (fragments.first()?.trace_id.to_string(), fragments.last()?.trace_id.to_string());
    Some(super::in_grafana(lab.grafana()?, &dashboards::link::one_claim(&found.evidence.claim_id, &left, &right)))
}

fn pair(lab: &Lab, id: &str, one: &Reading<'_>, with: &str, other: &Reading<'_>) -> Markup {
    let other_id = &other.evidence().claim_id;
    let headers = format!("/parts/ledger/{}?with={}", encoded(id), encoded(with));
    html! {
        p { a href=(format!("/claims/{}", encoded(id))) { "Show this claim alone" } }
        h3 #compared tabindex="-1" { "Compared with the healthy claim " code { (beginning(other_id, 12)) } }
        @if *other_id == one.evidence().claim_id { p { "It is this claim itself, the one that the lab keeps to compare others with." } }
        (compare::draw(id, one, with, other))
        h3 { "Hops of the healthy claim" }
        (chain::picture(lab, other, "-other"))
        details #details-other-ledger data-load=(headers) { summary { "Headers of the healthy claim" } div {} }
    }
}

pub(super) fn not_found(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, what.to_owned())
}
