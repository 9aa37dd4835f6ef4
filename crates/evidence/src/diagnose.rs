//! The four steps of every hop, and whether context was kept inside every service: injected? survived transit? extracted?
//! used?
//!
//! A link on purpose is no break, and a parent that only was not exported is none either.

use std::cmp::Ordering;

use chain::{Hop, Place, Service, Step};
use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::cell::{CellReason, CellStatus};
use crate::conclusion::{Conclusion, Outcome, Unknown};
use crate::ledger::{FoundBy, HopRow, SideState};
use crate::prose;
use crate::reading::NotReceived;
use wire::TraceHeaders;

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
    /// What is wrong at no hop and in no service of the chain.
    #[serde(default)]
    pub elsewhere: Vec<Finding>,
    /// The first finding in the order of the chain: a service comes after the hop that first reaches it, and before the
    /// hops that it starts.
    pub first: Option<Finding>,
    /// The first finding, or else the outcome, in a sentence.
    pub sentence: String,
    /// What could not be decided, one sentence each.
    pub undecided: Vec<String>,
}

/// The four steps of one hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopDiagnosis {
    /// The hop, written `from -> to`.
    #[serde(with = "chain::hop")]
    pub hop: &'static Hop,
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
    pub service: Service,
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
    /// The trace and baggage headers on record there.
    pub headers: TraceHeaders,
    /// Why.
    pub reason: String,
}

/// Something that is wrong: one cause in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The hop, written `from -> to`, or the service, as a scenario's cause is written; `None` if it is neither.
    pub place: Option<Place>,
    /// The first step that fails; `None` if none does, or nothing on record says which.
    pub step: Option<Step>,
    /// Whether nothing was lost, and baggage went where it must not.
    #[serde(default)]
    pub leak: bool,
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
    pub place: Option<Place>,
    /// The step that would have failed.
    pub step: Option<Step>,
    /// The cause.
    pub sentence: String,
}

// === impl Diagnosis ===

impl Diagnosis {
    /// Everything that is wrong: hops and services in their order, then the rest.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let hops = self.hops.iter().filter_map(|hop| hop.finding.as_ref());
        let inside = self.inside.iter().filter_map(|inside| inside.finding.as_ref());
        hops.chain(inside).chain(&self.elsewhere)
    }

    /// The diagnosis of a hop.
    #[must_use]
    pub fn hop(&self, hop: &Hop) -> Option<&HopDiagnosis> {
        self.hops.iter().find(|it| it.hop == hop)
    }

    /// The diagnosis of a service; `None` if it has no spans to show.
    #[must_use]
    pub fn inside(&self, service: Service) -> Option<&InsideDiagnosis> {
        self.inside.iter().find(|it| it.service == service)
    }
}

// === impl HopDiagnosis ===

impl HopDiagnosis {
    /// The four steps, in order.
    #[must_use]
    pub fn cells(&self) -> [(Step, &Cell); 4] {
        [
            (Step::Inject, &self.injected),
            (Step::Transit, &self.survived),
            (Step::Extract, &self.extracted),
            (Step::Use, &self.used),
        ]
    }

    /// One of the four steps.
    #[must_use]
    pub const fn cell(&self, step: Step) -> &Cell {
        match step {
            Step::Inject => &self.injected,
            Step::Transit => &self.survived,
            Step::Extract => &self.extracted,
            Step::Use => &self.used,
        }
    }

    fn unknown(&self) -> Option<String> {
        let (_, cell) = self.cells().into_iter().find(|(_, cell)| cell.status == CellStatus::Unknown)?;
        Some(format!("{}: {}.", self.hop, cell.reason))
    }
}

// === impl InsideDiagnosis ===

impl InsideDiagnosis {
    fn unknown(&self) -> Option<String> {
        (self.used.status == CellStatus::Unknown).then(|| format!("{}: {}.", self.service, self.used.reason))
    }
}

// === impl Finding ===

impl From<&Cause> for Finding {
    fn from(cause: &Cause) -> Self {
        let alternatives = cause.alternatives();
        let alternative =
            |other: &Cause| Alternative { place: other.place(), step: other.step(), sentence: prose::cause(other) };
        Self {
            place: cause.place(),
            step: cause.step(),
            leak: cause.is_leak(),
            sentence: prose::cause(cause),
            inferred: cause.is_inferred(),
            alternatives: alternatives.iter().map(alternative).collect(),
        }
    }
}

