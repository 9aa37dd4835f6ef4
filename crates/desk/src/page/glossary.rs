//! The glossary, and the table of runtimes, from the same files as in the documentation.

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};

use super::whole;
use crate::api::routes::Shared;

const TEXT: &str = include_str!("../../../../docs/glossary.md");
/// What scenarios refer to by its place among the documentation.
const RUNTIMES: (&str, &str) = ("docs/runtimes.md", include_str!("../../../../docs/runtimes.md"));

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

pub(super) async fn runtimes(State(lab): Shared) -> Html<String> {
    whole(&lab, "Runtimes", &table_of_runtimes()).await
}

fn table_of_runtimes() -> Markup {
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| inline(cell.trim())).collect::<Vec<_>>();
    html! {
        @for block in RUNTIMES.1.split("\n\n").map(str::trim) {
            @match (block.strip_prefix("# "), block.split_once("\n|---")) {
                (Some(title), _) => h1 { (title) },
                (None, None) => p { (inline(block)) },
                (None, Some((head, rows))) => section.scroll role="region" aria-label="Runtimes" tabindex="0" {
                    table {
                        thead { tr { @for cell in cells(head) { th scope="col" { (cell) } } } }
                        tbody { @for row in rows.lines().skip(1) { tr { @for cell in cells(row) { td { (cell) } } } } }
                    }
                },
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
    let Some((before, rest)) = text.split_once(['`', '[']) else { return plain(text) };
    let is_code = text.strip_prefix(before).is_some_and(|marked| marked.starts_with('`'));
    let link = rest.split_once("](").filter(|(label, _)| !is_code && !label.contains(']'));
    let link = link.and_then(|(label, rest)| rest.split_once(')').map(|(target, after)| (label, target, after)));
    html! {
        (plain(before))
        @match link {
            Some((label, target, after)) => { a href=(target.replace("glossary.md", "/glossary")) rel="noreferrer" { (inline(label)) } (inline(after)) },
            None if is_code => {
                @let (code, after) = rest.split_once('`').unwrap_or((rest, ""));
                code { (code) } (inline(after))
            },
            None => { "[" (inline(rest)) },
        }
    }
}

fn plain(text: &str) -> Markup {
    html! {
        @match text.split_once(RUNTIMES.0) {
            Some((before, after)) => { (before) a href="/runtimes" { (RUNTIMES.0) } (after) },
            None => (text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_runtimes_is_a_page() {
        let page = table_of_runtimes().into_string();
        let rows = RUNTIMES.1.lines().filter(|line| line.starts_with("| ")).count();
        assert_eq!(page.matches("<tr>").count(), rows, "each row of the file: {page}");
        for mark in ["](", "`", "*", "| ", "|--", ".md#"] {
            assert!(!page.contains(mark), "{mark:?} is Markdown that this page does not render: {page}");
        }
        let linked = inline("Others keep it (docs/runtimes.md has a table).").into_string();
        let list = inline("`[a]`, [b], [`c`](#c)").into_string();
        assert_eq!(
            list, "<code>[a]</code>, [b], <a href=\"#c\" rel=\"noreferrer\"><code>c</code></a>",
            "brackets and code"
        );
        assert_eq!(linked, "Others keep it (<a href=\"/runtimes\">docs/runtimes.md</a> has a table).", "the way to it");
    }

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
