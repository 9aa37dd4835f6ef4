//! The chain as a picture, and the same in words.

use std::fmt;

use ::chain::hop::Arrow;
use ::chain::service::{BOX_HEIGHT, BoxPlace};
use ::chain::{ParentUsed, Service, Topology, Transit};
use axum::extract::State;
use axum::response::Html;
use evidence::claim::listed;
use evidence::{BaggageOn, Collected, DrawnHop, DrawnService, HopRow, Mark, Picture, Reading, Side, SideState};
use maud::{Markup, html};

use super::{beginning, encoded, no_parent, part as as_part, service_class};
use crate::api::routes::Shared;
use crate::api::{ClaimRow, LookQuery};
use crate::lab::Lab;

const CARD_WIDTH: i32 = 250;
const CARD_HEIGHT: i32 = 68;
/// As many traces have a tint; then the tints begin again. The letter is always there too.
const TINTS: usize = 6;
/// How far the line of the baggage is beside the arrow of its hop.
const BESIDE: i32 = 8;

/// A hop of one claim, as the picture shows it.
struct HopView<'a> {
    number: usize,
    drawn: DrawnHop,
    row: Option<&'a HopRow>,
}

/// A service of one claim, as the picture shows it.
struct ServiceView {
    drawn: DrawnService,
    /// Whether it answers now, which no span says.
    answers: bool,
}

/// The letters of some traces, in words.
struct Letters<'a>(&'a [usize]);

pub(super) async fn part(State(lab): Shared) -> Html<String> {
    as_part(latest(&lab).await)
}

/// The newest claim, also while its spans are awaited.
pub(super) async fn latest(lab: &Lab) -> Markup {
    let shown = lab.claim_to_show();
    let id = |row: &ClaimRow| row.claim.claim_id.clone().unwrap_or_default();
    let found = match &shown {
        Some((row, _)) if row.seen.is_some() => lab.find(&id(row), LookQuery::AT_ONCE).await.ok(),
        _ => None,
    };
    let is_older = |row: &ClaimRow| row.sent_unix_ms < lab.began_unix_ms();
    let began = match (lab.lesson(), lab.drill().current) {
        (Some(_), _) => "this lesson began",
        (None, Some(_)) => "this drill began",
        (None, None) => "the lab was reset to healthy",
    };
    html! {
        @match &shown {
            None => p { "Send a claim to see what each hop does with its context." },
            Some((row, awaited)) => p {
                @if *awaited == 0 { "The newest claim, " } @else { "The newest claim with spans, " }
                a href=(format!("/claims/{}", encoded(&id(row)))) { code { (beginning(&id(row), 12)) } }
                @match &row.seen {
                    None => ": its spans are awaited.",
                    Some(_) if found.is_none() => ": no span was received.",
                    Some(seen) if seen.is_decided() => ".",
                    Some(_) => ": its spans are still arriving.",
                }
                @if is_older(row) { " It was sent before " (began) ": send one." }
                @if *awaited > 0 { " " (awaited) @if *awaited == 1 { " newer claim is awaited." } @else { " newer claims are awaited." } }
            },
        }
        (of(lab, found.as_ref()))
    }
}

/// The picture of what was collected; the bare chain if nothing was.
fn of(lab: &Lab, collected: Option<&Collected>) -> Markup {
    let nothing = Collected::default();
    let reading = Reading::new(Topology::LAB, collected.unwrap_or(&nothing));
    draw(lab, &reading, &lab.silent_services(), "")
}

/// The picture of a claim of any age: which services answer now has nothing to do with it. `whose` makes its ids differ from
/// those of another on the same page.
pub(super) fn picture(lab: &Lab, reading: &Reading<'_>, whose: &str) -> Markup {
    draw(lab, reading, &[], whose)
}

