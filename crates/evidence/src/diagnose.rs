//! Which step failed at which hop, or inside which service: injected? survived transit? extracted? used?
//!
//! | seen | step that failed |
//! |---|---|
//! | no header left the sender, or it names another span | inject |
//! | what was sent did not arrive as it was sent | transit |
//! | what arrived is invalid, or of a format that the receiver itself does not speak | extract |
//! | what arrived is readable, the application read its baggage, and the parent is not used | use |
//! | the sampled bit is clear on arrival, and the receiver recorded all the same | use |
//! | a span that receives nothing is a root, or stands below another claim's | use, inside its service |
//!
//! A link on purpose is no break, and a parent that only was not exported is none either.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use chain::{CarrierKind, Hop, Service, Step, Topology};
use serde::{Deserialize, Serialize};
use wire::{Context, Format, TraceHeaders};

use crate::claim::{ClaimEvidence, Collected, front_door};
use crate::expect::describe_span;
use crate::headers::format_names;
use crate::ledger::{HopRow, Side, ledger};
use crate::span::Span;
use crate::verdict::{Outcome, TENANT, judge_claim, leaked_secrets, tenant_lost, tenant_unread_at_the_door};

/// A receiver drops a longer `baggage` header whole: the least that <https://www.w3.org/TR/baggage/#limits> asks for is
/// the most that OpenTelemetry takes.
const MAX_BAGGAGE_BYTES: usize = 8192;

/// What the evidence of one claim says about every hop and every service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The claim.
    pub claim_id: String,
    /// What it comes to; findings are made only if it is broken or leaking.
    pub outcome: Outcome,
    /// Every hop, in the order of the chain.
    pub hops: Vec<HopDiagnosis>,
    /// Every service with an SDK, in the order of the chain.
    pub inside: Vec<InsideDiagnosis>,
    /// The first finding in the order of the chain: a service comes after the hop that first reaches it, and before the
    /// hops that it starts.
    pub first: Option<Finding>,
    /// The first finding, or else the outcome, in a sentence.
    pub sentence: String,
    /// What could not be told, one sentence each.
    pub undecided: Vec<String>,
}

/// The four steps of one hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopDiagnosis {
    /// The hop, written `from -> to`.
    pub hop: String,
    /// 1: did the sender inject?
    pub injected: Cell,
    /// 2: did the headers survive transit?
    pub survived: Cell,
    /// 3: did the receiver extract?
    pub extracted: Cell,
    /// 4: was the extracted context used?
    pub used: Cell,
    /// What is wrong with it, if something is.
    pub finding: Option<Finding>,
}

/// Whether context was kept inside one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsideDiagnosis {
    /// The service.
    pub service: String,
    /// Was the context used throughout?
    pub used: Cell,
    /// What is wrong inside it, if something is.
    pub finding: Option<Finding>,
}

/// One step of one hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The answer.
    pub status: CellStatus,
    /// The trace and baggage headers seen there.
    pub headers: TraceHeaders,
    /// Why.
    pub reason: String,
}

/// Whether a step succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellStatus {
    /// It did.
    Ok,
    /// It did not.
    Failed,
    /// The evidence does not reach.
    Unknown,
    /// There was nothing to do.
    NotApplicable,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The hop, written `from -> to`, or the service; as a scenario's cause is written.
    pub place: String,
    /// The first step that fails; `None` if all four succeed and baggage went where it must not.
    pub step: Option<Step>,
    /// The cause.
    pub sentence: String,
    /// Whether it is only the likeliest of several causes.
    pub inferred: bool,
    /// Causes that would leave the same evidence.
    pub alternatives: Vec<Alternative>,
}

/// Another cause that would leave the same evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// The hop or service.
    pub place: String,
    /// The step that would have failed.
    pub step: Option<Step>,
    /// The cause.
    pub sentence: String,
}

/// One hop with all that bears on it.
struct Walk<'a> {
    evidence: &'a ClaimEvidence,
    hop: &'static Hop,
    row: &'a HopRow,
    rows: &'a [HopRow],
}

