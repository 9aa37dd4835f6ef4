//! What a reading comes to: every departure from a healthy chain is accounted for, by a cause, by a reason why it is no
//! break, or by what was not received.
//!
//! Healthy is what the topology demands: one trace of this claim alone, rooted at the front door, every receiver the child
//! of its sender, nothing missing, nothing lost or changed in transit, and no secret outside.

use chain::{Hop, ParentUsed, Place, Service};
use serde::{Deserialize, Serialize};

use crate::cause::{self, Cause, names_parent, sender_names_lost_parent};
use crate::claim::Fragment;
use crate::expect::{Part, holds};
use crate::expectation::Expectation;
use crate::ledger::is_receiver;
use crate::reading::{NotReceived, Reading};
use crate::span::Span;
use wire::SpanId;

/// The kinds of outcome, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The trace is complete.
    Healthy,
    /// It looks broken, but every context arrived and was used: a sampling decision, a lost export, or links on purpose.
    NotAPropagationBreak,
    /// The evidence does not reach.
    CannotTell,
    /// The trace is complete, and baggage arrived where it must not.
    Leaking,
    /// Context or baggage was lost.
    Broken,
}

/// Why something that looks like a break is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the variant's sentence contains")]
pub enum NotABreak {
    /// The receiver links to the sender, as consumers do.
    LinkedByDesign { hop: &'static Hop },
    /// A receiving root links to a span of the claim, though its hop is unknown.
    LinkedRoot { span: String },
    /// The front door decided against sampling and said so.
    NotSampled { traceresponse: String },
    /// A parent was not received, though a sampled header or its own process names it.
    NotExported { span: String, parent: SpanId, within_process: bool },
    /// The front door's parent is its caller's span, which is no part of the chain; it may be here all the same.
    Called { span: String, parent: SpanId, received: bool },
    /// The front door refused the claim, so that what was not reached is not missing.
    Refused { status: u64 },
    /// The claim was submitted more than once, and each submission begins a trace.
    SubmittedAgain { times: usize },
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the variant's sentence contains")]
pub enum Unknown {
    /// The trace source does not answer.
    SourceDown { errors: Vec<String> },
    /// As many traces carry the claim's id as a search finds at most, so that there may be others.
    TooManyTraces { searched_up_to: usize },
    /// The trace source left out spans.
    Partial,
    /// No span of the claim was received.
    NothingReceived { waited_millis: u64, malformed: usize, traceresponse: Option<String> },
    /// Something that every claim leaves was not received.
    NotReceived(NotReceived),
    /// A receiver names a parent that was not received, and nothing shows who wrote it.
    ParentNotTold { span: String, parent: SpanId },
    /// The trace belongs to no submission.
    NotASubmission,
}

/// What a reading comes to. It lives as long as the reading; every view of a claim is made from one.
#[derive(Clone, Debug)]
pub struct Conclusion<'a> {
    pub(crate) reading: &'a Reading<'a>,
    outcome: Outcome,
    causes: Vec<Cause>,
    /// What would be a cause if nothing had been left out.
    suspected: Vec<Cause>,
    not_breaks: Vec<NotABreak>,
    unknown: Vec<Unknown>,
}

// === impl Outcome ===

impl Outcome {
    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Healthy | Self::NotAPropagationBreak => 0,
            Self::Broken | Self::Leaking => 1,
            Self::CannotTell => 2,
        }
    }
}

// === impl Reading ===

impl Reading<'_> {
    /// Concludes from the invariants of a healthy chain alone.
    #[must_use]
    pub fn conclude(&self) -> Conclusion<'_> {
        Conclusion::new(self, None)
    }

    /// Concludes from the invariants, and from an expectation beyond them.
    #[must_use]
    pub fn conclude_with(&self, extra: Option<&Expectation>) -> Conclusion<'_> {
        Conclusion::new(self, extra)
    }
}

// === impl Conclusion ===

