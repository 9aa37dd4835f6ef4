//! Processes that die, that are told to end, and that find nobody to export to.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use chain::Service;
use desk::api::{ClaimEvent, SentClaim};
use evidence::TraceSource;
use evidence::span::{Span, SpanKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::{Lab, Running, eventually, free_port, is_gone, one_trace, shapes, signal};

/// A caller's span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[test]
fn a_killed_service_comes_back_and_no_accepted_claim_is_lost() {
    let lab = Lab::start();
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let load = scope.spawn(|| load(&lab, &done));
        let end = End(&done);
        for process in &lab.file.processes {
            kill_and_see_it_again(&lab, &process.service);
        }
        drop(end);
        load.join().unwrap()
    });

    let accepted: Vec<_> = sent.iter().filter(|claim| claim.accepted()).collect();
    let refused: BTreeSet<_> = sent.iter().filter(|claim| !claim.accepted()).filter_map(|claim| claim.status).collect();
    assert!(refused.is_subset(&BTreeSet::from([503])), "what cannot be served now is 503, nothing else: {refused:?}");
    assert!(!accepted.is_empty(), "claims were accepted between the deaths");
    for claim in &accepted {
        let claim_id = claim.claim_id.as_deref().unwrap();
        let response = lab.client.get(format!("{}claims/{claim_id}", lab.file.front_door)).send().unwrap();
        assert_eq!(response.status(), 200, "{claim_id} was answered with 201");
        assert_eq!(response.json::<Value>().unwrap()["claim_id"], json!(claim_id), "and is the claim asked for");
    }
    eventually("the chain is complete again", || match lab.check(None) {
        (0, _, probes) => {
            probes.iter().for_each(|evidence| assert_eq!(shapes(evidence), [one_trace()], "one trace each"));
            Ok(())
        }
        (_, report, _) => Err(format!("{report:#?}")),
    });
}

/// Ends the load even if the test fails.
pub(crate) struct End<'a>(pub(crate) &'a AtomicBool);

// === impl End ===

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Thirty claims a second through the desk; whenever that dies, through its successor.
pub(crate) fn load(lab: &Lab, done: &AtomicBool) -> Vec<SentClaim> {
    let mut sent = Vec::new();
    let url = format!("{}api/claims", lab.file.desk);
    while !done.load(Relaxed) {
        let response = eventually("a desk takes claims", || {
            let request = lab.client.post(&url).json(&json!({ "count": 15, "per_second": 30 }));
            request.send().map_err(|error| error.to_string())
        });
        let lines = BufReader::new(response).lines().map_while(Result::ok);
        sent.extend(lines.filter_map(|line| match serde_json::from_str(&line).unwrap() {
            ClaimEvent::Claim(claim) => Some(claim),
            ClaimEvent::Done { .. } => None,
        }));
    }
    sent
}

