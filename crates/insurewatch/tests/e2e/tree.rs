//! The spans of a healthy claim, one by one.

use std::collections::BTreeMap;

use evidence::span::{Span, SpanKind, Status};
use evidence::{ClaimEvidence, Fragment};
use serde_json::{Value, json};

use crate::lab::{Lab, eventually, one_trace, shapes};

/// `depth kind service name`, in tree order.
const TREE: &[&str] = &[
    "0 server python-api POST /claims",
    "1 internal python-api validate_input",
    "1 internal python-api submit_claim",
    "2 client python-api POST",
    "3 server java-claims POST /api/claims",
    "4 internal java-claims look_up_policy",
    "5 client java-claims GET",
    "6 server node-policy-store GET /policies/:id",
    "7 client node-policy-store SELECT policies",
    "4 internal java-claims decide_claim",
    "4 client java-claims INSERT claims",
    "4 producer java-claims create claims",
    "5 client java-claims INSERT outbox",
    "5 consumer claims-worker process claims",
    "6 client claims-worker POST",
    "6 client claims-worker PUT",
    "7 server java-claims PUT /api/claims/{id}/fraud-check",
    "8 client java-claims UPDATE claims",
    "4 internal java-claims notify_claimant",
    "1 internal python-api write_audit",
];

/// Inner spans that carry the claim's key, since they are roots when their context is lost.
const MARKED_INNER: &[&str] = &["look_up_policy", "notify_claimant", "write_audit"];
const OTHER_INNER: &[&str] = &["validate_input", "submit_claim", "decide_claim"];

const READ_TREE: &[&str] = &[
    "0 server python-api GET /claims/<id>",
    "1 client python-api GET",
    "2 server java-claims GET /api/claims/{id}",
    "3 client java-claims SELECT claims",
];

#[test]
fn a_healthy_claim_is_exactly_these_spans() {
    let lab = Lab::start();
    let sent = lab.claim();
    let claim_id = sent.claim_id.clone().unwrap();
    let evidence = lab.whole(&claim_id);
    let trace = only_trace(&evidence);
    assert_eq!(tree(trace), TREE, "{evidence:#?}");
    assert_eq!(Some(trace.trace_id.to_string()), sent.trace_id, "traceresponse names the trace");

    for span in trace.spans() {
        let what = format!("{} {}", span.service, span.name);
        assert_eq!(span.resource["service.name"], span.service, "{what}: the resource");
        assert_eq!(span.resource["telemetry.sdk.name"], "opentelemetry", "{what}: the resource");
        assert_eq!(span.scope, "insurewatch-telemetry", "{what}: the instrumentation scope");
        assert_eq!(span.status, Status::Unset, "{what}: success is not for instrumentation to declare");
        assert!(span.events.is_empty() && span.links.is_empty(), "{what}: nothing else happened");
        let marked = span.kind != SpanKind::Client && !OTHER_INNER.contains(&span.name.as_str());
        let expected = marked.then_some(claim_id.as_str());
        assert_eq!(span.claim_id(), expected, "{what}: what receives, sends to a queue, or can be a root has the key");
        let reads = matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
        for (key, value) in [("tenant.id", "acme-corp"), ("feature.flags", "new-pricing-model")] {
            let expected = reads.then(|| json!(value));
            assert_eq!(span.attributes.get(key), expected.as_ref(), "{what}: {key}, where the application reads it");
        }
    }
    assert_conventions(&lab, trace, &claim_id);
}

