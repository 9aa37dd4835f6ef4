//! What the evidence of one claim says about an answer: "here, this happened".
//!
//! An answer is true if a cause, another cause with the same evidence, or a reason why nothing broke has its name. Otherwise one
//! observation contradicts it, or nothing on record confirms or contradicts it.

use chain::{Hop, Kind, Place, Service, Step};

use crate::cause::Cause;
use crate::cell::{CellReason, CellStatus};
use crate::conclusion::{Conclusion, NotABreak};
use crate::ledger::HopRow;
use crate::prose;
use wire::Format;

/// Where something happened, and what, as a scenario's cause or a learner says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The hop or service.
    pub place: Place,
    /// What happened there.
    pub kind: Kind,
}

/// What the evidence says about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It is so, and nothing comes before it in the order of the chain.
    First,
    /// It is so, and something before it in the order of the chain is broken.
    Later,
    /// This observation contradicts it.
    Against(String),
    /// Nothing on record says anything of it, for this reason.
    Open(String),
}

/// An observation that contradicts an answer.
#[derive(Debug)]
pub(crate) enum Objection<'a> {
    /// The step did what it should.
    Succeeded { hop: &'static Hop, step: Step, why: CellReason<'a> },
    /// The sender's record has no trace header, so none could be lost or changed in transit.
    NothingSent { hop: &'static Hop },
    /// No trace header arrived, so that there was none to extract or to use.
    NothingArrived { hop: &'static Hop },
    /// The receiver's parent is what arrived.
    ArrivedUsed { hop: &'static Hop, formats: Vec<Format> },
    /// Headers arrived, and the application read none of their baggage.
    ReadNothing { hop: &'static Hop },
    /// Inside the service every span has its context.
    KeptInside { service: Service },
    /// The service is not the one that does this step at any hop.
    DoesNot { service: Service, step: Step },
    /// No service of the chain calls this one.
    CalledByNone { service: Service },
    /// The receiver's span has no link.
    NoLink { hop: &'static Hop },
    /// The front door's answer has the sampled bit set.
    Sampled { traceresponse: &'a str },
    /// The front door's answer has the sampled bit clear: what is not recorded cannot be exported.
    NothingToExport { traceresponse: &'a str },
    /// Spans of the service were received.
    Received { service: Service, spans: usize },
    /// The service exports no spans.
    ExportsNoSpans { service: Service },
    /// The hop ends inside the company.
    NotOutside { hop: &'static Hop },
    /// The service calls no third party.
    CallsNobodyOutside { service: Service },
    /// What arrived outside holds nothing that must stay inside.
    NoSecret { hop: &'static Hop, keys: Vec<&'a str> },
}

// === impl Answer ===

impl Answer {
    /// What a service did not do, or did, at a hop.
    #[must_use]
    pub const fn new(place: Place, kind: Kind) -> Self {
        Self { place, kind }
    }

    /// Whether both name the same: what happens at a hop is also the doing of one of the services there, and spans that
    /// a service owes are missed at the hops that it starts.
    #[must_use]
    pub fn means(self, other: Self) -> bool {
        let doer = |place| match place {
            Place::Hop(hop) => hop.doer(self.kind).map(Place::Service),
            Place::Service(_) => None,
        };
        let owed = matches!(self.kind, Kind::NotSampled | Kind::NotExported | Kind::Late);
        let same = self.place == other.place
            || doer(other.place) == Some(self.place)
            || (owed && doer(self.place) == Some(other.place));
        self.kind == other.kind && same
    }
}

// === impl Weight ===

impl Weight {
    /// What somebody is told whose answer is not the cause.
    #[must_use]
    pub fn reply(self) -> String {
        match self {
            // If it is first and not the cause by any of its names, the evidence shows more than was set.
            Self::First | Self::Later => prose::ELSEWHERE.to_owned(),
            Self::Against(sentence) | Self::Open(sentence) => sentence,
        }
    }
}

// === impl Cause ===

impl Cause {
    /// What happened; `None` if nothing on record says.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.step().map(Kind::Fails).or(self.is_leak().then_some(Kind::Leak))
    }

    fn answer(&self) -> Option<Answer> {
        Some(Answer::new(self.place()?, self.kind()?))
    }

    /// The answers that are this cause: itself, whatever would leave the same evidence, and what it is called when the
    /// fault is seen from its other side.
    fn answers(&self) -> impl Iterator<Item = Answer> {
        let other_side = match self {
            // The header was wrong before it arrived.
            Self::Invalid { hop, .. } | Self::OtherFormatWon { hop, right: Some(_), .. } => {
                Some(Answer::new(Place::Hop(hop), Kind::Fails(Step::Inject)))
            }
            // A proxy may continue a trace with its own span; then what is missing is the export of that span.
            Self::SpanReplaced { hop, .. } => {
                let place = hop.via.map_or(Place::Hop(hop), Place::Service);
                Some(Answer::new(place, Kind::NotExported))
            }
            _ => None,
        };
        let alike = self.alternatives();
        let alike: Vec<_> = std::iter::once(self).chain(&alike).filter_map(Self::answer).collect();
        alike.into_iter().chain(other_side)
    }
}

// === impl Conclusion ===

impl Conclusion<'_> {
    /// What the evidence says about an answer.
    #[must_use]
    pub fn weigh(&self, answer: Answer) -> Weight {
        let is_cause = |cause: &Cause| self.answers(cause).iter().any(|it| answer.means(*it));
        if self.first().is_some_and(is_cause) {
            return Weight::First;
        }
        let no_break = self.no_breaks().iter().any(|it| answer.means(*it));
        match self.causes().iter().any(is_cause) || no_break {
            true if no_break && self.causes().is_empty() => Weight::First,
            true => Weight::Later,
            false => match self.objection(answer) {
                Ok(objection) => Weight::Against(prose::objection(&objection)),
                Err(why) => Weight::Open(prose::open(answer, &why)),
            },
        }
    }

    /// The sentence of the first cause that has both names, so that no evidence can tell them apart.
    #[must_use]
    pub fn same_evidence(&self, one: Answer, other: Answer) -> Option<String> {
        let both = |cause: &&Cause| {
            let answers = self.answers(cause);
            [one, other].iter().all(|wanted| answers.iter().any(|it| wanted.means(*it)))
        };
        self.causes().iter().find(both).map(prose::cause)
    }

    /// Whether spans of a service were received.
    #[must_use]
    pub fn has_spans_of(&self, service: Service) -> bool {
        self.spans_of(service) > 0
    }

    fn spans_of(&self, service: Service) -> usize {
        self.reading().evidence().spans().filter(|span| span.service == service.name()).count()
    }

    fn answers(&self, cause: &Cause) -> Vec<Answer> {
        // Who put a secret into baggage let it out as much as who did not hold it back.
        let source = match cause {
            Cause::Leak { keys, .. } => self.first_sender_of(keys),
            _ => None,
        };
        cause.answers().chain(source.map(|service| Answer::new(Place::Service(service), Kind::Leak))).collect()
    }

    fn first_sender_of(&self, keys: &[String]) -> Option<Service> {
        let sends = |row: &&HopRow| keys.iter().any(|key| row.sent.baggage.contains_key(key));
        self.reading().rows().iter().find(sends).map(|row| row.hop.from)
    }

    /// What looks like a break and is none, as answers.
    fn no_breaks(&self) -> Vec<Answer> {
        let reading = self.reading();
        let lost = reading.evidence().missing_parents().filter_map(|span| {
            let row = reading.row_of_receiver(span)?;
            Some(Answer::new(Place::Service(row.hop.from), Kind::NotExported))
        });
        let lost: Vec<_> = lost.collect();
        let of = |reason: &NotABreak| match reason {
            NotABreak::LinkedByDesign { hop } => vec![Answer::new(Place::Hop(hop), Kind::Links)],
            NotABreak::NotSampled { .. } => {
                vec![Answer::new(Place::Service(reading.topology.front_door), Kind::NotSampled)]
            }
            NotABreak::NotExported { .. } => lost.clone(),
            NotABreak::LinkedRoot { .. }
            | NotABreak::Called { .. }
            | NotABreak::Refused { .. }
            | NotABreak::SubmittedAgain { .. } => Vec::new(),
        };
        self.not_breaks().iter().flat_map(of).collect()
    }

    /// What contradicts an incorrect answer, or why nothing does.
    fn objection(&self, Answer { place, kind }: Answer) -> Result<Objection<'_>, CellReason<'_>> {
        let rows = self.reading().rows().iter();
        match (place, kind) {
            (Place::Hop(hop), Kind::Fails(step)) => {
                self.against_step(self.reading().row(hop).ok_or(CellReason::NoReceiver)?, step)
            }
            (Place::Service(service), Kind::Fails(step)) => {
                let mut at_hops = rows.filter(|row| row.hop.done_by(step) == Some(service)).peekable();
                let somewhere = at_hops.peek().is_some();
                let against = at_hops.map(|row| self.against_step(row, step));
                let inside = (step == Step::Use).then(|| self.against_inside(service));
                let (found, open): (Vec<_>, Vec<_>) = inside.into_iter().chain(against).partition(Result::is_ok);
                match found.into_iter().chain(open).next() {
                    Some(answer) => answer,
                    None if somewhere => Err(CellReason::NoSpans),
                    None => Ok(Objection::DoesNot { service, step }),
                }
            }
            (Place::Hop(hop), Kind::Leak) if hop.to.has_sdk() => Ok(Objection::NotOutside { hop }),
            (place, Kind::Leak) => {
                let sends = |row: &&HopRow| match place {
                    Place::Hop(hop) => row.hop == hop,
                    Place::Service(service) => row.hop.from == service && !row.hop.to.has_sdk(),
                };
                let row = self.reading().rows().iter().find(sends);
                match (row, place) {
                    (Some(row), _) if !row.received.is_seen() => Err(CellReason::NoRecord),
                    (Some(row), _) => {
                        let keys = row.received.baggage.keys().map(String::as_str).collect();
                        Ok(Objection::NoSecret { hop: row.hop, keys })
                    }
                    (None, Place::Service(service)) => Ok(Objection::CallsNobodyOutside { service }),
                    (None, Place::Hop(_)) => Err(CellReason::NoRecord),
                }
            }
            (place, Kind::Links) => {
                let service = match place {
                    Place::Hop(hop) => hop.to,
                    Place::Service(service) => service,
                };
                if !service.has_sdk() {
                    return Ok(Objection::ExportsNoSpans { service });
                }
                let receives = |row: &&HopRow| match place {
                    Place::Hop(hop) => row.hop == hop,
                    Place::Service(service) => row.hop.to == service,
                };
                let mut received = rows.filter(receives).peekable();
                if received.peek().is_none() {
                    return Ok(Objection::CalledByNone { service });
                }
                let seen = received.find(|row| row.received.is_seen());
                seen.map(|row| Objection::NoLink { hop: row.hop }).ok_or(CellReason::NoReceiver)
            }
            (place, Kind::NotSampled | Kind::NotExported | Kind::Late) => {
                let service = match place {
                    Place::Hop(hop) => hop.from,
                    Place::Service(service) => service,
                };
                self.against_absence(service, kind)
            }
        }
    }

    fn against_step<'r>(&'r self, row: &'r HopRow, step: Step) -> Result<Objection<'r>, CellReason<'r>> {
        let hop = row.hop;
        let reason = self.reason(row, step);
        if reason.status() == CellStatus::Ok {
            return Ok(Objection::Succeeded { hop, step, why: reason });
        }
        let CellReason::EarlierStepFailed(_) = reason else { return Err(reason) };
        let empty = |side: &crate::ledger::Side| side.recorded().is_some_and(|it| it.identities().is_empty());
        let parent = row.received.span.and_then(|span| Some((span.trace_id, span.parent_span_id?)));
        let named = row.received.headers.contexts();
        let used = named.filter(|(_, context)| parent.is_some_and(|(trace, id)| context.names(trace, id)));
        let used: Vec<_> = used.map(|(format, _)| format).collect();
        match step {
            Step::Transit if empty(&row.sent) => Ok(Objection::NothingSent { hop }),
            Step::Transit if row.sent.recorded().is_some() && row.changed_headers().is_empty() => {
                Ok(Objection::Succeeded { hop, step, why: CellReason::AsSent(&row.received.formats) })
            }
            Step::Extract | Step::Use if empty(&row.received) => Ok(Objection::NothingArrived { hop }),
            Step::Extract | Step::Use if !used.is_empty() => Ok(Objection::ArrivedUsed { hop, formats: used }),
            Step::Use if row.received.recorded().is_some() => Ok(Objection::ReadNothing { hop }),
            Step::Inject | Step::Transit | Step::Extract | Step::Use => Err(CellReason::NotTold),
        }
    }

    fn against_inside(&self, service: Service) -> Result<Objection<'_>, CellReason<'_>> {
        match self.spans_of(service) {
            _ if !service.has_sdk() => Ok(Objection::ExportsNoSpans { service }),
            0 => Err(CellReason::NoSpans),
            _ => Ok(Objection::KeptInside { service }),
        }
    }

    /// Against what would explain that spans of a service are absent.
    fn against_absence(&self, service: Service, kind: Kind) -> Result<Objection<'_>, CellReason<'_>> {
        let evidence = self.reading().evidence();
        let response = evidence.traceresponse.as_deref().zip(evidence.response_context().and_then(|it| it.sampled));
        match (self.spans_of(service), response) {
            _ if !service.has_sdk() => Ok(Objection::ExportsNoSpans { service }),
            (1.., _) => Ok(Objection::Received { service, spans: self.spans_of(service) }),
            (0, Some((traceresponse, true))) if kind == Kind::NotSampled => Ok(Objection::Sampled { traceresponse }),
            (0, Some((traceresponse, false))) if kind != Kind::NotSampled => {
                Ok(Objection::NothingToExport { traceresponse })
            }
            (0, _) => Err(CellReason::NoSpans),
        }
    }
}