/// Diagnoses one claim from its evidence alone.
#[must_use]
pub fn diagnose(collected: &Collected) -> Diagnosis {
    let evidence = &collected.evidence;
    let verdict = judge_claim(collected, None);
    let blames = matches!(verdict.outcome, Outcome::Broken | Outcome::Leaking);
    let rows = ledger(evidence);
    let walks = Topology::LAB.hops.iter().zip(&rows).map(|(hop, row)| Walk { evidence, hop, row, rows: &rows });
    let hops: Vec<_> = walks.map(|walk| walk.diagnose(blames)).collect();
    let services = Service::ALL.iter().copied().filter(|service| service.has_sdk());
    let inside: Vec<_> = services.clone().map(|service| diagnose_inside(evidence, service, blames)).collect();

    let at_hops = hops.iter().enumerate().filter_map(|(at, hop)| Some((2 * at + 1, hop.finding.as_ref()?)));
    let at_services = services.zip(&inside).filter_map(|(at, it)| Some((rank(at), it.finding.as_ref()?)));
    let first = at_hops.chain(at_services).min_by_key(|(rank, _)| *rank).map(|(_, finding)| finding.clone());

    let unseen = hops.iter().flat_map(HopDiagnosis::unknown).chain(inside.iter().filter_map(InsideDiagnosis::unknown));
    let mut undecided: Vec<_> = unseen.collect();
    if blames && first.is_none() {
        undecided.push(format!("The evidence does not say where: {}", verdict.sentence));
    }
    let sentence = match &first {
        Some(Finding { place, step: Some(step), sentence, .. }) => {
            format!("The first break is at {place}, step {}: {sentence}", step)
        }
        Some(Finding { place, step: None, sentence, .. }) => format!("All steps succeed, but at {place}: {sentence}"),
        None => verdict.sentence,
    };
    Diagnosis {
        claim_id: evidence.claim_id.clone(),
        outcome: verdict.outcome,
        hops,
        inside,
        first,
        sentence,
        undecided,
    }
}

/// Where a service stands among the hops: hop `n` has the rank `2 n + 1`.
fn rank(service: Service) -> usize {
    let reached = Topology::LAB.hops.iter().position(|hop| hop.to == service);
    reached.map_or(0, |at| 2 * at + 2)
}

// === impl Cell ===

impl Cell {
    fn new(status: CellStatus, headers: &TraceHeaders, reason: impl Into<String>) -> Self {
        Self { status, headers: headers.clone(), reason: reason.into() }
    }
}

// === impl Finding ===

impl Finding {
    fn new(place: impl ToString, step: impl Into<Option<Step>>, sentence: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            step: step.into(),
            sentence: sentence.into(),
            inferred: false,
            alternatives: Vec::new(),
        }
    }

    /// The same as one of several causes.
    fn or(mut self, place: impl ToString, step: Step, sentence: impl Into<String>) -> Self {
        let alternative = Alternative { place: place.to_string(), step: Some(step), sentence: sentence.into() };
        self.alternatives.push(alternative);
        self.inferred()
    }

    fn inferred(mut self) -> Self {
        self.inferred = true;
        self
    }
}

// === impl HopDiagnosis ===

impl HopDiagnosis {
    fn unknown(&self) -> Option<String> {
        let cells = [&self.injected, &self.survived, &self.extracted, &self.used];
        let cell = cells.into_iter().find(|cell| cell.status == CellStatus::Unknown)?;
        Some(format!("{}: {}.", self.hop, cell.reason))
    }
}

// === impl InsideDiagnosis ===

