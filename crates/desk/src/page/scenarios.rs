//! The scenarios by group, and the active settings.

use std::collections::BTreeMap;

use ::chain::Service;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use scenario::Group;
use settings::{Setting, Values};

use super::glossary::{inline, term};
use super::{Page, part as as_part, service_class};
use crate::api::routes::Shared;
use crate::api::{ScenarioBrief, ServiceStatus, ServiceValues, Status};
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
                    @if scenario.needs_ours { span.quiet { "needs a service of the lab's own where yours is" } }
                }
            }
        }
    }
}

/// Changes settings of one service.
pub(super) async fn set(State(lab): Shared, values: ServiceValues) -> Page {
    lab.set_all(&values).await?;
    Ok(as_part(html! { "All services have applied it." }))
}

pub(super) async fn table(lab: &Lab) -> Markup {
    let status = match lab.status(Viewer::Page).await {
        Ok(status) => status,
        Err(problem) => return html! { p.bad { (inline(&problem.detail)) } },
    };
    html! {
        p {
            @if status.masked { "Settings are covered until you answer, or because an instructor locked them. You can still change them. " }
            @else { "A value that was set is bold; the others are defaults, or come from the service's environment. " }
            (term("Generation", "generation")) " " (status.generation) " of the settings."
        }
        @for service in &status.services { (of_service(lab, service, &status)) }
        (suggestions(lab))
    }
}

/// What may be typed, once for each setting: several services have the same.
fn suggestions(lab: &Lab) -> Markup {
    let settings = Service::ALL.iter().flat_map(|service| lab.schema().settings(*service));
    let typed: BTreeMap<_, _> = settings.map(|setting| (setting.key, setting.values)).collect();
    html! {
        @for (key, values) in typed {
            @if let Values::SuchAs(values @ [_, ..]) = values {
                datalist #(format!("values-{key}")) { @for value in values { option value=(value) {} } }
            }
        }
    }
}

fn of_service(lab: &Lab, service: &ServiceStatus, status: &Status) -> Markup {
    let own = Service::named(&service.service);
    let (export, other): (Vec<_>, Vec<_>) =
        own.into_iter().flat_map(|own| lab.schema().settings(own)).partition(is_export);
    let set = status.settings.iter().filter(|(name, ..)| name.name() == service.service).count();
    html! {
        details.of-service.(service_class(&service.service)) #(format!("settings-{}", service.service)) {
            summary {
                span.service { (service.service) } " "
                span.quiet { @if status.masked { "covered" } @else if set > 0 { strong { (set) " set" } } @else { "defaults" } ", applied: " }
                (applied(service, status.generation))
            }
            @if other.is_empty() && export.is_empty() { p { "It has no settings." } } @else {
                form data-post="/parts/settings" data-settings=(service.service) data-into="settings-result" data-wait="Waiting until all services have applied it" {
                    @for setting in other { (field(service, setting, status)) }
                    @if !export.is_empty() {
                        details #(format!("export-{}", service.service)) {
                            summary { "Export of its spans" }
                            @for setting in export { (field(service, setting, status)) }
                        }
                    }
                    div.row {
                        button #(format!("apply-check-{}", service.service)) data-check { "Apply and check" }
                        button.quiet #(format!("apply-{}", service.service)) { "Apply" }
                    }
                }
            }
        }
    }
}

fn is_export(setting: &&'static Setting) -> bool {
    setting.key.starts_with("OTEL_EXPORTER_") || setting.key.starts_with("OTEL_BSP_")
}

/// One setting: what it is, and what it may be. Only what somebody changes is sent.
fn field(service: &ServiceStatus, setting: &Setting, status: &Status) -> Markup {
    let Setting { key, allowed, values, default, .. } = *setting;
    let set = Service::named(&service.service).and_then(|service| status.settings.get(service, key));
    let id = format!("set-{}-{key}", service.service);
    let unset = if status.masked { "covered: leave it as it is".to_owned() } else { format!("default: {default}") };
    html! {
        div.setting.is-set[set.is_some()] {
            label for=(id) { code { (key) } }
            @match values {
                Values::Only(values) => select #(id) name=(key) {
                    option value="" selected[set.is_none()] { (unset) }
                    @for value in values { option value=(value) selected[set == Some(value)] { (value) @if *value == default { " (default)" } } }
                },
                Values::SuchAs(values) => {
                    input #(id) name=(key) value=(set.unwrap_or_default()) placeholder=(unset) list=[(!values.is_empty()).then(|| format!("values-{key}"))] autocomplete="off" spellcheck="false";
                    p.quiet { (inline(allowed)) @if !status.masked { ". Default: " (default) "." } }
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
            (Some(_), Some(refused)) => span.bad { (inline(refused)) },
            (Some(generation), None) if generation < newest => span.unsure { "not yet" },
            (Some(_), None) if !service.not_applied.is_empty() => span.unsure {
                "not applied, since it is a service of yours: " (service.not_applied.join(", "))
            },
            (Some(_), None) => span.good { "yes" },
        }
    }
}
