//! Callers who have a trace and baggage of their own: joined, or kept outside with a link.

use evidence::ClaimEvidence;
use evidence::span::{Span, SpanKind};
use serde_json::{Value, json};

use crate::lab::Lab;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// Where the application reads baggage, by span name.
const READERS: [&str; 5] =
    ["POST /claims", "POST /api/claims", "GET /policies/:id", "process claims", "PUT /api/claims/{id}/fraud-check"];

#[test]
fn a_callers_trace_and_baggage_are_joined() {
    let lab = Lab::start();
    let evidence = claim_as_caller(&lab);
    let [trace] = &evidence.fragments[..] else { panic!("one trace: {evidence:#?}") };
    assert_eq!(trace.trace_id.to_string(), TRACE, "it is the caller's");
    let front = span(&evidence, "POST /claims");
    assert_eq!(front.parent_span_id.map(|id| id.to_string()).as_deref(), Some(PARENT), "below the caller's span");
    let missing: Vec<_> = evidence.missing_parents().map(|span| span.name.as_str()).collect();
    assert_eq!(missing, ["POST /claims"], "all but the caller's own span is there");
    for name in READERS {
        let read = |key: &str| span(&evidence, name).attributes.get(key).cloned();
        let tenant = if name == "POST /claims" { "acme corp" } else { "acme+corp" };
        assert_eq!(
            read("tenant.id"),
            Some(json!(tenant)),
            "{name}: the caller's own member wins over the door's, and only Python reads its plus as a space"
        );
        assert_eq!(read("feature.flags"), Some(json!("new-pricing-model")), "{name}: the door adds what is missing");
    }
    let baggage = baggage_seen(&evidence);
    assert!(
        baggage.contains("user=alice+a%2Bb"),
        "what nobody asked for travels along too, its space and its plus as Python writes them: {baggage}"
    );
}

#[test]
fn a_restarted_trace_is_linked_to_the_callers_and_its_baggage_stays_outside() {
    let lab = Lab::start();
    lab.cli(&["scenario", "set", "python-api", "CALLER_CONTEXT=restart"]).ended(0, "all services apply it");
    let evidence = claim_as_caller(&lab);
    let [trace] = &evidence.fragments[..] else { panic!("one trace: {evidence:#?}") };
    assert_ne!(trace.trace_id.to_string(), TRACE, "it is not the caller's");
    let front = span(&evidence, "POST /claims");
    assert_eq!(front.parent_span_id, None, "it begins at the front door");
    let links: Vec<_> = front.links.iter().map(|link| (link.trace_id.to_string(), link.span_id.to_string())).collect();
    assert_eq!(links, [(TRACE.to_owned(), PARENT.to_owned())], "it refers to the caller's span");
    for name in READERS {
        let tenant = span(&evidence, name).attributes.get("tenant.id").cloned();
        assert_eq!(tenant, Some(json!("acme-corp")), "{name}: the door says whose claim it is, not the caller");
    }
    let inside: Vec<_> = evidence.spans().filter(|span| span.name != "POST /claims").cloned().collect();
    let inside = baggage_seen(&ClaimEvidence::from_spans(evidence.claim_id.clone(), inside));
    assert!(!inside.contains("alice") && !inside.contains("acme+corp"), "nothing of the caller's came in: {inside}");
    assert!(inside.contains("tenant.id=acme-corp"), "baggage itself works: {inside}");
}

fn claim_as_caller(lab: &Lab) -> ClaimEvidence {
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let (tenant, user) = ("tenant.id=acme+corp", "user=alice%20a%2Bb");
    let arguments = ["claim", "--json", "--traceparent", &traceparent, "--baggage", tenant, "--baggage", user];
    let sent: Value = lab.cli(&arguments).ended(0, "it is accepted").json();
    let evidence = lab.whole(sent["claims"][0]["claim_id"].as_str().unwrap());
    let traces: Vec<_> = evidence.fragments.iter().map(|fragment| json!(fragment.trace_id.to_string())).collect();
    assert_eq!(traces, [sent["claims"][0]["trace_id"].clone()], "traceresponse names the trace");
    evidence
}

/// The receiving span of this name.
fn span<'a>(evidence: &'a ClaimEvidence, name: &str) -> &'a Span {
    let receives = |span: &&Span| matches!(span.kind, SpanKind::Server | SpanKind::Consumer) && span.name == name;
    evidence.spans().find(receives).unwrap_or_else(|| panic!("{name} is in the trace: {evidence:#?}"))
}

/// Every `baggage` header on record.
fn baggage_seen(evidence: &ClaimEvidence) -> String {
    let all = evidence.spans().flat_map(|span| &span.attributes);
    all.filter(|(key, _)| key.ends_with(".header.baggage")).map(|(_, value)| format!("{value}\n")).collect()
}
