//! The drawing in a terminal.

use chain::SpanKind;
use evidence::span::{CLAIM_ID, Status};
use evidence::{ClaimEvidence, Span, Style, render, render_ledger};
use unicode_width::UnicodeWidthChar as _;

use crate::support::*;

const PLAIN: Style = Style { width: 100, colour: false, unicode: false };
const RICH: Style = Style { width: 100, colour: false, unicode: true };

/// Names are cut only when bars are as narrow as this.
const MIN_BAR_COLUMNS: usize = 12;
/// Kind, a space, duration and mark: what stands beside names and bars.
const OTHER_COLUMNS: usize = 9 + 1 + 9 + 2;

fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or_default()).sum()
}

/// How wide bars are, by where the kind of the front door's span stands.
fn bar_columns(drawing: &str, style: &Style) -> usize {
    let row = drawing.lines().find(|line| line.starts_with("python-api")).unwrap();
    let (label, _) = row.split_once("server ").unwrap();
    style.width - OTHER_COLUMNS - columns(label)
}

fn drawn(evidence: ClaimEvidence, style: &Style) -> String {
    read(evidence, |reading| render(reading, style))
}

/// No line is too wide, nothing steers the terminal, and without Unicode all is ASCII.
pub(crate) fn assert_safe(drawing: &str, style: &Style) {
    for line in drawing.lines() {
        assert!(columns(line) <= style.width.clamp(60, 200), "too wide for {style:?}: {line:?}");
        assert!(!line.chars().any(char::is_control), "a control character got through: {line:?}");
        assert!(style.unicode || line.is_ascii(), "not ASCII: {line:?}");
    }
}

#[test]
fn a_healthy_claim_is_one_staircase() {
    let expected = "\
claim c-1  1 trace  20.0 ms

trace 000000000000000000000000000000a1  python-api
python-api  POST /claims                                  server   █████████████           12.0 ms
├ python-api  POST → java-claims                          client    ███████████            10.0 ms
│ └ java-claims  POST /api/claims                         server     █████████              8.0 ms
│   ├ java-claims  GET → node-policy-store                client      █████                 4.0 ms
│   │ └ node-policy-store  GET /policies/:id              server       ███                  2.0 ms
│   ├ java-claims  create claims → claims-worker          producer        ██                1.0 ms
│   │ └ claims-worker  process claims                     consumer               ███████    6.0 ms
│   │   ├ claims-worker  POST → fraud-partner             client                  ██        1.0 ms
│   │   └ claims-worker  PUT → java-claims                client                    ████    3.0 ms
│   │     └ java-claims  PUT /api/claims/{id}/fraud-check server                     ██     1.0 ms
│   └ java-claims  notify_claimant                        internal          ██              1.0 ms
└ python-api  write_audit                                 internal            ███           2.0 ms
";
    let drawing = drawn(evidence(whole_chain()), &RICH);
    assert_eq!(drawing, expected, "each call lies within its caller:\n{drawing}");
}

#[test]
fn lab_1_is_two_traces_on_one_clock() {
    let expected = "\
claim c-1  2 traces  20.0 ms

trace 000000000000000000000000000000a1  python-api
python-api  POST /claims                              server   ===============             12.0 ms
|-python-api  POST -> java-claims                     client    =============              10.0 ms
`-python-api  write_audit                             internal              ====            2.0 ms

trace 000000000000000000000000000000b2  java-claims  no parent
x new trace starts here: sent by python-api  POST, in trace 00000000...
java-claims  POST /api/claims                         server     ===========                8.0 ms
|-java-claims  GET -> node-policy-store               client      ======                    4.0 ms
| `-node-policy-store  GET /policies/:id              server        ===                     2.0 ms
|-java-claims  create claims -> claims-worker         producer         ==                   1.0 ms
| `-claims-worker  process claims                     consumer                  ========    6.0 ms
|   |-claims-worker  POST -> fraud-partner            client                     ==         1.0 ms
|   `-claims-worker  PUT -> java-claims               client                        ====    3.0 ms
|     `-java-claims  PUT /api/claims/{id}/fraud-check server                         ==     1.0 ms
`-java-claims  notify_claimant                        internal            ==                1.0 ms
";
    let drawing = drawn(evidence(lab_1()), &PLAIN);
    assert_eq!(drawing, expected, "the second trace starts where the first called it:\n{drawing}");
}

#[test]
fn a_break_is_drawn_wherever_a_trace_is_broken_off() {
    let rewritten = || {
        let mut spans = lab_1();
        change(&mut spans, CLAIMS, |span| Span { parent_span_id: Some(span_id(0x99)), ..span });
        spans
    };
    for (spans, style, expected) in [
        (lab_1(), RICH, "╳ new trace starts here: sent by python-api  POST, in trace 00000000…\njava-claims  POST"),
        (
            rewritten(),
            RICH,
            "╳ goes on here, from another trace: sent by python-api  POST, in trace 00000000…\n└ java-claims",
        ),
    ] {
        let drawing = drawn(evidence(spans), &style);
        assert!(drawing.contains(expected), "it stands before the first span after the break:\n{drawing}");
        assert_safe(&drawing, &style);
    }
    assert!(!drawn(evidence(whole_chain()), &RICH).contains("trace starts here"), "a healthy claim has none");
}

