//! Lab 1 as a learner walks it, from the command line and without a restart, while claims stream through.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use evidence::Outcome;
use serde_json::Value;

use crate::endings::End;
use crate::lab::{Lab, one_trace, shapes};

const LESSON: &str = "lab-1-b3-vs-w3c";

#[test]
fn lab_1_is_broken_diagnosed_and_fixed_twice_while_claims_stream() {
    let lab = Lab::start();
    let walked = AtomicBool::new(false);
    thread::scope(|scope| {
        let stream = scope.spawn(|| {
            let mut accepted = 0;
            while !walked.load(Relaxed) {
                let answer = lab.cli(&["claim", "--count", "50", "--rate", "50", "--json"]);
                let sent: Value = answer.ended(0, "no claim fails while settings change").json();
                assert_eq!(sent["failed"], 0, "{sent}");
                accepted += sent["accepted"].as_u64().unwrap();
            }
            accepted
        });
        let end = End(&walked);
        walk(&lab);
        drop(end);
        let accepted = stream.join().unwrap();
        assert!(accepted >= 50, "claims streamed during the walk: {accepted}");
    });
}

fn walk(lab: &Lab) {
    let w3c = [("python-api", "OTEL_PROPAGATORS=tracecontext,baggage")];
    let both =
        [("java-claims", "OTEL_PROPAGATORS=tracecontext,baggage,b3"), ("python-api", "OTEL_PROPAGATORS=b3,baggage")];
    for (fix, why) in [(&w3c[..], "the sender propagates W3C"), (&both, "the receiver reads B3 too")] {
        lab.cli(&["scenario", "use", LESSON]).ended(0, "all services apply it");
        sees_two_traces(lab);
        for (service, setting) in fix {
            lab.cli(&["scenario", "set", service, setting]).ended(0, "all services apply it");
        }
        let (code, report, probes) = lab.check(None);
        assert_eq!((code, report.verdict.outcome), (0, Outcome::Healthy), "{why}: {report:#?}");
        for evidence in &probes {
            assert_eq!(shapes(evidence), [one_trace()], "{why}");
        }
    }
}

fn sees_two_traces(lab: &Lab) {
    let (code, report, probes) = lab.check(None);
    assert_eq!((code, report.verdict.outcome), (1, Outcome::Broken), "{report:#?}");
    for (claim, evidence) in report.verdict.claims.iter().zip(&probes) {
        let seen: Vec<_> = evidence.fragments.iter().map(|fragment| fragment.trace_id).collect();
        assert_eq!(claim.traces, seen, "the verdict names the claim's traces");
        let expected = [
            "python-api POST /claims: python-api",
            "java-claims POST /api/claims: java-claims, node-policy-store, claims-worker",
        ];
        assert_eq!(shapes(evidence), expected, "the second trace begins where B3 is not read");
    }
    let text = lab.cli(&["check"]).ended(1, "for people as for programs").stdout;
    assert!(text.starts_with("BROKEN\n"), "the verdict comes first: {text}");
    let named = text.lines().filter(|line| line.starts_with("CLM-")).map(|line| line.split_whitespace().count() - 1);
    assert_eq!(named.collect::<Vec<_>>(), [2, 2, 2], "each probe is listed with both of its traces: {text}");
}
