//! Drills: a hidden scenario, which the learner finds by its evidence.
//!
//! - `book`: which scenario is hidden, the clock, the score, and the file that stores them
//! - `lesson`: a scenario that was chosen by name, and is covered on the page until the learner has a hypothesis
//! - `grading`: whether an answer is correct, and what contradicts it
//! - `spoiler`: the type of what a drill hides

mod book;
pub(crate) mod grading;
mod lesson;
mod spoiler;

pub use book::DrillError;
pub(crate) use book::{Drills, Ending};
pub(crate) use lesson::{Change, Hypothesis, Lesson, Viewer};
pub(crate) use spoiler::{Ended, Mask, Spoiler};
