//! What is kept in the repository is what this crate writes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use dashboards::page;

const RENEW: &str = "INSUREWATCH_RENEW_DOCS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn hold(path: &Path, wanted: &str) {
    if env::var_os(RENEW).is_some() {
        assert!(fs::write(path, wanted).is_ok(), "{} can be written", path.display());
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(kept == wanted, "{} is not what the crate writes: run {RENEW}=1 cargo test -p dashboards", path.display());
}

#[test]
fn the_dashboards_are_what_the_crate_writes() {
    let folder = root().join("grafana/dashboards");
    let mut wanted = BTreeSet::new();
    for dashboard in dashboards::all() {
        let file = format!("{}.json", dashboard.name);
        hold(&folder.join(&file), &dashboard.to_json());
        wanted.insert(file);
    }
    let kept: BTreeSet<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(kept, wanted, "nothing else is provisioned");
}

#[test]
fn the_saved_queries_in_the_documentation_are_what_the_crate_writes() {
    let path = root().join("docs/docker.md");
    let text = fs::read_to_string(&path).unwrap();
    hold(&path, &page::renewed(&text).expect("the page has a marked part"));
}
