//! What each hop sent and received, as a table, and below each hop its headers taken apart.

use std::collections::BTreeSet;

use chain::{ParentUsed, Service, Transit};
use evidence::{Reading, Side, SideState};
use maud::{Markup, html};

use super::headers::Known;

/// `whose` makes the parts of one ledger of a page differ from those of another.
pub(super) fn table(reading: &Reading<'_>, judges: bool, whose: &str) -> Markup {
    let known = Known { evidence: reading.evidence(), judges };
    html! {
        div.scroll role="region" aria-label="Headers sent and received at each hop" tabindex="0" {
            table.ledger {
                thead { tr { th scope="col" { "Hop" } th scope="col" { "Sent" } th scope="col" { "Received" } th scope="col" { "In transit" } th scope="col" { "Parent used" } } }
                tbody {
                    @for (at, row) in reading.rows().iter().enumerate() {
                        tr {
                            th scope="row" { (row.hop) }
                            td { (side(known, &row.sent, &row.received)) }
                            td { (side(known, &row.received, &row.sent)) (propagates(reading, row.hop.to)) }
                            td { (transit("trace headers", row.transit)) (transit("baggage", row.baggage_transit)) }
                            td {
                                @match row.parent {
                                    _ if row.linked => "a link to the sender's span",
                                    Some(parent @ ParentUsed::Sender) => (parent.words()),
                                    Some(parent) => strong { (parent.words()) },
                                    None => span.quiet { "no span received" },
                                }
                                @if let Some(sampled) = row.sampled { br; @if sampled { "sampled" } @else { "not sampled" } }
                            }
                        }
                        tr.apart {
                            td colspan="5" {
                                details #(format!("details-parts-{whose}{at}")) { summary { "Headers taken apart" } (known.of_hop(row)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn side(known: Known<'_>, side: &Side, other: &Side) -> Markup {
    let beside = |name: &str| other.recorded().map(|headers| headers.get(name).join(", ")).filter(|it| !it.is_empty());
    html! {
        @match side.state {
            SideState::NoSpan => span.quiet { "no span received" },
            SideState::NotOnRecord => span.quiet { "not on record" },
            SideState::Recorded if side.headers.is_empty() => "recorded, no trace header",
            SideState::Recorded => @for (name, values) in side.headers.iter() {
                (known.line(name, &values.join(", "), beside(name).as_deref()))
            },
        }
    }
}

/// What a receiver can be expected to read: the formats that it sends itself.
fn propagates(reading: &Reading<'_>, receiver: Service) -> Markup {
    let calls = || reading.rows().iter().filter(|row| row.hop.from == receiver);
    let sent: Vec<_> = calls().filter_map(|row| row.sent.recorded()).collect();
    let formats: BTreeSet<_> = sent.iter().flat_map(|headers| headers.formats()).collect();
    let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
    html! {
        @if receiver.has_sdk() {
            p.quiet {
                @if calls().next().is_none() { (receiver) " calls no other service, so what it propagates is not on record." }
                @else if sent.is_empty() { "What " (receiver) " itself sends is not on record." }
                @else if names.is_empty() { (receiver) " itself sends no trace header." }
                @else { (receiver) " itself sends " (names.join(", ")) "." }
            }
        }
    }
}

fn transit(what: &str, transit: Option<Transit>) -> Markup {
    html! {
        @match transit {
            None => {},
            Some(Transit::Intact) => div { (what) " unchanged" },
            Some(Transit::Altered) => div { strong { (what) " changed" } },
            Some(Transit::Lost) => div { strong { (what) " lost" } },
        }
    }
}
