//! Drills: a hidden scenario, to be found by its evidence.
//!
//! - `book`: which scenario is hidden, the clock, the score, and the file that keeps them
//! - `judge`: whether an answer is right, and what speaks against it

pub(crate) mod book;
pub(crate) mod judge;

pub use book::DrillError;
pub(crate) use book::{Drills, Ending};
