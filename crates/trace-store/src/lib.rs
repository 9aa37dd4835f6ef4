//! An embedded, bounded OTLP receiver and trace store that answers the part of Tempo's HTTP API that the lab uses.
//!
//! - [`Store`]: traces in memory, bounded by bytes, with [`Counters`] of all that came, went and was rejected
//! - [`grpc_router`] and [`otlp_http_app`]: OTLP in, over gRPC and over HTTP
//! - [`query_app`]: traces by id and search out, as Tempo answers; and what changed, for those who would ask again and again
//!
//! Who runs it brings the listeners. It writes nothing to disk, knows one tenant, takes no metrics and no logs, and of TraceQL it understands one spanset
//! of equalities. One client reads from it and from a real Tempo.

mod budget;
mod changes;
mod index;
mod json;
mod otlp;
mod query;
mod read;
mod receive;
mod size;
mod store;
pub mod tempopb;
mod traceql;

pub use crate::budget::{CONNECTIONS, MAX_REQUEST_BYTES, READ_AHEAD_BYTES, STREAMS};
pub use crate::otlp::{grpc_router, otlp_http_app};
pub use crate::query::query_app;
pub use crate::size::{ATTRIBUTE_OVERHEAD_BYTES, BATCH_OVERHEAD_BYTES, SPAN_OVERHEAD_BYTES};
pub use crate::store::{Counters, Limits, NotKept, Rejected, Store};
