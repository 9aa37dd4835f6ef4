//! What changed, for those who would otherwise ask again and again.

use serde_json::{Value, json};
use trace_store::Store;

use crate::support::{MAX_BYTES, attribute, get, request, span, text};

const CLAIM: &str = "claim.id";

/// A span of this trace; with the claim's id if there is one.
fn insert(store: &Store, trace: u128, id: u64, claim: Option<&str>) {
    let mut span = span(trace, id, 0);
    span.attributes.extend(claim.map(|claim| attribute(CLAIM, text(claim))));
    store.insert(request("sender", vec![span]));
}

async fn ask(store: &Store, parameters: &str) -> Value {
    let answer = get(store, &format!("/api/changes?tag={CLAIM}&{parameters}"), "").await;
    assert_eq!(answer.status, 200, "{parameters}: {}", answer.text());
    answer.json()
}

async fn since(store: &Store, answer: &Value) -> Value {
    ask(store, &format!("wait=4000&after={}", answer["at"].as_str().unwrap())).await
}

#[tokio::test]
async fn a_change_is_told_once_by_what_its_trace_holds() {
    let store = Store::new(MAX_BYTES);
    insert(&store, 1, 1, Some("one"));
    insert(&store, 2, 1, Some("two"));
    let first = ask(&store, "").await;
    assert_eq!(
        (&first["complete"], &first["values"]),
        (&json!(false), &json!([])),
        "who is new knows nothing: {first}"
    );
    insert(&store, 1, 2, None);
    let second = since(&store, &first).await;
    assert_eq!(second["values"], json!(["one"]), "its span has no claim's id, its trace has: {second}");
    assert_eq!(second["complete"], true, "and that is all: {second}");
    insert(&store, 1, 2, None);
    insert(&store, 2, 3, Some("three"));
    let third = since(&store, &second).await;
    assert_eq!(
        third["values"],
        json!(["three", "two"]),
        "a trace can have several; a span that comes twice changes none"
    );
    assert_eq!(since(&store, &first).await["values"], json!(["one", "three", "two"]), "another reader lags behind");
}

#[tokio::test]
async fn a_question_waits_for_a_change() {
    let store = Store::new(MAX_BYTES);
    let first = ask(&store, "").await;
    let waiting = tokio::spawn({
        let (store, first) = (store.clone(), first.clone());
        async move { since(&store, &first).await }
    });
    tokio::task::yield_now().await;
    insert(&store, 1, 1, Some("one"));
    assert_eq!(waiting.await.unwrap()["values"], json!(["one"]), "it came meanwhile");
    let now = ask(&store, &format!("after={}", first["at"].as_str().unwrap())).await;
    let none = ask(&store, &format!("wait=1&after={}", now["at"].as_str().unwrap())).await;
    assert_eq!(
        (&none["complete"], &none["values"], &none["at"]),
        (&json!(true), &json!([]), &now["at"]),
        "nothing came"
    );
}

#[tokio::test]
async fn what_is_not_remembered_is_said_to_be_unknown() {
    let store = Store::new(MAX_BYTES);
    insert(&store, 1, 1, Some("one"));
    let first = ask(&store, "").await;
    let restarted = Store::new(MAX_BYTES);
    insert(&restarted, 1, 1, Some("one"));
    assert_eq!(since(&restarted, &first).await["complete"], false, "another store, at the same number");
    for id in 2..=5000 {
        insert(&store, 1, id, None);
    }
    let late = since(&store, &first).await;
    assert_eq!((&late["complete"], &late["values"]), (&json!(false), &json!([])), "too long ago");
    insert(&store, 1, 5001, None);
    assert_eq!(since(&store, &late).await["values"], json!(["one"]), "from there on it is known");
    let at = late["at"].as_str().unwrap().split_once('-').unwrap().0;
    assert_eq!(ask(&store, &format!("after={at}-{}", u64::MAX)).await["complete"], false, "nobody told this position");
}

#[tokio::test]
async fn values_that_are_too_long_together_are_not_told() {
    let store = Store::new(MAX_BYTES);
    let first = ask(&store, "").await;
    for id in 1..=11 {
        insert(&store, id, 1, Some(&format!("{id}").repeat(100_000)));
    }
    let answer = since(&store, &first).await;
    assert_eq!((&answer["complete"], &answer["values"]), (&json!(false), &json!([])), "more than a mebibyte");
}

#[tokio::test]
async fn a_wrong_question_is_refused_in_words() {
    let store = Store::new(1_000_000);
    for (question, status, word) in
        [("tag=a&after=x", 400, "invalid after"), ("tag=a&wait=x", 400, "invalid wait"), ("after=0-0", 400, "tag")]
    {
        let answer = get(&store, &format!("/api/changes?{question}"), "").await;
        assert_eq!(answer.status, status, "{question}");
        assert!(answer.text().contains(word), "{question}: {}", answer.text());
    }
}
