//! Addresses inside Grafana. In dashboards they are relative, so they survive another port, and their time range is the
//! reader's own and moves on.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::query::{Saved, Table};

/// The uid of the Tempo data source.
pub const TEMPO: &str = "tempo";
/// The uid of the dashboard *One claim*.
pub const ONE_CLAIM: &str = "iw-one-claim";
/// How far back the desk's and the page's links look.
const RANGE: &str = "now-1h";

/// All but the unreserved characters of [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2.3) is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// *One claim* with both sides set; a claim in one trace has it on both. Below Grafana's address, without a slash in front.
#[must_use]
pub fn one_claim(claim_id: &str, left: &str, right: &str) -> String {
    let encoded = |text| utf8_percent_encode(text, RESERVED);
    format!(
        "d/{ONE_CLAIM}?var-claim={}&var-left={}&var-right={}&from={RANGE}&to=now",
        encoded(claim_id),
        encoded(left),
        encoded(right)
    )
}

/// Explore with a trace open. Below Grafana's address, without a slash in front.
///
/// <https://grafana.com/docs/grafana/latest/explore/#generate-explore-urls-from-external-tools>
#[must_use]
pub fn trace(trace_id: &str) -> String {
    explore(trace_id, Table::Traces, "now-24h")
}

/// Explore with a saved query. Below Grafana's address, without a slash in front.
#[must_use]
pub fn saved(saved: &Saved) -> String {
    explore(saved.query, saved.table, RANGE)
}

fn explore(query: &str, table: Table, from: &str) -> String {
    let panes = json!({ "iw": {
        "datasource": TEMPO,
        "queries": [{
            "refId": "A",
            "datasource": { "type": "tempo", "uid": TEMPO },
            "queryType": "traceql",
            "query": query,
            "limit": 20,
            "tableType": table.name(),
        }],
        "range": { "from": from, "to": "now" },
    } });
    format!("explore?schemaVersion=1&orgId=1&panes={}", utf8_percent_encode(&panes.to_string(), RESERVED))
}
