//! The first page.

use axum::extract::State;
use axum::response::Html;
use maud::html;

use super::glossary::term;
use super::{chain, claims, scenarios, whole};
use crate::api::routes::Shared;

pub(super) async fn page(State(lab): Shared) -> Html<String> {
    let main = html! {
        h1 { "Why traces break" }
        div.desk {
            section #chain aria-labelledby="chain-title" {
                h2 #chain-title { "The " (term("chain", "chain")) }
                div #part-chain data-part="/parts/chain" data-on="claims looks services drill" { (chain::latest(&lab).await) }
            }
            section #settings aria-labelledby="settings-title" {
                h2 #settings-title { "Settings" }
                div #part-settings data-part="/parts/settings" data-on="settings drill" { (scenarios::table(&lab).await) }
                p #settings-result.result aria-live="polite" {}
                form data-post="/api/settings/reset" data-into="settings-result" data-say="The healthy scenario is active." data-wait="Waiting until all services have applied it" data-then="lesson-title" {
                    button.quiet #reset { "Reset to healthy" }
                }
            }
            section #claims aria-labelledby="claims-title" {
                h2 #claims-title { "Claims" }
                (claims::forms(&lab))
                div #part-scoreboard data-part="/parts/scoreboard" data-on="looks drill" { (claims::board(&lab)) }
                div #part-claims data-part="/parts/claims" data-on="claims looks drill" { (claims::list(&lab, claims::ListQuery::default())) }
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
