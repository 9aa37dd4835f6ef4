//! Healthy, broken or something else: what the conclusions of claims come to, in sentences.

use serde::{Deserialize, Serialize};

use crate::claim::Collected;
use crate::conclusion::{Conclusion, Outcome};
use crate::expectation::Expectation;
use crate::prose;
use crate::reading::Reading;
use wire::TraceId;

/// What a set of claims comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The worst of the claims' outcomes.
    pub outcome: Outcome,
    /// The outcome in a sentence.
    pub sentence: String,
    /// Each claim, in the order in which they were given.
    pub claims: Vec<ClaimVerdict>,
    /// What the outcome rests on: the evidence of the first claim that has it.
    pub evidence: Vec<String>,
}

/// What one claim comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimVerdict {
    /// The claim.
    pub claim_id: String,
    /// What it comes to.
    pub outcome: Outcome,
    /// The outcome in a sentence.
    pub sentence: String,
    /// The traces that it was split into.
    pub traces: Vec<TraceId>,
    /// What was observed, without any judgement, one sentence each.
    #[serde(default)]
    pub observed: Vec<String>,
    /// What the outcome rests on, one sentence each.
    pub evidence: Vec<String>,
}

/// Judges claims: healthy only if every one is, and meets the extra expectation too.
#[must_use]
pub fn judge(topology: &'static chain::Topology, collected: &[Collected], extra: Option<&Expectation>) -> Verdict {
    let claims: Vec<_> =
        collected.iter().map(|one| Reading::new(topology, one).conclude_with(extra).verdict()).collect();
    let outcome = claims.iter().map(|claim| claim.outcome).max().unwrap_or(Outcome::CannotTell);
    let alike: Vec<_> = claims.iter().filter(|claim| claim.outcome == outcome).collect();
    let (sentence, evidence) = match alike.first() {
        None => ("Cannot tell: no claim was accepted, so there is no evidence.".to_owned(), Vec::new()),
        Some(first) if claims.len() == 1 => (first.sentence.clone(), first.evidence.clone()),
        Some(first) => {
            let sentence = format!("{} ({} of {} claims had this result.)", first.sentence, alike.len(), claims.len());
            (sentence, first.evidence.clone())
        }
    };
    Verdict { outcome, sentence, claims, evidence }
}

// === impl Conclusion ===

impl Conclusion<'_> {
    /// The verdict on one claim.
    #[must_use]
    pub fn verdict(&self) -> ClaimVerdict {
        let evidence = self.reading.evidence();
        ClaimVerdict {
            claim_id: evidence.claim_id.clone(),
            outcome: self.outcome(),
            sentence: prose::outcome(self),
            traces: evidence.fragments.iter().map(|fragment| fragment.trace_id).collect(),
            observed: prose::observed(self.reading),
            evidence: prose::facts(self),
        }
    }
}
