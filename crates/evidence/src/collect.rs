//! How to wait for the evidence of a claim.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chain::Topology;
use tokio::time::{Instant, sleep, sleep_until};
use wire::TraceId;

use crate::claim::{ClaimEvidence, Collected};
use crate::reading::Reading;
use crate::source::{Changed, Follower, MAX_TRACES, SourceError, TraceSource};

/// Of the traces of one claim, no more is read: a healthy one has some 20 KB.
const MAX_CLAIM_BYTES: usize = 16 << 20;

/// What was not received of a claim of this age is taken for not coming: longer than the slowest exporter of the lab waits
/// (a minute), and short enough to wait for.
pub const LATEST_SPAN: Duration = Duration::from_secs(70);

/// How long to wait for evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// What was not seen after this long counts as not received. Default: 10 s, many times the longest way of a span here.
    pub deadline: Duration,
    /// Complete evidence must stay as it is for this long. Default: 600 ms, three times the exporters' delay of 200 ms,
    /// so that a late extra root is not overlooked.
    pub settle: Duration,
    /// The time between two looks. Default: 100 ms.
    pub poll: Duration,
}

// === impl Patience ===

impl Default for Patience {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), settle: Duration::from_millis(600), poll: Duration::from_millis(100) }
    }
}

/// Looks until the evidence of a claim is complete and has settled, or until the deadline: whenever spans of it arrive, or at
/// intervals if the source does not report changes.
///
/// The last look starts at the deadline, so the wait may be longer by the time that the source takes for it.
/// `since_unix_seconds` is any time before the claim was sent. Errors of the source are kept, not returned: it may come
/// back.
pub async fn collect(
    source: &TraceSource,
    topology: &'static Topology,
    claim_id: &str,
    since_unix_seconds: u64,
    patience: &Patience,
) -> Collected {
    let start = Instant::now();
    let deadline = start + patience.deadline;
    let mut follower = Some(source.follow());
    let mut found = BTreeSet::new();
    let mut changed = start;
    let mut collected =
        Collected { evidence: ClaimEvidence::from_spans(claim_id, []), source_down: true, ..Collected::default() };
    loop {
        let look = Instant::now();
        // What failed, or was found and is not there, is asked for again.
        let mut next_look = look;
        match look_once(source, claim_id, since_unix_seconds, &mut found).await {
            Ok((evidence, all_found)) => {
                if evidence != collected.evidence {
                    collected.evidence = evidence;
                    changed = look;
                }
                collected.source_down = false;
                let is_whole = all_found && Reading::new(topology, &collected).is_complete();
                let settled = changed + patience.settle;
                collected.complete = is_whole && look >= settled;
                if all_found {
                    next_look = if is_whole { settled } else { deadline };
                }
            }
            Err(error) => {
                collected.source_down = true;
                let error = error.to_string();
                if !collected.source_errors.contains(&error) {
                    collected.source_errors.push(error);
                }
            }
        }
        if collected.complete || look >= deadline {
            collected.waited_millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            collected.age_millis = age_millis(&collected.evidence).max(collected.waited_millis);
            return collected;
        }
        sleep_until(deadline.min(look + patience.poll)).await;
        if let Some(following) = &mut follower
            && wait_for_change(following, claim_id, deadline.min(next_look), patience.poll).await.is_err()
        {
            follower = None;
        }
    }
}

/// Returns once spans of a claim may have come in, or at `end`.
async fn wait_for_change(
    follower: &mut Follower,
    claim_id: &str,
    end: Instant,
    pause: Duration,
) -> Result<(), SourceError> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        match follower.next(left).await? {
            Changed::Claims(claims) if !claims.contains(claim_id) => sleep(left.min(pause)).await,
            _ => return Ok(()),
        }
    }
}

/// The time since the first span of a claim began, by this machine's clock.
fn age_millis(evidence: &ClaimEvidence) -> u64 {
    let first = evidence.spans().map(|span| span.start_unix_nano).min().unwrap_or(u64::MAX);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(first / 1_000_000)
}

/// One look, and whether every trace that was ever found could be fetched.
async fn look_once(
    source: &TraceSource,
    claim_id: &str,
    since_unix_seconds: u64,
    found: &mut BTreeSet<TraceId>,
) -> Result<(ClaimEvidence, bool), SourceError> {
    let now = source.traces_of_claim(claim_id, since_unix_seconds).await?;
    let searched_up_to = (now.len() >= MAX_TRACES).then_some(MAX_TRACES);
    found.extend(now);
    let (mut spans, mut malformed, mut partial, mut all_found) = (Vec::new(), 0, false, true);
    let mut bytes = 0;
    // Once more than any claim has been found, no later look finds more that is of use.
    for id in found.iter().take(MAX_TRACES) {
        if bytes >= MAX_CLAIM_BYTES {
            partial = true;
            break;
        }
        match source.trace(*id).await? {
            Some(trace) => {
                bytes += trace.bytes;
                spans.extend(trace.spans);
                malformed += trace.malformed;
                partial |= trace.partial;
            }
            None => all_found = false,
        }
    }
    let searched_up_to = searched_up_to.or((found.len() > MAX_TRACES).then_some(MAX_TRACES));
    let evidence = ClaimEvidence { malformed, partial, searched_up_to, ..ClaimEvidence::from_spans(claim_id, spans) };
    Ok((evidence, all_found))
}