fn draw(lab: &Lab, reading: &Reading<'_>, silent: &[Service], whose: &str) -> Markup {
    let Picture { hops, services, elsewhere } = lab.picture(reading);
    let view = |(number, drawn): (usize, DrawnHop)| HopView { number, row: reading.row(drawn.hop), drawn };
    let hops: Vec<_> = (1..).zip(hops).map(view).collect();
    let view = |drawn: DrawnService| ServiceView { answers: !silent.contains(&drawn.service), drawn };
    let services: Vec<_> = services.into_iter().map(view).collect();
    let has_lines = hops.iter().any(|hop| !matches!(hop.drawn.baggage, BaggageOn::None | BaggageOn::NotKnown));
    let tinted = services.iter().any(|it| !it.drawn.traces.is_empty());
    html! {
        svg.chain viewBox="-4 0 1048 396" role="img" aria-labelledby=(format!("chain-name{whose} chain-text{whose}")) {
            title #(format!("chain-name{whose}")) { "Services and hops of a claim" }
            desc #(format!("chain-text{whose}")) {
                @for hop in &hops { (hop.words()) " " }
                @for service in &services { (service.sentence()) " " }
            }
            defs {
                (marker(&format!("head{whose}"), 7, "M0 0 L8 4 L0 8 Z"))
                // Before the head of the arrow, which would hide it.
                (marker(&format!("lost{whose}"), 26, "M0 0 L8 8 M8 0 L0 8"))
            }
            @for hop in &hops { (hop.draw(whose)) }
            @for service in &services { (service.draw()) }
        }
        @if tinted {
            p.legend.quiet {
                "Tint and letter of a box: the traces that have spans of it."
                @if has_lines && lab.judges() { " Thin line: baggage. ✕ at its start: not sent; at its end: it did not arrive, or was not read." }
                @else if has_lines { " Thin line: baggage was recorded at one end of the hop, or at both." }
            }
        }
        @for sentence in elsewhere { p.bad { (sentence) } }
        details.in-words #(format!("details-hops{whose}")) {
            summary { "The same in words" }
            ol.hops { @for hop in &hops { li.(class(hop.drawn.mark)) { (hop.words()) } } }
            ul.boxes { @for service in &services { li.(tint(service.drawn.traces.first())) { (service.sentence()) } } }
        }
    }
}

fn marker(id: &str, end: i32, path: &str) -> Markup {
    html! {
        marker id=(id) viewBox="0 0 8 8" refX=(end) refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" {
            path d=(path) {}
        }
    }
}

/// The letter of a trace, by its place among the claim's: A for the first.
pub(super) fn letter(trace: usize) -> String {
    match u8::try_from(trace).ok().and_then(|at| b'A'.checked_add(at)).filter(u8::is_ascii_uppercase) {
        Some(letter) => char::from(letter).to_string(),
        None => (trace + 1).to_string(),
    }
}

/// The class that gives a trace its tint, always shown together with its letter.
pub(super) fn tint(trace: Option<&usize>) -> String {
    trace.map(|trace| format!("trace-{}", trace % TINTS)).unwrap_or_default()
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

// === impl Letters ===

impl fmt::Display for Letters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: Vec<_> = self.0.iter().map(|trace| letter(*trace)).collect();
        write!(f, "{} {}", if letters.len() == 1 { "trace" } else { "traces" }, listed(&letters))
    }
}

// === impl ServiceView ===

impl ServiceView {
    fn draw(&self) -> Markup {
        let Self { drawn: DrawnService { service, mark, traces }, answers } = self;
        let BoxPlace { left, top, width } = service.row().place;
        let seen = !matches!(mark, Mark::NotReceived | Mark::NotObservable);
        let slice = |at: usize| {
            let edge =
                |at: usize| left + width * i32::try_from(at).unwrap_or(0) / i32::try_from(traces.len()).unwrap_or(1);
            (edge(at), edge(at + 1) - edge(at))
        };
        // Above the boxes of the upper row, below those of the lower one: no arrow is there.
        let beside = if top < BOX_HEIGHT { top - 7 } else { top + BOX_HEIGHT + 15 };
        html! {
            g.service.(service_class(service.name())).silent[!answers].seen[seen].lost[mark.is_wrong()] {
                rect.ground x=(left) y=(top) width=(width) height=(BOX_HEIGHT) rx="8" {}
                @for (at, trace) in traces.iter().enumerate() {
                    @let (left, width) = slice(at);
                    rect.(tint(Some(trace))) x=(left) y=(top) width=(width) height=(BOX_HEIGHT) rx="8" {}
                }
                rect.edge x=(left) y=(top) width=(width) height=(BOX_HEIGHT) rx="8" {}
                @if mark.is_wrong() {
                    path.crack d=(format!("M{} {top} l-6 15 l9 8 l-9 9 l6 14", left + width - 16)) {}
                }
                text x=(left + width / 2) y=(top + 21) { (service) }
                text.small x=(left + width / 2) y=(top + 38) { (self.trace_words()) }
                @if let Some(words) = self.mark_words() { text.mark x=(left + width / 2) y=(beside) { (words) } }
            }
        }
    }

    fn trace_words(&self) -> String {
        match self.drawn.mark {
            _ if !self.drawn.traces.is_empty() => Letters(&self.drawn.traces).to_string(),
            Mark::NotObservable => "exports no spans".to_owned(),
            Mark::Good | Mark::Bad | Mark::Leaking | Mark::Unsure | Mark::Seen | Mark::NotReceived => {
                "no span received".to_owned()
            }
        }
    }