/// <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, …/database/database-spans/, …/messaging/messaging-spans/
fn assert_conventions(lab: &Lab, trace: &Fragment, claim_id: &str) {
    let port = |service: &str| {
        let url = &lab.file.process(service).url;
        url.trim_end_matches('/').rsplit(':').next().unwrap().parse::<u16>().unwrap()
    };
    let server = |method: &str, route: &str, path: Value, status: u16, service: &str| {
        json!({
            "http.request.method": method, "http.route": route, "http.response.status_code": status,
            "url.path": path, "url.scheme": "http", "network.protocol.version": "1.1",
            "server.address": "127.0.0.1", "server.port": port(service), "client.address": "127.0.0.1",
        })
    };
    let client = |method: &str, status: u16, to: &str, path: &str| {
        json!({
            "http.request.method": method, "http.response.status_code": status,
            "url.full": format!("http://127.0.0.1:{}{path}", port(to)),
            "server.address": "127.0.0.1", "server.port": port(to), "network.protocol.version": "1.1",
        })
    };
    let sql = |database: &str, operation: &str, table: &str, text: &str| {
        json!({
            "db.system.name": "sqlite", "db.namespace": database, "db.operation.name": operation,
            "db.collection.name": table, "db.query.summary": format!("{operation} {table}"), "db.query.text": text,
        })
    };
    let message = |operation: &str| {
        json!({
            "messaging.system": "insurewatch", "messaging.destination.name": "claims",
            "messaging.operation.type": operation, "messaging.operation.name": operation,
            "messaging.message.id": claim_id,
        })
    };
    let put = format!("/api/claims/{claim_id}/fraud-check");
    let update = "UPDATE claims SET fraud_check = ? WHERE claim_id = ? AND coalesce(fraud_check, ?) = ?";
    let insert_message = "INSERT INTO outbox (number, claim_id, body, attributes) VALUES (?, ?, ?, ?)";
    let policy = span(trace, "node-policy-store", "GET /policies/:id").attributes["url.path"].clone();
    let insert = "INSERT INTO claims (claim_id, submission, decision, accepted_at) VALUES (?, ?, ?, ?) \
                  ON CONFLICT (claim_id) DO NOTHING";
    let expected = [
        ("python-api", "POST /claims", server("POST", "/claims", json!("/claims"), 201, "python-api")),
        ("python-api", "POST", client("POST", 201, "gateway", "/api/claims")),
        ("java-claims", "POST /api/claims", server("POST", "/api/claims", json!("/api/claims"), 201, "java-claims")),
        ("java-claims", "GET", client("GET", 200, "node-policy-store", policy.as_str().unwrap())),
        (
            "node-policy-store",
            "GET /policies/:id",
            server("GET", "/policies/:id", policy.clone(), 200, "node-policy-store"),
        ),
        (
            "node-policy-store",
            "SELECT policies",
            sql("policies", "SELECT", "policies", "SELECT * FROM policies WHERE policy_id = ?"),
        ),
        ("java-claims", "INSERT claims", sql("claims", "INSERT", "claims", insert)),
        ("java-claims", "INSERT outbox", sql("claims", "INSERT", "outbox", insert_message)),
        ("java-claims", "create claims", message("create")),
        ("claims-worker", "process claims", message("process")),
        ("claims-worker", "POST", client("POST", 200, "fraud-partner", "/checks")),
        ("claims-worker", "PUT", client("PUT", 204, "java-claims", &put)),
        (
            "java-claims",
            "PUT /api/claims/{id}/fraud-check",
            server("PUT", "/api/claims/{id}/fraud-check", json!(put), 204, "java-claims"),
        ),
        ("java-claims", "UPDATE claims", sql("claims", "UPDATE", "claims", update)),
    ];
    for (service, name, attributes) in expected {
        let seen = &span(trace, service, name).attributes;
        for (key, value) in attributes.as_object().unwrap() {
            assert_eq!(seen.get(key), Some(value), "{service} {name}: {key}");
        }
        let foreign: Vec<_> = seen
            .keys()
            .filter(|key| !attributes.as_object().unwrap().contains_key(*key))
            .filter(|key| {
                let own = ["http.request.header.", "messaging.header.", "network.peer."];
                !own.iter().any(|prefix| key.starts_with(prefix))
            })
            .filter(|key| ![evidence::span::CLAIM_ID, "tenant.id", "feature.flags"].contains(&key.as_str()))
            .collect();
        assert!(foreign.is_empty(), "{service} {name} carries what no convention asks for: {foreign:?}");
    }
    for name in MARKED_INNER.iter().chain(OTHER_INNER) {
        let inner = trace.spans().find(|span| span.name == *name).unwrap();
        let more: Vec<_> = inner.attributes.keys().filter(|key| *key != evidence::span::CLAIM_ID).collect();
        assert!(more.is_empty(), "{name}: inner spans say no more than their name and the claim's: {more:?}");
    }
    assert_headers(trace);
}

