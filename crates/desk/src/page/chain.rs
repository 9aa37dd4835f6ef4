//! The chain as a picture, and the same in words.

use axum::extract::State;
use axum::response::Html;
use chain::{Hop, ParentUsed, Service, Topology, Transit};
use evidence::ledger::Side;
use evidence::{ClaimEvidence, HopRow};
use maud::{Markup, html};

use super::{beginning, encoded, part as as_part, service_class};
use crate::api::LookQuery;
use crate::lab::Desk;
use crate::routes::Shared;

/// Where a service stands, in the picture's units: left, top, width.
const BOXES: [(Service, i32, i32, i32); 6] = [
    (Service::PythonApi, 0, 20, 150),
    (Service::Gateway, 235, 20, 110),
    (Service::JavaClaims, 430, 20, 180),
    (Service::NodePolicyStore, 850, 20, 190),
    (Service::ClaimsWorker, 430, 260, 180),
    (Service::FraudPartner, 850, 260, 190),
];
const BOX_HEIGHT: i32 = 46;
/// Each hop's arrow, and where its card stands, in the order of the hops.
const ARROWS: [(&str, i32, i32); 5] = [
    ("M150 43 H235 M345 43 H430", 150, 80),
    ("M610 43 H850", 612, 80),
    ("M470 66 V260", 208, 166),
    ("M610 283 H850", 612, 320),
    ("M570 260 V66", 584, 166),
];
const CARD_WIDTH: i32 = 250;
const CARD_HEIGHT: i32 = 68;

/// A hop of one claim, as the picture tells it.
struct HopView<'a> {
    number: usize,
    hop: &'static Hop,
    row: Option<&'a HopRow>,
}

pub(super) async fn part(State(desk): Shared) -> Html<String> {
    as_part(latest(&desk).await)
}

/// The newest claim of which there is something to show.
pub(super) async fn latest(desk: &Desk) -> Markup {
    let row = desk.observer.log().last_seen();
    let seen = row.as_ref().and_then(|row| Some((row.claim.claim_id.as_deref()?, row.seen.as_ref()?)));
    let found = match seen {
        Some((id, _)) => desk.find(id, LookQuery::AT_ONCE).await.ok(),
        None => None,
    };
    html! {
        @match seen {
            None => p { "Send a claim to see what each hop does with its context." },
            Some((id, seen)) => p {
                @if found.is_some() { "The newest claim" } @else { "No span has arrived of the newest claim" }
                ", " a href=(format!("/claims/{}", encoded(id))) { code { (beginning(id, 12)) } }
                @if seen.is_decided() { "." } @else { ": its spans are still arriving." }
            },
        }
        (picture(found.as_ref().map(|found| &found.evidence)))
    }
}

pub(super) fn picture(evidence: Option<&ClaimEvidence>) -> Markup {
    let rows = evidence.map(evidence::ledger).unwrap_or_default();
    let hops: Vec<_> = (1..)
        .zip(Topology::LAB.hops)
        .enumerate()
        .map(|(at, (number, hop))| HopView { number, hop, row: rows.get(at) })
        .collect();
    let reached: Vec<_> = evidence.into_iter().flat_map(|it| &it.fragments).flat_map(|it| &it.services).collect();
    html! {
        svg.chain viewBox="-4 10 1048 385" role="img" aria-labelledby="chain-name chain-text" {
            title #chain-name { "Services and hops of a claim" }
            desc #chain-text { @for hop in &hops { (hop.words()) " " } }
            defs {
                marker #head viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" {
                    path d="M0 0 L8 4 L0 8 Z" {}
                }
            }
            @for (hop, (arrow, left, top)) in hops.iter().zip(ARROWS) { (hop.draw(arrow, left, top)) }
            @for (service, left, top, width) in BOXES {
                @let seen = reached.iter().any(|name| *name == service.name());
                g.service.(service_class(service.name())).seen[seen] {
                    rect x=(left) y=(top) width=(width) height=(BOX_HEIGHT) rx="8" {}
                    text x=(left + width / 2) y=(top + 21) { (service) }
                    text.small x=(left + width / 2) y=(top + 37) {
                        @if service.has_sdk() { @if seen { "has spans" } @else { "no span seen" } } @else { "makes no spans" }
                    }
                }
            }
        }
        details.in-words #details-hops {
            summary { "The same in words" }
            ol.hops { @for hop in &hops { li.(hop.state()) { (hop.words()) } } }
        }
    }
}

// === impl HopView ===

impl HopView<'_> {
    fn draw(&self, arrow: &str, left: i32, top: i32) -> Markup {
        let line = |number: i32| top + 20 * number;
        html! {
            g.hop.(self.state()) {
                path.arrow d=(arrow) marker-end="url(#head)" {}
                rect.card x=(left) y=(top) width=(CARD_WIDTH) height=(CARD_HEIGHT) rx="6" {}
                text x=(left + 8) y=(line(1) - 2) { tspan.number { (self.number) " sent " } (beginning(&self.sent(), 26)) }
                text x=(left + 8) y=(line(2) - 2) { tspan.number { "received " } (beginning(&self.received(), 24)) }
                text x=(left + 8) y=(line(3) - 2) { tspan.number { "parent " } (self.parent()) }
            }
        }
    }

    /// What it looks like; the words say the same.
    fn state(&self) -> &'static str {
        match self.row {
            None => "unseen",
            Some(row) if row.is_unseen() => "unseen",
            Some(_) if !self.hop.to.has_sdk() => "outside",
            Some(row) if row.is_joined() => "joined",
            Some(row) if row.parent.is_none() => "unseen",
            Some(_) => "torn",
        }
    }

    fn words(&self) -> String {
        let Self { number, hop, .. } = self;
        let via = hop.via.map(|via| format!(" by way of {via}")).unwrap_or_default();
        format!(
            "Hop {number}, {} to {}{via}: sent {}; received {}; parent {}.",
            hop.from,
            hop.to,
            self.sent(),
            self.received(),
            self.parent()
        )
    }

    fn sent(&self) -> String {
        names(self.row.and_then(|row| row.sent.as_ref()))
    }

    fn received(&self) -> String {
        let names = names(self.row.and_then(|row| row.received.as_ref()));
        let altered = self.row.is_some_and(|row| row.transit == Some(Transit::Altered));
        if altered { format!("altered {names}") } else { names }
    }

    fn parent(&self) -> &'static str {
        match self.row {
            Some(row) if row.linked => "linked to the sender",
            Some(_) if !self.hop.to.has_sdk() => "not ours to see",
            Some(row) => match row.parent {
                Some(ParentUsed::Sender) => "is the sender",
                Some(ParentUsed::Nobody) => "none: a new trace",
                Some(ParentUsed::Other) => "is not the sender",
                None => "not seen",
            },
            None => "not seen",
        }
    }
}

fn names(side: Option<&Side>) -> String {
    let Some(side) = side else { return "– not seen".to_owned() };
    let mut names: Vec<_> = side.headers.iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| *name == "baggage");
    if names.is_empty() { "no trace header".to_owned() } else { names.join(", ") }
}
