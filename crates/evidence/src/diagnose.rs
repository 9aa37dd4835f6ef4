//! The four steps of every hop, and whether context was kept inside every service: injected? survived transit? extracted?
//! used?
//!
//! A link on purpose is no break, and a parent that only was not exported is none either.

use std::cmp::Ordering;

use chain::{Hop, Place, Service, Step};
use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::conclusion::{Conclusion, Outcome, Unknown};
use crate::ledger::{HopRow, SideState};
use crate::prose;
use crate::reading::NotReceived;
use wire::{Format, TraceHeaders};

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
    /// What could not be told, one sentence each.
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

/// Something that is wrong: one cause, told.
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

/// Why a step succeeded, failed, or cannot be told.
#[derive(Debug)]
pub(crate) enum CellReason<'a> {
    Failed(&'a Cause),
    Suspected(&'a Cause),
    EarlierStepFailed(Step),
    NotOwed,
    ThirdParty,
    Left(&'a [Format]),
    LeftUnseen {
        arrived: &'a [Format],
        sent: SideState,
    },
    ParentShows,
    SentNotOnRecord,
    ReceivedNotOnRecord,
    NeitherEnd,
    AsSent(&'a [Format]),
    /// Asked more than once, a third party remembers one call, and we may look at another.
    AnotherCall,
    NoSender,
    NoReceiver,
    NoRecord,
    LinkExtracted,
    LinkUsed,
    Extracted,
    ParentIsSender,
    ParentNotExported,
    NotTold,
    Connected,
    NoSpans,
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

// === impl CellReason ===

impl CellReason<'_> {
    const fn status(&self) -> CellStatus {
        match self {
            Self::Failed(_) => CellStatus::Failed,
            Self::EarlierStepFailed(_) | Self::NotOwed | Self::ThirdParty => CellStatus::NotApplicable,
            Self::Left(_)
            | Self::LeftUnseen { .. }
            | Self::ParentShows
            | Self::AsSent(_)
            | Self::LinkExtracted
            | Self::LinkUsed
            | Self::Extracted
            | Self::ParentIsSender
            | Self::ParentNotExported
            | Self::Connected => CellStatus::Ok,
            Self::Suspected(_)
            | Self::SentNotOnRecord
            | Self::ReceivedNotOnRecord
            | Self::NeitherEnd
            | Self::AnotherCall
            | Self::NoSender
            | Self::NoReceiver
            | Self::NoRecord
            | Self::NotTold
            | Self::NoSpans => CellStatus::Unknown,
        }
    }

    fn cell(&self, headers: &TraceHeaders) -> Cell {
        Cell { status: self.status(), headers: headers.clone(), reason: prose::cell(self) }
    }
}

// === impl Conclusion ===

impl Conclusion<'_> {
    /// The diagnosis of the claim.
    #[must_use]
    pub fn diagnosis(&self) -> Diagnosis {
        let hops: Vec<_> = self.reading.rows().iter().map(|row| self.at_hop(row)).collect();
        let inside: Vec<_> = self.reading.topology.instrumented().map(|service| self.inside(service)).collect();
        let late = self.unknown().iter().filter(|it| matches!(it, Unknown::NotReceived(NotReceived::Late(_))));
        let unseen =
            hops.iter().filter_map(HopDiagnosis::unknown).chain(inside.iter().filter_map(InsideDiagnosis::unknown));
        let undecided: Vec<_> = unseen.chain(late.flat_map(prose::unknown)).collect();
        let first = self.causes().first().map(Finding::from);
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

    fn at_hop(&self, row: &HopRow) -> HopDiagnosis {
        let cell = |step: Step| {
            let headers = if step == Step::Inject { &row.sent.headers } else { &row.received.headers };
            self.reason(row, step).cell(headers)
        };
        HopDiagnosis {
            hop: row.hop,
            injected: cell(Step::Inject),
            survived: cell(Step::Transit),
            extracted: cell(Step::Extract),
            used: cell(Step::Use),
            finding: self.cause_at(Place::Hop(row.hop)).map(Finding::from),
        }
    }

    fn reason<'r>(&'r self, row: &'r HopRow, step: Step) -> CellReason<'r> {
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
        let reason = match (self.cause_at(place), self.suspected_at(place)) {
            (Some(cause), _) => CellReason::Failed(cause),
            (None, Some(cause)) => CellReason::Suspected(cause),
            (None, None) if seen => CellReason::Connected,
            (None, None) => CellReason::NoSpans,
        };
        let finding = self.cause_at(place).map(Finding::from);
        InsideDiagnosis { service, used: reason.cell(&TraceHeaders::default()), finding }
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
        (SideState::Recorded, SideState::Recorded) => CellReason::AnotherCall,
        (SideState::NoSpan, _) => CellReason::NoSender,
        _ if row.is_joined() => CellReason::ParentShows,
        (SideState::NotOnRecord, _) => CellReason::SentNotOnRecord,
        (_, SideState::NotOnRecord) => CellReason::ReceivedNotOnRecord,
    }
}

/// A third party has a record of its own and no span.
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

#[cfg(test)]
mod tests {
    use chain::{SpanKind, Topology};

    use super::*;
    use crate::cause::MAX_BAGGAGE_BYTES;
    use crate::claim::{ClaimEvidence, Collected};
    use crate::reading::Reading;
    use crate::span::CLAIM_ID;
    use crate::span::Span;
    use crate::testing::*;

    fn diagnose(collected: &Collected) -> Diagnosis {
        Reading::new(Topology::LAB, collected).conclude().diagnosis()
    }

    fn place_of(finding: &Finding) -> String {
        finding.place.map(|place| place.to_string()).unwrap_or_default()
    }

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
        let services: Vec<_> = diagnosis.inside.iter().map(|it| (it.service.name(), it.used.status)).collect();
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
        let ids_above = traceparent(TRACE_A, CLAIMS, 1);
        let mut span_above = chain_with(CALL_POLICY, |span| span.header("traceparent", ids_above.clone()));
        change(&mut span_above, POLICY, |span| {
            Span { parent_span_id: Some(span_id(CLAIMS)), ..span }.header("traceparent", ids_above.clone())
        });
        let mut unread = chain_with(POLICY, |span| span.without("tenant.id"));
        let long = format!("tenant.id=acme,notes={}", "x".repeat(MAX_BAGGAGE_BYTES));
        for span in unread.iter_mut().filter(|span| [CALL_POLICY, POLICY].map(span_id).contains(&span.span_id)) {
            *span = span.clone().header("baggage", &long);
        }
        let caller = |span: Span| span.header("baggage", "tenant.id=acme").without("tenant.id");
        let cases = [
            (lab_1(), GATEWAY, Step::Extract, "b3 arrived, but java-claims propagates tracecontext."),
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
                span_above,
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
                "tracecontext arrived, in a format that java-claims propagates, and java-claims most likely did not extract it.",
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
            assert_eq!((place_of(&first), first.step), (place.to_owned(), Some(step)), "{sentence}");
            assert_eq!(first.sentence, sentence, "the cause in words");
            assert_eq!(first.place, place.parse().ok(), "a scenario's cause is written like this: {place}");
        }
    }

    #[test]
    fn every_failing_hop_is_listed_and_the_first_is_marked() {
        let mut spans = chain_with(PROCESS, |span| span.without("tenant.id"));
        for (top, trace) in [(CLAIMS, 0xd4), (PROCESS, TRACE_B), (AUDIT, 0xc3)] {
            split(&mut spans, top, trace);
        }
        let diagnosis = of(spans);
        let hops: Vec<_> = diagnosis.hops.iter().filter_map(|hop| hop.finding.as_ref().map(place_of)).collect();
        assert_eq!(hops, [GATEWAY, QUEUE], "both hops");
        let inside: Vec<_> = diagnosis.inside.iter().filter_map(|it| it.finding.as_ref().map(place_of)).collect();
        assert_eq!(inside, ["python-api"], "and the service");
        assert_eq!(place_of(&diagnosis.first.unwrap()), "python-api", "the door comes before its calls");
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
            let alternatives = first.alternatives.into_iter().map(|it| (it.place.unwrap().to_string(), it.step));
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
        assert_eq!(
            (place_of(&ours), ours.step),
            ("java-claims".to_owned(), Some(Step::Use)),
            "a span of ours below c-0"
        );

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
        let said = "java-claims -> node-policy-store: the receiver's span was not received.";
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
        assert_eq!((place_of(&first), first.step), (PARTNER.to_owned(), None), "all steps succeed");
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