impl<'a> Conclusion<'a> {
    fn new(reading: &'a Reading<'a>, extra: Option<&Expectation>) -> Self {
        let nothing = |outcome| Self {
            reading,
            outcome,
            causes: Vec::new(),
            suspected: Vec::new(),
            not_breaks: Vec::new(),
            unknown: Vec::new(),
        };
        let collected = reading.collected;
        let evidence = reading.evidence();
        if collected.source_down {
            let unknown = vec![Unknown::SourceDown { errors: collected.source_errors.clone() }];
            return Self { unknown, ..nothing(Outcome::CannotTell) };
        }
        if evidence.fragments.is_empty() {
            let traceresponse = evidence.traceresponse.clone();
            let sampled = evidence.response_context().and_then(|context| context.sampled);
            let not_sampled = traceresponse.clone().filter(|_| sampled == Some(false));
            let unknown = Unknown::NothingReceived {
                waited_millis: collected.waited_millis,
                malformed: evidence.malformed,
                traceresponse,
            };
            let outcome = if not_sampled.is_some() { Outcome::NotAPropagationBreak } else { Outcome::CannotTell };
            let not_breaks = not_sampled.map(|traceresponse| NotABreak::NotSampled { traceresponse });
            return Self { not_breaks: not_breaks.into_iter().collect(), unknown: vec![unknown], ..nothing(outcome) };
        }
        if evidence.claim_id.is_empty() {
            return Self { unknown: vec![Unknown::NotASubmission], ..nothing(Outcome::CannotTell) };
        }
        let (not_breaks, untold) = explained(reading);
        let mut causes = cause::find(reading);
        account(reading, &mut causes);
        if evidence.leaves_out() {
            let crowd = evidence.searched_up_to.map(|searched_up_to| Unknown::TooManyTraces { searched_up_to });
            let unknown = crowd.into_iter().chain(evidence.partial.then_some(Unknown::Partial)).collect();
            return Self { suspected: causes, not_breaks, unknown, ..nothing(Outcome::CannotTell) };
        }
        let told = untold.is_empty();
        let unknown: Vec<_> = untold.into_iter().chain(reading.not_received().map(Unknown::NotReceived)).collect();
        // What is no break, or not all there, need not look as an expectation has it; a leak counts all the same.
        let asked = !causes.is_empty() || (not_breaks.is_empty() && unknown.is_empty());
        causes.extend(unmet(reading, extra).filter(|cause| asked || cause.is_leak()));
        let lost = |it: &NotABreak| matches!(it, NotABreak::NotExported { .. });
        let outcome = match causes.as_slice() {
            [] if told && not_breaks.iter().any(lost) => Outcome::NotAPropagationBreak,
            [] if !unknown.is_empty() => Outcome::CannotTell,
            [] if not_breaks.is_empty() => Outcome::Healthy,
            [] => Outcome::NotAPropagationBreak,
            leaks if leaks.iter().all(Cause::is_leak) => Outcome::Leaking,
            _ => Outcome::Broken,
        };
        Self { causes, not_breaks, unknown, ..nothing(outcome) }
    }

    /// What was concluded from.
    #[must_use]
    pub const fn reading(&self) -> &'a Reading<'a> {
        self.reading
    }

    /// The outcome.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What went wrong, in the order of the chain; empty unless the claim is broken or leaking.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// The first thing that went wrong, in the order of the chain; a leak only if nothing was lost.
    #[must_use]
    pub fn first(&self) -> Option<&Cause> {
        self.causes.iter().find(|cause| !cause.is_leak()).or(self.causes.first())
    }

    /// The first cause at a place.
    #[must_use]
    pub fn cause_at(&self, place: Place) -> Option<&Cause> {
        self.causes.iter().find(|cause| cause.place() == Some(place))
    }

    /// What would be the cause at a place if the source had left nothing out.
    pub(crate) fn suspected_at(&self, place: Place) -> Option<&Cause> {
        self.suspected.iter().find(|cause| cause.place() == Some(place))
    }

    /// Why what looks like a break is none.
    #[must_use]
    pub fn not_breaks(&self) -> &[NotABreak] {
        &self.not_breaks
    }

    /// Why something cannot be said.
    #[must_use]
    pub fn unknown(&self) -> &[Unknown] {
        &self.unknown
    }
}

/// Why a parent that a span names was not received.
enum Absence {
    NoBreak(NotABreak),
    /// Nothing shows whether the sender wrote it, or something in between.
    NotTold(Unknown),
}

