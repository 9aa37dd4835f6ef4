//! Plain English: words that a reader stumbles over are refused wherever a person reads.
//!
//! A phrase is a sequence of words. It is found in text of any kind, also across the line breaks of comments and of
//! strings. An identifier such as `under_way` is one word, so it is not checked.

use std::fs;
use std::path::{Path, PathBuf};

/// Phrases that are not used, and what to write instead.
struct Refused {
    /// In lower case they are found in any case; a phrase with an upper-case letter is found as it stands.
    phrases: &'static [&'static str],
    instead: &'static str,
}

/// Where a refused phrase is what a thing is called: the file, the phrase, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("tests/attack/store_memory.py", "pack", "Python's `struct.pack`"),
    ("tests/attack/http2.py", "pack", "Python's `struct.pack`"),
    ("tests/attack/http2.py", "unpack", "Python's `struct.unpack`"),
];

const fn refuse(phrases: &'static [&'static str], instead: &'static str) -> Refused {
    Refused { phrases, instead }
}

const REFUSED: &[Refused] = &[
    refuse(&["mend", "mends", "mended", "mending"], "fix"),
    refuse(
        &["whole trace", "whole traces", "whole again", "is whole", "are whole", "one whole", "not whole"],
        "complete",
    ),
    refuse(&["fell into", "fall into", "falls into", "fallen into"], "was split into"),
    refuse(&["scenario holds", "scenario that holds", "settings hold", "settings that hold"], "is active, apply"),
    refuse(&["every service follows", "all services follow"], "all services have applied it"),
    refuse(&["make no spans", "makes no spans", "makes no span", "makes spans", "make spans"], "creates spans"),
    refuse(&["speak b3", "speaks"], "propagates, uses; contradicts"),
    refuse(&["RIGHT", "NOT SO", "answered rightly"], "Correct, Incorrect; answered correctly"),
    refuse(&["ours to see"], "not observable (third party)"),
    refuse(&["tell of", "tells of", "told of"], "describe, report, notify"),
    refuse(&["whoever"], "anyone who, or name who it is"),
    refuse(&["of its own"], "its own, separate, new"),
    refuse(&["nobody hears", "nobody hears of it"], "no error is reported"),
    refuse(&["under way"], "in flight, running"),
    refuse(&["never arrived", "never arrives", "never came", "never comes"], "not received (within a stated time)"),
    refuse(&["came out so", "comes out so"], "had this result"),
    refuse(&["as far as"], "name the part that is meant"),
    refuse(&["pack", "packs", "packed", "unpack", "unpacks", "unpacked"], "encode, decode"),
    refuse(&["by halves"], "partly"),
    refuse(&["1 spans", "1 traces", "1 claims", "1 hops", "1 services"], "1 span, 1 trace"),
    refuse(&["anew"], "again"),
    refuse(&["wholly"], "completely"),
];

/// A word and the line that it is in. `joined` if nothing but space, or the marks of a comment or a string that goes on
/// in the next line, is between it and the word before.
struct Word<'a> {
    text: &'a str,
    line: usize,
    joined: bool,
}

fn words(text: &str) -> Vec<Word<'_>> {
    let is_word = |character: char| character.is_alphanumeric() || "_'".contains(character);
    let mut words = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(start) = rest.find(is_word) {
        let (gap, from) = rest.split_at(start);
        let end = from.find(|character| !is_word(character)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let breaks = gap.matches('\n').count();
        let marks = if breaks > 0 { "/!#*\\" } else { "" };
        let joined = gap.chars().all(|character| character.is_whitespace() || marks.contains(character));
        line += breaks;
        words.push(Word { text: word, line, joined });
        rest = after;
    }
    words
}

