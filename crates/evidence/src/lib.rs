//! Answers from spans alone: into which traces did a claim fall, what did each hop send and receive, is the chain whole?
//!
//! - [`span`]: one span, and how it is read from OTLP
//! - [`headers`]: the trace headers that a span has on record
//! - [`source`]: where spans come from: Grafana Tempo's query API
//! - [`claim`]: the fragments of one claim, and how to wait for them
//! - [`mod@ledger`]: what each hop sent and received
//! - [`expect`]: whether an expectation of the `scenario` crate holds
//! - [`verdict`]: healthy, broken or something else, in sentences
//! - [`mod@diagnose`]: which step failed at which hop, or inside which service
//! - [`waterfall`]: the fragments of a claim as text, on one clock
//!
//! It never reads settings, sends no claims and makes no spans of its own.

pub mod claim;
pub mod diagnose;
pub mod expect;
pub mod headers;
pub mod ledger;
pub mod source;
pub mod span;
pub mod verdict;
pub mod waterfall;

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;

pub use claim::{ClaimEvidence, Collected, Fragment, Patience, collect};
pub use diagnose::{Diagnosis, Finding, diagnose};
pub use expect::{Mismatch, holds};
pub use ledger::{HopRow, ledger};
pub use source::{SourceError, TraceSource};
pub use span::Span;
pub use verdict::{Outcome, Verdict, healthy_chain, judge};
pub use waterfall::{Style, render};
