//! Services in seats of the chain that know nothing of the lab: here our own binary, started as a stranger's would be.

use chain::Service;
use desk::api::{ServiceStatus, Status};
use settings::Settings;

use crate::lab::{Lab, Running, eventually, free_port, one_trace, shapes};

const SEAT: &str = "node-policy-store";
const BREAKING: &str = "OTEL_PROPAGATORS=b3";

/// A command that serves the policy store; without the file of settings, which its keeper does not hand on.
fn command() -> String {
    format!("exec '{}' serve {SEAT} --listen 127.0.0.1:$PORT", env!("CARGO_BIN_EXE_insurewatch"))
}

fn seat(status: &Status) -> &ServiceStatus {
    status.services.iter().find(|service| service.service == SEAT).unwrap()
}

fn seated(filled: &str) -> Lab {
    Lab::start_with(&["--port-base", "0", "--seat", &format!("{SEAT}={filled}")])
}

#[test]
fn a_command_in_a_seat_is_restarted_when_its_settings_change() {
    let lab = seated(&command());
    assert_eq!(shapes(&lab.whole(&lab.claim().claim_id.unwrap())), [one_trace()], "it is called, and calls nobody");
    lab.cli(&["scenario", "set", SEAT, BREAKING]).ended(0, "it applies what its SDK reads when it starts");
    let (code, report, _) = lab.check(None);
    assert_eq!(code, 1, "it runs with b3 now, and cannot read what it is sent: {report:?}");
    lab.cli(&["scenario", "reset"]).ended(0, "and back");
    assert_eq!(lab.check(None).0, 0, "the trace is complete again");
    assert_eq!(
        lab.file_now().processes.iter().filter(|it| it.service == SEAT).map(|it| it.restarts).sum::<u32>(),
        0,
        "its keeper was not restarted"
    );
}

