//! The bodies that travel between services.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::ClaimId;
use crate::problem::FieldError;

/// What a claimant sends to the front door, and the front door sends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The policy that is to pay.
    pub policy_id: String,
    /// Who claims.
    pub claimant: String,
    /// The day of the damage.
    pub incident_date: Date,
    /// What is claimed, in cents.
    pub amount_cents: i64,
    /// What happened.
    pub description: String,
}

/// A claim as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its id.
    pub claim_id: ClaimId,
    /// What was sent.
    #[serde(flatten)]
    pub submission: Submission,
    /// What was decided.
    pub decision: Decision,
    /// What the fraud check found; absent until it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraud_check: Option<FraudCheck>,
}

/// What a fraud check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FraudCheck {
    /// The finding.
    pub finding: Finding,
}

/// The finding of a fraud check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Nothing speaks against the claim.
    Clear,
    /// A person should look at it.
    Suspicious,
}

/// What fraud-partner is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FraudQuestion {
    /// The claim.
    pub claim_id: ClaimId,
    /// What is claimed, in cents.
    pub amount_cents: i64,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Decision {
    /// It is paid.
    Approved {
        /// What is paid, in cents: the amount less the deductible.
        payout_cents: i64,
    },
    /// It is not paid.
    Declined {
        /// Why not.
        reason: String,
    },
}

/// A policy of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its id.
    pub policy_id: String,
    /// Who holds it.
    pub holder: String,
    /// What is insured.
    pub product: String,
    /// The first day on which it pays.
    pub valid_from: Date,
    /// The last day on which it pays.
    pub valid_until: Date,
    /// The most that one claim may ask for, in cents.
    pub limit_cents: i64,
    /// What the holder bears, in cents.
    pub deductible_cents: i64,
}

// === impl Submission ===

impl Submission {
    /// Every field that cannot be accepted; `today` bounds the day of the damage.
    #[must_use]
    pub fn faults(&self, today: Date) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, field: &str, detail: &str| {
            if !holds {
                faults.push(FieldError { field: field.to_owned(), detail: detail.to_owned() });
            }
        };
        let length = |text: &str, most: usize| !text.trim().is_empty() && text.chars().count() <= most;
        let id_character = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        require(
            length(&self.policy_id, 32) && self.policy_id.bytes().all(id_character),
            "policy_id",
            "must be 1 to 32 of A-Z, 0-9 and -, such as POL-1001",
        );
        require(length(&self.claimant, 100), "claimant", "must be 1 to 100 characters");
        require(self.incident_date <= today, "incident_date", "must not be in the future");
        require(
            (1..=100_000_000_000).contains(&self.amount_cents),
            "amount_cents",
            "must be a whole number of cents from 1 to 100000000000",
        );
        require(length(&self.description, 2000), "description", "must be 1 to 2000 characters");
        faults
    }
}

// === impl Policy ===

impl Policy {
    /// Decides a claim: the policy must have been active on the day, and the amount within its limit.
    #[must_use]
    pub fn decide(&self, submission: &Submission) -> Decision {
        let day = submission.incident_date;
        let decline = |reason: String| Decision::Declined { reason };
        if day < self.valid_from || day > self.valid_until {
            return decline(format!(
                "the policy was not active on {day}: it runs from {} to {}",
                self.valid_from, self.valid_until
            ));
        }
        if submission.amount_cents > self.limit_cents {
            return decline(format!("the amount is above the policy's limit of {} cents", self.limit_cents));
        }
        match submission.amount_cents.saturating_sub(self.deductible_cents) {
            payout_cents if payout_cents > 0 => Decision::Approved { payout_cents },
            _ => decline(format!("the amount is not above the deductible of {} cents", self.deductible_cents)),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn submission(day: Date, amount_cents: i64) -> Submission {
        Submission {
            policy_id: "POL-1001".into(),
            claimant: "Ada".into(),
            incident_date: day,
            amount_cents,
            description: "hail".into(),
        }
    }

    #[test]
    fn a_claim_is_decided_by_date_limit_and_deductible() {
        let policy = Policy {
            policy_id: "POL-1001".into(),
            holder: "Ada".into(),
            product: "home".into(),
            valid_from: date(2026, 1, 1),
            valid_until: date(2026, 12, 31),
            limit_cents: 100_000,
            deductible_cents: 5_000,
        };
        let table = [
            (date(2026, 6, 1), 20_000, Some(15_000), "within everything"),
            (date(2026, 1, 1), 100_000, Some(95_000), "the bounds belong to it"),
            (date(2025, 12, 31), 20_000, None, "too early"),
            (date(2027, 1, 1), 20_000, None, "too late"),
            (date(2026, 6, 1), 100_001, None, "above the limit"),
            (date(2026, 6, 1), 5_000, None, "nothing is left after the deductible"),
        ];
        for (day, amount, payout, why) in table {
            let decision = policy.decide(&submission(day, amount));
            match payout {
                Some(payout_cents) => assert_eq!(decision, Decision::Approved { payout_cents }, "{why}"),
                None => assert!(matches!(decision, Decision::Declined { .. }), "{why}"),
            }
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = Submission {
            policy_id: "pol 1".into(),
            claimant: " ".into(),
            incident_date: date(2030, 1, 1),
            amount_cents: 0,
            description: "x".repeat(2001),
        };
        let fields: Vec<String> = bad.faults(date(2026, 1, 1)).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["policy_id", "claimant", "incident_date", "amount_cents", "description"]);
        assert_eq!(submission(date(2025, 1, 1), 1).faults(date(2026, 1, 1)), []);
    }
}
