//! The glossary: each page links a term at its first use, and each link leads somewhere.

#![expect(clippy::string_slice, reason = "every index comes from a search in the same text")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Terms that are also everyday words. A page links them where it means the term.
const EVERYDAY: &[&str] = &[
    "chain",
    "context",
    "context propagation",
    "control",
    "exporter",
    "extract",
    "fault",
    "inject",
    "leak",
    "link",
    "parent",
    "resource",
    "sampler",
    "seat",
    "span",
    "the four steps",
    "trace",
    "transit",
    "use",
];
/// Pages that are mostly generated: only their introduction is checked for terms.
const GENERATED: &[&str] = &["docs/answers.md", "docs/panels.md", "docs/scenarios.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every page, by its path below the root.
fn pages() -> BTreeMap<PathBuf, String> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs =
        docs.map(|name| Path::new("docs").join(name)).filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let names = docs.chain([PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")]);
    names.map(|name| (name.clone(), fs::read_to_string(root().join(&name)).unwrap())).collect()
}

/// The anchors that GitHub gives to a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = without_code(page);
    let headings = headings
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|character| character.is_alphanumeric() || "-_".contains(*character)).collect()
    };
    headings.map(anchor).collect()
}

/// The targets of `[text](target)`, each with the place where its text begins.
fn links(page: &str) -> Vec<(usize, &str)> {
    let ends = page.match_indices("](");
    let link = |(at, _): (usize, &str)| {
        let target = page[at + 2..].split(')').next().unwrap_or_default();
        page[..at].rfind('[').map(|start| (start, target))
    };
    ends.filter_map(link).collect()
}

/// The page with every fenced or indented block of code blank, so that places stay the same.
fn without_code(page: &str) -> String {
    let mut fenced = false;
    let line = |line: &str| {
        let fence = line.starts_with("```");
        let code = fence || fenced || line.starts_with("    ");
        fenced ^= fence;
        if code { blank(line) } else { line.to_owned() }
    };
    page.split_inclusive('\n').map(line).collect()
}

fn blank(text: &str) -> String {
    text.chars()
        .flat_map(|character| if character == '\n' { vec!['\n'] } else { vec![' '; character.len_utf8()] })
        .collect()
}

/// The page's sentences: without code, headings, addresses, titles in italics and the texts of links.
fn prose(page: &str) -> String {
    let mut page = without_code(page);
    let headings =
        page.split_inclusive('\n').map(|line| if line.starts_with('#') { blank(line) } else { line.to_owned() });
    page = headings.collect();
    for (open, close) in [("`", "`"), ("[", ")"), ("<", ">"), ("*", "*")] {
        let mut at = 0;
        while let Some(start) = page[at..].find(open).map(|found| at + found) {
            let Some(end) = page[start + 1..].find(close).map(|found| start + 1 + found + close.len()) else { break };
            let is_link = open != "[" || page[start..end].contains("](");
            if is_link {
                page.replace_range(start..end, &blank(&page[start..end]));
            }
            at = if is_link { end } else { start + 1 };
        }
    }
    page
}

/// Where a term is used first, in singular or plural.
fn first_use(prose: &str, term: &str) -> Option<usize> {
    let prose = prose.to_lowercase().replace('\n', " ");
    let is_edge = |character: Option<char>| character.is_none_or(|character| !character.is_alphanumeric());
    let mut uses = prose.match_indices(term).filter(|(at, _)| {
        let after = &prose[at + term.len()..];
        is_edge(prose[..*at].chars().next_back()) && is_edge(after.strip_prefix('s').unwrap_or(after).chars().next())
    });
    uses.next().map(|(at, _)| at)
}

