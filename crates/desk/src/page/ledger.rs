//! What each hop sent and received, as a table.

use chain::{ParentUsed, Transit};
use evidence::{Reading, Side, SideState};
use maud::{Markup, html};

pub(super) fn table(reading: &Reading<'_>) -> Markup {
    html! {
        div.scroll role="region" aria-label="Headers sent and received at each hop" tabindex="0" {
            table.ledger {
                thead { tr { th scope="col" { "Hop" } th scope="col" { "Sent" } th scope="col" { "Received" } th scope="col" { "In transit" } th scope="col" { "Parent used" } } }
                tbody {
                    @for row in reading.rows() {
                        tr {
                            th scope="row" { (row.hop) }
                            td { (side(&row.sent)) }
                            td { (side(&row.received)) }
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
                    }
                }
            }
        }
    }
}

fn side(side: &Side) -> Markup {
    html! {
        @match side.state {
            SideState::NoSpan => span.quiet { "no span received" },
            SideState::NotOnRecord => span.quiet { "not on record" },
            SideState::Recorded if side.headers.is_empty() => "recorded, no trace header",
            SideState::Recorded => @for (name, values) in side.headers.iter() {
                div.header { strong { (name) } " " code { (super::beginning(&values.join(", "), 300)) } }
            },
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
