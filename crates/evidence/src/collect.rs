//! How to wait for the evidence of a claim.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chain::vocabulary::CAPTURED_CLAIM_IDS;
use chain::{CarrierKind, SpanKind, Topology};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use wire::TraceId;

use crate::claim::{ClaimEvidence, Collected};
use crate::ledger::{fits_receiver, is_receiver};
use crate::reading::Reading;
use crate::source::{Changed, Follower, MAX_TRACES, SourceError, TraceSource};
use crate::span::{CLAIM_ID, Span};

/// Of the traces of one claim, no more is read: a healthy one has some 20 KB.
const MAX_CLAIM_BYTES: usize = 16 << 20;

/// What was not received of a claim of this age is taken for not coming: longer than the slowest exporter of the lab waits
/// (a minute), and short enough to wait for.
pub const LATEST_SPAN: Duration = Duration::from_secs(70);

/// Where an id may be found only by a header that an SDK was told to capture, it is looked for this often: the lab's own spans
/// carry it otherwise, and most are there before the first time.
const CAPTURED_EVERY: Duration = Duration::from_millis(500);
/// Where there is a gap still after this long, it is looked beside it, this often, for spans that carry no id at all.
const BESIDE_AFTER: Duration = Duration::from_millis(1500);
const BESIDE_EVERY: Duration = Duration::from_secs(1);
/// How well the times of both sides of a call must agree, one after the other: as a rule the receiver's lie within the caller's.
/// Some servers end their span after they have answered; and clocks of one machine may differ: Node's, for one, drifts.
const AGREEMENTS: [Agreement; 3] = [
    Agreement { start_nanos: 2_000_000, end_nanos: 2_000_000 },
    Agreement { start_nanos: 2_000_000, end_nanos: 1_000_000_000 },
    Agreement { start_nanos: 20_000_000, end_nanos: 20_000_000 },
];
/// How long a call may take whose receiver is known; longer than any timeout of the chain.
const LONGEST_CALL_NANOS: u64 = 30_000_000_000;
/// So many traces are looked at for one gap: where there are more, time and target tell nothing.
const MAX_BESIDE: usize = 20;

/// The traces that were found so far.
#[derive(Debug, Default)]
struct Found {
    /// Those with a span that carries the claim's id.
    named: BTreeSet<TraceId>,
    /// Those in which nothing does.
    beside: BTreeSet<TraceId>,
}