impl InsideDiagnosis {
    fn unknown(&self) -> Option<String> {
        (self.used.status == CellStatus::Unknown).then(|| format!("{}: {}.", self.service, self.used.reason))
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn diagnose(&self, blames: bool) -> HopDiagnosis {
        let found = self.finding();
        let nothing = TraceHeaders::default();
        let sent = self.row.sent.as_ref().map_or(&nothing, |side| &side.headers);
        let received = self.row.received.as_ref().map_or(&nothing, |side| &side.headers);
        let cell = |step: Step, headers: &TraceHeaders| {
            let (status, reason) = match (self.cell(step, found.as_ref()), blames) {
                // What the outcome does not bear out is not blamed on anybody.
                ((CellStatus::Failed, reason), false) => (CellStatus::Unknown, format!("it seems that {reason}")),
                (cell, _) => cell,
            };
            Cell::new(status, headers, reason)
        };
        HopDiagnosis {
            hop: self.hop.to_string(),
            injected: cell(Step::Inject, sent),
            survived: cell(Step::Transit, received),
            extracted: cell(Step::Extract, received),
            used: cell(Step::Use, received),
            finding: found.filter(|_| blames),
        }
    }

    fn cell(&self, step: Step, finding: Option<&Finding>) -> (CellStatus, String) {
        use CellStatus::{Failed, NotApplicable, Ok, Unknown};
        let HopRow { sent, received, .. } = self.row;
        if let Some(Finding { step: Some(failed), sentence, .. }) = finding {
            match step.cmp(failed) {
                Ordering::Equal => return (Failed, sentence.clone()),
                Ordering::Greater if !self.row.is_joined() => {
                    return (NotApplicable, format!("step {} failed", failed));
                }
                Ordering::Less | Ordering::Greater => {}
            }
        }
        let silent = sent.as_ref().is_some_and(|side| side.headers.identities().is_empty());
        if !self.hop.to.has_sdk() && silent && step <= Step::Transit {
            return (NotApplicable, "no trace header is owed to a third party".to_owned());
        }
        if !self.hop.to.has_sdk() && step >= Step::Extract {
            return (NotApplicable, "a third party makes no spans of this trace".to_owned());
        }
        let seen = |side: &Option<Side>| side.as_ref().map(|side| format_names(&side.formats));
        match (step, seen(sent), seen(received)) {
            (Step::Inject, Some(sent), _) => (Ok, format!("{sent} left the sender")),
            (Step::Inject, None, Some(received)) => {
                (Ok, format!("the sender's span was not seen, but {received} arrived"))
            }
            (Step::Inject, None, None) => (Unknown, "neither end of the hop was seen".to_owned()),
            (Step::Transit, Some(_), Some(received)) if self.row.changed_headers().is_empty() => {
                (Ok, format!("{received} arrived, as it was sent"))
            }
            // Asked more than once, a third party remembers one call, and we may look at another.
            (Step::Transit, Some(_), Some(_)) => (Unknown, "what arrived was sent by another call".to_owned()),
            (Step::Transit, None, Some(_)) => {
                (Unknown, "the sender's span was not seen, so what arrived cannot be compared".to_owned())
            }
            (_, _, None) if self.hop.to.has_sdk() => (Unknown, "the receiver's span was not seen".to_owned()),
            (_, _, None) => (Unknown, "the third party's record was not seen".to_owned()),
            (Step::Extract, ..) if self.row.linked => (Ok, "the receiver links to the span that is named".to_owned()),
            (Step::Use, ..) if self.row.linked => (Ok, "joined by a link, by design".to_owned()),
            (Step::Extract, ..) => (Ok, "the receiver is in the trace that is named".to_owned()),
            (Step::Use, ..) if self.row.is_joined() => (Ok, "the receiver's parent is the sender's span".to_owned()),
            (Step::Use, ..) => {
                (Ok, "the receiver's parent is the span that is named, which was not exported".to_owned())
            }
        }
    }

    fn finding(&self) -> Option<Finding> {
        if !self.hop.to.has_sdk() {
            return self.leak();
        }
        let received = self.row.received.as_ref()?;
        let receiver = self.evidence.span_of(received)?;
        let injected = if self.row.is_joined() { None } else { self.not_injected(received) };
        injected.or_else(|| self.changed(received)).or_else(|| match self.row.is_joined() {
            true => self.baggage_lost(received),
            false => self.not_used(received, receiver),
        })
    }

    /// Step 1.
    fn not_injected(&self, received: &Side) -> Option<Finding> {
        let Hop { from, .. } = self.hop;
        let fails = |sentence: String| Some(Finding::new(self.hop, Step::Inject, sentence));
        let Some(sent) = &self.row.sent else {
            if !received.headers.identities().is_empty() {
                return None;
            }
            if self.evidence.spans().any(|span| span.service == from.name() && self.evidence.owns(span)) {
                return fails(format!("{from} has no span of this call, and no trace header arrived."));
            }
            let finding = fails(format!("No trace header arrived, and no span of {from} was seen."));
            return finding.map(|it| it.or(self.hop, Step::Transit, "The headers were sent, and lost on the way."));
        };
        if sent.headers.identities().is_empty() {
            let silent = Finding::new(self.hop, Step::Inject, format!("No trace header left {from}."));
            let spoken = self.spoken_by(*from).is_some_and(|formats| !formats.is_empty());
            // A sender that injects nowhere has no propagator: that needs no second explanation.
            return Some(match self.hop.carrier {
                CarrierKind::Queue { .. } if spoken => {
                    let relay = "The outbox does not keep the attributes, and its relay injects an empty context.";
                    let producer = format!("{from} injects nothing into the message's attributes.");
                    Finding { sentence: format!("No trace attribute left {from} with the message."), ..silent }
                        .or(self.hop, Step::Inject, producer)
                        .or(from, Step::Inject, relay)
                }
                CarrierKind::Queue { .. } | CarrierKind::Http => silent,
            });
        }
        let mut contexts = sent.headers.contexts().peekable();
        let other = contexts.peek().is_some() && !contexts.any(|(_, context)| names(context, sent));
        other.then(|| {
            let formats = format_names(&sent.headers.identities());
            Finding::new(self.hop, Step::Inject, format!("{formats} left {from}, but names no span of this call."))
        })
    }

    /// Step 2.
    fn changed(&self, received: &Side) -> Option<Finding> {
        let fails = |sentence: String| Some(Finding::new(self.hop, Step::Transit, sentence));
        let via = self.hop.via.map(|via| format!(" by way of {via}")).unwrap_or_default();
        let Some(sent) = &self.row.sent else {
            // The front door's answer is the second witness of what its own call was part of.
            let answered = self.evidence.response_context().filter(|_| self.hop.from == front_door())?;
            let trace = received.headers.contexts().map(|(_, context)| context.trace_id).next()?;
            let other = (!trace.matches(answered.trace_id.padded())).then(|| {
                format!("The front door answered with trace {}, but trace {trace} arrived{via}.", answered.trace_id)
            });
            return other.and_then(fails).map(Finding::inferred);
        };
        let changed = self.row.changed_headers();
        let gone: Vec<_> = changed.iter().copied().filter(|name| received.headers.get(name).is_empty()).collect();
        if changed.is_empty() {
            return None;
        }
        let context = |side: &Side| side.headers.context(Format::TraceContext).and_then(Result::ok);
        fails(match (context(sent), context(received)) {
            _ if !gone.is_empty() => format!("{} was sent{via}, and did not arrive.", gone.join(", ")),
            (Some(sent), Some(received)) if sent.trace_id != received.trace_id => {
                format!("What was sent{via} names trace {}, what arrived names {}.", sent.trace_id, received.trace_id)
            }
            (Some(sent), Some(received)) if sent.span_id != received.span_id => format!(
                "What was sent{via} names span {}, what arrived names {}: something in between has a span of its own.",
                sent.span_id, received.span_id
            ),
            _ => format!("{} was sent{via}, and arrived changed.", changed.join(", ")),
        })
    }

    /// Steps 3 and 4, of a receiver that is not joined to its sender though something arrived.
    fn not_used(&self, received: &Side, receiver: &Span) -> Option<Finding> {
        let Hop { to, .. } = self.hop;
        let used = received.headers.contexts().find(|(_, context)| {
            receiver.parent_span_id.is_some_and(|parent| context.names(receiver.trace_id, parent))
        });
        let Some((format, context)) = used else { return Some(self.not_read(received, receiver)) };
        if context.sampled == Some(false) {
            let sentence =
                format!("The sampled bit is clear on what arrived, yet {to} recorded: their samplers differ.");
            return Some(Finding::new(self.hop, Step::Use, sentence));
        }
        let sent = self.row.sent.as_ref()?;
        let format = format_names(&[format]);
        let sender = received.headers.contexts().find(|(_, context)| names(*context, sent));
        let right = sender.map(|(right, _)| format_names(&[right]));
        Some(Finding::new(
            self.hop,
            Step::Extract,
            match right {
                Some(right) => format!(
                    "{right} and {format} arrived with different ids, and {to} took those of {format}: the last \
                     propagator that finds something wins."
                ),
                None => format!("{to} took the ids of {format}, which are not the sender's."),
            },
        ))
    }

    fn not_read(&self, received: &Side, receiver: &Span) -> Finding {
        let Hop { to, .. } = self.hop;
        let fails = |sentence: String| Finding::new(self.hop, Step::Extract, sentence);
        let arrived = format_names(&received.headers.identities());
        let valid: BTreeSet<_> = received.headers.contexts().map(|(format, _)| format.family()).collect();
        if valid.is_empty() {
            let reason = received.headers.identities().into_iter().find_map(|it| received.headers.context(it)?.err());
            let reason = reason.map_or_else(|| "it names no span".to_owned(), |reason| reason.to_string());
            return fails(format!("{arrived} arrived, but is invalid: {reason}."));
        }
        let unused = "The context was read, and not used as the parent.";
        match self.spoken_by(*to) {
            None => fails(format!("{arrived} arrived, and {to} did not read it.")).or(self.hop, Step::Use, unused),
            Some(spoken) if spoken.is_empty() => {
                fails(format!("{arrived} arrived, but {to} itself sends no trace header at all: it has no propagator."))
            }
            Some(spoken) if spoken.is_disjoint(&valid) => {
                let spoken = format_names(&Vec::from_iter(spoken));
                fails(format!("{arrived} arrived, but {to} speaks {spoken}."))
            }
            Some(_) if receiver.attributes.contains_key(TENANT) => {
                let sentence =
                    format!("{arrived} arrived, and {to} read its baggage, but did not use the context as parent.");
                Finding::new(self.hop, Step::Use, sentence)
            }
            Some(_) => fails(format!("{arrived} arrived, in a format that {to} speaks, and {to} did not extract it."))
                .or(self.hop, Step::Use, unused),
        }
    }

    /// The formats that a service itself sends on the hops of this claim, B3's two forms as one, since who knows one
    /// reads both; `None` if it sends nothing that we could see. The third party counts: it is sent the same headers.
    fn spoken_by(&self, service: Service) -> Option<BTreeSet<Format>> {
        let own = Topology::LAB.hops.iter().zip(self.rows).filter(|(hop, _)| hop.from == service);
        let sent: Vec<_> = own.filter_map(|(_, row)| row.sent.as_ref()).collect();
        let spoken = sent.iter().flat_map(|side| side.headers.contexts()).map(|(format, _)| format.family());
        (!sent.is_empty()).then(|| spoken.collect())
    }

    /// Baggage that the sender's application could read and the receiver's could not, though the trace is joined.
    fn baggage_lost(&self, received: &Side) -> Option<Finding> {
        tenant_lost(self.evidence, self.row)?;
        let Hop { from, to, .. } = self.hop;
        let sent = self.row.sent.as_ref()?;
        if !sent.baggage.contains_key(TENANT) {
            let sentence =
                format!("{from} could read `{TENANT}`, but sent no baggage with it; the trace context passed.");
            return Some(Finding::new(self.hop, Step::Inject, sentence));
        }
        let bytes = received.headers.baggage_bytes();
        if bytes > MAX_BAGGAGE_BYTES {
            let sentence = format!("Baggage of {bytes} bytes arrived; above {MAX_BAGGAGE_BYTES} all of it is dropped.");
            return Some(Finding::new(self.hop, Step::Extract, sentence));
        }
        let fails = Finding::new(self.hop, Step::Extract, format!("Baggage arrived, and {to} did not read it."));
        let inner = Topology::LAB.hops.iter().zip(self.rows).filter(|(hop, _)| hop.from == *to && hop.to.has_sdk());
        let mut sends = inner.filter_map(|(_, row)| row.sent.as_ref()).peekable();
        let silent = sends.peek().is_some() && sends.all(|side| side.baggage.is_empty());
        Some(if silent {
            Finding { sentence: format!("Baggage arrived, but {to} neither reads nor sends any."), ..fails }
        } else {
            fails.or(self.hop, Step::Use, "The baggage was read, and the application did not look at it.")
        })
    }

    /// All four steps succeed, too well.
    fn leak(&self) -> Option<Finding> {
        let keys: Vec<_> = leaked_secrets(self.rows).filter(|(hop, _)| *hop == self.hop).map(|(_, key)| key).collect();
        (!keys.is_empty()).then(|| {
            let keys = keys.join(", ");
            Finding::new(self.hop, None, format!("baggage `{keys}` left the company: {} was sent it.", self.hop.to))
        })
    }
}

/// Whether the context names the span of this side.
fn names(context: Context, side: &Side) -> bool {
    side.span.is_some_and(|span| context.names(span.trace_id, span.span_id))
}

fn diagnose_inside(evidence: &ClaimEvidence, service: Service, blames: bool) -> InsideDiagnosis {
    let seen = evidence.spans().any(|span| span.service == service.name());
    let finding = if blames { lost_inside(evidence, service) } else { None };
    let (status, reason) = match &finding {
        Some(finding) => (CellStatus::Failed, finding.sentence.clone()),
        None if seen => (CellStatus::Ok, "every span of it that was seen has its context".to_owned()),
        None => (CellStatus::Unknown, "no span of it was seen".to_owned()),
    };
    let used = Cell::new(status, &TraceHeaders::default(), reason);
    InsideDiagnosis { service: service.to_string(), used, finding }
}

fn lost_inside(evidence: &ClaimEvidence, service: Service) -> Option<Finding> {
    let fails = |step, sentence| Some(Finding::new(service, step, sentence));
    // No header is involved in the parent of such a span.
    let ours = |span: &&Span| span.claim_id().is_none_or(|_| evidence.owns(span));
    let roots = || evidence.fragments.iter().flat_map(|fragment| fragment.roots());
    if let Some(root) = roots().filter(|span| span.service == service.name() && !span.receives()).find(ours) {
        return fails(Step::Use, format!("{} is a root: the context was lost on the way to it.", describe_span(root)));
    }
    let mut strays = evidence.spans().filter_map(|span| below_another_claim(evidence, span));
    if let Some((stray, other)) = strays.find(|(stray, _)| stray.service == service.name()) {
        let sentence =
            format!("{} stands below a span of claim {other}: it took over a stale context.", describe_span(stray));
        return fails(Step::Use, sentence);
    }
    let door = tenant_unread_at_the_door(evidence).filter(|door| door.service == service.name());
    door.and_then(|_| fails(Step::Extract, "The caller's baggage arrived, and was not read.".to_owned()))
}

/// If this span carries one claim and the nearest span above it another: the span below that one, and its claim. Between
/// two services that is a matter of the hop.
fn below_another_claim<'a>(evidence: &'a ClaimEvidence, span: &'a Span) -> Option<(&'a Span, &'a str)> {
    let claim = span.claim_id()?;
    let mut below = span;
    for above in evidence.lineage(span).skip(1) {
        if let Some(other) = above.claim_id() {
            let mixed = other != claim && below.service == above.service && !below.receives();
            let ours = claim == evidence.claim_id || other == evidence.claim_id;
            return (mixed && ours).then_some((below, other));
        }
        below = above;
    }
    None
}

