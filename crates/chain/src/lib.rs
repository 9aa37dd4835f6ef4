//! The chain that a claim passes through, as data: its services, its hops, and the words of evidence about them.
//!
//! - [`service`]: one row per service: name, port, variable, colours, place in the picture
//! - [`hop`]: one row per hop: sender, receiver, what is between them, and its arrow in the picture
//! - [`topology`]: hops and late spans together, the value against which evidence is read
//! - [`place`]: where something can go wrong: at a hop or inside a service
//! - [`route`]: how the framework that a service stands in for writes routes
//! - [`sdk`]: what the SDKs of other languages must be told to put on record
//! - [`vocabulary`]: span kinds, the four steps and what else an answer may name, transit, parent
//! - [`spelling`]: "did you mean …?" for every name that a person writes
//!
//! A further service or hop is one row; everything else is derived from the row. The crate does no I/O, knows
//! no SDK and no settings, and judges nothing.

pub mod hop;
pub mod place;
pub mod route;
pub mod sdk;
pub mod service;
pub mod spelling;
pub mod topology;
pub mod vocabulary;

pub use hop::{CarrierKind, Hop};
pub use place::{Place, UnknownPlace};
pub use route::RouteSyntax;
pub use sdk::Language;
pub use service::{Service, UnknownService};
pub use topology::{InsideSpan, Topology};
pub use vocabulary::{Kind, ParentUsed, SpanKind, Step, Transit, UnknownKind};
