//! A separate lab for each test, and waiting with a deadline.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chain::{Service, Topology};
use desk::api::{CheckReport, ClaimEvent, ClaimReport, SentClaim, Status};
use evidence::{ClaimEvidence, Collected, Expectation, Fragment, Mismatch, Reading, holds};
use reqwest::blocking::{Client, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use settings::{Active, Settings};
use tempfile::TempDir;

/// Far more than anything here takes; only a failing test waits that long.
const DEADLINE: Duration = Duration::from_secs(30);
const ATTEMPTS: usize = 3;
const POLL: Duration = Duration::from_millis(20);

/// A running `insurewatch up`. Dropping it ends it as Ctrl-C does.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) process: Running,
    pub(crate) file: LabFile,
    pub(crate) client: Client,
    data_dir: TempDir,
}

/// `lab.json`: the part that the tests read.
#[derive(Debug, Deserialize)]
pub(crate) struct LabFile {
    pub(crate) desk: String,
    pub(crate) front_door: String,
    pub(crate) traces: String,
    pub(crate) otlp_http: Option<String>,
    pub(crate) supervisor_pid: u32,
    pub(crate) processes: Vec<Process>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) service: String,
    pub(crate) url: String,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
}

/// A process of the binary, its output kept in a file. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    output: PathBuf,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Looks until there is something to see; fails with the reason and what was seen last.
pub(crate) fn eventually<T>(reason: &str, look: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, reason, look)
}

/// The same with its own deadline.
pub(crate) fn eventually_within<T>(patience: Duration, reason: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => {
                panic!("waited {} s until {reason}; seen last: {seen}", patience.as_secs())
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// A port that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(sent.success(), "SIG{name} could not be sent to process {pid}");
}

/// Whether a process is gone; one that only waits to be buried is.
pub(crate) fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let buried = stat.rsplit(") ").next().is_some_and(|state| state.starts_with('Z'));
    let probe = Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
    buried || !probe.success()
}

/// The binary, without the settings of the person who runs the tests.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_insurewatch"));
    for (name, _) in std::env::vars_os() {
        if ["OTEL_", "INSUREWATCH_", "RUST_LOG"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end, which must come.
pub(crate) fn run(arguments: &[&str]) -> Answer {
    run_in(&[], arguments)
}

/// The same with its own variables.
pub(crate) fn run_in(environment: &[(&str, String)], arguments: &[&str]) -> Answer {
    let folder = tempfile::tempdir().unwrap();
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.path().join(name));
    let [out, err] = [&stdout, &stderr].map(|path| File::create(path).unwrap());
    let mut command = command();
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let mut command = Running::spawn(command.stdout(out).stderr(err), &stderr);
    let ended = command.wait(&format!("{arguments:?} ends"));
    Answer {
        code: ended.code().unwrap_or_else(|| panic!("{arguments:?} was ended by a signal")),
        stdout: std::fs::read_to_string(stdout).unwrap(),
        stderr: std::fs::read_to_string(stderr).unwrap(),
    }
}

// === impl Running ===

impl Running {
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, String)], output: &Path) -> Self {
        let log = File::create(output).unwrap();
        let mut command = command();
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        Self::spawn(command.stdout(log.try_clone().unwrap()).stderr(log), output)
    }

    fn spawn(command: &mut Command, output: &Path) -> Self {
        Self { child: command.stdin(Stdio::null()).spawn().unwrap(), output: output.to_owned() }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    pub(crate) fn wait(&mut self, reason: &str) -> ExitStatus {
        let output = self.output.clone();
        eventually(reason, || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err(format!("it runs still, its output is {}", std::fs::read_to_string(&output).unwrap())),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let deadline = Instant::now() + DEADLINE;
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL);
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The same, once it is certain that the command ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32, reason: &str) -> Self {
        assert_eq!(self.code, code, "{reason}: {self:#?}");
        self
    }
}

// === impl Lab ===

