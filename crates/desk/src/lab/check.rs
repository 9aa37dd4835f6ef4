//! Sends probes, waits for their evidence, and judges it. It switches nothing and reads no settings.

use chain::Topology;
use evidence::{Diagnosis, Patience, Reading, Verdict};
use futures_util::future::join_all;
use service::Problem;
use tokio::sync::mpsc;

use crate::api::{CheckEvent, CheckReport, CheckRequest};
use crate::lab::Desk;
use crate::lab::door::Caller;

/// More than one, since a break may touch only some claims; sent one after the other.
const PROBES: usize = 3;
/// Every probe carries this baggage: whether the application could read it tells extraction from use.
const PROBE_BAGGAGE: &str = "tenant.id=acme-corp";

/// Tells how far it is, and then the report.
pub(crate) async fn run(desk: &Desk, request: CheckRequest, events: mpsc::Sender<CheckEvent>) {
    let report = report(desk, request.id, Some(events.clone())).await;
    let _ = events.send(CheckEvent::Report(Box::new(report))).await;
}

/// In a drill the report says only healthy or broken.
pub(crate) async fn report(desk: &Desk, id: Option<String>, events: Option<mpsc::Sender<CheckEvent>>) -> CheckReport {
    let progress = async |text: String| {
        if let Some(events) = &events {
            // Nobody listening is no reason to stop: the next send will tell.
            let _ = events.send(CheckEvent::Progress(text)).await;
        }
    };
    let patience = Patience::default();
    // Whether some scenario in particular is healed would say whether it is the hidden one.
    let id = id.filter(|_| !desk.drills.is_on());
    let since = crate::unix_seconds();
    let caller = probe();
    let mut probes = Vec::with_capacity(PROBES);
    for number in 1..=PROBES {
        progress(format!("sending probe {number} of {PROBES}")).await;
        probes.push(desk.door.submit(&caller).await);
    }
    let deadline_s = patience.deadline.as_secs();
    progress(format!("waiting for their spans, for {deadline_s} s at most")).await;
    let accepted = probes.iter().filter(|probe| probe.accepted());
    let collected = join_all(accepted.filter_map(|probe| probe.claim_id.as_ref().map(|id| (probe, id))).map(
        async |(probe, claim_id)| {
            let collected = desk.looker.collect(claim_id, since, &patience).await;
            collected.with_traceresponse(probe.traceresponse.clone())
        },
    ))
    .await;
    let healed = id.and_then(|id| {
        let scenario = desk.control.catalogue().get(&id).ok()?;
        Some(desk.control.catalogue().healed(scenario).clone())
    });
    let mut verdict: Verdict = evidence::judge(Topology::LAB, &collected, healed.as_ref());
    for probe in probes.iter().filter(|probe| !probe.accepted()) {
        let error = probe.error.as_deref().unwrap_or("no answer");
        verdict.evidence.push(format!("a probe was not accepted: {error}"));
    }
    let report = CheckReport {
        waited_ms: collected.iter().map(|collected| collected.waited_millis).max().unwrap_or_default(),
        deadline_ms: u64::try_from(patience.deadline.as_millis()).unwrap_or(u64::MAX),
        verdict,
        probes,
    };
    if desk.drills.is_on() { report.masked() } else { report }
}

/// Sends probes and diagnoses the last.
pub(crate) async fn diagnose(desk: &Desk) -> Result<Diagnosis, Problem> {
    let since = crate::unix_seconds();
    // What one claim leaves behind may only harm the next.
    desk.door.submit(&probe()).await;
    let last = desk.door.submit(&probe()).await;
    let error = last.error.clone().unwrap_or_else(|| "it was not accepted".to_owned());
    let claim_id = last.claim_id.as_ref().filter(|_| last.accepted());
    let claim_id = claim_id.ok_or_else(|| {
        Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, format!("the probe claim failed: {error}"))
    })?;
    let collected = desk.looker.collect(claim_id, since, &Patience::default()).await;
    let collected = collected.with_traceresponse(last.traceresponse.clone());
    Ok(Reading::new(Topology::LAB, &collected).conclude().diagnosis())
}

fn probe() -> Caller {
    Caller { baggage: Some(PROBE_BAGGAGE.to_owned()), ..Caller::default() }
}
