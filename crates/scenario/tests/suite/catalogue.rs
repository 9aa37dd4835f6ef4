//! The scenarios that come with the lab.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chain::{Hop, Kind, ParentUsed, Place, Service, Step, Topology};
use evidence::Expectation;
use scenario::catalogue::{Catalogue, CatalogueError};
use scenario::file::{Scenario, source_name};
use settings::{Schema, Setting};
use wire::Format;

use crate::support::GOOD;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

/// A schema that takes every key that a scenario file sets: what the keys mean is not known here.
pub(crate) fn lenient_schema() -> Schema {
    fn add(schema: Schema, settings: Option<&toml::Value>) -> Schema {
        let tables = settings.and_then(toml::Value::as_table).into_iter().flatten();
        tables.fold(schema, |schema, (service, table)| {
            let setting = |key: &String| Setting::new(key.clone().leak(), "Anything.", "anything", |_| Ok(()));
            let settings: Vec<_> = table.as_table().unwrap().keys().map(setting).collect();
            schema.with(service.parse().unwrap(), settings.leak())
        })
    }

    fs::read_dir(folder()).unwrap().fold(Schema::new(), |schema, entry| {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let file: toml::Table = text.parse().unwrap();
        let fixes = file.get("fixes").and_then(toml::Value::as_array).into_iter().flatten();
        fixes.fold(add(schema, file.get("settings")), |schema, fix| add(schema, fix.get("settings")))
    })
}

#[test]
fn every_scenario_is_embedded_and_well_formed() {
    let embedded = Catalogue::embedded(&lenient_schema()).unwrap_or_else(|error| panic!("{error}"));
    let on_disk = Catalogue::from_dir(&folder(), &lenient_schema()).unwrap_or_else(|error| panic!("{error}"));
    let all: Vec<_> = embedded.iter().collect();
    assert_eq!(all, on_disk.iter().collect::<Vec<_>>(), "what was built in is what stands in the folder");
    let order = |&scenario: &&Scenario| (scenario.group, scenario.id.clone());
    assert!(all.is_sorted_by_key(order), "the order is that of groups, then of ids");
    assert_eq!(all.iter().filter(|scenario| scenario.fault.is_none()).count(), 1, "`healthy` alone has no fault");
}

#[test]
fn healthy_demands_the_whole_chain() {
    let catalogue = Catalogue::embedded(&lenient_schema()).unwrap();
    let healthy = catalogue.healthy();
    let traced = Service::ALL.iter().copied().filter(|service| service.has_sdk()).collect::<Vec<_>>();
    let services: Vec<_> = healthy.fragments.iter().flatten().map(|fragment| fragment.services.clone()).collect();
    assert_eq!(services, [traced], "one fragment has every service that creates spans");
    let hops: Vec<_> = healthy.hops.iter().map(|cells| (*cells.hop, cells.parent)).collect();
    let parent = |hop: &Hop| hop.to.has_sdk().then_some(ParentUsed::Sender);
    let demanded: Vec<_> = Topology::LAB.hops.iter().map(|hop| (*hop, parent(hop))).collect();
    assert_eq!(hops, demanded, "every hop whose receiver creates spans keeps its parent");
}

#[test]
fn lab_1_is_a_b3_sender_before_a_w3c_receiver() {
    let catalogue = Catalogue::embedded(&lenient_schema()).unwrap();
    let lab = catalogue.get("lab-1-b3-vs-w3c").unwrap();
    let fault = lab.fault.as_ref().expect("it is broken");
    assert_eq!(fault.cause.place, Place::Hop(&Topology::LAB.hops[0]), "the first hop is at fault");
    assert_eq!(fault.cause.kind, Kind::Fails(Step::Extract), "the header arrives and is not read");
    assert_eq!(fault.broken.hops[0].received, Some(vec![Format::B3]), "what arrives is B3");
    let whole = |healed: &Expectation| (healed.fragments.clone(), healed.missing_parents.clone());
    assert_eq!(whole(catalogue.healed(lab)), whole(catalogue.healthy()), "fixed means one complete trace");

    let set: Vec<_> = fault.fixes.iter().map(|fix| lab.fixed(fix)).collect();
    let propagators = |service| set.iter().map(|set| set.get(service, "OTEL_PROPAGATORS")).collect::<Vec<_>>();
    let (w3c, both) = (Some("tracecontext,baggage"), Some("b3,tracecontext,baggage"));
    let b3 = Some("b3");
    assert_eq!(propagators(Service::PythonApi), [w3c, b3, both], "a fix stands on top of the scenario");
    assert_eq!(propagators(Service::JavaClaims), [None, both, None], "a fix changes what it names and no more");
}

