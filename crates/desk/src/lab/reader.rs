//! Gathers the evidence of a claim: its spans, and the third party's record of it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use chain::Topology;
use evidence::{ClaimEvidence, Collected, Follower, Patience, Span, TraceSource};
use reqwest::{Client, Url};
use serde::Deserialize;
use service::Problem;
use service::url::resource;
use wire::{TraceHeaders, TraceId};

/// Clients of the trace store and the third party; it caches nothing: every look sends new requests.
#[derive(Clone, Debug)]
pub(crate) struct EvidenceReader {
    source: TraceSource,
    client: Client,
    fraud_partner: Option<Url>,
}

/// What a trace that was asked for by its id turned out to be.
#[derive(Debug)]
pub(crate) enum Trace {
    /// Part of the claim of this id.
    OfClaim(String),
    /// A read, which belongs to no submission: all that there is of it.
    Alone(Box<Collected>),
}

/// What the third party remembers of a claim.
#[derive(Debug, Deserialize)]
struct Record {
    headers: BTreeMap<String, Vec<String>>,
}

// === impl EvidenceReader ===

impl EvidenceReader {
    pub(crate) fn new(trace_source: &Url, client: Client, fraud_partner: Option<Url>) -> Self {
        Self { source: TraceSource::new(trace_source.as_str(), client.clone()), client, fraud_partner }
    }

    /// Tells which claims change.
    pub(crate) fn follow(&self) -> Follower {
        self.source.follow()
    }

    /// Waits for a claim's spans, with patience, and asks for the third party's record.
    pub(crate) async fn collect(&self, claim_id: &str, since_unix_seconds: u64, patience: &Patience) -> Collected {
        let collected = evidence::collect(&self.source, Topology::LAB, claim_id, since_unix_seconds, patience).await;
        collected.with_third_party(self.record(claim_id).await)
    }

    /// What a trace is part of.
    pub(crate) async fn trace(&self, trace_id: TraceId) -> Result<Trace, Problem> {
        let spans = self.spans(trace_id).await?;
        if let Some(claim_id) = spans.iter().find_map(|span| span.claim_id()) {
            return Ok(Trace::OfClaim(claim_id.to_owned()));
        }
        if spans.is_empty() {
            return Err(Problem::new(StatusCode::NOT_FOUND, "no trace with this id has arrived"));
        }
        let evidence = ClaimEvidence::from_spans(String::new(), spans);
        Ok(Trace::Alone(Box::new(Collected { evidence, complete: true, ..Collected::default() })))
    }

    /// The spans of a trace; none if it is not there.
    pub(crate) async fn spans(&self, trace_id: TraceId) -> Result<Vec<Span>, Problem> {
        let trace = self.source.trace(trace_id).await.map_err(|error| {
            tracing::warn!(%error, "the trace store did not answer");
            Problem::unavailable("the trace store")
        })?;
        Ok(trace.map(|trace| trace.spans).unwrap_or_default())
    }

    async fn record(&self, claim_id: &str) -> Option<TraceHeaders> {
        let url = resource(self.fraud_partner.as_ref()?, &["checks", claim_id]);
        let record: Record = self.client.get(url).send().await.ok()?.error_for_status().ok()?.json().await.ok()?;
        Some(record.headers.into_iter().collect())
    }
}
