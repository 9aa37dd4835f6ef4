//! The glossary, from the same file as in the documentation.

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::whole;
use crate::api::routes::Shared;

const TEXT: &str = include_str!("../../../../docs/glossary.md");

pub(super) async fn page(State(lab): Shared) -> Html<String> {
    whole(&lab, "Glossary", &entries()).await
}

fn entries() -> Markup {
    html! {
        h1 { "Glossary" }
        @for part in TEXT.split("\n## ").skip(1) {
            @let (heading, rest) = part.split_once('\n').unwrap_or((part, ""));
            section {
                h2 #(anchor(heading)) { (heading) }
                @for block in rest.split("\n\n").map(str::trim) {
                    @match block.strip_prefix("### ") {
                        Some(term) => h3 #(anchor(term)) { (term) },
                        None => p { (inline(block)) },
                    }
                }
            }
        }
    }
}

/// A word that leads to its entry.
pub(super) fn term(word: &str, anchor: &str) -> Markup {
    html! { a.term href=(format!("/glossary#{anchor}")) { (word) } }
}

/// As in the documentation, where headings are letters and spaces.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-")
}

/// Markdown within a paragraph, as in the glossary and in scenarios: code, and links.
pub(super) fn inline(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (links(part)) }
        }
    }
}

fn links(text: &str) -> Markup {
    let link = text.split_once('[').and_then(|(before, rest)| {
        let (label, rest) = rest.split_once("](")?;
        let (target, after) = rest.split_once(')')?;
        Some((before, label, target, after))
    });
    html! {
        @match link {
            Some((before, label, target, after)) => { (before) a href=(target) rel="noreferrer" { (label) } (links(after)) },
            None => (text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_shown_without_marks_of_markdown() {
        let page = entries().into_string();
        let entries = TEXT.lines().filter_map(|line| line.strip_prefix("### "));
        let missing: Vec<_> =
            entries.filter(|entry| !page.contains(&format!("<h3 id=\"{}\">", anchor(entry)))).collect();
        assert_eq!(missing, [""; 0], "each term can be linked");
        for mark in ["](", "`", "**", "\n- ", "\n|"] {
            assert!(!page.contains(mark), "{mark:?} is Markdown that this page does not render");
        }
        assert!(page.contains("<a href=\"#carrier\" rel=\"noreferrer\">carrier</a>"), "links between terms work");
    }
}
