//! Whether the answer to a drill is correct, and what contradicts it.

use chain::{Hop, Place, Service, Step, Topology};
use evidence::CellStatus;
use evidence::diagnose::{Cell, HopDiagnosis};
use evidence::{Diagnosis, Finding};
use scenario::file::Cause;

use crate::drill::Spoiler;

/// Where something is wrong, as a scenario's cause or a learner says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    place: Place,
    step: Option<Step>,
}

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// It is the cause, whose text this is.
    Cause(String),
    /// It would leave the same evidence as the cause.
    SameEvidence {
        /// What the evidence says of the answer.
        sentence: String,
        /// The text of the cause.
        cause: String,
    },
    /// These sentences contradict it.
    Against(Vec<String>),
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(place: Place, step: Option<Step>) -> Self {
        Self { place, step }
    }

    /// Whether this is the cause itself, so that no evidence has to be asked.
    pub(crate) fn names(self, Spoiler(cause): &Spoiler<&Cause>) -> Option<Grade> {
        self.means(Some(cause.place), cause.step).then(|| Grade::Cause(cause.text.clone()))
    }

    /// Whether it names this place and step: a step at a hop is also a step of the service that does it.
    fn means(self, place: Option<Place>, step: Option<Step>) -> bool {
        let done_by = |hop: &Hop| step.and_then(|step| hop.done_by(step)).map(Place::Service);
        let at = |place| self.place == place || matches!(place, Place::Hop(hop) if done_by(hop) == Some(self.place));
        self.step == step && place.is_some_and(at)
    }

    /// What a fresh diagnosis says of this answer, given that the cause is another.
    pub(crate) fn grade(self, Spoiler(cause): &Spoiler<&Cause>, Spoiler(diagnosis): &Spoiler<Diagnosis>) -> Grade {
        let truth = Self::new(cause.place, cause.step);
        let told = |answer: Self, finding: &Finding| {
            let first = (finding.place, finding.step, &finding.sentence);
            let others = finding.alternatives.iter().map(|other| (other.place, other.step, &other.sentence));
            let causes: Vec<_> = std::iter::once(first).chain(others).collect();
            // The place as it is said goes before another name of it.
            let exact = causes.iter().find(|(place, step, _)| (*place, *step) == (Some(answer.place), answer.step));
            let meant = exact.or_else(|| causes.iter().find(|(place, step, _)| answer.means(*place, *step)));
            meant.map(|(.., sentence)| (*sentence).clone())
        };
        let alike = diagnosis.findings().find_map(|finding| told(truth, finding).and(told(self, finding)));
        match alike {
            Some(sentence) => Grade::SameEvidence { sentence, cause: cause.text.clone() },
            None => Grade::Against(self.against(diagnosis)),
        }
    }

    fn against(self, diagnosis: &Diagnosis) -> Vec<String> {
        let Self { place, step } = self;
        let service = match place {
            Place::Hop(hop) => return diagnosis.hop(hop).map(|hop| against_hop(hop, step)).unwrap_or_default(),
            Place::Service(service) => service,
        };
        let at_hops = diagnosis.hops.iter().filter(|hop| step.is_some_and(|it| hop.hop.done_by(it) == Some(service)));
        let at_hops = at_hops.flat_map(|hop| against_hop(hop, step));
        let sentences: Vec<_> = match diagnosis.inside(service) {
            Some(inside) if matches!(step, None | Some(Step::Use)) => vec![match inside.used.status {
                _ if inside.finding.is_some() => {
                    format!("Something does get lost inside {service}, but not at that step, or not there first.")
                }
                CellStatus::Ok => format!("Inside {service}: {}.", reason(&inside.used)),
                CellStatus::Failed | CellStatus::Unknown | CellStatus::NotApplicable => {
                    format!("The spans of {service} show nothing that supports it.")
                }
            }],
            Some(_) => at_hops.collect(),
            None if step == Some(Step::Transit) => at_hops.collect(),
            None => Vec::new(),
        };
        match sentences.as_slice() {
            [] if service.has_sdk() => {
                vec![format!("{service} does no such step on its way from one service to another.")]
            }
            [] => vec![format!("{service} creates no spans: what goes wrong there shows at the hop that leads to it.")],
            _ => sentences,
        }
    }
}

// === impl Grade ===

impl Grade {
    pub(crate) fn is_right(&self) -> bool {
        match self {
            Self::Cause(_) | Self::SameEvidence { .. } => true,
            Self::Against(_) => false,
        }
    }

    /// What supports or contradicts the answer.
    pub(crate) fn into_sentences(self) -> Vec<String> {
        match self {
            Self::Cause(text) => vec![text],
            Self::SameEvidence { sentence, cause } => {
                let same = "No evidence can tell this from the cause that was set, so it counts.".to_owned();
                vec![sentence, same, cause]
            }
            Self::Against(sentences) => sentences,
        }
    }
}

