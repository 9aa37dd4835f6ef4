//! Who is answered, whose a folder is, and what the supervisor says of services that cannot go on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use desk::api::Status;

use crate::lab::{Lab, eventually, run, signal};

/// The status line and headers of an answer to a request as it is written here.
fn head(url: &str, request: &str) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut seen = Vec::new();
    let _ = connection.read_to_end(&mut seen);
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn every_port_answers_to_its_own_names_only() {
    let lab = Lab::start_in(&[("INSUREWATCH_ALLOWED_HOSTS", "lab.example".to_owned())], &["--port-base", "0"]);
    let file = std::fs::read_to_string(lab.data_dir().join("lab.json")).unwrap();
    let file: serde_json::Value = serde_json::from_str(&file).unwrap();
    let otlp = ["otlp_grpc", "otlp_http"].map(|port| file[port].as_str().unwrap().to_owned());
    let ports = lab.file.processes.iter().map(|process| process.url.clone()).chain(otlp);
    for port in ports {
        for (host, answered) in [("evil.example", false), ("lab.example", true), ("localhost:1", true)] {
            let answer = head(&port, &format!("GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1"), "{port} answers: {answer}");
            assert_eq!(!answer.starts_with("HTTP/1.1 421"), answered, "{port} as {host}: {answer}");
        }
    }
}

#[test]
fn a_folder_is_one_labs_even_if_its_desk_wants_a_token() {
    let lab = Lab::start_in(&[("INSUREWATCH_DESK_TOKEN", "s3cret".to_owned())], &["--port-base", "0"]);
    // This command does not know the token.
    let answer = lab.cli(&["up", "--port-base", "0"]).ended(2, "two labs would share databases and settings");
    assert!(answer.stderr.contains("a lab already runs in"), "{}", answer.stderr);
    assert_eq!(lab.file_now().supervisor_pid, lab.file.supervisor_pid, "lab.json still names the first");
}

#[test]
fn a_folder_without_a_lab_means_no_other_lab() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for arguments in [&["scenario", "status"][..], &["claim"], &["scenario", "use", "lab-1-b3-vs-w3c"]] {
        let answer = run(&[&["--data-dir", path], arguments].concat()).ended(2, "there is no lab in it");
        let message = format!("insurewatch: no lab runs in {path}; start one there with");
        assert!(answer.stderr.starts_with(&message), "{arguments:?}: {}", answer.stderr);
    }
}

#[test]
fn a_service_that_cannot_go_on_is_reported_with_its_reason() {
    let lab = Lab::start();
    let database = lab.data_dir().join("policies.db");
    let aside = lab.data_dir().join("aside.db");
    std::fs::rename(&database, &aside).unwrap();
    for journal in ["policies.db-wal", "policies.db-shm"] {
        let _ = std::fs::remove_file(lab.data_dir().join(journal));
    }
    std::fs::create_dir(&database).unwrap();
    signal(lab.file_now().process("node-policy-store").pid.unwrap(), "KILL");
    eventually("the reason is reported", || {
        let output = lab.process.output();
        let told = output.lines().any(|line| {
            line.starts_with("node-policy-store ended (")
                && line.contains("database")
                && line.contains("starting it again")
        });
        if told { Ok(()) } else { Err(output) }
    });
    std::fs::remove_dir(&database).unwrap();
    std::fs::rename(&aside, &database).unwrap();
    eventually("the lab works again", || match lab.cli(&["claim", "--json"]) {
        answer if answer.code == 0 => Ok(()),
        answer => Err(format!("{answer:?}")),
    });
}

#[test]
fn lab_json_is_true_again_once_it_can_be_written() {
    let lab = Lab::start();
    let path = lab.data_dir().join("lab.json");
    let before = lab.file_now().process("fraud-partner").pid.unwrap();
    // As on a full disk, the file cannot be replaced.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("full")).unwrap();
    signal(before, "KILL");
    eventually("the failure is reported", || match lab.process.output() {
        output if output.contains("lab.json cannot be written") => Ok(()),
        output => Err(output),
    });
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, text).unwrap();
    eventually("it names the new process", || match lab.file_now().process("fraud-partner").pid {
        Some(pid) if pid != before => Ok(()),
        pid => Err(format!("{pid:?}, and the dead one was {before}")),
    });
}

#[test]
fn spans_cannot_be_sent_just_anywhere() {
    let lab = Lab::start();
    let set = |url: &str| {
        lab.cli(&["scenario", "set", "python-api", &format!("OTEL_EXPORTER_OTLP_ENDPOINT={url}"), "--json"])
    };
    let refused = set("http://169.254.169.254").ended(2, "it would be a request to anywhere");
    assert!(refused.stderr.contains("spans may be sent to loopback"), "{}", refused.stderr);
    let status: Status = set("http://localhost:9").ended(0, "loopback is allowed").json();
    assert!(status.settled, "{status:?}");
}