    fn mark_words(&self) -> Option<&'static str> {
        match self.drawn.mark {
            _ if !self.answers => Some("does not answer"),
            Mark::Bad => Some("context lost inside"),
            Mark::Leaking => Some("leaks baggage"),
            Mark::Good | Mark::Unsure | Mark::Seen | Mark::NotReceived | Mark::NotObservable => None,
        }
    }

    fn sentence(&self) -> String {
        let mark = self.mark_words().map(|words| format!("; {words}")).unwrap_or_default();
        format!("{}: {}{mark}.", self.drawn.service, self.trace_words())
    }
}

// === impl HopView ===

impl HopView<'_> {
    fn draw(&self, whose: &str) -> Markup {
        let Arrow { path, card_left: left, card_top: top } = self.drawn.hop.arrow;
        let line = |number: i32| top + 20 * number;
        html! {
            g.hop.(self.class()) {
                path.arrow d=(path) marker-end=(format!("url(#head{whose})")) {}
                (self.draw_baggage(path, whose))
                rect.card x=(left) y=(top) width=(CARD_WIDTH) height=(CARD_HEIGHT) rx="6" {}
                text x=(left + 8) y=(line(1) - 2) { tspan.number { (self.number) " sent " } (beginning(&self.sent(), 26)) }
                text x=(left + 8) y=(line(2) - 2) { tspan.number { "received " } (beginning(&self.received(), 24)) }
                text x=(left + 8) y=(line(3) - 2) { tspan.number { "parent " } (self.parent()) }
            }
        }
    }

    /// Where only baggage was lost, the context arrived all the same.
    fn class(&self) -> &'static str {
        let arrives = |row: &HopRow| row.is_joined() && matches!(row.transit, None | Some(Transit::Intact));
        match (self.drawn.mark, self.drawn.baggage) {
            (Mark::Bad, BaggageOn::Dropped { .. }) if self.row.is_some_and(arrives) => "arrives torn",
            (mark, _) => class(mark),
        }
    }

    fn draw_baggage(&self, path: &str, whose: &str) -> Markup {
        let lost = || Some(format!("url(#lost{whose})"));
        let (class, start, end) = match self.drawn.baggage {
            BaggageOn::None | BaggageOn::NotKnown => return html! {},
            BaggageOn::Carried => ("carried", None, None),
            BaggageOn::Seen => ("on-record", None, None),
            BaggageOn::Dropped { on_record: false } => ("dropped", lost(), None),
            BaggageOn::Dropped { on_record: true } => ("dropped", None, lost()),
            BaggageOn::Leaking => ("leaks", None, None),
        };
        let aside = if path.contains('V') { (BESIDE, 0) } else { (0, BESIDE) };
        html! { path.baggage.(class) d=(path) transform=(format!("translate({} {})", aside.0, aside.1)) marker-start=[start] marker-end=[end] {} }
    }

    fn words(&self) -> String {
        let Self { number, drawn: DrawnHop { hop, .. }, .. } = self;
        let via = hop.via.map(|via| format!(" through {via}")).unwrap_or_default();
        format!(
            "Hop {number}, {} to {}{via}: sent {}; received {}; parent {}{}.",
            hop.from,
            hop.to,
            self.sent(),
            self.received(),
            self.parent(),
            self.baggage()
        )
    }

    fn baggage(&self) -> &'static str {
        match self.drawn.baggage {
            BaggageOn::None | BaggageOn::NotKnown => "",
            BaggageOn::Carried => "; baggage carried",
            BaggageOn::Seen => "; baggage on record",
            BaggageOn::Dropped { on_record: false } => "; baggage not sent",
            BaggageOn::Dropped { on_record: true } if self.row.is_some_and(|row| !row.received.baggage.is_empty()) => {
                "; baggage arrived and was not read"
            }
            BaggageOn::Dropped { on_record: true } => "; baggage lost",
            BaggageOn::Leaking => "; baggage leaks",
        }
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
            Some(row) => match row.parent {
                Some(ParentUsed::Sender) => "is the sender",
                Some(ParentUsed::Nobody) => "none: a new trace",
                Some(ParentUsed::NotReceived) => "not received",
                Some(ParentUsed::Other) => "is not the sender",
                None => no_parent(self.drawn.hop),
            },
            None => no_parent(self.drawn.hop),
        }
    }
}

fn names(side: Option<&Side>) -> String {
    let Some(headers) = side.and_then(Side::recorded) else {
        return format!("– {}", side.map_or(SideState::NoSpan, |side| side.state).words());
    };
    let mut names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| *name == "baggage");
    if names.is_empty() { "no trace header".to_owned() } else { names.join(", ") }
}