impl Lab {
    pub(crate) fn start() -> Self {
        Self::start_with(&["--port-base", "0"])
    }

    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::start_in(&[], options)
    }

    /// A lab whose process has its own variables.
    pub(crate) fn start_in(environment: &[(&str, String)], options: &[&str]) -> Self {
        // Between the choice of a free port and its use anybody's connection may take it.
        let taken = |output: &String| output.contains("Address already in use");
        let mut attempts = (0..ATTEMPTS).map(|_| Self::try_start(environment, options));
        let ended = match attempts.find(|attempt| attempt.as_ref().err().is_none_or(|output| !taken(output))) {
            Some(Ok(lab)) => return lab,
            Some(Err(output)) => output,
            None => "a port was taken each time".to_owned(),
        };
        panic!("the lab ended: {ended}");
    }

    /// The output of a lab that ended at once is the error.
    fn try_start(environment: &[(&str, String)], options: &[&str]) -> Result<Self, String> {
        let data_dir = tempfile::tempdir().unwrap();
        let folder = data_dir.path().to_str().unwrap();
        let arguments = [&["--data-dir", folder, "up"], options].concat();
        let mut process = Running::start(&arguments, environment, &data_dir.path().join("up.log"));
        let client = Client::builder().timeout(DEADLINE).build().unwrap();
        let file = eventually("the lab is ready", || {
            let ended = process.child.try_wait().unwrap().is_some();
            match process.output() {
                output if ended => Ok(Err(output)),
                output if output.contains("\nready, in ") => Ok(Ok(LabFile::read(data_dir.path()))),
                output => Err(output),
            }
        });
        Ok(Self { process, file: file?, client, data_dir })
    }

    /// What a service logged so far.
    pub(crate) fn log(&self, service: &str) -> String {
        std::fs::read_to_string(self.data_dir().join(format!("logs/{service}.jsonl"))).unwrap_or_default()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// `lab.json` as it stands now.
    pub(crate) fn file_now(&self) -> LabFile {
        LabFile::read(self.data_dir.path())
    }

    /// Runs a command of the command line against this lab.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Answer {
        run(&[&["--data-dir", self.data_dir.path().to_str().unwrap()], arguments].concat())
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.client.get(format!("{}{path}", self.file.desk)).send().unwrap().error_for_status().unwrap().json().unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        let url = format!("{}{path}", self.file.desk);
        self.client.post(url).json(body).send().unwrap().error_for_status().unwrap()
    }

    /// Replaces all settings at once, as an author does who edits the file; every service has applied it when it returns.
    pub(crate) fn replace_settings(&self, settings: Settings) {
        let before: Status = self.get("api/settings");
        let generation = before.generation + 1;
        Active { generation, scenario: None, settings }.write(&self.data_dir().join("active.toml")).unwrap();
        eventually("every service applies the file", || match self.get::<Status>("api/settings") {
            now if now.settled && now.generation == generation => Ok(()),
            now => Err(format!("{now:?}")),
        });
    }

    /// Sends one claim and tells its answer.
    pub(crate) fn claim(&self) -> SentClaim {
        let lines = BufReader::new(self.post("api/claims", &json!({ "count": 1 }))).lines();
        let claims = lines.filter_map(|line| match serde_json::from_str(&line.unwrap()).unwrap() {
            ClaimEvent::Claim(claim) => Some(claim),
            ClaimEvent::Done { .. } => None,
        });
        claims.last().expect("the desk answers with the claim")
    }

    /// Returns when every span that ended before has arrived: exporters keep the order, and a claim sent now touches
    /// every service. The chain must be healthy.
    pub(crate) fn settle(&self) {
        let claim_id = self.claim().claim_id.expect("the chain is healthy");
        self.whole(&claim_id);
    }

    /// Waits until the evidence of a claim is complete.
    pub(crate) fn whole(&self, claim_id: &str) -> ClaimEvidence {
        eventually(&format!("claim {claim_id} is complete in the trace store"), || {
            let report = self.try_look(&format!("{claim_id}?wait_ms=5000"))?;
            if report.collected.complete {
                Ok(report.collected.evidence)
            } else {
                Err(format!("{:#?}", report.collected.evidence))
            }
        })
    }

    /// Waits until every span of a claim is there, in however many traces. Nothing is waited for after that.
    pub(crate) fn seen(&self, claim_id: &str) -> ClaimEvidence {
        eventually(&format!("every span of claim {claim_id} is in the trace store"), || {
            let collected = self.try_look(&format!("{claim_id}?wait_ms=0"))?.collected;
            match Reading::new(Topology::LAB, &collected).is_complete() {
                true => Ok(collected.evidence),
                false => Err(format!("{:#?}", collected.evidence)),
            }
        })
    }

    /// Waits until a claim's fraud check is recorded, and tells its finding.
    pub(crate) fn checked(&self, claim_id: &str) -> Value {
        eventually(&format!("the fraud check of claim {claim_id} is recorded"), || {
            let claim = self.kept(claim_id).unwrap_or_default();
            claim.pointer("/fraud_check/finding").cloned().ok_or_else(|| claim.to_string())
        })
    }

    /// A claim as the front door tells it; `None` if it knows none.
    pub(crate) fn kept(&self, claim_id: &str) -> Option<Value> {
        let response = self.client.get(format!("{}claims/{claim_id}", self.file.front_door)).send().unwrap();
        match response.status().as_u16() {
            200 => Some(response.json().unwrap()),
            404 => None,
            status => panic!("claim {claim_id} is read with {status}"),
        }
    }

    /// What is known just now of a claim or a trace.
    pub(crate) fn look(&self, id: &str) -> ClaimReport {
        self.try_look(&format!("{id}?wait_ms=0")).unwrap()
    }

    pub(crate) fn try_look(&self, id_and_query: &str) -> Result<ClaimReport, String> {
        let url = format!("{}api/claims/{id_and_query}", self.file.desk);
        let response = self.client.get(url).send().map_err(|error| error.to_string())?;
        match response.status().is_success() {
            true => response.json().map_err(|error| error.to_string()),
            false => Err(response.text().unwrap_or_default()),
        }
    }

    /// Runs `check`: its exit code, its report, and the evidence of each probe.
    pub(crate) fn check(&self, scenario: Option<&str>) -> (i32, CheckReport, Vec<ClaimEvidence>) {
        let arguments: Vec<_> = ["check", "--json"].into_iter().chain(scenario).collect();
        let answer = self.cli(&arguments);
        let report: CheckReport = answer.json();
        // The check has waited for it already.
        let probes = report.probes.iter().map(|probe| {
            let claim_id = probe.claim_id.as_deref().unwrap_or_else(|| panic!("a probe was not answered: {probe:?}"));
            let judged = report.verdict.claims.iter().find(|claim| claim.claim_id == claim_id);
            if judged.is_some_and(|claim| claim.traces.is_empty()) {
                // There is nothing to be found of it, but for what it was answered.
                let traceresponse = probe.traceresponse.clone();
                return ClaimEvidence { traceresponse, ..ClaimEvidence::from_spans(claim_id, []) };
            }
            self.look(claim_id).collected.evidence
        });
        let probes = probes.collect();
        (answer.code, report, probes)
    }
}

