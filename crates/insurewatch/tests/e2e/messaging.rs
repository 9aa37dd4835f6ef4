//! The queue, the fraud check behind it, and the third party.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use claims_queue::{Counts, Options};
use evidence::span::SpanKind;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::endings::{End, kill_and_see_it_again, load};
use crate::lab::{Lab, eventually, eventually_within, signal};

/// A message in the hands of a dead worker comes again after 30 s, and that may happen twice.
const REDELIVERED: Duration = Duration::from_secs(100);
/// Who dies while claims stream, one after the other.
const DEATHS: [&str; 6] =
    ["java-claims", "claims-worker", "java-claims", "java-claims", "claims-worker", "java-claims"];

#[test]
fn every_accepted_claim_is_checked_whatever_process_dies() {
    let lab = Lab::start();
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let load = scope.spawn(|| load(&lab, &done));
        let end = End(&done);
        DEATHS.iter().for_each(|service| kill_and_see_it_again(&lab, service));
        drop(end);
        load.join().unwrap()
    });
    assert!(sent.iter().any(|claim| claim.accepted()), "claims were accepted between the deaths");
    // A claim may have been kept although nobody was told, when java-claims died between the two: it counts as well.
    let mut left: Vec<_> = sent.iter().filter_map(|claim| Some((claim.claim_id.clone()?, claim.accepted()))).collect();
    eventually_within(REDELIVERED, "every claim that is kept is checked", || {
        left.retain(|(claim_id, accepted)| match lab.kept(claim_id) {
            Some(claim) => claim["fraud_check"]["finding"] != "clear",
            None => {
                assert!(!accepted, "{claim_id} was answered with 201 and is not kept");
                false
            }
        });
        if left.is_empty() { Ok(()) } else { Err(format!("{} of {} wait: {left:?}", left.len(), sent.len())) }
    });
    eventually_within(REDELIVERED, "the queue is empty, and nothing was given up", || match counts(&lab) {
        counts if counts == Counts::default() => Ok(()),
        counts => Err(format!("{counts:?}")),
    });
}

#[test]
fn what_waits_is_told_by_the_health_of_java_claims() {
    let lab = Lab::start();
    eventually("`up` has shown its first claim", || match lab.process.output() {
        output if output.contains("the first claim's traces were received") => Ok(()),
        output => Err(output),
    });
    let see = |waiting: u32, reason: &str| {
        let expected = json!({ "outbox": 0, "queue": { "waiting": waiting, "in_flight": 0, "dead": 0 } });
        let url = format!("{}healthz", lab.file.process("java-claims").url);
        eventually(reason, || match lab.client.get(&url).send().unwrap().json::<Value>().unwrap() {
            health if health["backlog"] == expected => Ok(()),
            health => Err(health.to_string()),
        });
    };
    see(0, "nothing waits any more");
    let worker = lab.file.process("claims-worker").pid.unwrap();
    signal(worker, "STOP");
    for _ in 0..3 {
        assert_eq!(lab.claim().status, Some(201), "claims are accepted while nobody checks them");
    }
    see(3, "each claim left a message in the queue");
    signal(worker, "CONT");
    see(0, "the worker has caught up");
}

fn counts(lab: &Lab) -> Counts {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("sqlite://{}", lab.data_dir().join("queue.db").display());
    runtime.block_on(async {
        let queue = claims_queue::connect(&url, "claims", Options::default()).await.unwrap();
        queue.counts().await.unwrap()
    })
}

#[test]
fn a_finding_is_reported_once_and_shown_with_the_claim() {
    let lab = Lab::start();
    let java_claims = &lab.file.process("java-claims").url;
    let put = |claim_id: &str, finding: &str| {
        let url = format!("{java_claims}api/claims/{claim_id}/fraud-check");
        lab.client.put(url).json(&json!({ "finding": finding })).send().unwrap().status().as_u16()
    };
    for (amount_cents, finding, other) in [(999_999, "clear", "suspicious"), (1_000_000, "suspicious", "clear")] {
        let body = json!({
            "policy_id": "POL-1001", "claimant": "Ada Lovelace", "incident_date": "2025-06-15",
            "amount_cents": amount_cents, "description": "hail",
        });
        let response = lab.client.post(format!("{}claims", lab.file.front_door)).json(&body).send().unwrap();
        let claim_id = response.headers()["x-claim-id"].to_str().unwrap().to_owned();
        assert_eq!(lab.checked(&claim_id), finding, "{amount_cents} cents: what the partner found");
        let table = [(finding, 204, "the same again"), (other, 409, "another"), (finding, 204, "the first still")];
        for (finding, status, why) in table {
            assert_eq!(put(&claim_id, finding), status, "{amount_cents} cents: {why}");
        }
        assert_eq!(put(&claim_id, "guilty"), 422, "no such finding");
        assert_eq!(lab.checked(&claim_id), finding, "{amount_cents} cents: what was found first stays");
    }
    let unknown = format!("CLM-{}", "0".repeat(32));
    assert_eq!(put(&unknown, "clear"), 404, "nobody sent such a claim");
    assert_eq!(lab.kept(&unknown), None, "and none is made of it");
}

#[test]
fn the_third_party_is_sent_the_trace_but_no_baggage() {
    let lab = Lab::start();
    let cases = [
        (None, None, "healthy"),
        (Some("OUTSIDE_BAGGAGE=all"), Some("feature.flags=new-pricing-model,tenant.id=acme-corp"), "no list at all"),
        (Some("OUTSIDE_BAGGAGE=feature.flags"), Some("feature.flags=new-pricing-model"), "a list of one key"),
    ];
    for (setting, baggage, why) in cases {
        if let Some(setting) = setting {
            lab.cli(&["scenario", "set", "claims-worker", setting]).ended(0, "all services apply it");
        }
        let claim_id = lab.claim().claim_id.unwrap();
        let evidence = lab.whole(&claim_id);
        let call =
            evidence.spans().find(|span| (span.service.as_str(), span.name.as_str()) == ("claims-worker", "POST"));
        let call = call.expect("the call of the third party is in the trace");
        assert_eq!(call.kind, SpanKind::Client, "it has no other side");
        let traceparent = format!("00-{}-{}-03", call.trace_id, call.span_id);
        let mut expected = vec![("traceparent", traceparent)];
        expected.extend(baggage.map(|baggage| ("baggage", baggage.to_owned())));
        expected.sort();

        let record = evidence.third_party.expect("the desk asks the third party");
        let seen: Vec<_> = record.iter().map(|(name, values)| (name, sorted_members(&values.join(",")))).collect();
        assert_eq!(seen, expected, "{why}: what the third party remembers");
        let url = format!("{}checks/{claim_id}", lab.file.process("fraud-partner").url);
        let told: Value = Client::new().get(url).send().unwrap().json().unwrap();
        let bytes: usize = expected.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert_eq!((&told["claim_id"], &told["bytes"]), (&json!(claim_id), &json!(bytes)), "{why}: {told}");
    }
    let unknown = format!("{}checks/CLM-unknown", lab.file.process("fraud-partner").url);
    assert_eq!(lab.client.get(unknown).send().unwrap().status(), 404, "it was never asked about such a claim");
}

/// Baggage has no order.
fn sorted_members(header: &str) -> String {
    let mut members: Vec<_> = header.split(',').collect();
    members.sort_unstable();
    members.join(",")
}