/// What left is on record at the sender, what arrived at the receiver, as arrays of strings.
fn assert_headers(trace: &Fragment) {
    let hops = [
        (("python-api", "POST"), ("java-claims", "POST /api/claims"), "http.request"),
        (("java-claims", "GET"), ("node-policy-store", "GET /policies/:id"), "http.request"),
        (("java-claims", "create claims"), ("claims-worker", "process claims"), "messaging"),
        (("claims-worker", "PUT"), ("java-claims", "PUT /api/claims/{id}/fraud-check"), "http.request"),
    ];
    for (from, to, carrier) in hops {
        let (sender, receiver) = (span(trace, from.0, from.1), span(trace, to.0, to.1));
        let header = json!([format!("00-{}-{}-03", trace.trace_id, sender.span_id)]);
        for side in [sender, receiver] {
            let seen = side.attributes.get(&format!("{carrier}.header.traceparent"));
            assert_eq!(seen, Some(&header), "{} {}: names the sender's span, sampled", side.service, side.name);
            let baggage = &side.attributes[&format!("{carrier}.header.baggage")];
            assert!(baggage.to_string().contains("tenant.id=acme-corp"), "{} {}: {baggage}", side.service, side.name);
        }
        assert_eq!(receiver.parent_span_id, Some(sender.span_id), "{} {}: the sender is its parent", to.0, to.1);
    }
}

#[test]
fn reads_and_polls_leave_no_trace_that_looks_like_a_claim() {
    let lab = Lab::start();
    eventually("`up` has shown its first claim", || match lab.process.output() {
        output if output.contains("the first claim's traces were received") => Ok(()),
        output => Err(output),
    });
    let claim_id = lab.claim().claim_id.unwrap();
    let response = lab.client.get(format!("{}claims/{claim_id}", lab.file.front_door)).send().unwrap();
    assert_eq!(response.status(), 200, "an accepted claim can be read");
    let read = response.headers()["traceresponse"].to_str().unwrap().split('-').nth(1).unwrap().to_owned();
    for process in lab.file.processes.iter().filter(|process| !["trace-store", "desk"].contains(&&*process.service)) {
        let polled = lab.client.get(format!("{}healthz", process.url)).send().unwrap();
        assert_eq!(polled.status(), 200, "{} tells its health", process.service);
    }
    lab.settle();

    let report = lab.look(&read);
    let trace = only_trace(&report.collected.evidence);
    assert_eq!(tree(trace), READ_TREE, "{trace:#?}");
    for span in trace.spans() {
        assert_eq!(span.claim_id(), None, "{} {}: a read is no part of a submission", span.service, span.name);
    }
    assert_eq!(shapes(&lab.whole(&claim_id)), [one_trace()], "the claim's evidence holds its submission alone");

    let query = [("q", "{ nestedSetParent < 0 }"), ("limit", "1000")];
    let roots: Value =
        lab.client.get(format!("{}api/search", lab.file.traces)).query(&query).send().unwrap().json().unwrap();
    let mut seen = BTreeMap::<String, u32>::new();
    for trace in roots["traces"].as_array().unwrap() {
        let name = format!("{} {}", trace["rootServiceName"], trace["rootTraceName"]).replace('"', "");
        *seen.entry(name).or_default() += 1;
    }
    let expected = [("python-api GET /claims/<id>".to_owned(), 1), ("python-api POST /claims".to_owned(), 3)];
    assert_eq!(
        seen,
        BTreeMap::from(expected),
        "roots are the read, the claim, the one of `up` and the last: no health poll and no start-up among them"
    );
}

fn only_trace(evidence: &ClaimEvidence) -> &Fragment {
    match evidence.fragments.as_slice() {
        [trace] => trace,
        several => panic!("one trace, not {several:#?}"),
    }
}

fn tree(trace: &Fragment) -> Vec<String> {
    let line = |node: &evidence::claim::Node| {
        let kind = format!("{:?}", node.span.kind).to_lowercase();
        format!("{} {kind} {} {}", node.depth, node.span.service, node.span.name)
    };
    trace.nodes.iter().map(line).collect()
}

fn span<'a>(trace: &'a Fragment, service: &str, name: &str) -> &'a Span {
    let found = trace.spans().find(|span| span.service == service && span.name == name);
    found.unwrap_or_else(|| panic!("{service} {name} is in the trace"))
}