#[test]
fn ghosts_links_and_errors_are_shown() {
    let mut spans = chain_without(&[FRONT]);
    change(&mut spans, CALL_CLAIMS, |span| Span { status: Status::Error(String::new()), ..span });
    change(&mut spans, CLAIMS, |span| span.link(TRACE_B, CALL_CLAIMS));
    let drawing = drawn(evidence(spans), &PLAIN);
    for (part, why) in [
        ("(parent 00000000... not received yet (0 s))", "a missing parent has a line"),
        ("  no root\n", "the title says that there is no root"),
        ("-> link to 00000000... in trace 00000000...", "a link has a line"),
        (" ms !\n", "an error has a mark"),
    ] {
        assert!(drawing.contains(part), "{why}:\n{drawing}");
    }
    assert_safe(&drawing, &PLAIN);

    let linked = drawn(evidence(chain_with(PROCESS, |span| span.link(TRACE_A, SEND))), &PLAIN);
    let link = "-> link to 00000000... in trace 00000000...  java-claims  create claims\n";
    assert!(linked.contains(link), "a link to a span that is there names it:\n{linked}");

    let mut spans = chain_with(CALL_POLICY, |span| span.with(CLAIM_ID, "c-0"));
    change(&mut spans, POLICY, |mut span| {
        span.end_unix_nano += 4_000_000_000;
        span.without(CLAIM_ID)
    });
    let mixed = drawn(evidence(spans), &PLAIN);
    let head = mixed.lines().next().unwrap_or_default();
    assert!(
        head.ends_with(" ms (4.0 s with *)"),
        "the claim took as long as those of its spans that carry its id:\n{mixed}"
    );
    assert!(mixed.contains("also has spans (marked *) of claim c-0\n"), "a mixed trace is marked:\n{mixed}");
    let foreign: Vec<_> = mixed.lines().filter(|line| line.ends_with(" *")).collect();
    assert!(foreign[0].contains("GET -> node-policy-store"), "so is the span, which names whom it calls:\n{mixed}");
    assert!(
        foreign.len() == 2 && foreign[1].contains("GET /policies/:id"),
        "and the span below it that carries no id:\n{mixed}"
    );
}

#[test]
fn the_ledger_shows_the_keys_of_long_baggage() {
    let long = format!("feature.flags=new-pricing-model,customer.notes={},tenant.id=acme", "%C3%A9".repeat(1500));
    let ledger = |arrived: &str| {
        let mut spans = chain_with(CALL_CLAIMS, |span| span.header("baggage", long.clone()));
        change(&mut spans, CLAIMS, |span| span.header("baggage", arrived));
        read(evidence(spans), |reading| render_ledger(reading, &PLAIN))
    };
    let same = ledger(&long);
    assert!(
        same.contains("B  feature.flags=new...,customer.notes=%C...,tenant.id=acme\n"),
        "each key is there:\n{same}"
    );
    for (arrived, mark) in [
        (long.replace("acme", "emca"), "^^^^\n"),
        (long.replacen("%A9", "%A8", 900), "(they differ beyond this line)\n"),
    ] {
        let differs = ledger(&arrived);
        assert!(differs.contains(mark), "where the two differ:\n{differs}");
        assert_safe(&differs, &PLAIN);
    }
    assert_safe(&same, &PLAIN);
}

#[test]
fn colour_wraps_text_and_hides_none() {
    let evidence = evidence(lab_1());
    let coloured = drawn(evidence.clone(), &Style { colour: true, ..PLAIN });
    let mut stripped = String::new();
    for (at, part) in coloured.split('\u{1b}').enumerate() {
        stripped += if at == 0 { part } else { part.split_once('m').unwrap().1 };
    }
    assert_ne!(coloured, stripped, "there is colour");
    assert_eq!(stripped, drawn(evidence.clone(), &PLAIN), "without its colours the drawing is the plain one");
}

#[test]
fn names_are_cut_only_when_bars_are_as_narrow_as_they_get() {
    let mut deep = whole_chain();
    for id in 0x20..0x30 {
        let parent = if id == 0x20 { FRONT } else { id - 1 };
        deep.push(span(id, Some(parent), "java-claims", SpanKind::Internal, &format!("step_{id}"), (0, 1)));
    }
    let mut cut = Vec::new();
    let chains = [whole_chain(), lab_1(), deep];
    for (spans, width) in chains.iter().flat_map(|spans| (60..=200).map(move |width| (spans, width))) {
        for style in [PLAIN, RICH].map(|style| Style { width, ..style }) {
            let evidence = evidence(spans.clone());
            let drawing = drawn(evidence.clone(), &style);
            let bar_columns = bar_columns(&drawing, &style);
            let whole = evidence.spans().all(|span| drawing.contains(&format!("{}  {} ", span.service, span.name)));
            assert!(bar_columns >= MIN_BAR_COLUMNS, "{style:?}: bars are {bar_columns} wide");
            assert!(whole || bar_columns == MIN_BAR_COLUMNS, "{style:?}: bars are {bar_columns} wide:\n{drawing}");
            cut.extend((!whole).then_some(width));
        }
    }
    assert!(cut.contains(&60), "not every name fits into 60 columns");
    assert!(cut.iter().all(|width| *width < 100), "every name fits into 100: {cut:?}");
}

#[test]
fn foreign_names_are_harmless_at_any_width() {
    let names = [
        "\u{1b}[2J\u{7}\r\n",
        "見積もり見積もり見積もり見積もり見積もり",
        "e\u{301}\u{301}\u{202e}gnp.exe",
        &"x".repeat(500),
    ];
    for (name, width) in names.iter().flat_map(|name| [0, 60, 61, 99, 200, 9999].map(|width| (name, width))) {
        let mut spans = whole_chain();
        spans.push(span(7, Some(FRONT), name, SpanKind::Internal, name, (0, 1)));
        let evidence = ClaimEvidence::from_spans(*name, spans);
        for unicode in [true, false] {
            let style = Style { width, colour: false, unicode };
            assert_safe(&drawn(evidence.clone(), &style), &style);
        }
    }
}