pub(crate) fn kill_and_see_it_again(lab: &Lab, service: &str) {
    let before = lab.file_now().process(service).clone();
    let pid = before.pid.unwrap_or_else(|| panic!("{service} runs"));
    signal(pid, "KILL");
    let now = eventually(&format!("{service} runs again"), || match lab.file_now().process(service) {
        now if now.restarts > before.restarts && now.pid.is_some() => Ok(now.clone()),
        now => Err(format!("{now:?}")),
    });
    assert_ne!(now.pid, Some(pid), "{service} is another process");
    assert_eq!(now.url, before.url, "{service} is where it was");
    eventually(&format!("claims are accepted after {service} died"), || {
        let answer = lab.cli(&["claim", "--json"]);
        if answer.code == 0 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

#[test]
fn nothing_outlives_a_killed_supervisor() {
    let mut lab = Lab::start();
    let evidence = lab.whole(&lab.claim().claim_id.unwrap());
    assert_eq!(shapes(&evidence), [one_trace()], "every process is at work");
    signal(lab.file.supervisor_pid, "KILL");
    assert_eq!(lab.process.wait("the supervisor is dead").code(), None, "it was killed, it did not end");
    assert_all_gone(&lab);

    let answer = lab.cli(&["check"]).ended(2, "nobody can tell");
    let expected = format!("insurewatch: no lab answers at {}; start one with `insurewatch up`", lab.file.desk);
    assert_eq!(answer.stderr.trim(), expected, "lab.json is stale, and one is told what to do");
}

#[test]
fn a_lab_that_is_told_to_end_leaves_nothing() {
    for name in ["INT", "TERM"] {
        let mut lab = Lab::start();
        let evidence = lab.whole(&lab.claim().claim_id.unwrap());
        assert_eq!(shapes(&evidence), [one_trace()], "every process is at work");
        lab.process.signal(name);
        let ended = lab.process.wait(&format!("SIG{name} ends the lab"));
        assert_eq!(ended.code(), Some(0), "SIG{name}: {}", lab.process.output());
        assert_all_gone(&lab);
        assert!(!lab.data_dir().join("lab.json").exists(), "SIG{name}: nobody finds a lab that is gone");
        assert!(!lab.process.output().contains("killed"), "every process ended by itself: {}", lab.process.output());
        for process in Service::ALL.iter().filter(|service| service.has_sdk()) {
            let log = std::fs::read_to_string(lab.data_dir().join(format!("logs/{process}.jsonl"))).unwrap();
            let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
            assert_eq!(last["message"], "every span was exported", "{process} loses nothing at SIG{name}: {last}");
        }
    }
}

fn assert_all_gone(lab: &Lab) {
    for process in &lab.file.processes {
        let pid = process.pid.unwrap();
        eventually(&format!("{} is gone", process.service), || {
            if is_gone(pid) { Ok(()) } else { Err(format!("process {pid} runs")) }
        });
    }
}

#[test]
fn spans_that_wait_are_exported_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let [traces, grpc, http] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let arguments = ["serve", "trace-store", "--listen", &traces, "--otlp-grpc", &grpc, "--otlp-http", &http];
    let _store = Running::start(&arguments, &[], &folder.path().join("store"));
    eventually("the trace store answers", || {
        reqwest::blocking::get(format!("http://{traces}/ready")).map_err(|error| error.to_string())
    });
    let mut echo = Echo::start(&folder, &format!("http://{http}"));
    echo.ask();
    assert_eq!(find(&traces), None, "exporters wait for a minute, so the span is not there yet");
    echo.process.signal("TERM");
    assert_eq!(echo.process.wait("SIGTERM ends the service").code(), Some(0), "{}", echo.process.output());
    let span = find(&traces).expect("the span was exported at the end");
    assert_eq!((span.name.as_str(), span.kind), ("POST /test", SpanKind::Server), "the span of the request");
    assert_eq!(span.parent_span_id.map(|id| id.to_string()).as_deref(), Some(PARENT), "below the caller's");
    assert_eq!(span.service, "echo", "with its resource");
}

#[test]
fn a_service_whose_collector_is_dead_answers_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut echo = Echo::start(&folder, &format!("http://127.0.0.1:{}", free_port()));
    for _ in 0..3 {
        echo.ask();
    }
    echo.process.signal("TERM");
    assert_eq!(echo.process.wait("SIGTERM ends the service").code(), Some(0), "{}", echo.process.output());
    let output = echo.process.output();
    let last: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    let seen = (&last["level"], &last["lost"], &last["exported"]);
    assert_eq!(seen, (&json!("ERROR"), &json!(3), &json!(0)), "the log says how many spans are lost: {output}");
}

/// An instrumented service of one endpoint, whose exporter waits for a minute.
struct Echo {
    process: Running,
    url: String,
}

// === impl Echo ===

impl Echo {
    fn start(folder: &TempDir, endpoint: &str) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let environment = [
            ("OTEL_SERVICE_NAME", "echo".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "60000".to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()),
        ];
        let arguments = ["serve", "trace-context-echo", "--listen", &listen];
        let process = Running::start(&arguments, &environment, &folder.path().join("echo"));
        let url = format!("http://{listen}/test");
        eventually("the service listens", || {
            std::net::TcpStream::connect(&listen).map_err(|error| format!("{error}: {}", process.output()))
        });
        Self { process, url }
    }

    fn ask(&self) {
        let request = reqwest::blocking::Client::new().post(&self.url).json(&json!([]));
        let response = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).send().unwrap();
        assert_eq!(response.status(), 200, "it answers, whatever becomes of its spans");
        let traceresponse = response.headers()["traceresponse"].to_str().unwrap();
        assert!(traceresponse.contains(TRACE), "it is in the caller's trace: {traceresponse}");
    }
}

fn find(traces: &str) -> Option<Span> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let source = TraceSource::new(format!("http://{traces}/"), reqwest::Client::new());
    let trace = runtime.block_on(source.trace(TRACE.parse().unwrap())).unwrap()?;
    trace.spans.into_iter().next()
}
