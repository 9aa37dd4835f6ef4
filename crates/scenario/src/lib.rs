//! Scenarios as data: what the lab can be set to, and what must then be seen.
//!
//! - [`mod@file`]: one scenario, read from one file; [`catalogue`]: all of them
//! - [`Catalogue::page`]: the page `docs/scenarios.md`
//!
//! It reads these files and does no other I/O. It gives no setting a meaning, judges no evidence, and knows which settings
//! there are only from the [`settings::Schema`] that it is given.

pub mod catalogue;
pub mod file;
mod page;

pub use catalogue::Catalogue;
pub use file::{Group, Scenario};
