//! The desk's web pages and parts of pages, rendered here. The browser requests a part again when something has changed.
//!
//! Templates escape every text, because span names and attributes are foreign.

use std::sync::Arc;

use ::chain::service::Colour;
use ::chain::{Hop, Service};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use service::Problem;
use service::body::Body;

use crate::api::routes::{self, Shared};
use crate::api::{DrillAnswer, ServiceValues};
use crate::guard::token::{self, Token};
use crate::lab::Lab;

mod chain;
mod claim;
mod claims;
mod compare;
mod glossary;
mod headers;
mod home;
mod ledger;
mod lesson;
mod scenarios;
mod span;
mod waterfall;

type Page = Result<Html<String>, Problem>;

pub(crate) fn router(token: Option<Arc<Token>>) -> Router<Arc<Lab>> {
    let login = get(async || login(false)).post(async move |body: Bytes| token::log_in(token, body, login(true)).await);
    Router::new()
        .route("/", get(home::page))
        .route("/login", login)
        .route("/claims/{id}", get(claim::page))
        .route("/glossary", get(glossary::page))
        .route("/runtimes", get(glossary::runtimes))
        .route("/parts/chain", get(chain::part))
        .route("/parts/lab", get(lesson::part))
        .route("/parts/claims", get(claims::part))
        .route("/parts/scoreboard", get(claims::scoreboard))
        .route("/parts/scenarios", get(scenarios::part))
        .route(
            "/parts/settings",
            get(scenarios::settings)
                .post(async |lab: Shared, Body(values): Body<ServiceValues>| scenarios::set(lab, values).await),
        )
        .route("/settings/{service}", get(scenarios::form_page))
        .route("/parts/settings/{service}", get(scenarios::form_part))
        .route("/parts/claims/{id}", get(claim::part))
        .route("/parts/rows/{id}/{trace}", get(claim::rows))
        .route("/parts/find/{id}", get(claim::find))
        .route("/parts/spans/{trace}/{span}", get(span::part))
        .route("/parts/ledger/{id}", get(claim::headers))
        .route("/parts/hops/{id}/{at}", get(claim::hop))
        .route("/parts/check", post(lesson::check))
        .route("/parts/diagnosis", post(lesson::diagnose))
        .route("/parts/diagnosis/{id}", post(lesson::diagnose_claim))
        .route("/parts/hint", post(lesson::hint))
        .route("/parts/reveal", post(lesson::reveal))
        .route("/parts/uncover", post(lesson::uncover))
        .route(
            "/parts/hypothesis",
            post(async |lab: Shared, Body(answer): Body<DrillAnswer>| lesson::hypothesis(lab, answer).await),
        )
        .route(
            "/parts/answer",
            post(async |lab: Shared, Body(answer): Body<DrillAnswer>| lesson::answer(lab, answer).await),
        )
        .route("/assets/desk.css", get(async || asset("text/css; charset=utf-8", stylesheet())))
        .route("/assets/desk.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/desk.js"))))
        .route("/assets/live.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/live.js"))))
        .route(
            "/assets/links.js",
            get(async || asset("text/javascript; charset=utf-8", include_str!("assets/links.js"))),
        )
        .route(
            "/assets/details.js",
            get(async || asset("text/javascript; charset=utf-8", include_str!("assets/details.js"))),
        )
        .route("/assets/copy.js", get(async || asset("text/javascript; charset=utf-8", include_str!("assets/copy.js"))))
        .route(
            "/assets/waterfall.js",
            get(async || asset("text/javascript; charset=utf-8", include_str!("assets/waterfall.js"))),
        )
}

fn asset(media_type: &'static str, text: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

/// A page with all that is on every page.
async fn whole(lab: &Lab, title: &str, main: &Markup) -> Html<String> {
    let script = html! { script type="module" src="/assets/desk.js" {} };
    let body = html! {
        a.skip href="#main" { "Skip to content" }
        header {
            a.brand href="/" { "InsureWatch" }
            nav aria-label="Parts of the desk" {
                a href="/#chain" { "Chain" }
                a href="/#settings" { "Settings" }
                a href="/#claims" { "Claims" }
                a href="/#scenarios" { "Scenarios" }
                a href="/glossary" { "Glossary" }
            }
            p #connection role="status" { "connecting" }
        }
        div.page {
            aside #rail aria-labelledby="lesson-title" {
                div #part-lab data-part="/parts/lab" data-on="settings drill claims looks" { (lesson::state(lab).await) }
            }
            main #main tabindex="-1" { (main) }
        }
        (lesson::bar())
        dialog #ask aria-labelledby="ask-text" {
            p #ask-text {}
            form.row method="dialog" {
                button value="no" autofocus { "Cancel" }
                button.quiet value="yes" { "Go on" }
            }
        }
        noscript { p.note { "This page needs JavaScript. The command line works without it." } }
    };
    document(title, &script, &body)
}

fn part(markup: Markup) -> Html<String> {
    Html(markup.into_string())
}

/// For people: a page that says what there is instead. For programs: the problem as JSON.
pub(crate) async fn nothing_here(State(lab): Shared, headers: HeaderMap) -> Response {
    let accepts =
        |kind: &str| headers.get_all(header::ACCEPT).iter().any(|it| it.to_str().is_ok_and(|it| it.contains(kind)));
    if !accepts("text/html") {
        return routes::nothing_here().await.into_response();
    }
    let main = html! {
        h1 { "There is no such page" }
        p { "The desk has " a href="/" { "its first page" } ", a page for each claim that was sent ("
            a href="/claims/last" { "the newest" } "), and a " a href="/glossary" { "glossary" } "." }
    };
    (StatusCode::NOT_FOUND, whole(&lab, "No such page", &main).await).into_response()
}

