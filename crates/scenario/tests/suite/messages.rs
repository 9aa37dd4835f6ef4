//! Every class of error, with the exact words that an author reads.

use std::path::Path;

use proptest::prelude::*;
use scenario::file::Scenario;
use settings::Active;
use settings::problem::FileError;

use crate::support::{GOOD, schema};

fn refusal(text: &str) -> String {
    match Scenario::parse("x", Path::new("scenarios/x.toml"), text, &schema()) {
        Ok(scenario) => panic!("was accepted: {scenario:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_good_scenario_is_accepted() {
    Scenario::parse("x", Path::new("scenarios/x.toml"), GOOD, &schema()).expect("the others break this one");
}

#[test]
fn every_mistake_is_located() {
    for (good, bad, messages) in MISTAKES {
        assert_eq!(GOOD.matches(good).count(), 1, "`{good}` must name one place in the good scenario");
        let said = refusal(&GOOD.replacen(good, bad, 1));
        let expected: Vec<_> = messages.iter().map(|line| format!("scenarios/x.toml:{line}")).collect();
        assert_eq!(said, expected.join("\n"), "`{bad}` instead of `{good}`");
    }
}

/// What stands in the good scenario, what replaces it, and what is said of it: a line for each problem.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    (
        r#"title = "A title""#,
        "title = A title",
        &["1:9: string values must be quoted, expected literal string in `title = A title`"],
    ),
    (
        r#"title = "A title""#,
        r#"title = "A title"#,
        &[r#"1:17: invalid basic string, expected `"` in `title = "A title`"#],
    ),
    (
        r#"title = "A title""#,
        r#"title = "Ä" x"#,
        &[r#"1:13: unexpected key or value, expected newline, `#` in `title = "Ä" x`"#],
    ),
    (r#"topic = "A topic""#, r#"title = "twice""#, &[r#"3:1: duplicate key in `title = "twice"`"#]),
    ("[cause]", "[cause", &["11:7: unclosed table, expected `]` in `[cause`"]),
    (
        r#"title = "A title""#,
        r#"titel = "A title""#,
        &[
            "1:1: missing key `title`",
            "1:1: unknown key `titel`; allowed: title, group, topic, symptom, look, hints, settings, cause, fixes, broken, healed, logs, practice; did you mean `title`?",
        ],
    ),
    (r#"title = "A title""#, "title = 3", &["1:9: `title`: invalid type: integer `3`, expected a string"]),
    (r#"title = "A title""#, r#"title = " ""#, &["1:9: `title`: must not be empty"]),
    (
        r#"title = "A title""#,
        r#"title = ["a", "b"]"#,
        &[
            "1:10: `title`: invalid type: sequence, expected a string",
            "1:15: `title`: invalid type: sequence, expected a string",
        ],
    ),
    (
        r#""wire-formats""#,
        r#""wire-format""#,
        &[
            "2:9: `group`: unknown value `wire-format`; allowed: healthy, wire-formats, in-between, in-process, messaging, baggage, looks-broken; did you mean `wire-formats`?",
        ],
    ),
    (
        r#""wire-formats""#,
        r#""healthy""#,
        &[
            "1:1: missing key `healed`",
            "8:2: `settings` is not allowed in the group `healthy`",
            "11:2: `cause` is not allowed in the group `healthy`",
            "16:3: `fixes` is not allowed in the group `healthy`",
            "20:2: `broken` is not allowed in the group `healthy`",
        ],
    ),
    (r#"look = ["here"]"#, "look = []", &["5:8: `look` must not be empty"]),
    (
        r#"look = ["here"]"#,
        r#"look = ["here", "", 5]"#,
        &["5:17: `look`: must not be empty", "5:21: `look`: invalid type: integer `5`, expected a string"],
    ),
    (
        "[settings.python-api]\nOTEL_PROPAGATORS = \"b3\"",
        "settings = 5",
        &["8:12: `settings` must be a table, found integer"],
    ),
    (
        "[settings.python-api]\nOTEL_PROPAGATORS = \"b3\"",
        "settings.python-api = 5",
        &["8:23: `python-api` must be a table, found integer"],
    ),
    (
        "[settings.python-api]\nOTEL_PROPAGATORS = \"b3\"",
        "[settings.python-api]",
        &["8:2: `settings` must set something"],
    ),
    ("[settings.python-api]\nOTEL_PROPAGATORS = \"b3\"", "[settings]", &["8:1: `settings` must set something"]),
    (
        "[settings.python-api]",
        "[settings.python]",
        &[
            "8:11: unknown service `python`; services are python-api, gateway, java-claims, node-policy-store, claims-worker, fraud-partner; did you mean `python-api`?",
        ],
    ),
    (
        "[settings.python-api]",
        "[settings.gateway]",
        &["9:1: unknown setting `OTEL_PROPAGATORS` of gateway; it has no settings"],
    ),
    (
        r#"OTEL_PROPAGATORS = "b3""#,
        r#"OTEL_PROPAGATOR = "b3""#,
        &[
            "9:1: unknown setting `OTEL_PROPAGATOR` of python-api; its settings are OTEL_PROPAGATORS, NOTE; did you mean `OTEL_PROPAGATORS`?",
        ],
    ),
    (
        r#"OTEL_PROPAGATORS = "b3""#,
        r#"OTEL_PROPAGATORS = "b4""#,
        &[
            "9:20: `b4` is not allowed for OTEL_PROPAGATORS of python-api: unknown propagator `b4`; allowed: comma list of tracecontext, baggage, b3",
        ],
    ),
    (
        r#"OTEL_PROPAGATORS = "b3""#,
        "OTEL_PROPAGATORS = 3",
        &["9:20: `OTEL_PROPAGATORS` must be a string in quotes, found integer"],
    ),
    (
        r#"where = "python-api -> java-claims""#,
        r#"where = "python-api -> gateway""#,
        &[
            "12:9: `cause.where`: `python-api -> gateway` is neither a hop nor a service; hops are python-api -> java-claims, java-claims -> node-policy-store, java-claims -> claims-worker, claims-worker -> fraud-partner, claims-worker -> java-claims; services are python-api, gateway, java-claims, node-policy-store, claims-worker, fraud-partner",
        ],
    ),
    (
        r#""extract""#,
        r#""extrakt""#,
        &[
            "13:8: `cause.kind`: unknown value `extrakt`; allowed: inject, transit, extract, use, leak, links, not-sampled, not-exported, late",
        ],
    ),
    ("kind = \"extract\"\n", "", &["11:1: `cause`: missing key `kind`"]),
    (r#"text = "A cause""#, "", &["11:1: `cause`: missing key `text`"]),
    (
        r#"text = "A fix""#,
        r#"txt = "A fix""#,
        &["17:1: `fixes`: unknown key `txt`; allowed: text, settings; did you mean `text`?"],
    ),
    (r#"settings.python-api.OTEL_PROPAGATORS = "tracecontext""#, "", &["16:1: `fixes`: missing key `settings`"]),
    (
        r#"settings.python-api.OTEL_PROPAGATORS = "tracecontext""#,
        "settings = {}",
        &["18:12: a fix must change at least one setting"],
    ),
    (
        r#"settings.python-api.OTEL_PROPAGATORS = "tracecontext""#,
        r#"settings.python-api.OTEL_PROPAGATORS = "b3""#,
        &["18:1: a fix must change at least one setting"],
    ),
    (
        r#"settings.python-api.OTEL_PROPAGATORS = "tracecontext""#,
        r#"settings.python-api.OTEL_PROPAGATORS = "b3x""#,
        &[
            "18:40: `b3x` is not allowed for OTEL_PROPAGATORS of python-api: unknown propagator `b3x`; allowed: comma list of tracecontext, baggage, b3",
        ],
    ),
    (
        r#"services = ["java-claims"]"#,
        "services = []",
        &["25:12: `fragments.services`: a fragment has at least one service"],
    ),
    (
        r#"services = ["java-claims"]"#,
        r#"services = ["java"]"#,
        &[
            "25:13: `fragments.services`: unknown value `java`; allowed: python-api, gateway, java-claims, node-policy-store, claims-worker, fraud-partner",
        ],
    ),
    (r#"services = ["java-claims"]"#, "", &["23:1: `fragments`: missing key `services`"]),
    (
        r#"kind = "server""#,
        r#"kin = "server""#,
        &["24:35: `fragments.root`: unknown key `kin`; allowed: service, kind, name; did you mean `kind`?"],
    ),
    (
        r#"hop = "python-api -> java-claims""#,
        r#"hop = "java-claims -> python-api""#,
        &[
            "28:7: `hops.hop`: unknown hop `java-claims -> python-api`; hops are python-api -> java-claims, java-claims -> node-policy-store, java-claims -> claims-worker, claims-worker -> fraud-partner, claims-worker -> java-claims",
        ],
    ),
    (
        r#"sent = ["b3"]"#,
        r#"sent = ["b4"]"#,
        &[
            "29:9: `hops.sent`: unknown value `b4`; allowed: tracecontext, tracestate, baggage, b3, b3multi, jaeger, xray",
        ],
    ),
    (
        r#"sent = ["b3"]"#,
        r#"send = ["b3"]"#,
        &[
            "29:1: `hops`: unknown key `send`; allowed: hop, sender, sent, received, transit, parent, sampled, invalid, contains; did you mean `sent`?",
        ],
    ),
    ("[broken]\nmissing_parents = []", "[healed]\n", &["20:1: `healed` requires nothing, so it would always be met"]),
];

#[test]
fn one_mistake_does_not_hide_the_next() {
    let broken = ["\"b3\"\n\n[cause]", "\"extract\"", "[\"java-claims\"]"];
    let text = broken.iter().fold(GOOD.to_owned(), |text, good| text.replacen(good, &good.replacen('"', "\"x", 1), 1));
    let error = Scenario::parse("x", Path::new("x.toml"), &text, &schema()).expect_err("three values are wrong");
    let FileError::Wrong { problems, .. } = &error else { panic!("it was readable: {error}") };
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [9, 13, 25], "each wrong value has its own line in\n{error}");
}

#[test]
fn a_control_may_do_without_fixes() {
    let fixes = "[[fixes]]\ntext = \"A fix\"\nsettings.python-api.OTEL_PROPAGATORS = \"tracecontext\"\n";
    let text = GOOD.replacen(fixes, "", 1);
    let control = text.replacen("kind = \"extract\"", "kind = \"late\"", 1);
    let scenario = Scenario::parse("x", Path::new("x.toml"), &control, &schema()).expect("nothing needs a fix");
    assert!(scenario.is_control(), "its kind says so");
    let lines: Vec<_> = refusal(&text).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "what is no control needs a fix: {lines:?}");
}

/// Parses whatever it is; every problem must lie inside the text.
fn survive(text: &str) -> Result<(), TestCaseError> {
    let scenario = Scenario::parse("x", Path::new("x"), text, &schema()).err();
    let active = Active::parse(Path::new("x"), text, &schema()).err();
    for error in [scenario, active].into_iter().flatten() {
        let FileError::Wrong { problems, .. } = error else { panic!("nothing was read from a disk") };
        prop_assert!(!problems.is_empty(), "a refusal says why");
        for problem in problems {
            let line = text.split('\n').nth(problem.line - 1);
            let column_limit = line.map(|line| line.chars().count() + 1);
            prop_assert!(Some(problem.column) <= column_limit, "{problem} lies outside of {text:?}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_text_is_survived(text in any::<String>()) {
        survive(&text)?;
    }

    #[test]
    fn a_spoilt_scenario_is_survived(
        start in any::<prop::sample::Index>(),
        length in 0..40_usize,
        patch in "(\\PC|[\\[\\]\"'=.,{}#\\\\\n\r]){0,12}",
    ) {
        let start = start.index(GOOD.len());
        let end = GOOD.len().min(start + length);
        let (before, after) = (GOOD.get(..start), GOOD.get(end..));
        survive(&[before.unwrap(), patch.as_str(), after.unwrap()].concat())?;
    }
}
