//! The scenarios by group, and the settings that hold.

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use scenario::{Group, Scenario};

use super::part as as_part;
use crate::api::ServiceStatus;
use crate::api::routes::Shared;
use crate::lab::Desk;

pub(super) async fn part(State(desk): Shared) -> Html<String> {
    as_part(list(&desk).await)
}

pub(super) async fn settings(State(desk): Shared) -> Html<String> {
    as_part(table(&desk).await)
}

pub(super) async fn list(desk: &Desk) -> Markup {
    let current = match desk.drills.is_on() {
        true => None,
        false => desk.control.current().await.ok().map(|scenario| scenario.id.as_str()),
    };
    let all: Vec<_> = desk.control.catalogue().iter().collect();
    html! {
        @for group in all.chunk_by(|one, next| one.group == next.group) {
            @let heading = group.first().map(|scenario| scenario.group).map_or("", Group::heading);
            div {
                h3 { (heading) }
                ul.scenarios { @for scenario in group { (row(scenario, current)) } }
            }
        }
    }
}

fn row(scenario: &Scenario, current: Option<&str>) -> Markup {
    let holds = current == Some(scenario.id.as_str());
    html! {
        li.holds[holds] {
            form data-post="/api/settings/use" data-into="scenario-result" data-say=(format!("{} holds.", scenario.id)) data-wait="Waiting until every service follows" {
                input type="hidden" name="id" value=(scenario.id);
                button #(format!("use-{}", scenario.id)) aria-pressed=(holds) {
                    span { (scenario.title) }
                    span.quiet { (scenario.id) @if holds { " – holds" } }
                }
            }
        }
    }
}

pub(super) async fn table(desk: &Desk) -> Markup {
    let status = match desk.status().await {
        Ok(status) => status,
        Err(problem) => return html! { p.bad { (problem.detail) } },
    };
    html! {
        p {
            @if status.masked { "A drill is on, so settings are hidden; they can still be changed. " }
            "Generation " (status.generation) "."
        }
        div.scroll role="region" aria-label="Settings of each service" tabindex="0" {
            table {
                thead { tr { th scope="col" { "Service" } th scope="col" { "Set" } th scope="col" { "Follows" } } }
                tbody {
                    @for service in &status.services {
                        tr {
                            th scope="row" { (service.service) }
                            td {
                                @if status.masked { "hidden" } @else {
                                    @for (name, key, value) in status.settings.iter() {
                                        @if name.name() == service.service { code { (key) "=" (value) } br; }
                                    }
                                }
                            }
                            td { (follows(service, status.generation)) }
                        }
                    }
                }
            }
        }
    }
}

fn follows(service: &ServiceStatus, newest: u64) -> Markup {
    html! {
        @match (service.generation, &service.refused) {
            (None, _) => span.bad { "does not answer" },
            (Some(_), Some(refused)) => span.bad { (refused) },
            (Some(generation), None) if generation < newest => span.unsure { "not yet" },
            (Some(_), None) => span.good { "yes" },
        }
    }
}
