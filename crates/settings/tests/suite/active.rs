//! The active settings on disk, and the watch over them.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chain::Service;
use proptest::prelude::*;
use settings::active::{Active, Seen, Watch, watch};
use settings::problem::FileError;
use settings::values::Settings;

use crate::support::schema;

fn active(generation: u64, note: &str) -> Active {
    let mut settings = Settings::default();
    settings.set(Service::PythonApi, "NOTE", note);
    Active { generation, scenario: Some("x".to_owned()), settings }
}

/// Waits until the watch has seen what `is` asks for.
async fn seen(watch: &mut Watch, what: &str, is: impl FnMut(&Seen) -> bool) -> Seen {
    match tokio::time::timeout(Duration::from_secs(20), watch.wait_for(is)).await {
        Ok(Ok(seen)) => seen.clone(),
        Ok(Err(_)) => panic!("the watch ended before {what}"),
        Err(_) => panic!("the watch has not seen {what}"),
    }
}

#[tokio::test]
async fn the_watch_keeps_the_last_good_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("active.toml");
    let mut watch = watch(path.clone(), Arc::new(schema()));
    let first = watch.borrow().clone();
    assert_eq!(*first.active, Active::default(), "an absent file means generation 0 and no settings");
    assert_eq!(first.problem, None, "an absent file is no problem at the start");

    active(1, "good").write(&path).unwrap();
    let good = seen(&mut watch, "the good file", |seen| seen.active.generation == 1).await;
    assert_eq!(good.active.for_service(Service::PythonApi)["NOTE"], "good", "the value was published");
    assert!(good.active.for_service(Service::JavaClaims).is_empty(), "nothing is set for it");

    fs::write(&path, "generation = 2\n[settings.python-api]\nNOTE = \"hal").unwrap();
    // It may be looked at while it is empty, too.
    let placed = |seen: &Seen| seen.problem.as_ref().is_some_and(|it| it.to_string().contains("active.toml:3:12: "));
    let bad = seen(&mut watch, "the half-written file, and where it breaks off", placed).await;
    assert_eq!(*bad.active, active(1, "good"), "the last good settings stay active");

    fs::write(&path, "generation = 2\n[settings.python-api]\nNOTE = \"half\"").unwrap();
    let whole = seen(&mut watch, "the rest of the file", |seen| seen.active.generation == 2).await;
    assert_eq!(whole.problem, None, "what is good again has no problem");

    fs::remove_file(&path).unwrap();
    let vanished = seen(&mut watch, "that the file vanished", |seen| seen.problem.is_some()).await;
    assert_eq!(vanished.active.generation, 2, "the last good settings stay active");
    let problem = vanished.problem.unwrap();
    assert!(matches!(*problem, FileError::Unreadable { .. }), "it is not the text that is wrong: {problem}");

    active(3, "back").write(&path).unwrap();
    let back = seen(&mut watch, "the new file", |seen| seen.active.generation == 3).await;
    assert_eq!(back.problem, None, "all is well again");
}

#[tokio::test]
async fn a_file_that_is_wrong_from_the_start_sets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("active.toml");
    fs::write(&path, b"\xff").unwrap();
    let seen = watch(path, Arc::new(schema())).borrow().clone();
    assert_eq!(*seen.active, Active::default(), "there is nothing good to hold on to");
    assert!(seen.problem.is_some(), "the refusal is told");
}

/// As a bind mount of Docker Desktop or a ConfigMap: the file's folder gets no event.
#[cfg(unix)]
#[tokio::test]
async fn a_change_that_nothing_reports_is_seen_too() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, target) = (folder.path().join("active.toml"), elsewhere.path().join("active.toml"));
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let mut watch = watch(path, Arc::new(schema()));
    for generation in [1, 2] {
        active(generation, "elsewhere").write(&target).unwrap();
        seen(&mut watch, "the target's new content", |seen| seen.active.generation == generation).await;
    }
}

#[tokio::test]
async fn a_folder_may_come_later_and_go() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("settings");
    let path = folder.join("active.toml");
    let mut watch = watch(path.clone(), Arc::new(schema()));
    for generation in [1, 2] {
        fs::create_dir(&folder).unwrap();
        active(generation, "there").write(&path).unwrap();
        let there = seen(&mut watch, "the file", |seen| seen.active.generation == generation).await;
        assert_eq!(there.problem, None, "the file is good");
        fs::remove_dir_all(&folder).unwrap();
        let gone = seen(&mut watch, "that the folder is gone", |seen| seen.problem.is_some()).await;
        assert_eq!(gone.active.generation, generation, "the last good settings stay active");
    }
}

