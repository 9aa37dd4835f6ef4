//! `docs/scenarios.md` is the catalogue, and gives no answer away until it is unfolded.

use std::path::Path;
use std::{env, fs};

use scenario::{Catalogue, Scenario};

use crate::catalogue::lenient_schema;

const RENEW: &str = "INSUREWATCH_RENEW_DOCS";

#[test]
fn the_page_is_the_catalogue() {
    let page = Catalogue::embedded(&lenient_schema()).unwrap().page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios.md");
    if env::var_os(RENEW).is_some() {
        fs::write(&path, &page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(page.lines()).position(|(kept, page)| kept != page);
    let line = differs.unwrap_or_else(|| kept.lines().count().min(page.lines().count())) + 1;
    assert!(
        kept == page,
        "docs/scenarios.md:{line} is not what the catalogue says: run {RENEW}=1 cargo test -p scenario"
    );
}

#[test]
fn what_is_not_folded_gives_nothing_away() {
    let catalogue = Catalogue::embedded(&lenient_schema()).unwrap();
    let page = catalogue.page();
    let lessons: Vec<_> = page.split("\n### ").skip(1).collect();
    assert_eq!(lessons.len(), catalogue.iter().count(), "every scenario is on the page");
    for (scenario, lesson) in catalogue.iter().zip(lessons) {
        let Scenario { id, settings, hints, fault, .. } = scenario;
        let open = unfolded(lesson);
        assert!(open.contains(&scenario.symptom), "{id}: the symptom is seen at once");
        assert!(!open.contains("but it is not:"), "{id}: whether it is a control must be found out");
        assert_eq!(
            lesson.contains("but it is not:"),
            scenario.is_control(),
            "{id}: the answer tells a control from a fault"
        );
        for hint in hints {
            assert!(lesson.contains(hint) && !open.contains(hint), "{id}: `{hint}` is folded");
        }
        for (service, key, value) in settings.iter() {
            let command = format!("scenario set {service} {key}={value}\n");
            assert!(lesson.contains(&command), "{id}: the answer says how it is set");
            assert!(!open.contains(key), "{id}: `{key}` gives it away");
        }
        if let Some(fault) = fault {
            let observations = fault.observations();
            let fixes = fault.fixes.iter().map(|fix| fix.text.clone());
            let practice = fault.practice.iter().map(|practice| practice.text.clone());
            let kind = format!("**what:** {}", fault.cause.kind);
            let hidden = [fault.cause.text.clone(), kind].into_iter().chain(observations).chain(fixes).chain(practice);
            for text in hidden {
                assert!(lesson.contains(&text) && !open.contains(&text), "{id}: `{text}` is folded");
            }
        }
    }
}

fn unfolded(lesson: &str) -> String {
    let mut parts = lesson.split("<details>");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |open, part| open + part.split_once("</details>").expect("what is folded ends").1)
}
