//! The scenarios by group, and the active settings.

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use scenario::Group;

use super::glossary::term;
use super::part as as_part;
use crate::api::routes::Shared;
use crate::api::{ScenarioBrief, ServiceStatus};
use crate::drill::Viewer;
use crate::lab::Lab;

pub(super) async fn part(State(lab): Shared) -> Html<String> {
    as_part(list(&lab).await)
}

pub(super) async fn settings(State(lab): Shared) -> Html<String> {
    as_part(table(&lab).await)
}

pub(super) async fn list(lab: &Lab) -> Markup {
    let current = lab.current().await.ok().flatten();
    let current = current.as_ref().map(|scenario| scenario.id.as_str());
    let all = lab.briefs();
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

fn row(scenario: &ScenarioBrief, current: Option<&str>) -> Markup {
    let active = current == Some(scenario.id.as_str());
    html! {
        li.active[active] {
            form data-post="/api/settings/use" data-into="scenario-result" data-say=(format!("“{}” is active.", scenario.title)) data-then="lesson-title" data-wait="Waiting until all services have applied it" {
                input type="hidden" name="id" value=(scenario.id);
                button #(format!("use-{}", scenario.id)) aria-pressed=(active) {
                    span { (scenario.title) }
                    @if active { span.quiet { "active" } }
                }
            }
        }
    }
}

pub(super) async fn table(lab: &Lab) -> Markup {
    let status = match lab.status(Viewer::Page).await {
        Ok(status) => status,
        Err(problem) => return html! { p.bad { (problem.detail) } },
    };
    html! {
        p {
            @if status.masked { "Settings are hidden until you have answered, or by the leader of the class. They can still be changed. " }
            (term("Generation", "generation")) " " (status.generation) " of the settings."
        }
        div.scroll role="region" aria-label="Settings of each service" tabindex="0" {
            table {
                thead { tr { th scope="col" { "Service" } th scope="col" { "Set" } th scope="col" { "Applied" } } }
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
                            td { (applied(service, status.generation)) }
                        }
                    }
                }
            }
        }
    }
}

fn applied(service: &ServiceStatus, newest: u64) -> Markup {
    html! {
        @match (service.generation, &service.refused) {
            _ if service.starting => span.unsure { "is being started" },
            (None, _) => span.bad { "does not answer" },
            (Some(_), Some(refused)) => span.bad { (refused) },
            (Some(generation), None) if generation < newest => span.unsure { "not yet" },
            (Some(_), None) if !service.not_applied.is_empty() => span.unsure {
                "not applied, since it is a service of yours: " (service.not_applied.join(", "))
            },
            (Some(_), None) => span.good { "yes" },
        }
    }
}
