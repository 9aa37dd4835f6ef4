//! What an answer to a drill is worth: evidence weighs it, and the hidden cause decides what evidence cannot tell apart.

use chain::{Kind, Place, Service, Topology};
use evidence::{Answer, Collected, Conclusion, Reading};
use scenario::file::Cause;

use crate::drill::Spoiler;

/// How old a claim must be for spans that come late to differ from spans that do not come, in seconds.
pub(crate) const LATEST_SPAN_S: u64 = evidence::collect::LATEST_SPAN.as_secs();

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grade {
    /// No claim was sent yet that could support or contradict it, so it does not count.
    NoClaim,
    /// It is the cause.
    Right(Vec<String>),
    /// This contradicts it.
    Wrong(String),
    /// Nobody can tell yet, so it does not count.
    TooEarly,
}

/// Whether the hidden cause and an answer differ only by time: spans that come late, or not at all.
pub(crate) struct DiffersByTime {
    /// Whose spans they are.
    pub(crate) service: Service,
}

/// The answer that a cause is.
fn answer(cause: &Cause) -> Answer {
    Answer::new(cause.place, cause.kind)
}

/// Whether this is the cause itself, so that no evidence is needed.
pub(crate) fn names(given: Answer, Spoiler(cause): &Spoiler<&Cause>) -> Option<Grade> {
    given.means(answer(cause)).then(|| {
        let Cause { place, kind, text, .. } = cause;
        let other_name = (given != answer(cause)).then(|| format!("`{place}` {} means the same.", kind.name()));
        Grade::Right(other_name.into_iter().chain([text.clone()]).collect())
    })
}

/// Whether only an older claim can tell this answer from the cause.
pub(crate) fn differs_by_time(given: Answer, Spoiler(cause): &Spoiler<&Cause>) -> Option<DiffersByTime> {
    let timed = |kind| matches!(kind, Kind::Late | Kind::NotExported);
    let truth = answer(cause);
    let alike = timed(given.kind) && timed(truth.kind) && Answer::new(given.place, truth.kind).means(truth);
    let service = match truth.place {
        Place::Hop(hop) => hop.from,
        Place::Service(service) => service,
    };
    alike.then_some(DiffersByTime { service })
}

// === impl Grade ===

impl Grade {
    /// Whether the answer is correct, if it counts, and what is said of it.
    pub(crate) fn judgement(self) -> (Option<bool>, Vec<String>) {
        match self {
            Self::Right(evidence) => (Some(true), evidence),
            Self::Wrong(sentence) => (Some(false), vec![sentence]),
            Self::NoClaim => {
                (None, vec!["Send a claim first: there is no evidence yet. This answer does not count.".to_owned()])
            }
            Self::TooEarly => (
                None,
                vec![format!(
                    "It is too early to tell: late spans differ from missing spans only when a claim is {LATEST_SPAN_S} s old. \
                     This answer does not count."
                )],
            ),
        }
    }
}

// === impl DiffersByTime ===

impl DiffersByTime {
    /// Judges by a claim that is as old as [`LATEST_SPAN_S`]; `None` if there is none yet.
    pub(crate) fn grade(&self, given: Answer, old: Option<&Collected>) -> Grade {
        let Some(old) = old else { return Grade::TooEarly };
        let (service, claim) = (self.service, &old.evidence.claim_id);
        let came = Reading::new(Topology::LAB, old).conclude().has_spans_of(service);
        match (came, given.kind) {
            (true, Kind::NotExported) => Grade::Wrong(format!("Spans of {service} were received of claim {claim}.")),
            (false, Kind::Late) => Grade::Wrong(format!(
                "No span of {service} was received of claim {claim}, which is more than {LATEST_SPAN_S} s old."
            )),
            _ => Grade::TooEarly,
        }
    }
}

/// What new evidence says about an answer that does not name the cause.
pub(crate) fn grade(given: Answer, Spoiler(cause): &Spoiler<&Cause>, conclusion: &Conclusion<'_>) -> Grade {
    if let Some(sentence) = conclusion.same_evidence(given, answer(cause)) {
        let Cause { place, kind, text, .. } = cause;
        let same = format!(
            "The evidence cannot tell your answer from the cause that was set, `{place}` {}, so it counts.",
            kind.name()
        );
        return Grade::Right(vec![sentence, same, text.clone()]);
    }
    Grade::Wrong(conclusion.weigh(given).reply())
}

/// Every place that an answer may name: the hops, then the services.
pub(crate) fn places() -> impl Iterator<Item = String> {
    Topology::LAB.hops.iter().map(ToString::to_string).chain(Service::ALL.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use evidence::ClaimEvidence;

    use super::*;

    fn cause(place: &str, kind: Kind) -> Cause {
        Cause { place: place.parse().unwrap(), kind, text: "Why.".to_owned(), sources: Vec::new() }
    }

    fn given(place: &str, kind: Kind) -> Answer {
        Answer::new(place.parse().unwrap(), kind)
    }

    #[test]
    fn spans_that_are_late_and_spans_that_are_lost_are_told_apart_by_time() {
        let lost = cause("python-api", Kind::NotExported);
        let lost = Spoiler::new(&lost);
        let late = given("python-api", Kind::Late);
        assert!(names(late, &lost).is_none(), "it is not the cause");
        let by_time = differs_by_time(late, &lost).expect("only time tells");
        assert_eq!(by_time.grade(late, None), Grade::TooEarly, "no claim is old enough");
        let old = Collected { evidence: ClaimEvidence::from_spans("CLM-1", []), ..Collected::default() };
        let Grade::Wrong(sentence) = by_time.grade(late, Some(&old)) else { panic!("an old claim tells") };
        assert!(sentence.contains("No span of python-api") && sentence.contains("CLM-1"), "{sentence}");
        for (place, kind, why) in [
            ("java-claims", Kind::Late, "another service's spans are another matter"),
            ("python-api", Kind::NotSampled, "a sampling decision shows in what was sent"),
        ] {
            assert!(differs_by_time(given(place, kind), &lost).is_none(), "{why}");
        }
    }
}
