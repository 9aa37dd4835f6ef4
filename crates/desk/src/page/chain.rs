//! The chain as a picture, and the same in words.

use ::chain::hop::Arrow;
use ::chain::service::{BOX_HEIGHT, BoxPlace};
use ::chain::{Hop, ParentUsed, Service, Topology, Transit};
use axum::extract::State;
use axum::response::Html;
use evidence::{Collected, HopRow, Mark, Picture, Reading, Side, SideState};
use maud::{Markup, html};

use super::{beginning, encoded, part as as_part, service_class};
use crate::api::LookQuery;
use crate::api::routes::Shared;
use crate::lab::Lab;

const CARD_WIDTH: i32 = 250;
const CARD_HEIGHT: i32 = 68;

/// A hop of one claim, as the picture shows it.
struct HopView<'a> {
    number: usize,
    hop: &'static Hop,
    row: Option<&'a HopRow>,
    mark: Mark,
}

pub(super) async fn part(State(lab): Shared) -> Html<String> {
    as_part(latest(&lab).await)
}

/// The newest claim of which there is something to show.
pub(super) async fn latest(lab: &Lab) -> Markup {
    let row = lab.last_seen_claim();
    let seen = row.as_ref().and_then(|row| Some((row.claim.claim_id.as_deref()?, row.seen.as_ref()?)));
    let found = match seen {
        Some((id, _)) => lab.find(id, LookQuery::AT_ONCE).await.ok(),
        None => None,
    };
    html! {
        @match seen {
            None => p { "Send a claim to see what each hop does with its context." },
            Some((id, seen)) => p {
                "The newest claim, " a href=(format!("/claims/{}", encoded(id))) { code { (beginning(id, 12)) } }
                @if found.is_none() { ": no span has arrived yet." }
                @else if seen.is_decided() { "." }
                @else { ": its spans are still arriving." }
            },
        }
        (of(lab, found.as_ref()))
    }
}

/// The picture of what was collected; the bare chain if nothing was.
fn of(lab: &Lab, collected: Option<&Collected>) -> Markup {
    let nothing = Collected::default();
    let reading = Reading::new(Topology::LAB, collected.unwrap_or(&nothing));
    picture(lab, &reading, "")
}

/// `whose` makes this picture's ids differ from those of another on the same page.
pub(super) fn picture(lab: &Lab, reading: &Reading<'_>, whose: &str) -> Markup {
    let Picture { hops, services, elsewhere } = lab.picture(reading);
    let row = |hop| reading.row(hop);
    let hops: Vec<_> =
        (1..).zip(hops).map(|(number, (hop, mark))| HopView { number, hop, row: row(hop), mark }).collect();
    html! {
        svg.chain viewBox="-4 10 1048 385" role="img" aria-labelledby=(format!("chain-name{whose} chain-text{whose}")) {
            title #(format!("chain-name{whose}")) { "Services and hops of a claim" }
            desc #(format!("chain-text{whose}")) { @for hop in &hops { (hop.words()) " " } }
            defs {
                marker #(format!("head{whose}")) viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" {
                    path d="M0 0 L8 4 L0 8 Z" {}
                }
            }
            @for hop in &hops { (hop.draw(whose)) }
            @for (service, mark) in services { (draw_service(service, mark)) }
        }
        @for sentence in elsewhere { p.bad { (sentence) } }
        details.in-words #(format!("details-hops{whose}")) {
            summary { "The same in words" }
            ol.hops { @for hop in &hops { li.(class(hop.mark)) { (hop.words()) } } }
        }
    }
}

fn draw_service(service: Service, mark: Mark) -> Markup {
    let BoxPlace { left, top, width } = service.row().place;
    let seen = !matches!(mark, Mark::NotReceived | Mark::NotObservable);
    let words = match mark {
        Mark::NotObservable => "creates no spans",
        Mark::NotReceived => "no span received",
        Mark::Bad => "context lost inside",
        Mark::Leaking => "leaks baggage",
        Mark::Good | Mark::Unsure | Mark::Seen => "has spans",
    };
    html! {
        g.service.(service_class(service.name())).seen[seen].lost[mark.is_wrong()] {
            rect x=(left) y=(top) width=(width) height=(BOX_HEIGHT) rx="8" {}
            text x=(left + width / 2) y=(top + 21) { (service) }
            text.small x=(left + width / 2) y=(top + 37) { (words) }
        }
    }
}

/// What a mark looks like; the words say the same.
fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "joined",
        Mark::Bad => "torn",
        Mark::Leaking => "leaking",
        Mark::Unsure => "unsure",
        Mark::Seen => "seen",
        Mark::NotReceived => "unseen",
        Mark::NotObservable => "outside",
    }
}

// === impl HopView ===

impl HopView<'_> {
    fn draw(&self, whose: &str) -> Markup {
        let Arrow { path, card_left: left, card_top: top } = self.hop.arrow;
        let line = |number: i32| top + 20 * number;
        html! {
            g.hop.(class(self.mark)) {
                path.arrow d=(path) marker-end=(format!("url(#head{whose})")) {}
                rect.card x=(left) y=(top) width=(CARD_WIDTH) height=(CARD_HEIGHT) rx="6" {}
                text x=(left + 8) y=(line(1) - 2) { tspan.number { (self.number) " sent " } (beginning(&self.sent(), 26)) }
                text x=(left + 8) y=(line(2) - 2) { tspan.number { "received " } (beginning(&self.received(), 24)) }
                text x=(left + 8) y=(line(3) - 2) { tspan.number { "parent " } (self.parent()) }
            }
        }
    }

    fn words(&self) -> String {
        let Self { number, hop, .. } = self;
        let via = hop.via.map(|via| format!(" through {via}")).unwrap_or_default();
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
        names(self.row.map(|row| &row.sent))
    }

    fn received(&self) -> String {
        let names = names(self.row.map(|row| &row.received));
        let altered = self.row.is_some_and(|row| row.transit == Some(Transit::Altered));
        if altered { format!("altered {names}") } else { names }
    }

    fn parent(&self) -> &'static str {
        match self.row {
            Some(row) if row.linked => "linked to the sender",
            Some(_) if !self.hop.to.has_sdk() => "not observable (third party)",
            Some(row) => match row.parent {
                Some(ParentUsed::Sender) => "is the sender",
                Some(ParentUsed::Nobody) => "none: a new trace",
                Some(ParentUsed::NotReceived) => "not received",
                Some(ParentUsed::Other) => "is not the sender",
                None => "not received",
            },
            None => "not received",
        }
    }
}

fn names(side: Option<&Side>) -> String {
    let Some(headers) = side.and_then(Side::recorded) else {
        let state = side.map_or(SideState::NoSpan, |side| side.state);
        return if state == SideState::NotOnRecord { "– not on record" } else { "– no span received" }.to_owned();
    };
    let mut names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| *name == "baggage");
    if names.is_empty() { "no trace header".to_owned() } else { names.join(", ") }
}