impl LabFile {
    fn read(data_dir: &Path) -> Self {
        serde_json::from_slice(&std::fs::read(data_dir.join("lab.json")).unwrap()).unwrap()
    }

    pub(crate) fn process(&self, service: &str) -> &Process {
        self.processes.iter().find(|process| process.service == service).expect("it is a process of the lab")
    }
}

/// A trace as its roots and services: `python-api POST /claims: python-api, java-claims`.
pub(crate) fn shape(fragment: &Fragment) -> String {
    let roots: Vec<_> = fragment.roots().map(|root| format!("{} {}", root.service, root.name)).collect();
    format!("{}: {}", roots.join(" and "), fragment.services.join(", "))
}

pub(crate) fn shapes(evidence: &ClaimEvidence) -> Vec<String> {
    evidence.fragments.iter().map(shape).collect()
}

/// The shape of a healthy claim, as the topology has it.
pub(crate) fn one_trace() -> String {
    let services: Vec<_> = Topology::LAB.instrumented().map(Service::name).collect();
    format!("{} POST /claims: {}", Topology::LAB.front_door, services.join(", "))
}

/// Where the evidence differs from an expectation.
pub(crate) fn mismatches(expectation: &Expectation, evidence: &ClaimEvidence) -> Vec<Mismatch> {
    let collected = Collected { evidence: evidence.clone(), ..Collected::default() };
    holds(expectation, &Reading::new(Topology::LAB, &collected))
}

/// A submission that was not accepted, or was before, so that nothing is sent to the queue.
pub(crate) const UNQUEUED: &str = "python-api POST /claims: python-api, java-claims, node-policy-store";
