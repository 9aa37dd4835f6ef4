//! Scenarios as data: what the lab can be set to, and what must then be seen.
//!
//! - [`schema`]: which settings each service takes; [`settings`]: the values that are set
//! - [`mod@file`]: one lesson, read from one file; [`catalogue`]: all of them
//! - [`Catalogue::page`]: the page `docs/scenarios.md`
//! - [`active`]: the one file of active settings that every service watches
//! - [`atomic`]: files that are replaced whole
//! - [`problem`]: what is wrong with a file, by line and column
//!
//! It does no I/O other than reading and writing these files. It gives no setting a meaning, judges no evidence, and
//! has no list of keys of its own: whoever sees all services assembles the [`schema::Schema`].

pub mod active;
pub mod atomic;
pub mod catalogue;
mod document;
pub mod file;
mod page;
pub mod problem;
pub mod schema;
pub mod settings;

pub use active::Active;
pub use catalogue::Catalogue;
pub use file::{Group, Scenario};
pub use schema::{Schema, Setting};
pub use settings::Settings;