// === impl Cell ===

impl Cell {
    fn new(reason: &CellReason<'_>, headers: &TraceHeaders) -> Self {
        Self { status: reason.status(), headers: headers.clone(), reason: prose::cell(reason) }
    }
}

// === impl Conclusion ===

impl Conclusion<'_> {
    /// The diagnosis of the claim.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        let hops: Vec<_> = self.reading.rows().iter().map(|row| self.at_hop(row)).collect();
        let inside: Vec<_> = self.reading.topology.instrumented().map(|service| self.inside(service)).collect();
        let told = |it: &&Unknown| !matches!(it, Unknown::NotReceived(NotReceived::Receiver(_)));
        let late = self.unknown().iter().filter(told);
        let unseen =
            hops.iter().filter_map(HopDiagnosis::unknown).chain(inside.iter().filter_map(InsideDiagnosis::unknown));
        let notes = self.reading.rows().iter().filter_map(prose::found_by);
        let mut undecided: Vec<_> = unseen.chain(late.flat_map(prose::unknown)).chain(notes).collect();
        if self.outcome() != Outcome::Healthy {
            undecided.extend(self.advice());
        }
        let first = self.first().map(|cause| self.finding(cause));
        let sentence = match &first {
            Some(Finding { place: Some(place), step: Some(step), sentence, .. }) => {
                format!("The first break is at {place}, step {step}: {sentence}")
            }
            Some(Finding { place: Some(place), leak: true, sentence, .. }) => {
                format!("All steps succeed, but at {place}: {sentence}")
            }
            Some(Finding { place: Some(place), sentence, .. }) => format!("The first break is at {place}: {sentence}"),
            Some(Finding { place: None, sentence, .. }) => format!("The evidence does not say where: {sentence}"),
            None => prose::outcome(self),
        };
        Diagnosis {
            claim_id: self.reading.evidence().claim_id.clone(),
            outcome: self.outcome(),
            hops,
            inside,
            elsewhere: self.causes().iter().filter(|cause| cause.place().is_none()).map(Finding::from).collect(),
            first,
            sentence,
            undecided,
        }
    }

    /// The finding of a cause. What was found by time and target alone can be another claim's.
    fn finding(&self, cause: &Cause) -> Finding {
        let guessed =
            |row: &HopRow| cause.place() == Some(Place::Hop(row.hop)) && row.found_by == Some(FoundBy::TimeAndTarget);
        let inferred = cause.is_inferred() || self.reading.rows().iter().any(guessed);
        Finding { inferred, ..Finding::from(cause) }
    }

    /// How the SDKs of services would put on record what is missing there, each once.
    fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        for row in self.reading.inner_rows() {
            let ends =
                [(&row.sent, self.reading.sender(row), true), (&row.received, self.reading.receiver(row), false)];
            for (side, span, sent) in ends {
                let silent = span.filter(|_| side.state == SideState::NotOnRecord);
                let Some((span, language)) = silent.and_then(|span| Some((span, span.language()?))) else { continue };
                let sentence = prose::advice(span, language, sent);
                if !advice.contains(&sentence) {
                    advice.push(sentence);
                }
            }
        }
        advice
    }

    fn at_hop(&self, row: &HopRow) -> HopDiagnosis {
        let cell = |step: Step| {
            let headers = if step == Step::Inject { &row.sent.headers } else { &row.received.headers };
            Cell::new(&self.reason(row, step), headers)
        };
        HopDiagnosis {
            hop: row.hop,
            injected: cell(Step::Inject),
            survived: cell(Step::Transit),
            extracted: cell(Step::Extract),
            used: cell(Step::Use),
            finding: self.cause_at(Place::Hop(row.hop)).map(|cause| self.finding(cause)),
        }
    }

    pub(crate) fn reason<'r>(&'r self, row: &'r HopRow, step: Step) -> CellReason<'r> {
        let place = Place::Hop(row.hop);
        let (found, suspected) = (self.cause_at(place), self.suspected_at(place));
        if let Some((cause, failed)) = found.or(suspected).and_then(|cause| Some((cause, cause.step()?))) {
            match step.cmp(&failed) {
                Ordering::Equal if found.is_none() => return CellReason::Suspected(cause),
                Ordering::Equal => return CellReason::Failed(cause),
                Ordering::Greater if !row.is_joined() => return CellReason::EarlierStepFailed(failed),
                Ordering::Less | Ordering::Greater => {}
            }
        }
        if !row.hop.to.has_sdk() {
            return outside(row, step);
        }
        if !row.received.is_seen() && self.reading.refused().is_some() {
            return CellReason::NotReached;
        }
        if row.is_unseen() {
            return if step == Step::Inject { CellReason::NeitherEnd } else { CellReason::NoReceiver };
        }
        let open = found.or(suspected).is_some_and(|cause| cause.step().is_none() && !cause.is_leak());
        match step {
            Step::Inject => injected(row),
            Step::Transit => survived(row),
            Step::Extract | Step::Use if !row.received.is_seen() => CellReason::NoReceiver,
            Step::Extract | Step::Use if open => CellReason::NotTold,
            Step::Extract if row.linked => CellReason::LinkExtracted,
            Step::Use if row.linked => CellReason::LinkUsed,
            Step::Extract => CellReason::Extracted,
            Step::Use if row.is_joined() => CellReason::ParentIsSender,
            Step::Use => CellReason::ParentNotExported,
        }
    }

    fn inside(&self, service: Service) -> InsideDiagnosis {
        let place = Place::Service(service);
        let seen = self.reading.evidence().spans().any(|span| span.service == service.name());
        let found = self.cause_at(place);
        let reason = match found.or(self.suspected_at(place)).map(|cause| (cause, cause.step())) {
            Some((cause, Some(Step::Use))) if found.is_some() => CellReason::Failed(cause),
            Some((cause, Some(Step::Use))) => CellReason::Suspected(cause),
            Some((_, Some(earlier))) => CellReason::EarlierStepFailed(earlier),
            Some((_, None)) => CellReason::NotTold,
            None if seen => CellReason::Connected,
            None if self.reading.refused().is_some() => CellReason::NotReached,
            None => CellReason::NoSpans,
        };
        InsideDiagnosis {
            service,
            used: Cell::new(&reason, &TraceHeaders::default()),
            finding: found.map(Finding::from),
        }
    }
}