#[test]
fn a_reader_never_sees_half_a_file() {
    const LAST: u64 = 200;
    let note = |generation: u64| format!("{generation} ").repeat(2_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("active.toml");
    active(1, &note(1)).write(&path).unwrap();
    let schema = schema();
    thread::scope(|scope| {
        let writer =
            scope.spawn(|| (2..=LAST).try_for_each(|generation| active(generation, &note(generation)).write(&path)));
        let mut newest = 0;
        loop {
            let last_look = writer.is_finished();
            let read = Active::load(&path, &schema).expect("every version is complete");
            assert!(read.generation >= newest, "{} came after {newest}", read.generation);
            assert_eq!(read, active(read.generation, &note(read.generation)), "no version is mixed");
            newest = read.generation;
            if last_look {
                break;
            }
        }
        assert_eq!(newest, LAST, "the last version stays");
        writer.join().unwrap().expect("every write succeeds");
    });
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["active.toml"], "no draft is left behind");
}

#[test]
fn a_spoilt_file_still_tells_its_generation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("active.toml");
    assert_eq!(Active::generation_in(&path), None, "there is no file");
    for (text, generation, why) in [
        ("generation = 7\n[settings.python-api]\nNOTE = \"hal", Some(7), "the rest is no TOML"),
        ("note = 1\n generation=8 # by hand\n", Some(8), "the rest is unknown"),
        ("[settings.python-api]\ngeneration = 9\n", None, "that is a setting"),
        ("generation = -1\n", None, "that is no generation"),
        ("generation\n", None, "that is no assignment"),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(Active::generation_in(&path), generation, "{why}");
    }
}

#[test]
fn a_failed_write_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent").join("active.toml");
    let error = active(1, "").write(&path).expect_err("the folder is absent");
    assert_eq!(error.path, path, "the error names the file");
    assert_eq!(Active::load(&path, &schema()), Ok(Active::default()), "an absent file sets nothing");
}

#[test]
fn a_file_of_active_settings_is_held_to_the_same_rules() {
    for (text, messages) in [
        ("", &["1:1: missing key `generation`"][..]),
        ("generation = -1", &["1:14: `generation`: invalid value: integer `-1`, expected u64"]),
        (
            "generation = 1\nscenaro = \"x\"\n[settings.java-claims]\nNOTES = \"\"",
            &[
                "2:1: unknown key `scenaro`; allowed: generation, scenario, settings; did you mean `scenario`?",
                "4:1: unknown setting `NOTES` of java-claims; its settings are OTEL_PROPAGATORS, NOTE; did you mean `NOTE`?",
            ],
        ),
        ("generation = 1\n[settings.java-cl", &["2:18: unclosed table, expected `]` in `[settings.java-cl`"]),
    ] {
        let expected: Vec<_> = messages.iter().map(|line| format!("active.toml:{line}")).collect();
        let error = Active::parse(Path::new("active.toml"), text, &schema()).expect_err(text);
        assert_eq!(error.to_string(), expected.join("\n"), "said of {text:?}");
    }
}

#[cfg(unix)]
#[test]
fn another_user_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (written, ordinary) = (folder.path().join("active.toml"), folder.path().join("ordinary"));
    active(1, "").write(&written).unwrap();
    fs::write(&ordinary, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&written), mode(&ordinary), "it is no more private than any other file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_written_is_read(
        generation in 0..=u64::try_from(i64::MAX).unwrap(),
        scenario in proptest::option::of(any::<String>()),
        notes in proptest::collection::vec((prop::sample::select(vec![Service::PythonApi, Service::JavaClaims]), any::<String>()), 0..3),
    ) {
        let mut settings = Settings::default();
        for (service, note) in notes {
            settings.set(service, "NOTE", note);
        }
        let written = Active { generation, scenario, settings };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("active.toml");
        written.write(&path).unwrap();
        prop_assert_eq!(Active::load(&path, &schema()), Ok(written));
    }
}
