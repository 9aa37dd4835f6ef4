//! The bodies that travel between services.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::ClaimId;

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
