//! Services of somebody else in seats of the chain: their spans carry no claim id, other names, and few headers.

use evidence::span::CLAIM_ID;
use evidence::{FoundBy, Outcome, Span};
use serde_json::json;

use crate::support::*;

/// The span as a real service leaves it that was told nothing.
fn bare(span: Span) -> Span {
    let scope = "io.opentelemetry.other".to_owned();
    Span { scope, ..span.without_headers().without(CLAIM_ID).without("tenant.id") }
}

fn in_language(span: Span, language: &str) -> Span {
    let mut span = bare(span);
    span.resource.insert("telemetry.sdk.language".to_owned(), json!(language));
    span
}

fn outcome(spans: Vec<Span>) -> Outcome {
    read(evidence(spans), |reading| reading.conclude().outcome())
}

#[test]
fn a_receiver_without_the_claims_id_is_found_by_its_place() {
    for (id, hop) in [(CLAIMS, GATEWAY), (POLICY, LOOKUP), (REPORTED, REPORTING)] {
        let spans = chain_with(id, bare);
        let row = row(spans.clone(), hop);
        assert_eq!(row.found_by, Some(FoundBy::ItsPlace), "{hop}: below its sender, which is the claim's");
        assert!(row.is_joined(), "{hop}: {row:?}");
        assert_eq!(outcome(spans), Outcome::Healthy, "{hop}: nothing is wrong");
    }
    let mut spans = chain_without(&[AUDIT]);
    for id in [FRONT, CALL_CLAIMS] {
        change(&mut spans, id, bare);
    }
    assert_eq!(outcome(spans), Outcome::Healthy, "the front door is above spans of the claim, and owes no audit span");
}

#[test]
fn a_span_of_another_claim_is_not_taken_for_this_ones() {
    let beside = span(0x91, Some(0x90), "java-claims", chain::SpanKind::Server, "POST /api/claims", (1, 2));
    let below = span(0x92, Some(0x91), "java-claims", chain::SpanKind::Client, "GET", (1, 2)).with(CLAIM_ID, "c-2");
    let caller = span(0x90, None, "my-client", chain::SpanKind::Client, "POST", (0, 13));
    let called = chain_with(FRONT, |span| span.below(0x90).header("traceparent", traceparent(TRACE_A, 0x90, 1)));
    let row = row([called, vec![caller, bare(beside), below]].concat(), GATEWAY);
    assert_eq!(row.received.span.map(|it| it.span_id), Some(span_id(CLAIMS)), "the other one is earlier, and c-2's");
}

#[test]
fn a_captured_header_names_the_claim() {
    for key in ["http.request.header.x-claim-id", "http.request.header.x_claim_id", "http.response.header.x_claim_id"] {
        for value in [json!([CLAIM]), json!(CLAIM)] {
            let mut spans = chain_with(POLICY, |span| bare(span).with(key, value.clone()));
            split(&mut spans, POLICY, TRACE_B);
            let row = row(spans, LOOKUP);
            assert_eq!(row.found_by, Some(FoundBy::ItsClaimId), "{key} = {value}: in a separate trace");
        }
    }
}

#[test]
fn a_receiver_is_told_by_the_shape_of_its_route() {
    let route = |name: &str, route: &str| {
        let (name, route) = (name.to_owned(), route.to_owned());
        chain_with(POLICY, |span| Span {
            name,
            ..bare(span).with("http.route", route).with("http.request.method", "GET")
        })
    };
    for (name, its) in [("GET /policies/{policyId}", "/policies/{policyId}"), ("policies", "/policies/<policy_id>")] {
        assert!(row(route(name, its), LOOKUP).is_joined(), "{name}, {its}");
    }
    assert!(
        !row(route("GET /other/{id}", "/other/{id}"), LOOKUP).received.is_seen(),
        "another route is another request"
    );
    let pathless = chain_with(POLICY, |span| {
        let name = "GET".to_owned();
        Span { name, ..bare(span).with("http.method", "GET").with("http.target", "/policies/P-1?x=1") }
    });
    assert!(row(pathless, LOOKUP).is_joined(), "without a route its path tells, by its old name too");
}

#[test]
fn a_diagnosis_says_what_would_put_the_missing_on_record() {
    let undecided = |language: &str, id: u64, also: &[(&str, &str)]| {
        let mut spans = chain_with(id, |span| {
            also.iter().fold(in_language(span, language), |span, (key, value)| span.with(key, *value))
        });
        split(&mut spans, POLICY, TRACE_B);
        read(evidence(spans), |reading| reading.conclude().diagnosis().undecided)
    };
    for (language, part) in [
        ("python", "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=traceparent,"),
        ("java", "OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS=traceparent,"),
        ("nodejs", "`headersToSpanAttributes`"),
        ("dotnet", "OTEL_DOTNET_AUTO_TRACES_ASPNETCORE_INSTRUMENTATION_CAPTURE_REQUEST_HEADERS="),
    ] {
        let said = undecided(language, POLICY, &[("http.request.header.x-claim-id", CLAIM)]);
        let advice = said.iter().find(|sentence| sentence.contains(part));
        let advice = advice.unwrap_or_else(|| panic!("{language} is told {part}: {said:#?}"));
        assert!(advice.starts_with("node-policy-store"), "of that service: {advice}");
    }
    let said = undecided("python", CALL_POLICY, &[("http.request.header.x_claim_id", CLAIM)]);
    let variable = "CAPTURE_HEADERS_CLIENT_REQUEST";
    assert!(!said.iter().any(|it| it.contains(variable)), "it captures already, and no variable helps: {said:#?}");
    assert!(said.iter().any(|it| it.contains("before the context is injected")), "that is said instead: {said:#?}");
    let healthy = read(evidence(chain_with(POLICY, |span| in_language(span, "python"))), |reading| {
        reading.conclude().diagnosis().undecided
    });
    assert!(!healthy.iter().any(|it| it.contains("OTEL_")), "nothing is missing where nothing is wrong: {healthy:#?}");
}
