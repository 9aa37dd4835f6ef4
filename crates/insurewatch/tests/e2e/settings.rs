//! Bad settings, busy ports, and what the command line says of mistakes.

use std::net::TcpListener;

use desk::api::{ScenarioBrief, Status};

use crate::lab::{Lab, eventually, free_port, one_trace, run, shapes};

const LESSON: &str = "lab-1-b3-vs-w3c";

#[test]
fn services_keep_their_last_good_settings_until_the_file_is_fixed() {
    let lab = Lab::start();
    let path = lab.data_dir().join("active.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let status: Status = lab.cli(&["scenario", "status", "--json"]).ended(0, "all is well").json();
    let generation = status.generation + 1;

    let bad = format!("generation = {generation}\n\n[settings.python-api]\nOTEL_PROPAGATORS = \"zipkin\"\n");
    std::fs::write(&path, bad).unwrap();
    let refusal = "active.toml:4:20: `zipkin` is not allowed for OTEL_PROPAGATORS of python-api: unknown propagator \
                   `zipkin`; allowed: `none`, or a comma list of tracecontext, baggage, b3, b3multi, jaeger, xray";
    eventually("every service refuses the file", || {
        let lab: desk::api::LabStatus = lab.get("api/lab");
        let refuses = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(refusal));
        match lab.services.iter().all(|service| refuses(&service.refused)) {
            true => Ok(()),
            false => Err(format!("{:#?}", lab.services)),
        }
    });
    let answer = lab.cli(&["scenario", "status"]).ended(2, "the active file cannot be read");
    assert!(answer.stderr.contains(refusal), "file, line and what is allowed: {}", answer.stderr);
    let evidence = lab.whole(&lab.claim().claim_id.unwrap());
    assert_eq!(shapes(&evidence), [one_trace()], "the last good settings stay active");

    let fixed = good.replace(&format!("generation = {}", status.generation), &format!("generation = {generation}"));
    std::fs::write(&path, fixed).unwrap();
    eventually("every service applies the fixed file", || {
        let answer = lab.cli(&["scenario", "status", "--json"]);
        let settled = answer.code == 0 && answer.json::<Status>().generation == generation;
        if settled { Ok(()) } else { Err(format!("{answer:#?}")) }
    });
    let switched = lab.cli(&["scenario", "use", LESSON]).ended(0, "settings can be changed again");
    let shown = lab.cli(&["scenario", "status"]).ended(0, "who wants to know what is set asks for it");
    for (answer, tells) in [(switched, false), (shown, true)] {
        assert_eq!(answer.stdout.contains("OTEL_PROPAGATORS"), tells, "switching shows no answer: {}", answer.stdout);
    }
    let (code, _, probes) = lab.check(Some(LESSON));
    assert_eq!(code, 1, "and the change is seen");
    assert!(probes.iter().all(|evidence| evidence.fragments.len() == 2), "in two traces: {probes:#?}");
}

#[test]
fn a_second_lab_in_the_same_folder_is_refused_and_the_first_goes_on() {
    let lab = Lab::start();
    let answer = lab.cli(&["up", "--port-base", "0"]).ended(2, "two labs would share databases and settings");
    let expected = format!(", its desk is {}; another one needs another --data-dir", lab.file.desk);
    assert!(answer.stderr.contains(&expected), "{}", answer.stderr);
    assert_eq!(lab.file_now().supervisor_pid, lab.file.supervisor_pid, "lab.json still names the first");
    let evidence = lab.whole(&lab.claim().claim_id.unwrap());
    assert_eq!(shapes(&evidence), [one_trace()], "the first is untouched");
}

#[test]
fn a_taken_port_is_no_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = taken.local_addr().unwrap().port();
    let lab = Lab::start_with(&["--port-base", &base.to_string()]);
    let port = |url: &str| url.trim_end_matches('/').rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let desk = port(&lab.file.desk);
    assert!(desk > base && desk <= base + 200, "the desk takes the next free port after {base}: {desk}");
    let printed = format!("desk                  {}", lab.file.desk);
    assert!(lab.process.output().contains(&printed), "it is printed: {}", lab.process.output());
    let evidence = lab.whole(&lab.claim().claim_id.unwrap());
    assert_eq!(shapes(&evidence), [one_trace()], "everybody finds everybody");
}