/// Whether the words begin with the phrase.
fn begins(words: &[Word<'_>], phrase: &str) -> bool {
    let same = |word: &str, wanted: &str| match wanted.chars().any(char::is_uppercase) {
        true => word == wanted,
        false => word.to_lowercase() == wanted,
    };
    let mut wanted = phrase.split(' ').enumerate();
    wanted.all(|(at, wanted)| words.get(at).is_some_and(|word| same(word.text, wanted) && (at == 0 || word.joined)))
}

/// Every refused phrase of a text: its line, the phrase, and what to write instead.
fn found(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let words = words(text);
    let rules = || REFUSED.iter().flat_map(|row| row.phrases.iter().map(|phrase| (*phrase, row.instead)));
    let starts = words.iter().enumerate().map(|(at, word)| (word.line, &words[at..]));
    let found = starts.flat_map(|(line, rest)| {
        let here = rules().filter(move |(phrase, _)| begins(rest, phrase));
        here.map(move |(phrase, instead)| (line, phrase, instead))
    });
    found.collect()
}

/// What a person reads: documentation, scenarios, programs with their comments and messages, scripts, deployment.
fn read(path: &Path, files: &mut Vec<PathBuf>) {
    const FOLDERS_LEFT_OUT: &[&str] = &["target", "node_modules", "recorded", "data", "proptest-regressions"];
    const KINDS: &[&str] = &["rs", "md", "toml", "py", "js", "css", "sh", "yaml", "yml", "conf", "cfg"];
    const WITHOUT_KIND: &[&str] = &["Dockerfile", "run", ".env"];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.is_dir() {
        if !FOLDERS_LEFT_OUT.contains(&name) {
            fs::read_dir(path).unwrap().for_each(|entry| read(&entry.unwrap().path(), files));
        }
    } else if WITHOUT_KIND.contains(&name)
        || path.extension().and_then(|kind| kind.to_str()).is_some_and(|kind| KINDS.contains(&kind))
    {
        files.push(path.to_owned());
    }
}

#[test]
fn no_refused_phrase_is_read_anywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut files = Vec::new();
    for part in [".ci", "crates", "deploy", "docs", "grafana", "scenarios", "tests"] {
        read(&root.join(part), &mut files);
    }
    for part in
        ["README.md", "CONTRIBUTING.md", "Dockerfile", "compose.yaml", "compose.logs.yaml", ".env", "Cargo.toml"]
    {
        files.push(root.join(part));
    }
    files.retain(|path| !path.ends_with("crates/scenario/tests/suite/words.rs"));
    assert!(files.len() > 250, "the files are found: {}", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(&root).unwrap().display().to_string();
        for (line, phrase, instead) in found(&text) {
            if !ALLOWED.iter().any(|(file, allowed, _)| *file == path && *allowed == phrase) {
                wrong.push(format!("{path}:{line}: `{phrase}`; write: {instead}"));
            }
        }
    }
    assert!(wrong.is_empty(), "words that a reader stumbles over:\n{}", wrong.join("\n"));
}

#[test]
fn a_refused_phrase_is_found_wherever_it_stands() {
    let table: &[(&str, &[usize])] = &[
        ("The claim FELL into 2 traces.", &[1]),
        ("fine\n/// The claim fell\n    /// into 2 traces.", &[2]),
        ("\"The claim fell \\\n     into 2 traces\"", &[1]),
        ("# a span\n# of its\n# own", &[2]),
        ("RIGHT, and NOT SO", &[1, 1]),
        ("right, and not so much", &[]),
        ("It fell; into the gap.", &[]),
        ("let under_way = under_way();", &[]),
        ("what is under way", &[1]),
        ("1 spans, 21 spans, 1 span", &[1]),
        ("(1..=SPANS)", &[]),
        ("mended\nand mending", &[1, 2]),
        ("", &[]),
    ];
    for (text, lines) in table {
        let at: Vec<_> = found(text).into_iter().map(|(line, ..)| line).collect();
        assert_eq!(at, *lines, "{text:?}");
    }
    for phrase in REFUSED.iter().flat_map(|row| row.phrases) {
        let sentence = format!("This {phrase} is wrong.");
        assert!(found(&sentence).iter().any(|(_, found, _)| found == phrase), "`{phrase}` is found");
    }
}
