package insurewatch;

import com.fasterxml.jackson.annotation.JsonUnwrapped;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The bodies that travel. */
record Claim(String claimId, @JsonUnwrapped Submission submission, Decision decision, FraudCheck fraudCheck) {

    record Submission(String policyId, String claimant, LocalDate incidentDate, Long amountCents, String description) {
        List<Map<String, String>> faults() {
            var faults = new ArrayList<Map<String, String>>();
            require(faults, "policy_id", policyId != null && policyId.matches("[A-Z0-9-]{1,32}"));
            require(faults, "claimant", text(claimant, 100));
            var tomorrow = LocalDate.now(ZoneOffset.UTC).plusDays(1);
            require(faults, "incident_date", incidentDate != null && !incidentDate.isAfter(tomorrow));
            require(faults, "amount_cents", amountCents != null && amountCents > 0 && amountCents <= 100_000_000_000L);
            require(faults, "description", text(description, 2000));
            return faults;
        }

        private static boolean text(String text, int most) {
            return text != null && !text.isBlank() && text.length() <= most;
        }

        private static void require(List<Map<String, String>> faults, String field, boolean holds) {
            if (!holds) {
                faults.add(Map.of("field", field, "detail", "cannot be accepted"));
            }
        }
    }

    record Policy(String policyId, String holder, String product, LocalDate validFrom, LocalDate validUntil,
            long limitCents, long deductibleCents) {
        Decision decide(Submission claim) {
            var day = claim.incidentDate();
            if (day.isBefore(validFrom) || day.isAfter(validUntil)) {
                return Decision.declined("the policy was not active on " + day);
            }
            if (claim.amountCents() > limitCents) {
                return Decision.declined("the amount is above the policy's limit of " + limitCents + " cents");
            }
            var payout = claim.amountCents() - deductibleCents;
            return payout > 0 ? new Decision("approved", payout, null)
                    : Decision.declined("the amount is not above the deductible of " + deductibleCents + " cents");
        }
    }

    record Decision(String outcome, Long payoutCents, String reason) {
        static Decision declined(String reason) {
            return new Decision("declined", null, reason);
        }
    }

    record FraudCheck(String finding) {}
}