/// What looks like a break and is none, and what nothing on record tells.
fn explained(reading: &Reading<'_>) -> (Vec<NotABreak>, Vec<Unknown>) {
    let (mut not_breaks, mut untold) = (Vec::new(), Vec::new());
    for absence in reading.evidence().missing_parents().filter_map(|span| absence(reading, span)) {
        match absence {
            Absence::NoBreak(reason) => not_breaks.push(reason),
            Absence::NotTold(unknown) => untold.push(unknown),
        }
    }
    let linked = reading.inner_rows().filter(|row| row.linked && row.parent != Some(ParentUsed::Sender));
    let hops: Vec<_> = linked.map(|row| NotABreak::LinkedByDesign { hop: row.hop }).collect();
    if hops.is_empty() {
        not_breaks.extend(reading.linking_roots().map(|root| NotABreak::LinkedRoot { span: root.describe() }));
    }
    not_breaks.extend(hops);
    not_breaks.extend(reading.front().zip(reading.caller()).map(|(front, caller)| NotABreak::Called {
        span: front.describe(),
        parent: caller.span_id,
        received: true,
    }));
    let times = reading.entries();
    not_breaks.extend((times > 1).then_some(NotABreak::SubmittedAgain { times }));
    not_breaks.extend(reading.refused().map(|status| NotABreak::Refused { status }));
    (not_breaks, untold)
}

/// Why the parent that a span names was not received, if it was not and that is no break. A parent within the process travels in no
/// header; another is the one that a sampled header names, and nothing shows that something in between wrote that header.
fn absence(reading: &Reading<'_>, span: &Span) -> Option<Absence> {
    let evidence = reading.evidence();
    let parent = span.parent_span_id.filter(|parent| evidence.span(span.trace_id, *parent).is_none())?;
    let described = span.describe();
    if reading.has_caller(span) {
        return Some(Absence::NoBreak(NotABreak::Called { span: described, parent, received: false }));
    }
    if !span.receives() {
        let reason = NotABreak::NotExported { span: described, parent, within_process: true };
        return Some(Absence::NoBreak(reason));
    }
    let response = evidence.response_context();
    if response.and_then(|context| context.sampled) == Some(false) {
        return None;
    }
    let row = reading.row_of_receiver(span)?;
    let named = row.received.recorded().map(|_| names_parent(&row.received, span));
    let not_exported = NotABreak::NotExported { span: described.clone(), parent, within_process: false };
    if row.sent.recorded().is_some() {
        let agreed = named != Some(false) && sender_names_lost_parent(reading, row, span);
        return agreed.then_some(Absence::NoBreak(not_exported));
    }
    // Without the sender's record, its other spans and the front door's answer are the witnesses that the trace was not
    // restarted in between.
    let own = |other: &Span| other.service == row.hop.from.name();
    let beside = evidence.spans().any(|other| own(other) && other.trace_id == span.trace_id);
    let elsewhere = !beside && evidence.spans().any(own);
    let answered = response.filter(|_| row.hop.from == reading.topology.front_door);
    let same = answered.map(|context| context.trace_id.matches(span.trace_id));
    match (named, same) {
        (Some(false), _) | (_, Some(false)) => None,
        _ if elsewhere => None,
        // The sender's span is there and is not the parent: that is for the hop to say.
        (Some(true), _) if row.sent.is_seen() => None,
        (_, Some(true)) => Some(Absence::NoBreak(not_exported)),
        (_, None) if beside => Some(Absence::NoBreak(not_exported)),
        (_, None) => Some(Absence::NotTold(Unknown::ParentNotTold { span: described, parent })),
    }
}