#[test]
fn an_unknown_id_names_the_known_ones() {
    let catalogue = Catalogue::embedded(&lenient_schema()).unwrap();
    let error = catalogue.get("lab-1-b3-vs-w3").expect_err("there is none of this id").to_string();
    assert!(error.starts_with("unknown scenario `lab-1-b3-vs-w3`; scenarios are healthy, "), "{error}");
    assert!(error.ends_with("; did you mean `lab-1-b3-vs-w3c`?"), "{error}");
}

#[test]
fn a_folder_is_refused_with_every_wrong_file() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("a.toml", "x"), ("b.toml", "title = 1"), ("notes.md", "no scenario")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let schema = crate::support::schema();
    let error = Catalogue::from_dir(folder.path(), &schema).expect_err("two files are wrong");
    let CatalogueError::Files(files) = error else { panic!("the files are wrong, not: {error}") };
    assert_eq!(files.len(), 2, "both wrong files are told, and no other: {files:?}");

    fs::remove_file(folder.path().join("b.toml")).unwrap();
    fs::write(folder.path().join("a.toml"), GOOD).unwrap();
    let error = Catalogue::from_dir(folder.path(), &schema).expect_err("no file says what healthy is");
    assert!(matches!(error, CatalogueError::NoHealthy), "{error}");
    let absent = folder.path().join("absent");
    let error = Catalogue::from_dir(&absent, &schema).expect_err("there is no such folder");
    assert!(matches!(&error, CatalogueError::Folder { path, .. } if *path == absent), "{error}");
}

/// Names of what is not the lab's.
const OTHERS: &[&str] = &[
    "asyncio",
    "CloudFront",
    "Cloud Run",
    "conventions",
    "Go",
    "HAProxy",
    "Java",
    "Kafka",
    "nginx",
    "Node",
    "NATS",
    "OpenTelemetry",
    "Python",
    "SDKs",
    "specification",
    "Spring",
    "SQS",
    "tokio",
    "W3C",
];

#[test]
fn what_a_cause_says_of_other_software_has_a_source() {
    let catalogue = Catalogue::embedded(&lenient_schema()).unwrap();
    for Scenario { id, fault, hints, .. } in &catalogue {
        let Some(fault) = fault else { continue };
        let fixes = fault.fixes.iter().map(|fix| &fix.text);
        let text = std::iter::once(&fault.cause.text).chain(fixes).chain(hints);
        let words: Vec<&str> = text.flat_map(|text| text.split(|char: char| !char.is_ascii_alphanumeric())).collect();
        let joined = words.join(" ");
        let others: Vec<_> =
            OTHERS.iter().filter(|name| format!(" {joined} ").contains(&format!(" {name} "))).collect();
        let sources = &fault.cause.sources;
        assert!(others.is_empty() || !sources.is_empty(), "{id} says something of {others:?}, and names no source");
        assert!(sources.iter().all(|source| source.starts_with("https://")), "{id}: a source is a page: {sources:?}");
    }
}

#[test]
fn sources_of_one_statement_have_different_names() {
    for scenario in &Catalogue::embedded(&lenient_schema()).unwrap() {
        let sources = scenario.fault.iter().flat_map(|fault| &fault.cause.sources);
        let names: Vec<_> = sources.map(|source| source_name(source)).collect();
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{}: {names:?}", scenario.id);
    }
    let table = [
        ("https://www.example.org/", "example.org", "without a page"),
        ("https://example.org/a/b.html#c", "example.org: b#c", "the page, and the place in it"),
        ("https://example.org/a/b/", "example.org: b", "the page alone"),
    ];
    for (url, name, why) in table {
        assert_eq!(source_name(url), name, "{why}");
    }
}