/// Without a script, which only a logged-in browser gets.
pub(crate) fn login(refused: bool) -> Html<String> {
    let body = html! {
        main #main {
            h1 { "InsureWatch" }
            form.login method="post" action="/login" {
                label for="token" { "Token of this desk" }
                input #token name="token" type="password" autocomplete="current-password" required;
                button { "Log in" }
                @if refused { p.bad role="alert" { "The token is wrong." } }
            }
        }
    };
    document("Log in", &html! {}, &body)
}

fn document(title: &str, script: &Markup, body: &Markup) -> Html<String> {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – InsureWatch" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/assets/desk.css";
                (script)
            }
            body { (body) }
        }
    };
    Html(document.into_string())
}

/// The class that gives a service its colour, always shown together with its name. [`stylesheet`] has its rule.
fn service_class(service: &str) -> String {
    let name = Service::named(service).map_or("other", Service::name);
    format!("s-{name}")
}

/// The style sheet, with the colours of the chain's services.
fn stylesheet() -> String {
    let rules = Service::ALL.iter().map(|service| {
        let Colour { light, dark, .. } = service.row().colour;
        format!(".{} {{ --service: light-dark({light}, {dark}); }}\n", service_class(service.name()))
    });
    let sheets = [include_str!("assets/desk.css"), include_str!("assets/claim.css")].map(str::to_owned);
    sheets.into_iter().chain(rules).collect()
}

/// A trace id: its beginning, and a link to Grafana if there is one.
fn trace_id(lab: &Lab, id: wire::TraceId) -> Markup {
    let full = id.to_string();
    let short: String = full.chars().take(8).collect();
    html! {
        @match lab.grafana().map(|grafana| in_grafana(grafana, &dashboards::link::trace(&full))) {
            Some(url) => a href=(url) title=(format!("{full} in Grafana")) rel="noreferrer" { code { (short) "…" } },
            None => code title=(full) { (short) "…" },
        }
    }
}

/// A link below Grafana's address, which may itself have a path.
fn in_grafana(grafana: &reqwest::Url, link: &str) -> String {
    format!("{}/{link}", grafana.as_str().trim_end_matches('/'))
}

/// Rounded to a tenth, half up, as the script of the waterfall does.
fn duration(nanos: u64) -> String {
    let (unit, name) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..999_950 => (1_000, "µs"),
        999_950..999_950_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let tenths = nanos.saturating_add(unit / 20) / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// A dotted name, which breaks after a dot where it must.
fn dotted(name: &str) -> Markup {
    html! { @for part in name.split_inclusive('.') { (part) @if part.ends_with('.') { wbr; } } }
}

/// Why nobody knows which parent the receiver's span has.
fn no_parent(hop: &Hop) -> &'static str {
    if hop.to.has_sdk() { "no span received" } else { "not observable (third party)" }
}

/// The name of a hop, which breaks before a service at the most.
fn hop_name(hop: &Hop) -> Markup {
    html! { span.nowrap { (hop.from) " ->" } " " span.nowrap { (hop.to) } }
}

/// A running clock, which a script reads: the same text as long as nothing else changes, so that a part is not drawn again.
fn clock(since_unix_ms: u64) -> Markup {
    html! { time.clock data-since=(since_unix_ms) {} }
}

fn minutes(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Foreign text as a part of a path or query: all but the unreserved characters of
/// [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2.3) is encoded.
fn encoded(text: &str) -> PercentEncode<'_> {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED)
}

fn beginning(text: &str, characters: usize) -> String {
    let mut short: String = text.chars().take(characters).collect();
    if text.chars().nth(characters).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_rounded_half_up() {
        let table = [
            (999, "999 ns"),
            (1_000, "1.0 µs"),
            (3_750_000, "3.8 ms"),
            (3_749_999, "3.7 ms"),
            (999_949, "999.9 µs"),
            (999_950, "1.0 ms"),
            (999_950_000, "1.0 s"),
            (u64::MAX, "18446744073.7 s"),
        ];
        for (nanos, text) in table {
            assert_eq!(duration(nanos), text, "{nanos} ns");
        }
    }

    #[test]
    fn a_trace_id_links_to_explore() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        for base in ["http://localhost:3000", "http://localhost:3000/"] {
            let link: reqwest::Url = in_grafana(&base.parse().unwrap(), &dashboards::link::trace(id)).parse().unwrap();
            assert_eq!(link.path(), "/explore", "{base}");
            let query: std::collections::BTreeMap<_, _> = link.query_pairs().collect();
            let names: Vec<_> = query.keys().map(AsRef::as_ref).collect();
            assert_eq!(names, ["orgId", "panes", "schemaVersion"], "{link}");
            assert_eq!((&*query["schemaVersion"], &*query["orgId"]), ("1", "1"), "{link}");
            let panes: serde_json::Value = serde_json::from_str(&query["panes"]).unwrap();
            let pane = panes.as_object().unwrap().values().next().unwrap();
            assert_eq!(pane["datasource"], "tempo", "the uid of the data source");
            assert_eq!(pane["queries"][0]["queryType"], "traceql", "an id alone is a TraceQL query");
            assert_eq!(pane["queries"][0]["query"], id, "the trace");
        }
        let below = in_grafana(&"http://localhost/grafana/".parse().unwrap(), &dashboards::link::trace(id));
        assert!(below.starts_with("http://localhost/grafana/explore?"), "below a path of a proxy: {below}");
    }
}
