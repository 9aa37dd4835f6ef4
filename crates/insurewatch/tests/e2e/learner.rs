//! A lab as a learner of a class has it: one container, its desk behind a token, its spans in a trace store of all.

use std::fs;

use reqwest::StatusCode;
use serde_json::Value;

use crate::lab::{Lab, eventually, one_trace, run_in, shapes};

/// Variables, options, and what is said of them.
type Mistake<'a> = (&'a [(&'a str, String)], &'a [&'a str], &'a str);

const TOKEN: &str = "a token of ada's";

#[test]
fn a_lab_sends_its_spans_to_the_store_of_all_and_answers_who_shows_the_token() {
    let class = Lab::start();
    let secrets = tempfile::tempdir().unwrap();
    let secret = |name: &str, content: &str| {
        let path = secrets.path().join(name);
        fs::write(&path, format!("{content}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let token_file = ("INSUREWATCH_DESK_TOKEN_FILE", secret("token", TOKEN));
    let environment = [
        token_file.clone(),
        ("INSUREWATCH_LAB_NAME_FILE", secret("name", "ada")),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=local,team=red".to_owned()),
    ];
    let (otlp, tempo) = (class.file.otlp_http.as_deref().unwrap(), class.file.traces.as_str());
    let options = ["--port-base", "0", "--desk-listen", "0.0.0.0:0", "--otlp-endpoint", otlp, "--tempo", tempo];
    let lab = Lab::start_in(&environment, &options);

    assert!(lab.file.desk.starts_with("http://127.0.0.1:"), "the desk is found on loopback: {}", lab.file.desk);
    assert_eq!(lab.file.otlp_http, None, "nothing here takes spans");
    let started: Vec<_> = lab.file.processes.iter().map(|process| process.service.as_str()).collect();
    assert!(!started.contains(&"trace-store"), "a store that nobody asks does not run: {started:?}");
    for process in lab.file.processes.iter().filter(|process| process.service != "desk") {
        assert!(process.url.starts_with("http://127.0.0.1:"), "all else is on loopback: {}", process.url);
    }

    let status = |token: Option<&str>| {
        let request = lab.client.get(format!("{}api/lab", lab.file.desk));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().unwrap().status()
    };
    assert_eq!(status(None), StatusCode::UNAUTHORIZED, "who shows no token is refused");
    assert_eq!(status(Some("another")), StatusCode::UNAUTHORIZED, "who shows another is too");
    assert_eq!(status(Some(TOKEN)), StatusCode::OK, "the file's content is the token, without the line end");

    let data_dir = lab.data_dir().to_str().unwrap();
    let stranger = run_in(&[], &["--data-dir", data_dir, "claim", "--json"]);
    assert_eq!(stranger.code, 2, "a command without the token is refused: {}", stranger.stderr);
    let claim = run_in(&[token_file], &["--data-dir", data_dir, "claim", "--json"]);
    let claim: Value = serde_json::from_str(&claim.stdout).unwrap();
    let claim_id = claim["claims"][0]["claim_id"].as_str().unwrap();
    assert_eq!(shapes(&class.whole(claim_id)), [one_trace()], "the claim's spans are in the store of all");

    let found = |name: &str| {
        let name = format!(r#"resource.deployment.environment.name = "{name}" && resource.team = "red""#);
        let query = format!(r#"{{ {name} && span.insurewatch.claim.id = "{claim_id}" }}"#);
        let url = format!("{tempo}api/search");
        let found: Value = class.client.get(url).query(&[("q", query)]).send().unwrap().json().unwrap();
        found["traces"].as_array().map_or(0, Vec::len)
    };
    eventually("the spans carry the lab's name", || {
        if found("ada") == 1 { Ok(()) } else { Err("it is not found by it".to_owned()) }
    });
    assert_eq!(found("local"), 0, "it replaces the one that the environment gives");
}

#[test]
fn a_lab_that_others_can_reach_wants_a_token_and_a_plain_name() {
    let secrets = tempfile::tempdir().unwrap();
    let empty = secrets.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let empty = empty.to_str().unwrap().to_owned();
    let absent = secrets.path().join("absent").to_str().unwrap().to_owned();
    let everywhere = &["--desk-listen", "0.0.0.0:0"][..];
    let table: [Mistake<'_>; 6] = [
        (&[], everywhere, "can be reached from other machines: set INSUREWATCH_DESK_TOKEN"),
        (&[("INSUREWATCH_DESK_TOKEN_FILE", empty)], everywhere, "names an empty file"),
        (&[("INSUREWATCH_DESK_TOKEN_FILE", absent)], everywhere, "absent cannot be read"),
        (&[("INSUREWATCH_LAB_NAME", "a b".to_owned())], &[], "INSUREWATCH_LAB_NAME=a b must be 1 to 63"),
        (&[], &["--lab-name", "a,b=c"], "must be 1 to 63 ASCII letters"),
        (&[], &["--desk-listen", "192.0.2.1:0"], "the desk cannot listen on 192.0.2.1:0"),
    ];
    for (environment, options, why) in table {
        let data_dir = tempfile::tempdir().unwrap();
        let common = ["--data-dir", data_dir.path().to_str().unwrap(), "up", "--port-base", "0"];
        let answer = run_in(environment, &[&common, options].concat());
        assert_eq!(answer.code, 2, "{why}: {answer:?}");
        assert!(answer.stderr.contains(why), "it is said what is allowed: {}", answer.stderr);
    }
}
