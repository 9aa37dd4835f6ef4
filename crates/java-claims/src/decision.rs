//! Which claims are paid.

use service::contract::{Decision, Policy, Submission};

/// The policy must have been active on the day, and the amount within its limit.
pub(crate) fn decide(policy: &Policy, submission: &Submission) -> Decision {
    let day = submission.incident_date;
    let decline = |reason: String| Decision::Declined { reason };
    if day < policy.valid_from || day > policy.valid_until {
        return decline(format!(
            "the policy was not active on {day}: it runs from {} to {}",
            policy.valid_from, policy.valid_until
        ));
    }
    if submission.amount_cents > policy.limit_cents {
        return decline(format!("the amount is above the policy's limit of {} cents", policy.limit_cents));
    }
    match submission.amount_cents.saturating_sub(policy.deductible_cents) {
        payout_cents if payout_cents > 0 => Decision::Approved { payout_cents },
        _ => decline(format!("the amount is not above the deductible of {} cents", policy.deductible_cents)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Date, date};

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
            let decision = decide(&policy, &submission(day, amount));
            match payout {
                Some(payout_cents) => assert_eq!(decision, Decision::Approved { payout_cents }, "{why}"),
                None => assert!(matches!(decision, Decision::Declined { .. }), "{why}"),
            }
        }
    }
}