#[cfg(test)]
mod tests {
    use chain::{Place, SpanKind};

    use super::*;
    use crate::span::CLAIM_ID;
    use crate::testing::*;

    const GATEWAY: &str = "python-api -> java-claims";
    const QUEUE: &str = "java-claims -> claims-worker";

    fn of(spans: Vec<Span>) -> Diagnosis {
        diagnose(&Collected { evidence: evidence(spans), ..Collected::default() })
    }

    fn split_at(top: u64, change: impl FnOnce(Span) -> Span) -> Vec<Span> {
        let mut spans = chain_with(top, change);
        split(&mut spans, top, TRACE_B);
        spans
    }

    fn statuses(hop: &HopDiagnosis) -> [CellStatus; 4] {
        [&hop.injected, &hop.survived, &hop.extracted, &hop.used].map(|cell| cell.status)
    }

    #[test]
    fn a_healthy_claim_has_no_finding() {
        let collected = Collected { evidence: evidence(whole_chain()), ..Collected::default() };
        let diagnosis = diagnose(&collected.with_third_party(Some(partner_record())));
        assert_eq!((diagnosis.outcome, &diagnosis.first), (Outcome::Healthy, &None), "{}", diagnosis.sentence);
        assert!(diagnosis.undecided.is_empty(), "everything was seen: {:?}", diagnosis.undecided);
        for (hop, known) in diagnosis.hops.iter().zip(Topology::LAB.hops) {
            use CellStatus::{NotApplicable, Ok};
            let after = if known.to.has_sdk() { Ok } else { NotApplicable };
            assert_eq!(statuses(hop), [Ok, Ok, after, after], "{}", hop.hop);
            assert!(!hop.survived.headers.get("traceparent").is_empty(), "{}: the header is shown", hop.hop);
        }
        let services: Vec<_> = diagnosis.inside.iter().map(|it| (it.service.as_str(), it.used.status)).collect();
        let expected = ["python-api", "java-claims", "node-policy-store", "claims-worker"];
        assert_eq!(services, expected.map(|service| (service, CellStatus::Ok)), "every service with an SDK");
    }

