//! The dashboards, the saved queries, and every link into Grafana: written here, and nowhere by hand.
//!
//! - [`query`]: the queries, in TraceQL
//! - [`link`]: addresses inside Grafana: a claim, a trace, a query; relative, or below a given address
//! - `panel`: what panels have in common
//! - `board`: the dashboards themselves
//! - [`page`]: the saved queries as part of a page in Markdown
//!
//! `grafana/dashboards` and the marked parts of pages are this crate's output; a test compares, and renews them if it is
//! told to. The crate does no I/O.

mod board;
pub mod link;
pub mod page;
mod panel;
pub mod query;

pub use board::{ANNOTATION_TAG, Dashboard, all};
