//! OpenTelemetry as every service of the chain uses it: set up from the standard environment, changed while it runs.
//!
//! - [`config`]: what the `OTEL_*` variables say, checked
//! - [`propagation`]: the formats of `wire` as propagators of the SDK
//! - [`baggage`]: which of its members are passed on
//! - [`carrier`]: HTTP headers as carrier, and their record on spans
//! - [`server`], [`client`], [`db`]: spans at the edges of a process, by the stable semantic conventions
//! - [`messaging`]: messages as carrier
//! - [`sdk`]: provider, sampler and exporter; changes prepared, then put in place; flush at the end
//! - `sampler`, `export`: those two, each with a part that can be replaced while spans are created
//! - [`logs`]: JSON lines with trace and span id
//!
//! It exports no metrics and no logs, has no faults, and knows no scenario: a scenario only sets what an operator could. A
//! service that misuses this API does so in its own crate, through the seams of [`server`] and [`client`].

pub mod baggage;
pub mod carrier;
pub mod client;
pub mod config;
pub mod db;
mod export;
pub mod logs;
pub mod messaging;
pub mod propagation;
mod sampler;
pub mod sdk;
pub mod server;

pub use config::Config;
pub use export::SpanCounts;
pub use sdk::Telemetry;

/// The instrumentation scope of the spans that this crate creates.
pub(crate) use chain::vocabulary::RECORDING_SCOPE as SCOPE;