    #[test]
    fn each_rule_says_why() {
        let none = |span: Span| span.without_headers();
        let upper = || {
            let upper = traceparent(0xabc, CALL_POLICY, 1).to_uppercase();
            let by_hand = |span: Span| span.without_headers().header("traceparent", upper.clone());
            let mut spans = split_at(POLICY, by_hand);
            spans[3] = by_hand(spans[3].clone());
            spans
        };
        let mut uninstrumented = split_at(POLICY, none);
        uninstrumented.retain(|span| span.span_id != span_id(CALL_POLICY));
        let mut foreign_id = split_at(POLICY, |span| span.header("traceparent", traceparent(TRACE_A, CLAIMS, 1)));
        foreign_id[3] = foreign_id[3].clone().header("traceparent", traceparent(TRACE_A, CLAIMS, 1));
        let mut unread = chain_with(POLICY, |span| span.without("tenant.id"));
        let long = format!("tenant.id=acme,notes={}", "x".repeat(MAX_BAGGAGE_BYTES));
        for span in unread.iter_mut().filter(|span| [CALL_POLICY, POLICY].map(span_id).contains(&span.span_id)) {
            *span = span.clone().header("baggage", &long);
        }
        let caller = |span: Span| span.header("baggage", "tenant.id=acme").without("tenant.id");
        let cases = [
            (lab_1(), GATEWAY, Step::Extract, "b3 arrived, but java-claims speaks tracecontext."),
            (
                upper(),
                "java-claims -> node-policy-store",
                Step::Extract,
                "tracecontext arrived, but is invalid: the trace id must be 32 lower-case hex digits.",
            ),
            (
                uninstrumented,
                "java-claims -> node-policy-store",
                Step::Inject,
                "java-claims has no span of this call, and no trace header arrived.",
            ),
            (
                foreign_id,
                "java-claims -> node-policy-store",
                Step::Inject,
                "tracecontext left java-claims, but names no span of this call.",
            ),
            (
                split_at(CLAIMS, none),
                GATEWAY,
                Step::Transit,
                "traceparent, baggage was sent by way of gateway, and did not arrive.",
            ),
            (
                chain_with(CALL_CLAIMS, |span| span.header("tracestate", "acme=1")),
                GATEWAY,
                Step::Transit,
                "tracestate was sent by way of gateway, and did not arrive.",
            ),
            (
                chain_with(CLAIMS, |span| span.header("baggage", "tenant.id=x")),
                GATEWAY,
                Step::Transit,
                "baggage was sent by way of gateway, and arrived changed.",
            ),
            (
                split_at(CLAIMS, |span| span),
                GATEWAY,
                Step::Use,
                "tracecontext arrived, and java-claims read its baggage, but did not use the context as parent.",
            ),
            (
                split_at(CLAIMS, |span| span.without("tenant.id")),
                GATEWAY,
                Step::Extract,
                "tracecontext arrived, in a format that java-claims speaks, and java-claims did not extract it.",
            ),
            (
                split_at(NOTIFY, |span| span),
                "java-claims",
                Step::Use,
                "java-claims `notify_claimant` (internal) is a root: the context was lost on the way to it.",
            ),
            (
                unread,
                "java-claims -> node-policy-store",
                Step::Extract,
                "Baggage of 8213 bytes arrived; above 8192 all of it is dropped.",
            ),
            (chain_with(FRONT, caller), "python-api", Step::Extract, "The caller's baggage arrived, and was not read."),
        ];
        for (spans, place, step, sentence) in cases {
            let diagnosis = of(spans);
            let first = diagnosis.first.expect(sentence);
            assert_eq!((first.place.as_str(), first.step), (place, Some(step)), "{sentence}");
            assert_eq!(first.sentence, sentence, "the cause in words");
            assert!(first.place.parse::<Place>().is_ok(), "a scenario's cause is written like this: {place}");
        }
    }

