//! Which submissions are accepted.

use jiff::civil::Date;
use service::contract::Submission;
use service::problem::FieldError;

/// Every field that cannot be accepted; `today` bounds the day of the damage.
pub(crate) fn faults(submission: &Submission, today: Date) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut require = |holds: bool, field: &str, detail: &str| {
        if !holds {
            faults.push(FieldError { field: field.to_owned(), detail: detail.to_owned() });
        }
    };
    let length = |text: &str, most: usize| !text.trim().is_empty() && text.chars().count() <= most;
    let id_character = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    require(
        length(&submission.policy_id, 32) && submission.policy_id.bytes().all(id_character),
        "policy_id",
        "must be 1 to 32 of A-Z, 0-9 and -, such as POL-1001",
    );
    require(length(&submission.claimant, 100), "claimant", "must be 1 to 100 characters");
    require(submission.incident_date <= today, "incident_date", "must not be in the future");
    require(
        (1..=100_000_000_000).contains(&submission.amount_cents),
        "amount_cents",
        "must be a whole number of cents from 1 to 100000000000",
    );
    require(length(&submission.description, 2000), "description", "must be 1 to 2000 characters");
    faults
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
        let fields: Vec<String> = faults(&bad, date(2026, 1, 1)).into_iter().map(|fault| fault.field).collect();
        assert_eq!(fields, ["policy_id", "claimant", "incident_date", "amount_cents", "description"]);
        let good = Submission {
            policy_id: "POL-1001".into(),
            claimant: "Ada".into(),
            incident_date: date(2025, 1, 1),
            amount_cents: 1,
            description: "hail".into(),
        };
        assert_eq!(faults(&good, date(2026, 1, 1)), []);
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
                && faults(&submission, date(2026, 1, 1)).is_empty()
            {
                prop_assert!(submission.amount_cents > 0, "an accepted claim asks for something: {}", text);
                let sent_on = serde_json::to_string(&submission).unwrap();
                prop_assert_eq!(serde_json::from_str::<Submission>(&sent_on).unwrap(), submission, "it is sent on as it came");
            }
        }
    }
}
