//! The messages of Tempo's query API that are not OTLP's own.
//!
//! <https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto>

use opentelemetry_proto::tonic::trace::v1::TracesData;

/// Answer of `/api/v2/traces/{id}`; `tempopb.Trace` has the wire shape of OTLP's `TracesData`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TraceByIdResponse {
    /// Present and empty if no span was found.
    #[prost(message, optional, tag = "1")]
    pub trace: Option<TracesData>,
    /// The cost of the answer.
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<TraceByIdMetrics>,
    /// Whether spans were left out.
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub status: i32,
    /// Why they were; for people.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// What an answer cost.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct TraceByIdMetrics {
    /// The size of what was looked at.
    #[prost(uint64, tag = "1")]
    pub inspected_bytes: u64,
}

/// Whether an answer has all spans of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PartialStatus {
    /// It has.
    Complete = 0,
    /// The trace is too large.
    Partial = 1,
}