fn against_hop(hop: &HopDiagnosis, step: Option<Step>) -> Vec<String> {
    let name = hop.hop;
    let Some(step) = step else {
        return match hop.cells().iter().any(|(_, cell)| cell.status == CellStatus::Failed) {
            true => vec![format!("Not all four steps succeed at {name}.")],
            false => hop.cells().iter().map(|(step, cell)| format!("{name}, step {step}: {}.", reason(cell))).collect(),
        };
    };
    let cell = hop.cell(step);
    vec![match cell.status {
        CellStatus::Ok => format!("{name}, step {step} succeeded: {}.", reason(cell)),
        CellStatus::Failed => format!("{name}, step {step} does fail, but something else fails before it."),
        CellStatus::NotApplicable if hop.finding.as_ref().is_some_and(|finding| !finding.leak) => {
            format!("At {name} a step before {step} fails already; the first one counts.")
        }
        CellStatus::Unknown | CellStatus::NotApplicable => {
            format!("Nothing shows that step {step} failed at {name}: {}.", reason(cell))
        }
    }]
}

fn reason(cell: &Cell) -> &str {
    cell.reason.trim_end_matches('.')
}

/// Every place that an answer may name: the hops, then the services.
pub(crate) fn places() -> impl Iterator<Item = String> {
    Topology::LAB.hops.iter().map(ToString::to_string).chain(Service::ALL.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use evidence::Outcome;
    use evidence::diagnose::{Alternative, InsideDiagnosis};
    use wire::TraceHeaders;

    use super::*;

    fn cell(status: CellStatus, reason: &str) -> Cell {
        Cell { status, headers: TraceHeaders::default(), reason: reason.to_owned() }
    }

    /// The message arrives without attributes, which has two causes.
    fn diagnosis() -> Diagnosis {
        let alternative = Alternative {
            place: "java-claims".parse().ok(),
            step: Some(Step::Inject),
            sentence: "The outbox.".to_owned(),
        };
        let finding = Finding {
            place: "java-claims -> claims-worker".parse().ok(),
            leak: false,
            step: Some(Step::Inject),
            sentence: "No attribute.".to_owned(),
            inferred: true,
            alternatives: vec![alternative],
        };
        let fine = || cell(CellStatus::Ok, "it arrived, as it was sent");
        let hop = |name: &str, injected, finding: Option<Finding>| HopDiagnosis {
            hop: Hop::find(name).unwrap(),
            injected,
            survived: fine(),
            extracted: fine(),
            used: if finding.is_some() { cell(CellStatus::NotApplicable, "step 1 (inject) failed") } else { fine() },
            finding,
        };
        Diagnosis {
            claim_id: "c".to_owned(),
            outcome: Outcome::Broken,
            hops: vec![
                hop("python-api -> java-claims", fine(), None),
                hop("java-claims -> claims-worker", cell(CellStatus::Failed, "No attribute."), Some(finding.clone())),
            ],
            inside: vec![InsideDiagnosis {
                service: Service::JavaClaims,
                used: cell(CellStatus::Ok, "its spans hang together"),
                finding: None,
            }],
            first: Some(finding),
            sentence: String::new(),
            undecided: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    #[test]
    fn answers_are_judged_by_evidence() {
        let cause = Cause {
            place: "java-claims -> claims-worker".parse().unwrap(),
            step: Some(Step::Inject),
            text: "No producer injects.".to_owned(),
        };
        let right = Answer::new(cause.place, cause.step);
        let (hidden, diagnosis) = (Spoiler::new(&cause), Spoiler::new(diagnosis()));
        assert!(right.names(&hidden).is_some_and(|grade| grade.is_right()), "the cause itself");
        let sender = Answer::new("java-claims".parse().unwrap(), Some(Step::Inject));
        assert!(sender.names(&hidden).is_some(), "who injects on a hop is its sender");
        for (bystander, step) in
            [("claims-worker", Step::Inject), ("gateway", Step::Inject), ("java-claims", Step::Use)]
        {
            let answer = Answer::new(bystander.parse().unwrap(), Some(step));
            assert!(answer.names(&hidden).is_none(), "{bystander} does not do the step that failed");
        }
        let outbox = Answer::new("java-claims".parse().unwrap(), Some(Step::Inject));
        assert_eq!(
            outbox.grade(&hidden, &diagnosis),
            Grade::SameEvidence { sentence: "The outbox.".to_owned(), cause: cause.text.clone() },
            "what no evidence can separate is accepted"
        );
        let table = [
            ("python-api -> java-claims", Some(Step::Transit), "as it was sent", "that hop is intact"),
            ("gateway", Some(Step::Transit), "as it was sent", "a proxy shows at the hop that it is part of"),
            ("java-claims -> claims-worker", Some(Step::Use), "the first one counts", "the right hop, too late a step"),
            ("java-claims -> claims-worker", None, "Not all four", "the right hop, and no step"),
            ("java-claims", Some(Step::Use), "hang together", "the service kept its context"),
            ("fraud-partner", Some(Step::Inject), "creates no spans", "a third party"),
        ];
        for (place, step, part, why) in table {
            let answer = Answer::new(place.parse().unwrap(), step);
            assert!(answer.names(&hidden).is_none(), "{why}");
            let Grade::Against(sentences) = answer.grade(&hidden, &diagnosis) else { panic!("accepted: {why}") };
            let text = sentences.join(" ");
            assert!(text.contains(part), "{why}: {text}");
            assert!(!text.contains("step 1 (inject) failed"), "the cause is not given away: {text}");
        }
    }
}
