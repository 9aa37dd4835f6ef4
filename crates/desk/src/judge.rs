//! Whether the answer to a drill is right, and what speaks against it.

use chain::{Place, Service, Step, Topology};
use evidence::diagnose::{Cell, CellStatus, HopDiagnosis};
use evidence::{Diagnosis, Finding};
use scenario::file::Cause;

/// Where something is wrong, as a scenario's cause or a learner says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blame {
    place: String,
    step: Option<Step>,
}

/// What a fresh diagnosis says of an answer that is not the cause itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opinion {
    /// It would leave the same evidence as the cause.
    SameEvidence(String),
    /// These sentences speak against it.
    Against(Vec<String>),
}

// === impl Blame ===

impl Blame {
    /// What happens in transit happens between two services, wherever it is said to be.
    pub(crate) fn new(place: Place, step: Option<Step>) -> Self {
        let between = |service| Topology::LAB.hops.iter().find(|hop| hop.via == Some(service));
        let place = match place {
            Place::Service(service) => between(service).map_or_else(|| place.to_string(), ToString::to_string),
            Place::Hop(_) => place.to_string(),
        };
        Self { place, step }
    }

    pub(crate) fn is(&self, cause: &Cause) -> bool {
        *self == Self::new(cause.place, cause.step)
    }

    /// What the evidence says of this answer, given that the cause is another.
    pub(crate) fn judge(&self, cause: &Cause, diagnosis: &Diagnosis) -> Opinion {
        let cause = Self::new(cause.place, cause.step);
        let at_hops = diagnosis.hops.iter().filter_map(|hop| hop.finding.as_ref());
        let at_services = diagnosis.inside.iter().filter_map(|inside| inside.finding.as_ref());
        for finding in at_hops.chain(at_services) {
            let causes: Vec<_> = causes(finding).collect();
            if let Some((_, sentence)) = causes.iter().find(|(blame, _)| blame == self)
                && causes.iter().any(|(blame, _)| *blame == cause)
            {
                return Opinion::SameEvidence(sentence.clone());
            }
        }
        Opinion::Against(self.against(diagnosis))
    }

    fn against(&self, diagnosis: &Diagnosis) -> Vec<String> {
        let Self { place, step } = self;
        if let Some(hop) = diagnosis.hops.iter().find(|hop| hop.hop == *place) {
            return against_hop(hop, *step);
        }
        let Some(inside) = diagnosis.inside.iter().find(|inside| inside.service == *place) else {
            return vec![format!("{place} makes no spans: what goes wrong there shows at the hop that leads to it.")];
        };
        vec![match (step, inside.used.status) {
            (Some(Step::Transit | Step::Extract), _) => {
                format!("That step belongs to a hop, and several touch {place}: name the hop.")
            }
            (_, CellStatus::Ok) => format!("Inside {place}: {}.", reason(&inside.used)),
            (_, CellStatus::Failed) => {
                format!("Something does get lost inside {place}, but not at that step, or not there first.")
            }
            (_, CellStatus::Unknown | CellStatus::NotApplicable) => {
                format!("The spans of {place} show nothing that speaks for it.")
            }
        }]
    }
}

fn against_hop(hop: &HopDiagnosis, step: Option<Step>) -> Vec<String> {
    let name = &hop.hop;
    let cells = [
        (Step::Inject, "1 (inject)", &hop.injected),
        (Step::Transit, "2 (transit)", &hop.survived),
        (Step::Extract, "3 (extract)", &hop.extracted),
        (Step::Use, "4 (use)", &hop.used),
    ];
    let Some(step) = step else {
        return match cells.iter().any(|(_, _, cell)| cell.status == CellStatus::Failed) {
            true => vec![format!("Not all four steps succeed at {name}.")],
            false => {
                cells.iter().map(|(_, number, cell)| format!("{name}, step {number}: {}.", reason(cell))).collect()
            }
        };
    };
    let cell = cells.iter().find(|(one, ..)| *one == step);
    cell.map(|(_, number, cell)| match cell.status {
        CellStatus::Ok => format!("{name}, step {number} succeeded: {}.", reason(cell)),
        CellStatus::Failed => format!("{name}, step {number} does fail, but something else fails before it."),
        CellStatus::NotApplicable if hop.finding.is_some() => {
            format!("At {name} a step before {number} fails already; the first one counts.")
        }
        CellStatus::Unknown | CellStatus::NotApplicable => {
            format!("Nothing shows that step {number} failed at {name}: {}.", reason(cell))
        }
    })
    .into_iter()
    .collect()
}

fn causes(finding: &Finding) -> impl Iterator<Item = (Blame, String)> {
    let first = (finding.place.as_str(), finding.step, &finding.sentence);
    let others = finding.alternatives.iter().map(|other| (other.place.as_str(), other.step, &other.sentence));
    std::iter::once(first).chain(others).filter_map(|(place, step, sentence)| {
        let place = place.parse::<Place>().ok()?;
        Some((Blame::new(place, step), sentence.clone()))
    })
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
            place: "java-claims".to_owned(),
            step: Some(Step::Inject),
            sentence: "The outbox.".to_owned(),
        };
        let finding = Finding {
            place: "java-claims -> claims-worker".to_owned(),
            step: Some(Step::Inject),
            sentence: "No attribute.".to_owned(),
            inferred: true,
            alternatives: vec![alternative],
        };
        let fine = || cell(CellStatus::Ok, "it arrived, as it was sent");
        let hop = |name: &str, injected, finding: Option<Finding>| HopDiagnosis {
            hop: name.to_owned(),
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
                service: "java-claims".to_owned(),
                used: cell(CellStatus::Ok, "its spans hang together"),
                finding: None,
            }],
            first: Some(finding),
            sentence: String::new(),
            undecided: Vec::new(),
        }
    }

    #[test]
    fn answers_are_judged_by_evidence() {
        let cause = Cause {
            place: "java-claims -> claims-worker".parse().unwrap(),
            step: Some(Step::Inject),
            text: "No producer injects.".to_owned(),
        };
        let right = Blame::new(cause.place, cause.step);
        assert!(right.is(&cause), "the cause itself");
        let outbox = Blame::new("java-claims".parse().unwrap(), Some(Step::Inject));
        assert_eq!(
            outbox.judge(&cause, &diagnosis()),
            Opinion::SameEvidence("The outbox.".to_owned()),
            "what no evidence can separate is accepted"
        );
        let table = [
            ("python-api -> java-claims", Some(Step::Transit), "as it was sent", "that hop is intact"),
            ("gateway", Some(Step::Transit), "as it was sent", "a proxy shows at the hop that it is part of"),
            ("java-claims -> claims-worker", Some(Step::Use), "the first one counts", "the right hop, too late a step"),
            ("java-claims -> claims-worker", None, "Not all four", "the right hop, and no step"),
            ("java-claims", Some(Step::Use), "hang together", "the service kept its context"),
            ("fraud-partner", Some(Step::Inject), "makes no spans", "a third party"),
        ];
        for (place, step, part, why) in table {
            let answer = Blame::new(place.parse().unwrap(), step);
            assert!(!answer.is(&cause), "{why}");
            let Opinion::Against(sentences) = answer.judge(&cause, &diagnosis()) else { panic!("accepted: {why}") };
            let text = sentences.join(" ");
            assert!(text.contains(part), "{why}: {text}");
            assert!(!text.contains("step 1 (inject) failed"), "the cause is not given away: {text}");
        }
    }
}
