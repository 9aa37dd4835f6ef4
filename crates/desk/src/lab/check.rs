//! Sends probes, waits for their evidence, and judges it. It switches nothing and reads no settings.

use chain::Topology;
use evidence::collect::LATEST_SPAN;
use evidence::{Collected, Diagnosis, Expectation, NotABreak, Outcome, Patience, Reading};
use futures_util::future::join_all;
use service::Problem;
use tokio::sync::mpsc;

use crate::api::{CheckEvent, CheckReport};
use crate::clock;
use crate::drill::Spoiler;
use crate::lab::front_door::{Caller, FrontDoor};
use crate::lab::reader::EvidenceReader;

/// More than one, since a break may touch only some claims; sent one after the other.
const PROBES: usize = 3;
/// Every probe carries this baggage: whether the application could read it tells extraction from use.
const PROBE_BAGGAGE: &str = "tenant.id=acme-corp";

/// What must be seen once a scenario is fixed.
pub(super) struct Wanted {
    pub(super) healed: Expectation,
    /// Whether it only looks broken: then its claims may differ, since there is nothing to fix.
    pub(super) is_control: bool,
}

/// Sends probes and judges all of them, also by what is wanted.
pub(super) async fn report(
    front_door: &FrontDoor,
    reader: &EvidenceReader,
    wanted: Option<Wanted>,
    events: Option<&mpsc::Sender<CheckEvent>>,
) -> Spoiler<CheckReport> {
    let progress = async |text: String| {
        if let Some(events) = events {
            // Nobody listening is no reason to stop: the next send will tell.
            let _ = events.send(CheckEvent::Progress(text)).await;
        }
    };
    let patience = Patience::default();
    let since = clock::unix_seconds();
    let caller = probe();
    let mut probes = Vec::with_capacity(PROBES);
    for number in 1..=PROBES {
        progress(format!("sending probe {number} of {PROBES}")).await;
        probes.push(front_door.submit(&caller).await);
    }
    let deadline_s = patience.deadline.as_secs();
    progress(format!("waiting for their spans, for {deadline_s} s at most")).await;
    let accepted = probes.iter().filter(|probe| probe.accepted());
    let collected = join_all(accepted.filter_map(|probe| probe.claim_id.as_ref().map(|id| (probe, id))).map(
        async |(probe, claim_id)| {
            let collected = reader.collect(claim_id, since, &patience).await;
            collected.with_traceresponse(probe.traceresponse.clone())
        },
    ))
    .await;
    let mut verdict = evidence::judge(Topology::LAB, &collected, wanted.as_ref().map(|wanted| &wanted.healed));
    let refused = probes.iter().filter(|probe| !probe.accepted()).count();
    if refused > 0 && verdict.outcome < Outcome::CannotTell {
        verdict.outcome = Outcome::CannotTell;
        verdict.sentence = format!("Cannot tell: {refused} of {PROBES} probe claims were not accepted.");
    }
    for probe in probes.iter().filter(|probe| !probe.accepted()) {
        let error = probe.error.as_deref().unwrap_or("no answer");
        verdict.evidence.push(format!("a probe was not accepted: {error}"));
    }
    let lacks = |one| {
        Reading::new(Topology::LAB, one)
            .conclude()
            .not_breaks()
            .iter()
            .any(|it| matches!(it, NotABreak::NotExported { .. }))
    };
    if verdict.outcome == Outcome::NotAPropagationBreak && collected.iter().any(lacks) {
        let latest = LATEST_SPAN.as_secs();
        verdict.evidence.push(format!(
            "Check waited {deadline_s} s. Late and lost spans look alike until a claim is {latest} s old: open a probe then."
        ));
    }
    // The verdict names what a broken claim lacks; what is no propagation break may still not be what is wanted.
    let unmet = match wanted {
        Some(Wanted { healed, is_control: false }) if verdict.outcome.exit_code() == 0 => {
            let of_one = |one| evidence::holds(&healed, &Reading::new(Topology::LAB, one));
            let unmet = collected.iter().map(of_one).find(|differences| !differences.is_empty());
            unmet.unwrap_or_default().iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    };
    let deadline_ms = u64::try_from(patience.deadline.as_millis()).unwrap_or(u64::MAX);
    let waited_ms = collected.iter().map(|collected| collected.waited_millis).max().unwrap_or_default();
    Spoiler::new(CheckReport {
        unmet,
        // The last look may have ended somewhat later.
        waited_ms: waited_ms.min(deadline_ms),
        deadline_ms,
        verdict,
        masked: false,
        probes,
    })
}

/// Sends probes and diagnoses the last.
pub(super) async fn diagnose(front_door: &FrontDoor, reader: &EvidenceReader) -> Result<Spoiler<Diagnosis>, Problem> {
    let collected = probe_evidence(front_door, reader).await?;
    Ok(Spoiler::new(Reading::new(Topology::LAB, &collected).conclude().diagnosis()))
}

/// Sends probes and waits for the evidence of the last.
async fn probe_evidence(front_door: &FrontDoor, reader: &EvidenceReader) -> Result<Collected, Problem> {
    let since = clock::unix_seconds();
    // What one claim leaves behind may only harm the next.
    front_door.submit(&probe()).await;
    let last = front_door.submit(&probe()).await;
    let error = last.error.clone().unwrap_or_else(|| "it was not accepted".to_owned());
    let claim_id = last.claim_id.as_ref().filter(|_| last.accepted());
    let claim_id = claim_id.ok_or_else(|| {
        Problem::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, format!("the probe claim failed: {error}"))
    })?;
    let collected = reader.collect(claim_id, since, &Patience::default()).await;
    Ok(collected.with_traceresponse(last.traceresponse.clone()))
}

fn probe() -> Caller {
    Caller { baggage: Some(PROBE_BAGGAGE.to_owned()), ..Caller::default() }
}
