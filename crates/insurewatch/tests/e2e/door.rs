//! The HTTP contract of the front door, and the trace that each kind of answer leaves.

use evidence::span::{Span, SpanKind};
use reqwest::blocking::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::lab::{Lab, Running, UNQUEUED, eventually, free_port, one_trace, shapes};

/// A refused submission reaches nobody else.
const FRONT_ONLY: &str = "python-api POST /claims: python-api";
/// What java-claims does for a claim that is new, and for one that it knows.
const STORED: [&str; 3] = ["INSERT claims", "create claims", "INSERT outbox"];
const KNOWN: [&str; 2] = ["INSERT claims", "SELECT claims"];
const READ: &str = "python-api GET /claims/<id>: python-api, java-claims";

fn body() -> Value {
    json!({
        "policy_id": "POL-1001",
        "claimant": "Ada Lovelace",
        "incident_date": "2025-06-15",
        "amount_cents": 125_000,
        "description": "hail on the roof",
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut body = body();
    body[key] = value;
    body
}

#[test]
fn an_accepted_claim_is_answered_located_traced_and_kept() {
    let lab = Lab::start();
    let response = post(&lab).json(&body()).send().unwrap();
    assert_eq!(response.status(), 201, "it is accepted");
    let claim_id = header(&response, "x-claim-id").unwrap();
    assert_eq!(header(&response, "location"), Some(format!("/claims/{claim_id}")), "it says where the claim is");
    let trace_id = trace_id(&response);
    let accepted: Value = response.json().unwrap();
    assert_eq!(accepted["claim_id"], json!(claim_id), "body and header name the same claim");
    assert_eq!(accepted["decision"], json!({ "outcome": "approved", "payout_cents": 100_000 }), "less the deductible");
    for (key, value) in body().as_object().unwrap() {
        assert_eq!(&accepted[key], value, "the answer repeats {key}");
    }

    let mut kept = lab.kept(&claim_id).expect("what was accepted can be read");
    kept.as_object_mut().unwrap().remove("fraud_check");
    assert_eq!(kept, accepted, "it reads back as it was answered; the fraud check comes later");

    let evidence = lab.whole(&claim_id);
    assert_eq!(shapes(&evidence), [one_trace()], "one trace");
    assert_eq!(evidence.fragments[0].trace_id.to_string(), trace_id, "traceresponse names it");
}

#[test]
fn a_refused_request_says_why_and_leaves_one_trace() {
    let lab = Lab::start();
    let json_type = ("content-type", "application/json");
    let known = format!("claims/{}", lab.claim().claim_id.unwrap());
    let cases: Vec<(&str, RequestBuilder, u16, &str)> = vec![
        (
            "fields that cannot be accepted",
            post(&lab).json(&json!({
                "policy_id": "pol", "claimant": "", "incident_date": "2999-01-01", "amount_cents": 0, "description": ""
            })),
            422,
            FRONT_ONLY,
        ),
        ("a field of the wrong type", post(&lab).json(&with("amount_cents", json!("many"))), 422, FRONT_ONLY),
        ("a list of fields", post(&lab).json(&json!(["POL-1001", "Ada", "2025-06-15", 1, "hail"])), 422, FRONT_ONLY),
        ("a field too many", post(&lab).json(&with("paid", json!(true))), 422, FRONT_ONLY),
        ("malformed JSON", post(&lab).header(json_type.0, json_type.1).body("{\"policy_id\": "), 400, FRONT_ONLY),
        ("a body of another type", post(&lab).header("content-type", "text/plain").body("hail"), 415, FRONT_ONLY),
        ("a body beyond 64 KiB", post(&lab).json(&with("description", json!("hail ".repeat(20_000)))), 413, FRONT_ONLY),
        ("a policy that nobody has", post(&lab).json(&with("policy_id", json!("POL-9999"))), 422, UNQUEUED),
        ("a path that is not there", get(&lab, "nothing"), 404, "python-api GET: python-api"),
        (
            "a method that the path does not know",
            lab.client.delete(format!("{}claims", lab.file.front_door)),
            405,
            "python-api DELETE /claims: python-api",
        ),
        ("a claim that nobody sent", get(&lab, &format!("claims/CLM-{}", "0".repeat(32))), 404, READ),
        ("no claim id", get(&lab, "claims/1%27%20OR%201=1"), 404, "python-api GET /claims/<id>: python-api"),
    ];
    let mut seen = Vec::new();
    for (what, request, status, shape) in cases {
        let response = request.send().unwrap();
        assert_eq!(response.status().as_u16(), status, "{what}");
        let submission = response.url().path() == "/claims" && status != 405;
        let claim_id = header(&response, "x-claim-id");
        assert_eq!(claim_id.is_some(), submission, "{what}: a submission has a claim id, whatever becomes of it");
        assert_eq!(header(&response, "allow").is_some(), status == 405, "{what}: 405 says what is allowed");
        seen.push((what, trace_id(&response), claim_id, shape));
        assert_problem(what, status, response);
    }
    lab.settle();
    for (what, trace_id, claim_id, shape) in seen {
        let evidence = lab.look(&trace_id).collected.evidence;
        assert_eq!(shapes(&evidence), [shape], "{what}: the trace that traceresponse names");
        assert_eq!(evidence.missing_parents().count(), 0, "{what}: every parent is there");
        if let Some(claim_id) = claim_id {
            let by_key = lab.look(&claim_id).collected.evidence;
            assert_eq!(shapes(&by_key), [shape], "{what}: the application key finds it too");
        }
    }
    assert_eq!(get(&lab, &known).send().unwrap().status(), 200, "what was accepted before is kept");
}

#[test]
fn a_submission_with_a_bad_key_is_found_by_its_claim_id_too() {
    let lab = Lab::start();
    let response = post(&lab).header("idempotency-key", "k".repeat(256)).json(&body()).send().unwrap();
    let claim_id = header(&response, "x-claim-id");
    assert_problem("a key beyond 255 bytes", 400, response);
    lab.settle();
    let claim_id = claim_id.expect("a submission has a claim id, whatever becomes of it");
    assert_eq!(shapes(&lab.look(&claim_id).collected.evidence), [FRONT_ONLY], "it finds the refused submission");
}

#[test]
fn refused_fields_are_named_all_at_once() {
    let lab = Lab::start();
    let refused = json!({
        "policy_id": "pol", "claimant": "", "incident_date": "2999-01-01", "amount_cents": 0, "description": ""
    });
    let cases = [
        (refused, vec!["policy_id", "claimant", "incident_date", "amount_cents", "description"]),
        (with("policy_id", json!("POL-9999")), vec!["policy_id"]),
    ];
    for (body, fields) in cases {
        let problem: Value = post(&lab).json(&body).send().unwrap().json().unwrap();
        let named: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
        assert_eq!(named, fields, "{problem}");
    }
}

#[test]
fn a_repeated_submission_is_the_same_claim() {
    let lab = Lab::start();
    let submit = |body: &Value| post(&lab).header("idempotency-key", "one accident").json(body).send().unwrap();
    let (first, again) = (submit(&body()), submit(&body()));
    let claim_id = header(&first, "x-claim-id").unwrap();
    let traces = [trace_id(&first), trace_id(&again)];
    assert_eq!(header(&again, "x-claim-id").as_ref(), Some(&claim_id), "the key makes the id");
    assert_eq!((first.status().as_u16(), again.status().as_u16()), (201, 201), "the caller may ask again");
    let (told, mut told_again): (Value, Value) = (first.json().unwrap(), again.json().unwrap());
    // The claim may have been checked in between.
    told_again.as_object_mut().unwrap().remove("fraud_check");
    assert_eq!(told, told_again, "and is told the same");

    let other = submit(&with("amount_cents", json!(999)));
    assert_eq!(header(&other, "x-claim-id").as_ref(), Some(&claim_id), "the key makes the id, whatever the body");
    let conflict = trace_id(&other);
    assert_problem("another accident under the same key", 409, other);
    let kept: Value = get(&lab, &format!("claims/{claim_id}")).send().unwrap().json().unwrap();
    assert_eq!(kept["amount_cents"], 125_000, "what was accepted first stays");

    lab.settle();
    let evidence = lab.look(&claim_id).collected.evidence;
    let expected = [one_trace(), UNQUEUED.to_owned(), UNQUEUED.to_owned()];
    assert_eq!(shapes(&evidence), expected, "each submission is a trace, joined by the key; one message is sent");
    let seen: Vec<_> = evidence.fragments.iter().map(|fragment| fragment.trace_id.to_string()).collect();
    assert_eq!(seen, [&traces[..], &[conflict]].concat(), "in the order in which they were sent");
    for (fragment, told) in evidence.fragments.iter().zip(["sent", "repeated", "in conflict"]) {
        let stored: Vec<_> = fragment.spans().filter_map(stores).collect();
        let expected = if told == "sent" { &STORED[..] } else { &KNOWN };
        assert_eq!(stored, expected, "a claim that is {told}: what java-claims stores and sends");
    }
}

#[test]
fn a_chain_that_is_down_is_503_with_a_time_to_try_again() {
    let (port, nobody) = (free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start();
    let environment = [
        ("CLAIMS_URL", format!("http://127.0.0.1:{nobody}")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", lab.file.otlp_http.clone().unwrap().to_string()),
    ];
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["serve", "python-api", "--listen", &listen];
    let service = Running::start(&arguments, &environment, &folder.path().join("log"));
    let client = reqwest::blocking::Client::new();
    let front_door = format!("http://{listen}/claims");
    let response = eventually("the front door answers", || {
        client.post(&front_door).json(&body()).send().map_err(|error| format!("{error}: {}", service.output()))
    });
    assert_eq!(header(&response, "retry-after").as_deref(), Some("1"), "it says when to try again");
    let claim = header(&response, "x-claim-id").expect("the claim has its id all the same");
    assert_problem("nobody decides claims", 503, response);
    eventually("the failed call has its exception as an event, as with the original's SDK", || {
        let evidence = lab.try_look(&format!("{claim}?wait_ms=0"))?.collected.evidence;
        let call = evidence.spans().find(|span| span.kind == SpanKind::Client);
        match call.and_then(|span| span.events.first()) {
            Some(event) if event.name == "exception" => Ok(()),
            _ => Err(format!("{evidence:#?}")),
        }
    });
}

fn post(lab: &Lab) -> RequestBuilder {
    lab.client.post(format!("{}claims", lab.file.front_door))
}

fn get(lab: &Lab, path: &str) -> RequestBuilder {
    lab.client.get(format!("{}{path}", lab.file.front_door))
}

/// The span's name, if java-claims stores, reads or sends something in it.
fn stores(span: &Span) -> Option<&str> {
    let database = span.attributes.get("db.namespace") == Some(&json!("claims"));
    let (name, of_submission) = (span.name.as_str(), span.name != "UPDATE claims");
    ((database || span.kind == SpanKind::Producer) && of_submission).then_some(name)
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
}

fn trace_id(response: &Response) -> String {
    header(response, "traceresponse").unwrap().split('-').nth(1).unwrap().to_owned()
}

/// <https://www.rfc-editor.org/rfc/rfc9457>, with no word of what it runs on.
fn assert_problem(what: &str, status: u16, response: Response) {
    assert_eq!(response.status().as_u16(), status, "{what}");
    let media_type = header(&response, "content-type");
    assert_eq!(media_type.as_deref(), Some("application/problem+json"), "{what}");
    let text = response.text().unwrap();
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status, "{what}: body and status line agree: {text}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{what}: it is told in words: {text}");
    let members = problem.as_object().unwrap().keys().map(String::as_str);
    let foreign: Vec<_> = members.filter(|key| !["status", "title", "detail", "errors"].contains(key)).collect();
    assert!(foreign.is_empty(), "{what}: members that no caller needs: {foreign:?}");
    let internals =
        ["127.0.0.1", "http://", "reqwest", "hyper", "axum", "sqlite", "SELECT", "os error", "src/", "panicked"];
    assert!(!internals.iter().any(|word| text.contains(word)), "{what}: internals show: {text}");
}
