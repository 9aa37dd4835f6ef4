//! The crate from outside, in one binary for the sake of link time.
//!
//! - `support`: builders of spans
//! - `simulation`: a chain of pure functions, and a model of where its claims break
//! - `foreign`: odd bytes and odd spans
//! - `fairness`: claims as real systems leave them
//! - `seats`: services of somebody else in seats of the chain
//! - `agreement`: no two views of a claim contradict each other
//! - the rest: one module of the crate each

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod breaks;
#[cfg(test)]
mod claim;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod conclusion;
#[cfg(test)]
mod diagnose;
#[cfg(test)]
mod expect;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod seats;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod source;
#[cfg(test)]
mod support;
#[cfg(test)]
mod verdict;
#[cfg(test)]
mod waterfall;