/// How far a receiver's span may lie outside of its caller's.
#[derive(Clone, Copy, Debug)]
struct Agreement {
    /// By its start, before or after.
    start_nanos: u64,
    /// By its end.
    end_nanos: u64,
}

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
    let mut found = Found::default();
    let (mut looked_captured, mut looked_beside) = (start, start);
    let mut changed = start;
    // The last look asks for captured ids only if it finds a gap without them.
    let mut still_captured = false;
    let mut collected =
        Collected { evidence: ClaimEvidence::from_spans(claim_id, []), source_down: true, ..Collected::default() };
    loop {
        let look = Instant::now();
        // What failed, or was found and is not there, is asked for again.
        let mut next_look = look;
        let captured = still_captured || look.duration_since(looked_captured) >= CAPTURED_EVERY;
        if captured {
            looked_captured = look;
        }
        match look_once(source, claim_id, since_unix_seconds, captured, &mut found).await {
            Ok((evidence, all_found)) => {
                if evidence != collected.evidence {
                    collected.evidence = evidence;
                    changed = look;
                }
                collected.source_down = false;
                let whole = Reading::new(topology, &collected).is_complete();
                let settled = changed + patience.settle;
                collected.complete = all_found && whole && look >= settled;
                if !whole && start.elapsed() >= BESIDE_AFTER && looked_beside.elapsed() >= BESIDE_EVERY {
                    looked_beside = look;
                    // What the source does not answer here, it is asked again.
                    found.beside.extend(look_beside(source, topology, &collected).await.unwrap_or_default());
                }
                if look >= deadline && !whole && !captured {
                    still_captured = true;
                    continue;
                }
                if all_found {
                    // Spans that do not carry the claim's id as ours do are not reported as a change of the claim.
                    next_look = if whole { settled } else { look + CAPTURED_EVERY };
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
    captured: bool,
    found: &mut Found,
) -> Result<(ClaimEvidence, bool), SourceError> {
    let keys = [CLAIM_ID].into_iter().chain(CAPTURED_CLAIM_IDS.into_iter().filter(|_| captured));
    let searches = keys.map(|key| source.traces_of_claim(key, claim_id, since_unix_seconds));
    let mut searched_up_to = None;
    for now in join_all(searches).await {
        let now = now?;
        searched_up_to = searched_up_to.or((now.len() >= MAX_TRACES).then_some(MAX_TRACES));
        found.named.extend(now);
    }
    found.beside.retain(|id| !found.named.contains(id));
    let (mut spans, mut malformed, mut partial, mut all_found) = (Vec::new(), 0, false, true);
    let mut bytes = 0;
    // Once more than any claim has been found, no later look finds more that is of use.
    for id in found.named.iter().chain(&found.beside).take(MAX_TRACES) {
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
    let searched_up_to = searched_up_to.or((found.named.len() > MAX_TRACES).then_some(MAX_TRACES));
    let mut evidence =
        ClaimEvidence { malformed, partial, searched_up_to, ..ClaimEvidence::from_spans(claim_id, spans) };
    for fragment in &mut evidence.fragments {
        fragment.inferred = found.beside.contains(&fragment.trace_id);
    }
    Ok((evidence, all_found))
}

/// The traces that close a gap of the claim by time and target: of a call whose receiver was not found, those in which the one
/// span is that such a request was received in meanwhile; and of a receiver whose call was not found, the other way round.
/// Where several would do, none is taken.
async fn look_beside(
    source: &TraceSource,
    topology: &'static Topology,
    collected: &Collected,
) -> Result<BTreeSet<TraceId>, SourceError> {
    let reading = Reading::new(topology, collected);
    let mut beside = BTreeSet::new();
    for row in reading.inner_rows().filter(|row| row.hop.carrier == CarrierKind::Http) {
        let hop = row.hop;
        let gap = match (reading.sender(row), reading.receiver(row)) {
            (Some(call), None) => Some((hop.to, SpanKind::Server, call.start_unix_nano, call.end_unix_nano, call)),
            (None, Some(span)) => {
                let earliest = span.start_unix_nano.saturating_sub(LONGEST_CALL_NANOS);
                Some((hop.from, SpanKind::Client, earliest, span.start_unix_nano, span))
            }
            _ => None,
        };
        let Some((service, kind, from, to, known)) = gap.filter(|(service, ..)| !reading.is_ours(*service)) else {
            continue;
        };
        let times = (Duration::from_nanos(from), Duration::from_nanos(to));
        let ids = source.traces_of_service(service.name(), kind, times).await?;
        if ids.len() > MAX_BESIDE {
            continue;
        }
        let mut candidates = Vec::new();
        for id in ids {
            let spans = source.trace(id).await?.map(|trace| trace.spans).unwrap_or_default();
            if spans.iter().any(|span| span.claim_id().is_some() || span.records_everything()) {
                continue;
            }
            candidates.extend(spans.into_iter().filter(|span| match kind {
                SpanKind::Server => is_receiver(span, hop),
                _ => span.kind == kind && span.service == service.name() && fits_receiver(span, hop, ""),
            }));
        }
        let fitting = |agreement: Agreement| {
            let fits = |span: &&Span| match kind {
                SpanKind::Server => agreement.allows(span, known),
                _ => agreement.allows(known, span),
            };
            candidates.iter().filter(fits).map(|span| span.trace_id).collect::<Vec<_>>()
        };
        if let Some([only]) = AGREEMENTS.map(fitting).iter().find(|fitting| !fitting.is_empty()).map(Vec::as_slice) {
            beside.insert(*only);
        }
    }
    Ok(beside)
}

// === impl Agreement ===

impl Agreement {
    fn allows(self, received: &Span, call: &Span) -> bool {
        received.start_unix_nano.saturating_add(self.start_nanos) >= call.start_unix_nano
            && received.start_unix_nano <= call.end_unix_nano.saturating_add(self.start_nanos)
            && received.end_unix_nano <= call.end_unix_nano.saturating_add(self.end_nanos)
    }
}
