//! The scenarios by group, and the active settings.

use ::chain::Service;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use scenario::Group;
use service::Problem;
use settings::{Setting, Values};

use super::claim::not_found;
use super::glossary::{inline, term};
use super::{Page, part as as_part, service_class, whole};
use crate::api::extract::InPath;
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
                ul.scenarios { @for scenario in group { (row(scenario, current, lab.is_proved(&scenario.id))) } }
            }
        }
    }
}

fn row(scenario: &ScenarioBrief, current: Option<&str>, is_proved: bool) -> Markup {
    let active = current == Some(scenario.id.as_str());
    html! {
        li.active[active] {
            form data-post="/api/settings/use" data-into="scenario-result" data-say=(format!("“{}” is active.", scenario.title)) data-then="lesson-title" data-wait="Waiting until all services have applied it" {
                input type="hidden" name="id" value=(scenario.id);
                button #(format!("use-{}", scenario.id)) aria-pressed=(active) {
                    span { (scenario.title) }
                    @if active || is_proved { span.quiet {
                        @if active { "active" } @if active && is_proved { ", " } @if is_proved { span.good { "proved" } }
                    } }
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
            @if !status.masked { "In bold: what was set here, or by the scenario. All else is as the service's environment has it, or the default. " }
            @else if lab.is_locked() { "An instructor has locked the settings: their values are covered. You can still change them. " }
            @else if lab.drill().current.is_some() { "The values of the settings are covered until the drill ends. You can still change them. " }
            @else { "The values of the settings are covered until you commit to a hypothesis, or give up. You can still change them. " }
            (term("Generation", "generation")) " " (status.generation) " of the settings."
        }
        @for service in &status.services { (of_service(lab, service, &status)) }
    }
}

/// A service, and the place for its form, which is asked for once somebody opens it.
fn of_service(lab: &Lab, service: &ServiceStatus, status: &Status) -> Markup {
    let name = &service.service;
    let has_any = Service::named(name).is_some_and(|own| lab.schema().settings(own).next().is_some());
    let set = status.settings.iter().filter(|(of, ..)| of.name() == name).count();
    html! {
        details.of-service.(service_class(name)) #(format!("settings-{name}")) {
            summary {
                span.service { (name) } " "
                span.quiet { @if status.masked { "covered" } @else if set > 0 { strong { (set) " set" } } @else { "defaults" } ", applied: " }
                (applied(service, status.generation))
            }
            @if has_any {
                div #(format!("form-{name}")) data-part=(format!("/parts/settings/{name}")) data-on="settings drill" data-lazy {
                    p { a href=(format!("/settings/{name}")) { "Settings of " (name) } }
                }
            } @else { p { "It has no settings." } }
        }
    }
}

/// The form of one service.
pub(super) async fn form_part(State(lab): Shared, InPath(name): InPath<String>) -> Page {
    form(&lab, &name).await.map(as_part)
}

/// The same on a separate page.
pub(super) async fn form_page(State(lab): Shared, InPath(name): InPath<String>) -> Page {
    let main = html! {
        h1 { "Settings of " (name) }
        section aria-label="Settings" {
            div #(format!("form-{name}")) data-part=(format!("/parts/settings/{name}")) data-on="settings drill" { (form(&lab, &name).await?) }
            noscript { p { "Without JavaScript, change them by " code { "insurewatch scenario set " (name) " KEY=VALUE" } "." } }
        }
        p { a href="/#settings" { "All settings" } }
    };
    Ok(whole(&lab, &format!("Settings of {name}"), &main).await)
}

async fn form(lab: &Lab, name: &str) -> Result<Markup, Problem> {
    let own: Service = name.parse().map_err(|unknown: ::chain::UnknownService| not_found(&unknown.to_string()))?;
    let status = lab.status(Viewer::Page).await?;
    let (export, other): (Vec<_>, Vec<_>) = lab.schema().settings(own).partition(is_export);
    Ok(html! {
        form data-post="/parts/settings" data-settings=(name) data-into=(format!("applied-{name}")) data-wait="Waiting until all services have applied it" {
            @for setting in other { (field(own, setting, &status)) }
            @if !export.is_empty() {
                details #(format!("export-{name}")) {
                    summary { "Export of its spans" }
                    @for setting in export { (field(own, setting, &status)) }
                }
            }
            div.row.applying {
                button #(format!("apply-check-{name}")) data-check { "Apply and check" }
                button.quiet #(format!("apply-{name}")) { "Apply" }
                p #(format!("applied-{name}")).result data-kept aria-live="polite" {}
            }
        }
    })
}

fn is_export(setting: &&'static Setting) -> bool {
    setting.key.starts_with("OTEL_EXPORTER_") || setting.key.starts_with("OTEL_BSP_")
}

/// One setting: what it is, and what it may be. Only what somebody changes is sent.
fn field(service: Service, setting: &Setting, status: &Status) -> Markup {
    let Setting { key, about, allowed, values, default, .. } = *setting;
    let set = status.settings.get(service, key);
    let service_status = status.services.iter().find(|it| it.service == service.name());
    let inherited = service_status.and_then(|it| it.environment.get(key)).map(String::as_str);
    // What is in force where nothing is set.
    let (unset, from) = match inherited {
        Some(value) => (value, "from the environment"),
        None => (default, "default"),
    };
    let [id, words, list] = ["set", "about", "values"].map(|what| format!("{what}-{service}-{key}"));
    let covered = status.masked.then_some("covered: leave it as it is");
    html! {
        div.setting.is-set[set.is_some()] {
            label for=(id) { code { (key) } " " span.unsure.not-applied hidden { "not applied yet" } }
            @match values {
                Values::Only(values) => {
                    select #(id) name=(key) aria-describedby=(words) {
                        option value="" selected[set.is_none()] { @match covered { Some(covered) => (covered), None => { (unset) " (" (from) ")" } } }
                        // It is what is not set, except that somebody may have set it all the same.
                        @for value in values.iter().filter(|value| **value != unset || status.masked || set == Some(unset)) {
                            option value=(value) selected[set == Some(*value)] { (value) @if *value == default && status.masked { " (default)" } }
                        }
                    }
                    p.quiet #(words) { (about) }
                },
                Values::SuchAs(values) => {
                    @let shown = match (covered, inherited) {
                        (Some(covered), _) => covered.to_owned(),
                        (None, Some(value)) => format!("in force: {value} (from the environment)"),
                        (None, None) => format!("default: {default}"),
                    };
                    input #(id) name=(key) value=(set.unwrap_or_default()) placeholder=(shown) list=[(!values.is_empty()).then_some(&list)] aria-describedby=(words) autocomplete="off" spellcheck="false";
                    @if !values.is_empty() { datalist #(list) { @for value in values { option value=(value) {} } } }
                    p.quiet #(words) {
                        (about) " Allowed: " (inline(allowed)) "."
                        @if set.is_some() || status.masked { @match inherited {
                            Some(value) => { " If nothing is set: " (value) " (from the environment)." },
                            None => { " Default: " (default) "." },
                        } }
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
            (Some(_), Some(refused)) => span.bad { (inline(refused)) },
            (Some(generation), None) if generation < newest => span.unsure { "not yet" },
            (Some(_), None) if !service.not_applied.is_empty() => span.unsure {
                "not applied, since it is a service of yours: " (service.not_applied.join(", "))
            },
            (Some(_), None) => span.good { "yes" },
        }
    }
}
