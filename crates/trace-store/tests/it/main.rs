//! The store from outside: what exporters send, what a client of Tempo reads.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail where it stands; clippy.toml grants this to #[test] functions, not to their helpers"
)]

mod changes;
mod otlp_grpc;
mod otlp_http;
mod properties;
mod search;
mod store;
mod support;
mod tempo;
mod trace_by_id;
