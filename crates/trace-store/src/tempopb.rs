//! The messages of Tempo's query API that are not OTLP's own.
//!
//! <https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto>

use opentelemetry_proto::tonic::trace::v1::TracesData;

/// Answer of `/api/v2/traces/{id}`; `tempopb.Trace` has the wire shape of OTLP's `TracesData`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TraceByIdResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) trace: Option<TracesData>,
    #[prost(message, optional, tag = "2")]
    pub(crate) metrics: Option<TraceByIdMetrics>,
    #[prost(enumeration = "PartialStatus", tag = "3")]
    pub(crate) status: i32,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct TraceByIdMetrics {
    #[prost(uint64, tag = "1")]
    pub(crate) inspected_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PartialStatus {
    Complete = 0,
    Partial = 1,
}