#[test]
fn a_mistake_is_told_with_what_would_be_right() {
    let lab = Lab::start();
    let briefs: Vec<ScenarioBrief> = lab.get("api/scenarios");
    let known: Vec<_> = briefs.iter().map(|brief| brief.id.as_str()).collect();
    let known = format!("scenarios are {}", known.join(", "));
    let cases: [(&[&str], i32, &[&str]); 8] = [
        (&["scenario", "use", "lab-1-b3-vs-w3"], 2, &["unknown scenario `lab-1-b3-vs-w3`", "healthy", LESSON]),
        (&["scenario", "show", "nothing"], 2, &["unknown scenario `nothing`", &known]),
        (&["check", "nothing"], 2, &["unknown scenario `nothing`", &known]),
        (
            &["scenario", "set", "python-apo", "OTEL_PROPAGATORS=b3"],
            2,
            &["unknown service `python-apo`", "python-api, gateway, java-claims", "did you mean `python-api`?"],
        ),
        (
            &["scenario", "set", "python-api", "OTEL_PROPAGATOR=b3"],
            2,
            &["unknown setting `OTEL_PROPAGATOR` of python-api", "did you mean `OTEL_PROPAGATORS`?"],
        ),
        (
            &["scenario", "set", "python-api", "OTEL_PROPAGATORS=B3"],
            2,
            &["`B3` is not allowed for OTEL_PROPAGATORS", "tracecontext, baggage, b3, b3multi, jaeger, xray"],
        ),
        (&["scenario", "set", "python-api", "OTEL_PROPAGATORS"], 2, &["must be KEY=VALUE"]),
        (&["trace", "CLM-00000000000000000000000000000000"], 1, &["no span of this claim or trace has arrived"]),
    ];
    for (arguments, code, words) in cases {
        let answer = lab.cli(arguments).ended(code, &format!("{arguments:?}"));
        for word in words {
            assert!(answer.stderr.contains(word), "{arguments:?} says `{word}`: {}", answer.stderr);
        }
        assert_eq!(answer.stdout, "", "{arguments:?}: a mistake leaves nothing for a pipe to read");
    }
    let answer = lab.cli(&["trace", "00000000000000000000000000000001"]).ended(1, "no such trace");
    assert!(answer.stderr.contains("no trace with this id has arrived"), "{}", answer.stderr);
    let status: Status = lab.cli(&["scenario", "status", "--json"]).ended(0, "nothing was changed").json();
    assert!(status.settings.is_empty(), "a refused change changes nothing: {status:?}");
    let evidence = lab.whole(&lab.claim().claim_id.unwrap());
    assert_eq!(shapes(&evidence), [one_trace()], "and the chain is complete");

    let off = "OTEL_TRACES_SAMPLER=always_off";
    lab.cli(&["scenario", "set", "python-api", off]).ended(0, "the head samples nothing");
    lab.claim();
    let answer = lab.cli(&["trace", "--last"]).ended(1, "there is no span to draw");
    for word in ["the sampled bit is clear", "The gateway's log"] {
        assert!(answer.stderr.contains(word), "it says where else to look, `{word}`: {}", answer.stderr);
    }
}

#[test]
fn without_a_lab_one_is_told_how_to_start_it() {
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    for arguments in [
        &["check"][..],
        &["claim"],
        &["scenario", "status"],
        &["trace", "--last"],
        &["diagnose"],
        &["hint"],
        &["reveal"],
    ] {
        let answer = run(&[&["--lab", &nobody], arguments].concat()).ended(2, "nothing could be asked");
        let message = format!("insurewatch: no lab answers at {nobody}; start one with `insurewatch up`");
        assert_eq!(answer.stderr.trim(), message, "{arguments:?}");
    }
}