/// The terms that a page uses before it links them.
fn unlinked(page: &str, terms: &BTreeSet<String>) -> Vec<String> {
    let (prose, links) = (prose(page), links(page));
    let linked = |term: &str| {
        let anchor = format!("glossary.md#{}", term.replace(' ', "-"));
        links.iter().find(|(_, target)| target.ends_with(&anchor)).map(|(at, _)| *at)
    };
    let wrong =
        |term: &&String| first_use(&prose, term).is_some_and(|used| linked(term).is_none_or(|linked| linked > used));
    terms.iter().filter(wrong).cloned().collect()
}

/// The terms that the glossary explains, in lower case.
fn terms(glossary: &str) -> BTreeSet<String> {
    glossary.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_lowercase).collect()
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let pages = pages();
    let mut checked = 0;
    for (name, page) in &pages {
        for (_, target) in links(&without_code(page)) {
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            if file.contains("://") {
                continue;
            }
            let path =
                if file.is_empty() { root().join(name) } else { root().join(name).with_file_name("").join(file) };
            let name = name.display();
            assert!(path.exists(), "{name} links to {file}, which does not exist");
            if let Some(anchor) = anchor {
                let known = anchors(&fs::read_to_string(&path).unwrap());
                assert!(known.contains(anchor), "{name} links to {target}; headings there are {known:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "links into pages are found: {checked}");
}

#[test]
fn every_link_of_the_desk_into_the_glossary_has_its_term() {
    let known = anchors(&pages()[Path::new("docs/glossary.md")]);
    let folder = root().join("crates/desk/src/page");
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        let text = fs::read_to_string(&entry).unwrap();
        for part in text.split("term(\"").skip(1) {
            let anchor = part.split('"').nth(2).unwrap();
            assert!(known.contains(anchor), "{}: `{anchor}` is no heading of the glossary", entry.display());
            checked += 1;
        }
    }
    assert!(checked > 3, "the desk links terms: {checked}");
}

#[test]
fn every_term_is_linked_where_a_page_uses_it_first() {
    let pages = pages();
    let mut terms = terms(&pages[Path::new("docs/glossary.md")]);
    for word in EVERYDAY {
        assert!(terms.remove(*word) || *word == "the four steps", "`{word}` is a term");
    }
    for (name, page) in pages.iter().filter(|(name, _)| !name.ends_with("glossary.md")) {
        let generated = GENERATED.iter().any(|generated| name == Path::new(generated));
        let cut = if generated { page.find("\n| ").into_iter().chain(page.find("\n## ")).min() } else { None };
        let page = &page[..cut.unwrap_or(page.len())];
        assert_eq!(unlinked(page, &terms), [""; 0], "{}: terms that are not linked at their first use", name.display());
    }
}

#[test]
fn every_term_of_opentelemetry_or_w3c_has_a_source() {
    let pages = pages();
    let part = pages[Path::new("docs/glossary.md")].split("\n## ").nth(2).unwrap();
    for entry in part.split("\n### ").skip(1) {
        let source = entry.split_once("Source: [").and_then(|(_, rest)| rest.split_once("](https://"));
        let known = |(_, url): (_, &str)| {
            ["opentelemetry.io/", "www.w3.org/", "w3c.github.io/"].iter().any(|site| url.starts_with(site))
        };
        assert!(source.is_some_and(known), "no source: {entry}");
    }
}

#[test]
fn a_term_that_is_used_before_its_link_is_found() {
    let terms = BTreeSet::from(["hop".to_owned(), "root span".to_owned()]);
    for (page, wrong) in [
        ("A [hop](glossary.md#hop) and a hop.", &[][..]),
        ("A hop and a [hop](glossary.md#hop).", &["hop"]),
        ("Two hops.", &["hop"]),
        ("A hopper, a shop, `hop`.", &[]),
        ("# Hop\n\n```\nhop\n```\n    hop\n", &[]),
        ("A root\nspan.", &["root span"]),
        ("See [another page](x.md#hop), and a hop.", &["hop"]),
    ] {
        assert_eq!(unlinked(page, &terms), wrong, "{page:?}");
    }
}
