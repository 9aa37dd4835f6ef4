//! `docs/answers.md`: what a drill replies to every answer, as it was weighed on the spans of this run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;
use std::{env, fs};

use evidence::Answer;
use scenario::Scenario;
use scenario::file::Group;

const RENEW: &str = "INSUREWATCH_RENEW_DOCS";
const INTRODUCTION: &str = "\
# The answer key

**This page gives every [drill](glossary.md#drill) away.** It is for instructors, and for anyone who doubts a reply.

A drill is answered with a place and a kind (`insurewatch drill answer PLACE KIND`). This is each of the 99 possible answers \
to each [scenario](glossary.md#scenario), weighed on the spans of a running lab by the test that writes this page: accepted, or refused with a reply. \
The test fails if the cause that is set is refused, or if an answer is refused that the spans show to be true. Ids, and how \
many spans were received, are written as `…`.

First comes the usual reply to each answer: the one that most scenarios have. A scenario lists what is accepted, and each reply that \
is not the usual one; **an answer that it does not list is refused with the usual reply.**
";

/// What becomes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Accepted,
    /// Only a claim that is old enough tells it from the cause.
    ByTime,
    /// With this reply.
    Refused(String),
}

/// Every scenario's answers, as workers bring them.
#[derive(Debug, Default)]
pub(crate) struct AnswerKey(Mutex<BTreeMap<(Group, String), Page>>);

/// One scenario's part of the page.
#[derive(Debug, Default)]
struct Page {
    accepted: Vec<Answer>,
    by_time: Vec<Answer>,
    /// With the reply, in the order of the chain.
    refused: Vec<(Answer, String)>,
}

// === impl AnswerKey ===

impl AnswerKey {
    pub(crate) fn add(&self, scenario: &Scenario, judged: Vec<(Answer, Judged)>) {
        let mut page = Page::default();
        for (answer, judged) in judged {
            match judged {
                Judged::Accepted => page.accepted.push(answer),
                Judged::ByTime => page.by_time.push(answer),
                Judged::Refused(reply) => page.refused.push((answer, without_counts(&without_ids(&reply)))),
            }
        }
        self.0.lock().unwrap().insert((scenario.group, scenario.id.clone()), page);
    }

    /// The page in the repository is the one that this run writes.
    pub(crate) fn assert_kept(&self) {
        let page = self.page();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/answers.md");
        if env::var_os(RENEW).is_some() {
            fs::write(&path, &page).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let (was, is): (BTreeSet<_>, BTreeSet<_>) = (kept.lines().collect(), page.lines().collect());
        let (gone, new): (Vec<_>, Vec<_>) = (was.difference(&is).collect(), is.difference(&was).collect());
        assert!(
            kept == page,
            "docs/answers.md is not what this run replied: {gone:#?} became {new:#?}; if that is right, run {RENEW}=1 \
             cargo test -p insurewatch every_scenario"
        );
    }

    fn page(&self) -> String {
        let pages = self.0.lock().unwrap();
        let usual = usual(pages.values());
        let mut text = INTRODUCTION.to_owned();
        text += "\n## The usual reply\n\n";
        text += &table(&usual);
        let mut heading = None;
        for ((group, id), page) in &*pages {
            if heading.replace(*group) != Some(*group) {
                write!(text, "\n## {}\n", group.heading()).unwrap();
            }
            write!(text, "\n### {id}\n\nAccepted: {}.\n\n", listed(&page.accepted)).unwrap();
            if !page.by_time.is_empty() {
                let by_time = listed(&page.by_time);
                write!(text, "Told apart by a claim that is 70 s old, and not counted before: {by_time}.\n\n").unwrap();
            }
            let other: Vec<_> = page.refused.iter().filter(|refused| !usual.contains(refused)).cloned().collect();
            if !other.is_empty() {
                text += &table(&other);
            }
        }
        text
    }
}

/// For each answer the reply that most pages have.
fn usual<'a>(pages: impl Iterator<Item = &'a Page>) -> Vec<(Answer, String)> {
    let mut answers: Vec<(Answer, BTreeMap<&str, usize>)> = Vec::new();
    for (answer, reply) in pages.flat_map(|page| &page.refused) {
        let at = answers.iter().position(|(known, _)| known == answer).unwrap_or_else(|| {
            answers.push((*answer, BTreeMap::new()));
            answers.len() - 1
        });
        *answers[at].1.entry(reply).or_default() += 1;
    }
    let most =
        |replies: BTreeMap<&str, usize>| replies.into_iter().max_by_key(|(_, count)| *count).unwrap().0.to_owned();
    answers.into_iter().map(|(answer, replies)| (answer, most(replies))).collect()
}

/// One row for each reply.
fn table(refused: &[(Answer, String)]) -> String {
    let mut rows: BTreeMap<&str, Vec<Answer>> = BTreeMap::new();
    for (answer, reply) in refused {
        rows.entry(reply).or_default().push(*answer);
    }
    let rows =
        rows.into_iter().map(|(reply, answers)| format!("| {} | {} |\n", listed(&answers), reply.replace('|', "\\|")));
    format!("| refused | reply |\n|---|---|\n{}", rows.collect::<String>())
}

/// `place kind, kind; place kind`, in the order of the chain.
fn listed(answers: &[Answer]) -> String {
    let mut text = String::new();
    let mut before = None;
    for Answer { place, kind } in answers {
        match before.replace(place) {
            Some(same) if same == place => write!(text, ", {}", kind.name()),
            Some(_) => write!(text, "; `{place}` {}", kind.name()),
            None => write!(text, "`{place}` {}", kind.name()),
        }
        .unwrap();
    }
    text
}

/// Ids differ from run to run.
fn without_ids(reply: &str) -> String {
    let mut text = String::new();
    let mut rest = reply;
    while let Some(at) = rest.find(|char: char| char.is_ascii_hexdigit()) {
        let (before, run) = rest.split_at(at);
        let end = run.find(|char: char| !char.is_ascii_hexdigit()).unwrap_or(run.len());
        let (digits, after) = run.split_at(end);
        text.push_str(before);
        text.push_str(if digits.len() >= 16 { "…" } else { digits });
        rest = after;
    }
    text + rest
}

/// Where traces of several claims are mixed, it depends on the run how many spans a claim's traces hold.
fn without_counts(reply: &str) -> String {
    match reply.split_once(" spans of ") {
        Some((count, rest)) if count.bytes().all(|byte| byte.is_ascii_digit()) => format!("… spans of {rest}"),
        _ => reply.to_owned(),
    }
}

#[test]
fn ids_are_left_out_and_words_kept() {
    let reply = "`traceresponse: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02`: a dead end, 5 faces.";
    assert_eq!(without_ids(reply), "`traceresponse: 00-…-…-02`: a dead end, 5 faces.");
    assert_eq!(without_counts("19 spans of java-claims were received."), "… spans of java-claims were received.");
    assert_eq!(without_counts("It has 3 spans of java-claims."), "It has 3 spans of java-claims.");
}