fn injected(row: &HopRow) -> CellReason<'_> {
    let HopRow { sent, received, .. } = row;
    match (sent.state, received.state) {
        (SideState::Recorded, _) => CellReason::Left(&sent.formats),
        (state, SideState::Recorded) => CellReason::LeftUnseen { arrived: &received.formats, sent: state },
        (_, SideState::NotOnRecord) if row.is_joined() => CellReason::ParentShows,
        (SideState::NotOnRecord, _) => CellReason::SentNotOnRecord,
        (SideState::NoSpan, _) => CellReason::NoSender,
    }
}

fn survived(row: &HopRow) -> CellReason<'_> {
    let HopRow { hop, sent, received, .. } = row;
    match (sent.state, received.state) {
        (_, SideState::NoSpan) if hop.to.has_sdk() => CellReason::NoReceiver,
        (_, SideState::NoSpan) => CellReason::NoRecord,
        (SideState::Recorded, SideState::Recorded) if row.changed_headers().is_empty() => {
            CellReason::AsSent(&received.formats)
        }
        (SideState::Recorded, SideState::Recorded) if row.is_joined() => CellReason::ParentShows,
        (SideState::Recorded, SideState::Recorded) => CellReason::AnotherCall,
        (SideState::NoSpan, _) => CellReason::NoSender,
        _ if row.is_joined() => CellReason::ParentShows,
        (SideState::NotOnRecord, _) => CellReason::SentNotOnRecord,
        (_, SideState::NotOnRecord) => CellReason::ReceivedNotOnRecord,
    }
}

/// A third party has its own record and no span.
fn outside(row: &HopRow, step: Step) -> CellReason<'_> {
    let silent = row.sent.recorded().is_some_and(|headers| headers.identities().is_empty());
    match step {
        Step::Extract | Step::Use => CellReason::ThirdParty,
        Step::Inject | Step::Transit if silent => CellReason::NotOwed,
        Step::Inject if row.is_unseen() => CellReason::NeitherEnd,
        Step::Inject => injected(row),
        Step::Transit => survived(row),
    }
}