#[test]
fn a_command_that_ends_is_started_again_and_nothing_of_it_outlives_the_lab() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // Its own process group: the shell, a child that would go on for ever, and the service.
    let lab =
        seated(&format!("sleep 600 & echo $! $$ >> {}; {}", pids.display(), command().trim_start_matches("exec ")));
    let started = || std::fs::read_to_string(&pids).unwrap_or_default();
    let first = started();
    let (sleeper, shell) = first.trim().split_once(' ').unwrap();
    crate::lab::signal(shell.parse().unwrap(), "KILL");
    eventually(
        "the command is started again",
        || {
            if started().lines().count() > 1 { Ok(()) } else { Err(lab.log(SEAT)) }
        },
    );
    eventually("what the first one started is gone", || {
        if crate::lab::is_gone(sleeper.parse().unwrap()) { Ok(()) } else { Err(first.clone()) }
    });
    eventually("it is called again", || {
        let answer = lab.cli(&["claim", "--json"]);
        if answer.code == 0 { Ok(()) } else { Err(answer.stdout) }
    });
    crate::lab::signal(lab.file.supervisor_pid, "KILL");
    let last = started();
    eventually("nothing is left of a lab whose supervisor was killed", || {
        let pids = last.split_whitespace().map(|pid| pid.parse().unwrap());
        let left: Vec<u32> = pids.filter(|pid| !crate::lab::is_gone(*pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn what_a_url_says_of_a_generation_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("active.toml");
    let mut echoed = settings::Active { generation: 1000, ..settings::Active::default() };
    echoed.settings = Settings::default();
    echoed.write(&settings).unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let environment = [
        ("INSUREWATCH_SETTINGS", settings.display().to_string()),
        ("DATABASE_URL", format!("sqlite://{}", folder.path().join("policies.db").display())),
    ];
    let arguments = ["serve", Service::NodePolicyStore.name(), "--listen", &listen];
    let _stranger = Running::start(&arguments, &environment, &folder.path().join("log"));
    let lab = seated(&format!("http://{listen}"));
    let status: Status = lab.cli(&["scenario", "status", "--json"]).ended(0, "nothing is set").json();
    assert_eq!(seat(&status).generation, Some(status.generation), "it answers, which is all that is known");
    let answer = lab.cli(&["scenario", "set", SEAT, BREAKING, "--json"]).ended(1, "it is not in force everywhere");
    let status: Status = answer.json();
    assert_eq!(seat(&status).not_applied, ["OTEL_PROPAGATORS"], "it says what was not applied");
    assert!(!status.settled, "the generation that it echoes is of no account");
    let told = lab.cli(&["scenario", "status"]).ended(1, "and says so again");
    assert!(told.stdout.contains("not applied, since it is a service of yours: OTEL_PROPAGATORS"), "{}", told.stdout);
    lab.cli(&["scenario", "reset"]).ended(0, "with nothing to apply everything is");
}

#[test]
fn settings_of_the_labs_own_are_named_where_nobody_can_apply_them() {
    let claims = format!("'{}' serve java-claims --listen 127.0.0.1:$PORT", env!("CARGO_BIN_EXE_insurewatch"));
    let lab = Lab::start_with(&["--port-base", "0", "--seat", &format!("java-claims=exec {claims}")]);
    let answer = lab.cli(&["scenario", "use", "thread-pool"]).ended(1, "no real service has that seam");
    assert!(answer.stdout.contains("not applied, since it is a service of yours: LOOKUP_POOL"), "{}", answer.stdout);
    let list = lab.cli(&["scenario", "list"]).ended(0, "all are listed").stdout;
    let needs_ours =
        |id| list.lines().any(|line| line.contains(id) && line.contains("needs a service of the lab's own"));
    assert!(needs_ours("thread-pool") && !needs_ours("lab-1-b3-vs-w3c"), "and those are marked: {list}");
    let refused = lab.cli(&["drill", "start", "--scenario", "thread-pool"]).ended(2, "no evidence would show it");
    assert!(refused.stderr.contains("`thread-pool` needs a service of the lab's own"), "{}", refused.stderr);
    let started = lab.cli(&["drill", "start"]).ended(0, "there are others");
    let left_out = started.stdout.split("a drill has been on").next().unwrap_or_default().to_owned();
    assert!(left_out.contains("left out") && left_out.contains("thread-pool"), "it says so: {}", started.stdout);
}

#[test]
fn a_seat_says_what_it_needs() {
    let lab = Lab::start();
    let shell = lab.cli(&["seat", "python-api", "--language", "python"]).ended(0, "it is printed").stdout;
    let gateway = lab.file.process("gateway").url.trim_end_matches('/').to_owned();
    for line in [
        "export OTEL_SERVICE_NAME='python-api'".to_owned(),
        format!("export CLAIMS_URL='{gateway}'"),
        format!("export OTEL_EXPORTER_OTLP_ENDPOINT='{}'", lab.file.otlp_http.as_ref().unwrap().trim_end_matches('/')),
        "export OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE='x-claim-id'".to_owned(),
    ] {
        assert!(shell.lines().any(|it| it.starts_with(&line)), "{line} is in {shell}");
    }
    let compose =
        lab.cli(&["seat", "java-claims", "--language", "java", "--format", "compose"]).ended(0, "it is printed");
    assert!(compose.stdout.contains("\n      OTEL_PROPAGATORS: \"tracecontext,baggage\""), "{}", compose.stdout);
    let contract: serde_json::Value = lab.cli(&["seat", "java-claims", "--openapi"]).ended(0, "it is printed").json();
    assert_eq!(contract["openapi"], "3.1.0");
    let node = lab.cli(&["seat", SEAT, "--language", "node"]).ended(0, "it is printed").stdout;
    assert!(node.contains("headersToSpanAttributes"), "what no variable does is said: {node}");
    lab.cli(&["seat", "fraud-partner", "--openapi"]).ended(2, "a third party has its own contract");
    lab.cli(&["seat", SEAT]).ended(2, "a language is needed");
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let up = |options: &[&str]| {
        let folder = folder.path().to_str().unwrap();
        crate::lab::run(&[&["--data-dir", folder, "up", "--port-base", "0"], options].concat())
    };
    let twice = up(&["--seat", "java-claims=http://127.0.0.1:1", "--seat", "java-claims=true"]);
    assert!(twice.ended(2, "one seat").stderr.contains("java-claims twice"), "it says which");
    let path = up(&["--seat-health", "java-claims=/health"]);
    assert!(path.ended(2, "no seat").stderr.contains("--seat-health names java-claims"), "it says which");
    for wrong in ["java=http://h", "java-claims=https://h", "java-claims="] {
        up(&["--seat", wrong]).ended(2, wrong);
    }
}