    #[test]
    fn every_failing_hop_is_listed_and_the_first_is_marked() {
        let mut spans = chain_with(PROCESS, |span| span.without("tenant.id"));
        for (top, trace) in [(CLAIMS, 0xd4), (PROCESS, TRACE_B), (AUDIT, 0xc3)] {
            split(&mut spans, top, trace);
        }
        let diagnosis = of(spans);
        let hops: Vec<_> = diagnosis.hops.iter().filter_map(|hop| Some(hop.finding.as_ref()?.place.as_str())).collect();
        assert_eq!(hops, [GATEWAY, QUEUE], "both hops");
        let inside: Vec<_> =
            diagnosis.inside.iter().filter_map(|it| Some(it.finding.as_ref()?.place.as_str())).collect();
        assert_eq!(inside, ["python-api"], "and the service");
        assert_eq!(diagnosis.first.unwrap().place, "python-api", "the door comes before its calls");
        use CellStatus::{Failed, NotApplicable, Ok};
        assert_eq!(
            statuses(&diagnosis.hops[2]),
            [Ok, Ok, Failed, NotApplicable],
            "what follows a failure is not asked"
        );
    }

    #[test]
    fn causes_that_look_alike_are_all_named() {
        let places = |diagnosis: Diagnosis| {
            let first = diagnosis.first.unwrap();
            let alternatives = first.alternatives.into_iter().map(|it| (it.place, it.step));
            (first.inferred, first.step, alternatives.collect::<Vec<_>>())
        };
        let hop = |name: &str, step| (name.to_owned(), Some(step));

        let mut silent = split_at(PROCESS, Span::without_headers);
        silent[5] = silent[5].clone().without_headers();
        let expected = vec![hop(QUEUE, Step::Inject), hop("java-claims", Step::Inject)];
        assert_eq!(places(of(silent)), (true, Some(Step::Inject), expected), "the producer, or the outbox");

        let mut unseen = split_at(CLAIMS, Span::without_headers);
        unseen.retain(|span| span.service != "python-api");
        let expected = vec![hop(GATEWAY, Step::Transit)];
        assert_eq!(places(of(unseen)), (true, Some(Step::Inject), expected), "nobody saw what left");

        let expected = vec![hop("java-claims -> node-policy-store", Step::Use)];
        let last = split_at(POLICY, |span| span);
        assert_eq!(
            places(of(last)),
            (true, Some(Step::Extract), expected),
            "it calls nobody, so what it speaks is unseen"
        );
    }

