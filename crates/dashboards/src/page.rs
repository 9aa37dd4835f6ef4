//! The saved queries as part of a page in Markdown. A page has a fixed address of Grafana, the default one.

use crate::link;
use crate::query::SAVED;

/// Where Grafana is if nothing was changed.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:3000";
const BEGIN: &str = "<!-- saved queries: written by the crate dashboards -->\n";
const END: &str = "<!-- saved queries: end -->\n";

/// The saved queries as a list, each a link below `address`.
#[must_use]
pub fn saved_queries(address: &str) -> String {
    let line = |saved| {
        let crate::query::Saved { question, query, .. } = saved;
        format!("- [{question}]({address}/{}) `{query}`\n", link::saved(&saved))
    };
    SAVED.iter().copied().map(line).collect()
}

/// The page with its marked part renewed; `None` if it has no such part.
#[must_use]
pub fn renewed(page: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", saved_queries(DEFAULT_ADDRESS)))
}
