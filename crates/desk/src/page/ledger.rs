//! What each hop sent and received, as a table, and below each hop its headers taken apart.

use chain::{ParentUsed, Transit};
use evidence::{HopRow, Reading, Side};
use maud::{Markup, html};

use super::headers::Known;
use super::{encoded, hop_name, no_parent};

/// Where the headers taken apart are, which few read of every hop.
#[derive(Clone, Copy)]
pub(super) enum Apart<'a> {
    /// In the page.
    InPlace,
    /// Loaded when somebody opens them: of the claim with this address, beside another if `whose` names it.
    Loaded { claim: &'a str, whose: &'a str },
}

/// The headers of every hop.
pub(super) fn table(reading: &Reading<'_>, judges: bool, apart: Apart<'_>) -> Markup {
    let known = Known { evidence: reading.evidence(), judges };
    html! {
        div.scroll role="region" aria-label="Headers sent and received at each hop" tabindex="0" {
            table.ledger {
                thead { tr { th scope="col" { "Hop" } th scope="col" { "Sent" } th scope="col" { "Received" } th scope="col" { "In transit" } th scope="col" { "Parent used" } } }
                tbody {
                    @for (at, row) in reading.rows().iter().enumerate() {
                        tr {
                            th scope="row" { (hop_name(row.hop)) }
                            td { (side(known, &row.sent, &row.received)) }
                            td { (side(known, &row.received, &row.sent)) }
                            td { (transit("trace headers", row.transit)) (transit("baggage", row.baggage_transit)) }
                            td {
                                @match row.parent {
                                    _ if row.linked => "a link to the sender's span",
                                    Some(parent @ ParentUsed::Sender) => (parent.words()),
                                    Some(parent) => strong { (parent.words()) },
                                    None => span.quiet { (no_parent(row.hop)) },
                                }
                                @if let Some(sampled) = row.sampled { br; @if sampled { "sampled" } @else { "not sampled" } }
                            }
                        }
                        tr.apart {
                            td colspan="5" {
                                (taken_apart(known, row, at, apart))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn taken_apart(known: Known<'_>, row: &HopRow, at: usize, apart: Apart<'_>) -> Markup {
    let summary = html! { summary { "Headers taken apart" } };
    html! {
        @match apart {
            Apart::InPlace => details { (summary) (known.of_hop(row)) },
            Apart::Loaded { claim, whose } => {
                details #(format!("details-parts{whose}-{at}")) data-load=(format!("/parts/hops/{}/{at}{whose}", encoded(claim))) {
                    (summary)
                    div { noscript { a href="?apart=true" { "Show them on the page" } } }
                }
            }
        }
    }
}

/// One hop's headers taken apart.
pub(super) fn of_hop(reading: &Reading<'_>, judges: bool, at: usize) -> Option<Markup> {
    let known = Known { evidence: reading.evidence(), judges };
    Some(known.of_hop(reading.rows().get(at)?))
}

fn side(known: Known<'_>, side: &Side, other: &Side) -> Markup {
    let beside = |name: &str| other.recorded().map(|headers| headers.get(name).join(",")).filter(|it| !it.is_empty());
    html! {
        @match side.without_headers() {
            Some(words) => span.quiet[side.recorded().is_none()] { (words) },
            None => @for (name, values) in side.headers.iter() {
                (known.line(name, &values.join(","), beside(name).as_deref()))
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
