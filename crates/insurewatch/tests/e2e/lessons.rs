//! Hints, tier by tier, and the answer.

use desk::api::Hint;
use serde_json::Value;

use crate::lab::Lab;

const LESSON: &str = "lab-1-b3-vs-w3c";
const OTHER: &str = "thread-pool";

#[test]
fn hints_come_one_after_the_other_and_begin_anew_with_another_scenario() {
    let lab = Lab::start();
    let next = || lab.cli(&["hint", "--json"]).ended(0, "there is a hint").json::<Hint>();
    let none = next();
    assert_eq!((none.number, none.of), (0, 0), "there is nothing to hint at: {none:?}");
    for id in [LESSON, OTHER, LESSON] {
        lab.cli(&["scenario", "use", id]).ended(0, "all services apply it");
        let answer: Value = lab.get(&format!("api/scenarios/{id}/answer"));
        let hints: Vec<_> = answer["hints"].as_array().unwrap().iter().map(|hint| hint.as_str().unwrap()).collect();
        assert!(hints.len() >= 2, "{id}: hints come in tiers");
        let last = std::iter::once((hints.len(), hints[hints.len() - 1]));
        for (number, text) in (1..).zip(hints.iter().copied()).chain(last) {
            let hint = next();
            let expected = (number, hints.len(), text);
            assert_eq!((hint.number, hint.of, hint.text.as_str()), expected, "{id}: in order, and then the last again");
        }
    }
    let text = lab.cli(&["hint"]).ended(0, "for people as for programs").stdout;
    assert!(text.starts_with("hint 3 of 3\n"), "{text}");
}

#[test]
fn the_answer_is_revealed() {
    let lab = Lab::start();
    let text = lab.cli(&["reveal"]).ended(0, "there is an answer").stdout;
    assert!(text.contains("Nothing is broken on purpose."), "{text}");
    lab.cli(&["scenario", "use", LESSON]).ended(0, "all services apply it");
    let revealed: Value = lab.cli(&["reveal", "--json"]).ended(0, "there is an answer").json();
    assert_eq!(revealed, lab.get::<Value>(&format!("api/scenarios/{LESSON}/answer")), "it is the whole answer");
    let text = lab.cli(&["reveal"]).ended(0, "for people as for programs").stdout;
    for word in ["python-api -> java-claims, step 3 (extract)", "OTEL_PROPAGATORS", "b3 was sent and arrived"] {
        assert!(text.contains(word), "it says `{word}`: {text}");
    }
}

#[test]
fn a_leader_can_lock_the_answers() {
    let lab = Lab::start_in(&[("INSUREWATCH_LOCK_REVEAL", "true".to_owned())], &["--port-base", "0"]);
    lab.cli(&["scenario", "use", LESSON]).ended(0, "all services apply it");
    for arguments in [&["reveal"][..], &["scenario", "show", LESSON, "--answer"], &["diagnose"]] {
        let answer = lab.cli(arguments).ended(2, "it is refused");
        assert!(answer.stderr.contains("the answers are locked"), "{arguments:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "", "{arguments:?}: nothing of the answer is shown");
    }
    let status = lab.cli(&["scenario", "status"]).ended(0, "all services have applied it").stdout;
    assert!(status.contains(LESSON) && !status.contains("OTEL_PROPAGATORS"), "settings are hidden: {status}");
    lab.cli(&["hint"]).ended(0, "hints are no answers");
}

#[test]
fn a_break_that_is_hidden_is_not_fixed() {
    const LESSON: &str = "queue-without-attributes";
    let lab = Lab::start();
    lab.cli(&["scenario", "use", LESSON]).ended(0, "all services apply it");
    for (service, setting) in
        [("java-claims", "OUTBOX_ATTRIBUTES=stored"), ("claims-worker", "MESSAGE_CONTEXT=link-batch")]
    {
        lab.cli(&["scenario", "set", service, setting]).ended(0, "all services apply it");
    }
    let text = lab.cli(&["check", LESSON]).ended(1, "a grader must not take it for fixed").stdout;
    for expected in ["NOT A PROPAGATION BREAK", "The scenario is not fixed", "java-claims -> claims-worker"] {
        assert!(text.contains(expected), "`{expected}` is missing in: {text}");
    }
    lab.cli(&["check"]).ended(0, "links are no break");
}
