//! The supervisor: the complete lab on this machine, each service in its own process.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chain::Service;
use desk::api::{ClaimEvent, ClaimReport, ClaimsRequest};
use reqwest::Url;
use tokio::net::TcpSocket;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::cli::Up;
use crate::lab_file::{DeskClient, LabFile, LabName, ProcessEntry};
use crate::process::{shutdown_asked, variable_or_file};
use crate::program::Program;
use crate::seat::{Filled, Seat};
use crate::serve::{begin, catalogue};
use crate::services::{self, Needs};
use crate::{EXIT_BAD_CONFIG, commands, folder, seat};

/// How long the lab may take to come up.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// The same with commands in seats, which may install something first.
const SEATS_READY_DEADLINE: Duration = Duration::from_secs(180);
/// How long a service may take to end; it drains for 5 s and flushes for 5 s at most.
const STOP_DEADLINE: Duration = Duration::from_secs(12);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// A process that lived that long starts again with the first backoff.
const LIVED: Duration = Duration::from_secs(10);
/// Spans are on show within a fraction of a second; the SDK's own default is 5,000 ms.
const SCHEDULE_DELAY_MS: &str = "200";
/// So much freed memory a process keeps for itself.
const KEPT_FREE_BYTES: u32 = 1 << 20;
/// On other systems a port can be opened once only, whatever its options.
const HELD_PORTS_CAN_BE_OPENED: bool = cfg!(target_os = "linux");

/// Where everything listens.
#[derive(Debug)]
struct Ports {
    programs: Vec<(Program, Endpoint)>,
    /// What fills the seats of services that are not the lab's own.
    seats: Vec<Seated>,
    /// Of the built-in trace store, if it is needed.
    otlp: Option<Otlp>,
    /// Ports that the system chose: see [`hold`].
    _held: Vec<TcpSocket>,
}

#[derive(Debug)]
struct Otlp {
    grpc: Endpoint,
    http: Endpoint,
}

/// A service in a seat.
#[derive(Debug)]
struct Seated {
    service: Service,
    /// Where it answers for its health.
    health: Url,
    /// Where its keeper listens, and the command that it keeps running; `None` for what runs already.
    kept: Option<(Endpoint, String)>,
}

/// Where a program listens, and the URL at which this machine finds it.
#[derive(Clone, Debug)]
struct Endpoint {
    address: SocketAddr,
    url: Url,
}

/// A process that is kept running.
#[derive(Debug)]
struct Kept {
    service: Program,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A process that runs.
#[derive(Debug)]
struct Running {
    child: Child,
    /// Kept apart, since waiting for a child closes its standard input.
    lifeline: Option<ChildStdin>,
}

/// The state that `lab.json` shows.
pub(crate) type SharedLab = Arc<Mutex<LabFile>>;

pub(crate) async fn up(data_dir: &Path, options: Up) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let shutdown = shutdown_asked(false)?;
    tokio::pin!(shutdown);
    let catalogue = catalogue()?;
    let scenario = catalogue.get(&options.scenario)?;

    std::fs::create_dir_all(data_dir.join("logs"))
        .with_context(|| format!("{} cannot be created", data_dir.display()))?;
    let data_dir = data_dir.canonicalize()?;
    let _claimed = folder::claim(&data_dir)?;
    begin(&data_dir.join("active.toml"), scenario)?;
    // Of claims whose spans went with the last lab nothing could be shown.
    let _ = std::fs::remove_file(data_dir.join(desk::CLAIMS_FILE));

    let lab_name = match &options.lab_name {
        Some(name) => Some(name.clone()),
        None => variable_or_file("INSUREWATCH_LAB_NAME", LabName::ALLOWED)?,
    };
    // The system gives no port twice by itself.
    let turn = if options.port_base == Some(0) { None } else { folder::turn_to_start().await };
    let ports = Ports::choose(&options)?;
    let lab = Arc::new(Mutex::new(ports.lab_file(&options)?));
    let mut kept = Vec::new();
    let (bad_config, mut misconfigured) = mpsc::unbounded_channel();
    let ready = Arc::new(AtomicBool::new(false));
    for (service, _) in ports.programs.iter().filter(|(program, _)| ports.starts(*program)) {
        kept.push(keep(
            *service,
            environment(*service, &ports, &options, lab_name.as_ref(), &data_dir)?,
            &ports,
            &data_dir,
            &lab,
            (bad_config.clone(), ready.clone()),
        )?);
    }