    #[test]
    fn two_claims_in_one_trace_are_told_from_both_sides() {
        let stale = || {
            let mut spans = whole_chain();
            let other = span(0x70, None, "python-api", SpanKind::Server, "POST /claims", (0, 1)).with(CLAIM_ID, "c-0");
            let server = span(0x71, Some(0x70), "java-claims", SpanKind::Server, "POST /api/claims", (0, 1));
            spans.extend([other.in_trace(TRACE_B), server.with(CLAIM_ID, "c-0").in_trace(TRACE_B)]);
            let notify = spans[11].clone().in_trace(TRACE_B);
            spans[11] = Span { parent_span_id: Some(span_id(0x71)), ..notify };
            spans
        };
        let ours = of(stale()).first.unwrap();
        assert_eq!((ours.place.as_str(), ours.step), ("java-claims", Some(Step::Use)), "a span of ours below c-0");

        let theirs =
            diagnose(&Collected { evidence: ClaimEvidence::from_spans("c-0", stale()), ..Collected::default() });
        assert!(theirs.inside[1].finding.is_some(), "a span of c-1 below ours: {}", theirs.sentence);
    }

    #[test]
    fn nobody_is_blamed_where_the_evidence_does_not_reach() {
        use CellStatus::Unknown;
        let partial = ClaimEvidence { partial: true, ..evidence(lab_1()) };
        let diagnosis = diagnose(&Collected { evidence: partial, ..Collected::default() });
        assert_eq!((diagnosis.outcome, diagnosis.first), (Outcome::CannotTell, None), "spans were left out");
        assert_eq!(diagnosis.hops[0].extracted.status, Unknown, "what seems to fail may not");
        assert!(!diagnosis.undecided.is_empty(), "and that is said");

        let unseen = of(chain_without(&[POLICY]));
        assert_eq!((unseen.outcome, unseen.first), (Outcome::CannotTell, None), "one receiver was not seen");
        let said = "java-claims -> node-policy-store: the receiver's span was not seen.";
        assert_eq!(unseen.undecided[0], said, "the hop is named");

        let lost = of(chain_without(&[FRONT, CALL_CLAIMS, AUDIT]));
        assert_eq!((lost.outcome, lost.first), (Outcome::NotAPropagationBreak, None), "export is no matter of context");
        assert_eq!(lost.hops[0].survived.status, Unknown, "what left was not seen");
        assert_eq!(lost.hops[0].used.status, CellStatus::Ok, "the parent that is named is the sampled header's");
    }

    #[test]
    fn a_leak_fails_no_step() {
        let record = [("baggage".to_owned(), vec!["user.session_token=x".to_owned()])].into_iter().collect();
        let collected = Collected { evidence: evidence(whole_chain()), ..Collected::default() };
        let diagnosis = diagnose(&collected.with_third_party(Some(record)));
        let first = diagnosis.first.unwrap();
        assert_eq!((first.place.as_str(), first.step), ("claims-worker -> fraud-partner", None), "all steps succeed");
        assert!(!diagnosis.sentence.contains("=x"), "the value is not repeated: {}", diagnosis.sentence);
        assert_eq!(diagnosis.outcome, Outcome::Leaking, "it is no break");
    }

    #[test]
    fn a_diagnosis_survives_json() {
        let diagnosis = of(lab_1());
        let json = serde_json::to_value(&diagnosis).unwrap();
        assert_eq!(json["first"]["step"], "extract", "steps are written as in scenario files");
        assert_eq!(json["hops"][0]["extracted"]["status"], "failed", "statuses are kebab-case");
        assert_eq!(serde_json::from_value::<Diagnosis>(json).unwrap(), diagnosis, "the CLI reads what the desk writes");
    }
}
