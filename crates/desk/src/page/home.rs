//! The first page.

use ::chain::Service;
use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::glossary::term;
use super::{chain, claims, scenarios, whole};
use crate::api::routes::Shared;
use crate::lab::Lab;

pub(super) async fn page(State(lab): Shared) -> Html<String> {
    let main = html! {
        h1 { "Why traces break" }
        div.desk {
            section #chain aria-labelledby="chain-title" {
                h2 #chain-title { "The " (term("chain", "chain")) }
                div #part-chain data-part="/parts/chain" data-on="looks services drill" { (chain::latest(&lab).await) }
            }
            section #settings aria-labelledby="settings-title" {
                h2 #settings-title { "Settings" }
                div #part-settings data-part="/parts/settings" data-on="settings drill" { (scenarios::table(&lab).await) }
                (settings_form(&lab))
            }
            section #claims aria-labelledby="claims-title" {
                h2 #claims-title { "Claims" }
                (claims::forms(&lab))
                div #part-scoreboard data-part="/parts/scoreboard" data-on="looks drill" { (claims::board(&lab)) }
                div #part-claims data-part="/parts/claims" data-on="claims looks drill" { (claims::list(&lab, false)) }
            }
            section #scenarios aria-labelledby="scenarios-title" {
                h2 #scenarios-title { (term("Scenarios", "scenario")) }
                p #scenario-result.result aria-live="polite" {}
                div #part-scenarios.groups data-part="/parts/scenarios" data-on="settings drill" { (scenarios::list(&lab).await) }
            }
        }
    };
    whole(&lab, "Desk", &main).await
}

fn settings_form(lab: &Lab) -> Markup {
    let schema = lab.schema();
    html! {
        form.row data-post="/api/settings/set" data-into="settings-result" data-say="All services have applied it." data-wait="Waiting until all services have applied it" {
            div {
                label for="set-service" { "Service" }
                select #set-service name="service" {
                    @for service in Service::ALL { option { (service) } }
                }
            }
            div.wide {
                label for="set-assignment" { "Setting" }
                input #set-assignment name="assignment" list="setting-keys" placeholder="KEY=VALUE" autocomplete="off" spellcheck="false" required;
            }
            button { "Set" }
        }
        datalist #setting-keys {
            @for key in keys(lab) { option value=(format!("{key}=")) {} }
        }
        p #settings-result.result aria-live="polite" {}
        form data-post="/api/settings/reset" data-into="settings-result" data-say="The healthy scenario is active." data-wait="Waiting until all services have applied it" {
            button.quiet #reset { "Reset to healthy" }
        }
        details #details-schema {
            summary { "All settings of each service" }
            @for service in Service::ALL {
                h3 { (service) }
                @let mut settings = schema.settings(*service).peekable();
                @if settings.peek().is_none() { p { "None." } }
                dl.settings {
                    @for setting in settings {
                        dt { code { (setting.key) } }
                        dd { (setting.allowed) }
                    }
                }
            }
        }
    }
}

fn keys(lab: &Lab) -> Vec<&'static str> {
    let schema = lab.schema();
    let mut keys: Vec<_> = Service::ALL.iter().flat_map(|service| schema.settings(*service)).map(|it| it.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
