package insurewatch;

import brave.Tracing;
import brave.http.HttpTracing;
import brave.spring.web.TracingClientHttpRequestInterceptor;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import insurewatch.Claim.Decision;
import insurewatch.Claim.FraudCheck;
import insurewatch.Claim.Policy;
import insurewatch.Claim.Submission;
import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.springframework.http.HttpStatus;
import org.springframework.http.HttpStatusCode;
import org.springframework.http.ProblemDetail;
import org.springframework.http.ResponseEntity;
import org.springframework.http.client.ClientHttpRequestFactory;
import org.springframework.http.client.ClientHttpRequestInterceptor;
import org.springframework.http.client.JdkClientHttpRequestFactory;
import org.springframework.http.client.SimpleClientHttpRequestFactory;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.PutMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.HttpClientErrorException;
import org.springframework.web.client.RestClient;
import org.springframework.web.client.RestClientException;

/** Decides claims and keeps them. It knows nothing of OpenTelemetry: the agent adds all of that from outside. */
@RestController
class Claims {
    private static final Pattern CLAIM_ID = Pattern.compile("CLM-[0-9a-f]{32}");
    private static final Duration CALL_TIMEOUT = Duration.ofSeconds(3);

    private final JdbcTemplate database;
    private final ObjectMapper json;
    private final ClaimsQueue queue;
    private final RestClient policies;

    Claims(JdbcTemplate database, ObjectMapper json, ClaimsQueue queue, RestClient.Builder client) {
        this.database = database;
        this.json = json;
        this.queue = queue;
        var store = System.getenv().getOrDefault("POLICY_STORE_URL", "http://127.0.0.1:7704");
        this.policies = withClient(client.baseUrl(store.replaceFirst("/$", ""))).build();
    }

    /**
     * $CLIENT chooses: `jdk` (default) is java.net.http.HttpClient, `url-connection` is HttpURLConnection, and `jdk-zipkin` is
     * the first with Zipkin's own library, as left over from before OpenTelemetry: it sends B3 headers with ids that it makes up.
     */
    private static RestClient.Builder withClient(RestClient.Builder client) {
        var choice = System.getenv().getOrDefault("CLIENT", "jdk");
        return switch (choice) {
            case "jdk" -> client.requestFactory(jdk());
            case "jdk-zipkin" -> client.requestFactory(jdk()).requestInterceptor(zipkin());
            case "url-connection" -> client.requestFactory(urlConnection());
            default -> throw new IllegalArgumentException("CLIENT must be jdk, jdk-zipkin or url-connection, not " + choice);
        };
    }

    private static ClientHttpRequestFactory jdk() {
        var client = new JdkClientHttpRequestFactory();
        client.setReadTimeout(CALL_TIMEOUT);
        return client;
    }

    private static ClientHttpRequestFactory urlConnection() {
        var client = new SimpleClientHttpRequestFactory();
        client.setReadTimeout(CALL_TIMEOUT);
        return client;
    }

    /** Its spans go nowhere: nobody runs its server any more. */
    private static ClientHttpRequestInterceptor zipkin() {
        var tracing = Tracing.newBuilder().localServiceName("java-claims").build();
        return TracingClientHttpRequestInterceptor.create(HttpTracing.create(tracing));
    }

    @GetMapping("/healthz")
    void health() {}

    @PostMapping("/api/claims")
    ResponseEntity<?> accept(@RequestHeader("x-claim-id") String claimId, @RequestBody Submission submission) {
        if (!CLAIM_ID.matcher(claimId).matches()) {
            return problem(HttpStatus.BAD_REQUEST, "header x-claim-id must carry a claim id", List.of());
        }
        var faults = submission.faults();
        if (!faults.isEmpty()) {
            return problem(HttpStatus.UNPROCESSABLE_ENTITY, "the request has fields that cannot be accepted", faults);
        }
        Decision decision;
        try {
            decision = policy(claimId, submission.policyId()).decide(submission);
        } catch (HttpClientErrorException.NotFound unknown) {
            var fault = Map.of("field", "policy_id", "detail", "there is no such policy");
            return problem(HttpStatus.UNPROCESSABLE_ENTITY, "the request has fields that cannot be accepted", List.of(fault));
        } catch (RestClientException down) {
            return problem(HttpStatus.SERVICE_UNAVAILABLE, "the policy store is not available, try again", List.of());
        }
        var claim = new Claim(claimId, submission, decision, null);
        var inserted = database.update("INSERT OR IGNORE INTO claims VALUES (?, ?, ?, NULL)", claimId, write(submission),
                write(decision));
        var kept = inserted == 1 ? claim : find(claimId).orElseThrow();
        if (!kept.submission().equals(submission)) {
            return problem(HttpStatus.CONFLICT, "a different claim with this id was accepted before", List.of());
        }
        // Also for a claim that comes again: the queue knows an id that comes twice.
        queue.send(claimId, write(Map.of("claim_id", claimId, "amount_cents", submission.amountCents())));
        return ResponseEntity.created(URI.create("/api/claims/" + claimId)).body(kept);
    }

    @GetMapping("/api/claims/{id}")
    ResponseEntity<?> read(@PathVariable String id) {
        return find(id).<ResponseEntity<?>>map(ResponseEntity::ok).orElseGet(Claims::unknown);
    }

    @PutMapping("/api/claims/{id}/fraud-check")
    ResponseEntity<?> record(@PathVariable String id, @RequestBody FraudCheck check) {
        var known = find(id);
        if (known.isEmpty()) {
            return unknown();
        }
        var before = known.get().fraudCheck();
        if (before != null && !before.equals(check)) {
            return problem(HttpStatus.CONFLICT, "another finding was recorded before", List.of());
        }
        database.update("UPDATE claims SET fraud_check = ? WHERE claim_id = ?", write(check), id);
        return ResponseEntity.noContent().build();
    }

    private Policy policy(String claimId, String policyId) {
        return policies.get().uri("/policies/{id}", policyId).header("x-claim-id", claimId).retrieve().body(Policy.class);
    }

    private Optional<Claim> find(String claimId) {
        return database.query("SELECT * FROM claims WHERE claim_id = ?",
                (row, number) -> new Claim(claimId, read(row.getString("submission"), Submission.class),
                        read(row.getString("decision"), Decision.class), read(row.getString("fraud_check"), FraudCheck.class)),
                claimId).stream().findFirst();
    }

    private <T> T read(String text, Class<T> type) {
        try {
            return text == null ? null : json.readValue(text, type);
        } catch (JsonProcessingException damaged) {
            throw new IllegalStateException(damaged);
        }
    }

    private String write(Object value) {
        try {
            return json.writeValueAsString(value);
        } catch (JsonProcessingException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static ResponseEntity<ProblemDetail> unknown() {
        return problem(HttpStatus.NOT_FOUND, "there is no such claim", List.of());
    }

    private static ResponseEntity<ProblemDetail> problem(HttpStatusCode status, String detail, List<?> errors) {
        var problem = ProblemDetail.forStatusAndDetail(status, detail);
        problem.setProperty("errors", errors);
        return ResponseEntity.status(status).body(problem);
    }
}
