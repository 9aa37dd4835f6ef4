//! Settings that change while a service runs: what may be set, what is set, and the file in which it is set.
//!
//! - [`environment`]: where values come from: the process environment, a map, or one merged over the other
//! - [`setting`]: one setting, how its value is read, and the error that names what is allowed
//! - [`choice!`], [`number!`]: settings with named choices, and integers within a range
//! - [`live`]: a value that many read and one replaces
//! - [`schema`]: the settings of each service; [`values`]: those that are set
//! - [`active`]: the one file of active settings, and the watch over it; `changes`: when to look at it again; [`atomic`]:
//!   files that are replaced whole
//! - [`document`]: a TOML text whose reader collects every problem; [`problem`]: those, by line and column
//!
//! It gives no setting a meaning and has no list of them: each crate declares its own, and the one that sees all
//! services assembles the [`Schema`].

pub mod active;
pub mod atomic;
mod changes;
mod choice;
pub mod document;
pub mod environment;
pub mod live;
mod number;
mod pairs;
pub mod problem;
pub mod schema;
pub mod setting;
pub mod values;

pub use active::Active;
pub use environment::{Environment, Overlay, ProcessEnvironment};
pub use live::Live;
pub use number::Number;
pub use pairs::{PAIRS, pairs};
pub use schema::Schema;
pub use setting::{ConfigError, Setting, Values, read};
pub use values::Settings;
