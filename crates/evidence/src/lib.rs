//! Answers from spans alone: into which traces was a claim split, what did each hop send and receive, where is it broken?
//!
//! - [`source`]: where spans come from: Grafana Tempo's query API; [`span`]: one span, and how it is read from OTLP
//! - [`headers`]: the trace headers that a span has on record
//! - [`claim`]: the fragments of one claim; [`mod@collect`]: how to wait for them
//! - [`reading`]: a claim read once against a topology; [`mod@ledger`]: what each of its hops sent and received
//! - [`mod@cause`]: what went wrong, as data; [`conclusion`]: what a reading comes to, and why
//! - views of both: [`verdict`], [`mod@diagnose`] (of [`cell`]s), [`picture`], [`waterfall`], [`table`], [`answer`]; [`prose`] has all their sentences
//! - [`breaks`]: where a claim goes on in another trace; [`compare`]: a claim beside another
//! - [`expectation`]: what a claim must look like; [`mod@expect`]: whether it does
//!
//! It never reads settings, sends no claims and creates no spans. Which chain a claim passes through is passed in.

pub mod answer;
pub mod breaks;
pub mod cause;
pub mod cell;
pub mod claim;
pub mod collect;
pub mod compare;
pub mod conclusion;
pub mod diagnose;
pub mod expect;
pub mod expectation;
pub mod headers;
pub mod ledger;
mod otlp;
pub mod picture;
pub mod prose;
pub mod reading;
pub mod source;
pub mod span;
pub mod table;
pub mod verdict;
pub mod waterfall;

pub use answer::{Answer, Weight};
pub use breaks::{Break, Tie};
pub use cause::Cause;
pub use cell::CellStatus;
pub use claim::{ClaimEvidence, Collected, Fragment};
pub use collect::{Patience, collect};
pub use compare::Comparison;
pub use conclusion::{Conclusion, NotABreak, Outcome, Unknown};
pub use diagnose::{Diagnosis, Finding};
pub use expect::{Mismatch, holds};
pub use expectation::Expectation;
pub use ledger::{FoundBy, HopRow, Side, SideState};
pub use picture::{DrawnHop, DrawnService, Mark, Picture};
pub use reading::{BaggageOn, Reading};
pub use source::{Changed, Follower, SourceError, TraceSource};
pub use span::Span;
pub use table::ledger as render_ledger;
pub use verdict::{Verdict, judge};
pub use waterfall::{Style, render};