/// Adds a cause for every departure from a healthy chain that neither a cause nor a reason explains.
fn account(reading: &Reading<'_>, causes: &mut Vec<Cause>) {
    let excused = |span: &Span| absence(reading, span).is_some();
    // A service without an SDK has no place: a span that bears its name is a stranger's.
    let service_of = |span: &Span| Service::named(&span.service).filter(|service| service.has_sdk());
    let has = |causes: &[Cause], place| causes.iter().any(|cause| !cause.is_leak() && cause.place() == Some(place));
    let mut more = Vec::new();

    for row in reading.inner_rows().filter(|row| row.parent.is_some() && !row.is_joined()) {
        let excused = reading.receiver(row).is_some_and(excused);
        if !excused && !has(causes, Place::Hop(row.hop)) {
            more.push(cause::not_joined(row));
        }
    }
    // A hop is told by its first receiver; what another receiver of it shows is said of the hop too.
    let at_hop = |span: &Span| reading.row_of_receiver(span).is_some();
    let ours = |span: &&Span| span.claim_id().is_none_or(|_| reading.evidence().owns(span));
    let lost = reading.evidence().missing_parents().filter(|span| !excused(span));
    for span in lost.chain(reading.stray_roots()).filter(|span| !at_hop(span)).filter(ours) {
        let again = reading.inner_rows().find(|row| is_receiver(span, row.hop));
        let place = match again {
            Some(row) => Some(Place::Hop(row.hop)),
            // What receives is never lost inside a service.
            None => service_of(span).filter(|_| !span.receives()).map(Place::Service),
        };
        if place.is_some_and(|place| has(causes, place) || has(&more, place)) {
            continue;
        }
        let service = service_of(span).filter(|_| !span.receives());
        more.push(match (again, span.parent_span_id) {
            (Some(row), _) => cause::not_joined_again(row, span),
            (None, Some(parent)) => Cause::ParentNotReceived { service, span: span.describe(), parent },
            (None, None) => Cause::StrayRoot { service, span: span.describe() },
        });
    }
    causes.extend(more);
    if causes.iter().all(Cause::is_leak) {
        causes.extend(split(reading));
    }
    if causes.iter().all(Cause::is_leak) {
        let tied = reading.tied_roots();
        let front = reading.front().filter(|front| front.parent_span_id.is_some());
        // A batch, or a caller that sends several claims.
        let by_design = |fragment: &&Fragment| {
            tied.iter().copied().chain(front).any(|span| span.trace_id == fragment.trace_id) && !reading.mixes(fragment)
        };
        let shared = reading.mixed().filter(|fragment| !by_design(fragment));
        causes.extend(shared.map(|fragment| Cause::SharedTrace {
            trace_id: fragment.trace_id,
            other_claims: fragment.other_claims.clone(),
        }));
        causes.extend(reading.cyclic().map(|fragment| Cause::Cycle { trace_id: fragment.trace_id }));
    }
    let places = reading.topology.places();
    let rank = |cause: &Cause| cause.place().and_then(|place| places.iter().position(|it| *it == place));
    causes.sort_by_key(|cause| rank(cause).unwrap_or(usize::MAX));
}

/// The claim is in traces that nothing ties together, though each of them explains itself: the spans at which they part
/// were not received.
fn split(reading: &Reading<'_>) -> Option<Cause> {
    let evidence = reading.evidence();
    let tied = reading.tied_roots();
    let is_front = |fragment: &Fragment| fragment.spans().any(|span| reading.is_entry(span));
    let is_tied = |fragment: &Fragment| tied.iter().any(|root| root.trace_id == fragment.trace_id);
    let fronts = evidence.fragments.iter().filter(|fragment| is_front(fragment)).count();
    let loose = evidence.fragments.iter().filter(|fragment| !is_front(fragment) && !is_tied(fragment)).count();
    let mut gaps = reading.inner_rows().filter(|row| !row.received.is_seen());
    let hop = gaps.next().filter(|_| gaps.next().is_none()).map(|row| row.hop);
    (loose + fronts.min(1) > 1).then_some(Cause::Split { hop, traces: evidence.fragments.len() })
}

fn unmet(reading: &Reading<'_>, extra: Option<&Expectation>) -> impl Iterator<Item = Cause> {
    let mismatches = extra.map(|extra| holds(extra, reading)).unwrap_or_default();
    mismatches.into_iter().map(|mismatch| match mismatch.part {
        Part::BaggageLeak => Cause::UnmetLeak(mismatch),
        Part::Fragments
        | Part::Hop
        | Part::MissingParents
        | Part::Link
        | Part::Baggage
        | Part::Sampled
        | Part::OtherClaims => Cause::Unmet(mismatch),
    })
}
