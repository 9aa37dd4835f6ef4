//! The bodies of requests between services.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
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
    pub finding: FraudFinding,
}

/// The finding of a fraud check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FraudFinding {
    /// Nothing is suspicious about the claim.
    Clear,
    /// A person should look at it.
    Suspicious,
}

/// What fraud-partner is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FraudQuestion {
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
    /// Every field that cannot be accepted today. Every service that takes a submission from outside of its process asks:
    /// the front door, and java-claims, which can be reached without it.
    #[must_use]
    pub fn faults(&self) -> Vec<FieldError> {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        // East of Greenwich tomorrow has begun before UTC's day ends.
        self.faults_on(today.tomorrow().unwrap_or(today))
    }

    fn faults_on(&self, today: Date) -> Vec<FieldError> {
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

// === impl Decision ===

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approved { payout_cents } => write!(f, "approved, payout {payout_cents} cents"),
            Self::Declined { reason } => write!(f, "declined: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = Submission {
            policy_id: "pol 1".into(),
            claimant: " ".into(),
            incident_date: date(2030, 1, 1),
            amount_cents: 0,
            description: "x".repeat(2001),
        };
        let faults: Vec<String> = bad.faults_on(date(2026, 1, 1)).into_iter().map(|fault| fault.field).collect();
        assert_eq!(faults, ["policy_id", "claimant", "incident_date", "amount_cents", "description"]);
        let good = Submission {
            policy_id: "POL-1001".into(),
            claimant: "Ada".into(),
            incident_date: date(2025, 1, 1),
            amount_cents: 1,
            description: "hail".into(),
        };
        assert_eq!(good.faults_on(date(2026, 1, 1)), []);
        for amount_cents in [i64::MIN, -1, 0, 100_000_000_001, i64::MAX] {
            let faults = Submission { amount_cents, ..good.clone() }.faults_on(date(2026, 1, 1));
            assert_eq!(faults.len(), 1, "{amount_cents} cents are no amount: {faults:?}");
        }
    }

    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/edited.rs"));

    const CLAIMS: &[&str] = &[
        r#"{"policy_id":"POL-1001","claimant":"Ada","incident_date":"2025-06-15","amount_cents":120000,"description":"hail"}"#,
        r#"{"policy_id":"","claimant":"\u0000\ud83d\ude00","incident_date":"-009999-01-01","amount_cents":-1,"description":""}"#,
        r#"["POL-1001","Ada","2025-06-15",9223372036854775807,"hail"]"#,
    ];

    proptest! {
        #[test]
        fn fuzz_claims(text in edited(CLAIMS)) {
            if let Ok(submission) = serde_json::from_str::<Submission>(&text)
                && submission.faults_on(date(2026, 1, 1)).is_empty()
            {
                prop_assert!(submission.amount_cents > 0, "an accepted claim asks for something: {}", text);
                let sent_on = serde_json::to_string(&submission).unwrap();
                prop_assert_eq!(serde_json::from_str::<Submission>(&sent_on).unwrap(), submission, "it is sent on as it came");
            }
        }
    }
}