    let run = async {
        let desk = wait_until_ready(&lab, &data_dir, ports.seats.is_empty()).await?;
        drop(turn);
        announce(&lab, &data_dir, began.elapsed());
        ready.store(true, Relaxed);
        tokio::join!(show_first_claim(&desk), folder::keep_tidy(&data_dir, &lab));
        anyhow::Ok(())
    };
    let result = tokio::select! {
        result = run => result,
        Some(service) = misconfigured.recv() => {
            Err(anyhow::anyhow!("{} cannot start: {}", service.name(), last_words(&log_path(&data_dir, service))))
        }
        () = &mut shutdown => Ok(()),
    };
    anstream::eprintln!("shutting down: draining requests, flushing spans");
    stop(kept).await;
    let _ = std::fs::remove_file(LabFile::path(&data_dir));
    result.map(|()| ExitCode::SUCCESS)
}

/// The variables that a service gets; it inherits the rest of the environment.
fn environment(
    program: Program,
    ports: &Ports,
    options: &Up,
    lab_name: Option<&LabName>,
    data_dir: &Path,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let url = |program| anyhow::Ok(ports.of(program)?.url.to_string());
    let database = |name: &str| format!("sqlite://{}", data_dir.join(format!("{name}.db")).display());
    let endpoint = match (&options.otlp_endpoint, &ports.otlp) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(built_in)) => built_in.http.url.to_string(),
        (None, None) => bail!("no endpoint for spans is set"),
    };
    let mut variables = vec![
        ("INSUREWATCH_SETTINGS", data_dir.join("active.toml").display().to_string()),
        ("OTEL_SERVICE_NAME", program.name().to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.trim_end_matches('/').to_owned()),
        // A proxy that the environment names is for the world outside.
        ("NO_PROXY", no_proxy()),
    ];
    if options.otlp_endpoint.is_none() {
        // Whatever protocol the environment names, the built-in store is asked as its endpoint is written.
        variables.push(("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()));
        variables.push(("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", String::new()));
    }
    if let Some(name) = lab_name {
        // The last of several with the same key counts.
        let named = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        variables.push(("OTEL_RESOURCE_ATTRIBUTES", format!("{named},{}", name.resource_attribute())));
    }
    if std::env::var_os("OTEL_BSP_SCHEDULE_DELAY").is_none() {
        variables.push(("OTEL_BSP_SCHEDULE_DELAY", SCHEDULE_DELAY_MS.to_owned()));
    }
    match program {
        Program::Service(service) => {
            let Needs { calls, database: own, queue } = services::needs(service);
            for call in calls {
                variables.push((call.variable, url(Program::Service(call.to))?));
            }
            variables.extend(own.map(|name| ("DATABASE_URL", database(name))));
            if service == Service::PythonApi {
                let file = data_dir.join("claim-id.key");
                variables.push((python_api::CLAIM_ID_KEY_FILE, file.display().to_string()));
            }
            if queue {
                // SQLite forgets its pages whenever another process has written: glibc would give that memory back to the system,
                // and ask for it again, at each message. Elsewhere nothing reads it.
                variables.push(("MALLOC_TRIM_THRESHOLD_", KEPT_FREE_BYTES.to_string()));
                let queue = std::env::var("INSUREWATCH_QUEUE_URL").unwrap_or_else(|_| database("queue"));
                variables.push(("QUEUE_URL", queue));
            }
        }
        Program::Desk => {
            for service in Service::ALL {
                variables.push((service.row().url_variable, url(Program::Service(*service))?));
            }
            let tempo = options.tempo.as_ref().map_or_else(|| url(Program::TraceStore), |url| Ok(url.to_string()));
            variables.push(("TEMPO_URL", tempo?));
            let list = |entries: Vec<String>| entries.join(",");
            let plain = ports.seats.iter().filter(|seat| seat.kept.is_none());
            let plain = plain.map(|seat| format!("{}={}", seat.service, seat.health)).collect();
            let kept = ports
                .seats
                .iter()
                .filter_map(|seat| seat.kept.as_ref().map(|(keeper, _)| format!("{}={}", seat.service, keeper.url)));
            variables.push(("INSUREWATCH_SEATS", list(plain)));
            variables.push(("INSUREWATCH_KEPT_SEATS", list(kept.collect())));
            variables.push(("INSUREWATCH_TRAFFIC_PER_SECOND", options.traffic.to_string()));
        }
        // Each arena of glibc keeps what its threads have freed, which no bound of ours knows of. Elsewhere nothing reads it.
        Program::TraceStore => variables.push(("MALLOC_ARENA_MAX", "1".to_owned())),
        Program::TraceContextEcho => {}
    }
    Ok(variables)
}

fn no_proxy() -> String {
    let named = std::env::var("NO_PROXY").or_else(|_| std::env::var("no_proxy")).unwrap_or_default();
    format!("{named}{}127.0.0.1,localhost", if named.is_empty() { "" } else { "," })
}

/// Starts a process, and restarts it whenever it ends unasked.
fn keep(
    service: Program,
    environment: Vec<(&'static str, String)>,
    ports: &Ports,
    data_dir: &Path,
    lab: &SharedLab,
    // Where a configuration that cannot work is reported, until the lab is ready.
    (bad_config, ready): (mpsc::UnboundedSender<Program>, Arc<AtomicBool>),
) -> anyhow::Result<Kept> {
    let log_path = log_path(data_dir, service);
    let log = OpenOptions::new().create(true).append(true).open(&log_path);
    let log = log.with_context(|| format!("{} cannot be opened", log_path.display()))?;
    let mut arguments = vec!["serve".to_owned(), service.name().to_owned(), "--supervised".to_owned()];
    match ports.seat(service).map(|seat| (seat, &seat.kept)) {
        Some((seat, Some((keeper, command)))) => {
            arguments.extend(["--listen".to_owned(), keeper.address.to_string()]);
            arguments.extend(["--seat-command".to_owned(), command.clone()]);
            arguments.extend(["--seat-health".to_owned(), seat.health.to_string()]);
        }
        _ => arguments.extend(["--listen".to_owned(), ports.of(service)?.address.to_string()]),
    }
    if let (Program::TraceStore, Some(otlp)) = (service, &ports.otlp) {
        arguments.extend(["--otlp-grpc".to_owned(), otlp.grpc.address.to_string()]);
        arguments.extend(["--otlp-http".to_owned(), otlp.http.address.to_string()]);
    }
    let executable = std::env::current_exe().context("the running program cannot be found")?;
    let start = move || spawn(&executable, &arguments, &environment, &log);
    let (stop, mut stopped) = oneshot::channel();
    let (lab, data_dir) = (lab.clone(), data_dir.to_owned());
    let mut running = start().with_context(|| format!("{} cannot be started", service.name()))?;
    note(&lab, &data_dir, service, running.child.id(), 0);
    let task = tokio::spawn(async move {
        let mut backoff = FIRST_BACKOFF;
        let mut restarts = 0;
        loop {
            let started = Instant::now();
            let ended = tokio::select! {
                status = running.child.wait() => status,
                _ = &mut stopped => return end(service, running).await,
            };
            if started.elapsed() >= LIVED {
                backoff = FIRST_BACKOFF;
            }
            let gave_up = ended.as_ref().is_ok_and(|status| status.code() == Some(i32::from(EXIT_BAD_CONFIG)));
            if gave_up && !ready.load(Relaxed) {
                let _ = bad_config.send(service);
                return;
            }
            let how = match ended {
                Ok(_) if gave_up => last_words(&log_path),
                ended => ended.map_or_else(|error| error.to_string(), |status| status.to_string()),
            };
            anstream::eprintln!("{} ended ({how}), starting it again; see {}", service.name(), log_path.display());
            note(&lab, &data_dir, service, None, restarts);
            running = loop {
                tokio::select! {
                    () = sleep(backoff) => {}
                    _ = &mut stopped => return,
                }
                backoff = (backoff * 2).min(MAX_BACKOFF);
                match start() {
                    Ok(running) => break running,
                    Err(error) => anstream::eprintln!("{} cannot be started: {error}", service.name()),
                }
            };
            restarts += 1;
            note(&lab, &data_dir, service, running.child.id(), restarts);
        }
    });
    Ok(Kept { service, stop, task })
}

fn spawn(
    executable: &Path,
    arguments: &[String],
    environment: &[(&'static str, String)],
    log: &File,
) -> std::io::Result<Running> {
    let mut command = Command::new(executable);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    // A pipe that is never written to: its end tells the child that the supervisor is gone, or wants it to end.
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log.try_clone()?).kill_on_drop(true);
    // Ctrl-C in a terminal goes to the whole group; the children must end in order, so they are in groups of their own.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn()?;
    Ok(Running { lifeline: child.stdin.take(), child })
}

/// Waits until a process has ended, up to a limit.
async fn end(service: Program, mut running: Running) {
    drop(running.lifeline);
    if tokio::time::timeout(STOP_DEADLINE, running.child.wait()).await.is_err() {
        anstream::eprintln!("{} did not stop within {} s; killing it", service.name(), STOP_DEADLINE.as_secs());
        let _ = running.child.kill().await;
    }
}

async fn stop(mut kept: Vec<Kept>) {
    while let Some(Kept { service, stop, task }) = kept.pop() {
        let _ = stop.send(());
        if task.await.is_err() {
            anstream::eprintln!("the supervisor of {} failed", service.name());
        }
    }
}

fn note(lab: &SharedLab, data_dir: &Path, service: Program, pid: Option<u32>, restarts: u32) {
    let mut lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(process) = lab.processes.iter_mut().find(|process| process.service == service.name()) {
        process.pid = pid;
        process.restarts = restarts;
    }
    lab.write(data_dir);
}

async fn wait_until_ready(lab: &SharedLab, data_dir: &Path, all_ours: bool) -> anyhow::Result<DeskClient> {
    let desk = DeskClient::at(lab.lock().unwrap_or_else(PoisonError::into_inner).desk.clone())?;
    let patience = if all_ours { READY_DEADLINE } else { SEATS_READY_DEADLINE };
    let deadline = Instant::now() + patience;
    loop {
        let missing = match desk.get::<desk::api::LabStatus>("api/lab").await {
            Err(_) => Program::Desk.name().to_owned(),
            Ok(lab) => match lab.services.into_iter().find(|service| service.generation.is_none()) {
                Some(service) => service.service,
                None => return Ok(desk),
            },
        };
        if Instant::now() >= deadline {
            let log = data_dir.join("logs").join(format!("{missing}.jsonl"));
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("nothing").to_owned();
            bail!(
                "{missing} did not start within {} s; its log {} ends with: {last}",
                patience.as_secs(),
                log.display()
            );
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// What a service said before it gave up.
fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let words = text.rfind("insurewatch: ").and_then(|at| text.get(at..)).unwrap_or(&text);
    words.trim_start_matches("insurewatch: ").trim().to_owned()
}

fn announce(lab: &SharedLab, data_dir: &Path, took: Duration) {
    let lab = lab.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows = vec![
        ("front door", format!("{}claims", lab.front_door)),
        ("desk", lab.desk.to_string()),
        ("traces (Tempo's API)", lab.traces.to_string()),
        ("logs, databases", data_dir.display().to_string()),
    ];
    if let (Some(http), Some(grpc)) = (&lab.otlp_http, &lab.otlp_grpc) {
        rows.insert(3, ("OTLP", format!("{http} (HTTP), {grpc} (gRPC)")));
    }
    for (what, value) in rows {
        anstream::println!("  {what:<21} {value}");
    }
    anstream::println!("ready, in {} ms", took.as_millis());
}

/// The lab's first sign of life: one claim, and the traces that became of it.
async fn show_first_claim(desk: &DeskClient) {
    let show = async {
        let began = Instant::now();
        let mut first = None;
        let one = ClaimsRequest { count: 1, per_second: None, traceparent: None, baggage: None };
        desk.lines("api/claims", &one, |event| {
            if let ClaimEvent::Claim(claim) = event {
                first = Some(claim);
            }
        })
        .await?;
        let claim = first.context("there was no response")?;
        let id = claim.claim_id.clone().with_context(|| claim.error.unwrap_or_default())?;
        let report: ClaimReport = desk.get(&format!("api/claims/{id}?wait_ms=10000")).await?;
        anstream::print!("\n{}", commands::draw(&report, evidence::render));
        anstream::println!(
            "the first claim's traces were received after {:.1} s; Ctrl-C stops the lab",
            began.elapsed().as_secs_f64()
        );
        anyhow::Ok(())
    };
    if let Err(error) = show.await {
        anstream::eprintln!("the first claim could not be shown: {error:#}");
    }
}

fn log_path(data_dir: &Path, service: Program) -> PathBuf {
    data_dir.join("logs").join(format!("{}.jsonl", service.name()))
}

// === impl Ports ===

impl Ports {
    /// The usual ports, or those from `--port-base` on; where one is taken, the next free one.
    fn choose(options: &Up) -> anyhow::Result<Self> {
        let filled: Vec<_> = options.seats.iter().map(|seat| seat.service).collect();
        if let Some(twice) =
            filled.iter().enumerate().find_map(|(at, it)| filled.iter().take(at).find(|seat| *seat == it))
        {
            bail!("--seat names {twice} twice: a seat has one place");
        }
        if let Some(path) = options.seat_health.iter().find(|path| !filled.contains(&path.service)) {
            bail!("--seat-health names {}, which is the lab's own: only a --seat has another path", path.service);
        }
        // Kept open until all are chosen, so that none is chosen twice.
        let desk = options
            .desk_listen
            .map(|address| TcpListener::bind(address).with_context(|| format!("the desk cannot listen on {address}")));
        let desk = desk.transpose()?;
        let (mut open, mut held) = (Vec::new(), Vec::new());
        let mut choose = |usual: u16, offset: u16| -> anyhow::Result<Endpoint> {
            if options.port_base == Some(0) {
                let socket = hold((Ipv4Addr::LOCALHOST, 0).into()).context("no port is free")?;
                let endpoint = Endpoint::at(socket.local_addr()?)?;
                held.push(socket);
                return Ok(endpoint);
            }
            let first = options.port_base.map_or(usual, |base| base.saturating_add(offset));
            let last = first.saturating_add(200);
            for port in first..=last {
                if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                    let endpoint = Endpoint::at(listener.local_addr()?)?;
                    open.push(listener);
                    return Ok(endpoint);
                }
            }
            bail!("every port from {first} to {last} is taken")
        };
        // A lab that sends its spans to another store, and reads them there, needs no built-in one.
        let built_in = options.otlp_endpoint.is_none() || options.tempo.is_none();
        let mut programs = Vec::new();
        for program in Program::started().into_iter().filter(|program| built_in || *program != Program::TraceStore) {
            let seat = options.seats.iter().find(|seat| Program::Service(seat.service) == program);
            if let Some(Seat { filled: Filled::Url(url), .. }) = seat {
                programs.push((program, Endpoint::elsewhere(url)));
                continue;
            }
            let endpoint = match (program, &desk) {
                (Program::Desk, Some(listener)) => Endpoint::at(listener.local_addr()?)?,
                (Program::TraceStore, _) => choose(program.port(), 9)?,
                _ => choose(program.port(), program.port() - Program::Desk.port())?,
            };
            programs.push((program, endpoint));
        }
        let otlp = match built_in {
            true => Some(Otlp { grpc: choose(4317, 7)?, http: choose(4318, 8)? }),
            false => None,
        };
        let mut seats = Vec::new();
        for Seat { service, filled } in &options.seats {
            let answers = programs.iter().find(|(program, _)| *program == Program::Service(*service));
            let (_, answers) = answers.with_context(|| format!("{service} is not part of the lab"))?;
            let path = options.seat_health.iter().rev().find(|it| it.service == *service);
            let path = path.map_or(seat::DEFAULT_HEALTH_PATH, |it| it.path.as_str());
            let health = answers.url.join(path)?;
            let kept = match filled {
                Filled::Url(_) => None,
                Filled::Command(command) => Some((choose(Program::Desk.port(), 20)?, command.clone())),
            };
            seats.push(Seated { service: *service, health, kept });
        }
        if !HELD_PORTS_CAN_BE_OPENED {
            held.clear();
        }
        Ok(Self { programs, seats, otlp, _held: held })
    }

    fn of(&self, program: Program) -> anyhow::Result<&Endpoint> {
        let found = self.programs.iter().find(|(name, _)| *name == program);
        found.map(|(_, endpoint)| endpoint).with_context(|| format!("{} is not part of the lab", program.name()))
    }

    /// The seat that a program of the chain is, if somebody else's service fills it.
    fn seat(&self, program: Program) -> Option<&Seated> {
        self.seats.iter().find(|seat| Program::Service(seat.service) == program)
    }

    /// Whether there is a process to be started for it.
    fn starts(&self, program: Program) -> bool {
        self.seat(program).is_none_or(|seat| seat.kept.is_some())
    }

    fn lab_file(&self, options: &Up) -> anyhow::Result<LabFile> {
        let process = |(service, endpoint): &(Program, Endpoint)| ProcessEntry {
            service: service.name().to_owned(),
            url: endpoint.url.clone(),
            pid: None,
            restarts: 0,
        };
        let url = |service| anyhow::Ok(self.of(service)?.url.clone());
        Ok(LabFile {
            desk: url(Program::Desk)?,
            front_door: url(Program::Service(Service::PythonApi))?,
            traces: options.tempo.clone().map_or_else(|| url(Program::TraceStore), Ok)?,
            otlp_grpc: self.otlp.as_ref().map(|otlp| otlp.grpc.url.clone()),
            otlp_http: self.otlp.as_ref().map(|otlp| otlp.http.url.clone()),
            supervisor_pid: std::process::id(),
            processes: self.programs.iter().filter(|(program, _)| self.starts(*program)).map(process).collect(),
            stale: false,
        })
    }
}

/// Keeps a port from the system's choice, for listeners and for outgoing connections of other programs, while one that names the
/// port can listen there: until a service has started, and while it is restarted.
fn hold(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

// === impl Endpoint ===

impl Endpoint {
    /// Where a service answers that is not started here.
    fn elsewhere(url: &Url) -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), url: url.clone() }
    }

    fn at(address: SocketAddr) -> anyhow::Result<Self> {
        let mut reached = address;
        if address.ip().is_unspecified() {
            reached.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        Ok(Self { address, url: format!("http://{reached}/").parse()? })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_held_port_can_be_opened_by_its_service_alone() {
        let held = hold((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = held.local_addr().unwrap();
        let by_choice_of_the_system = TcpSocket::new_v4().unwrap();
        by_choice_of_the_system.bind(address).expect_err("a socket that need not be there has no right to it");
        for start in ["the first", "after a restart"] {
            let service = TcpListener::bind(address).unwrap_or_else(|error| panic!("{start}: {error}"));
            let _caller = std::net::TcpStream::connect(address).expect("the service listens");
            let (_served, _) = service.accept().unwrap();
        }
        drop(held);
        TcpListener::bind(address).expect("the lab has ended");
    }
}
