//! Search: which queries are understood, what they find, what the answer looks like.

use std::pin::pin;

use axum::http::Uri;
use futures_util::FutureExt as _;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Status;
use serde_json::{Value, json};
use trace_store::Store;

use crate::support::{Answer, MAX_BYTES, attribute, get, request, span, text, texts};

async fn search(store: &Store, parameters: &[(&str, &str)]) -> Answer {
    let encode = |text: &str| -> String {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        text.bytes().map(|byte| if plain(&byte) { char::from(byte).into() } else { format!("%{byte:02x}") }).collect()
    };
    let query = parameters.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&");
    let uri: Uri = format!("/api/search?{query}").parse().unwrap();
    get(store, &uri.to_string(), "application/json").await
}

/// The ids found, in the order of the answer.
fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let traces = answer.json().get("traces").and_then(Value::as_array).cloned().unwrap_or_default();
    traces.iter().map(|trace| trace["traceID"].as_str().unwrap().to_owned()).collect()
}

/// a: a complete trace over two services. b: a fragment without its root, with an error. c: a lone root.
fn store() -> Store {
    let store = Store::new(MAX_BYTES);
    let mut root = span(0xa, 1, 0);
    root.name = "POST /claims".to_owned();
    root.kind = 2;
    root.attributes = vec![
        attribute("insurewatch.claim.id", text("c-1")),
        attribute("http.response.status_code", Attribute::IntValue(201)),
        attribute("http.request.header.traceparent", texts(&["one", "two"])),
        attribute("a key", text("spaced")),
    ];
    let mut child = span(0xa, 2, 1);
    child.kind = 3;
    child.attributes =
        vec![attribute("retried", Attribute::BoolValue(true)), attribute("ratio", Attribute::DoubleValue(0.5))];
    store.insert(request("python-api", vec![root]));
    store.insert(request("java-claims", vec![child]));
    let mut orphan = span(0xb, 10, 9);
    orphan.kind = 2;
    orphan.status = Some(Status { code: 2, ..Status::default() });
    orphan.attributes = vec![attribute("insurewatch.claim.id", text("c-1")), attribute("quoted", text("a \"b\"\n"))];
    store.insert(request("java-claims", vec![orphan]));
    store.insert(request("python-api", vec![span(0xc, 5, 0)]));
    store
}

#[tokio::test]
async fn queries_find_what_they_say() {
    let store = store();
    for (query, expected) in [
        ("{}", "b c a"),
        (" { } ", "b c a"),
        (r#"{ span.insurewatch.claim.id = "c-1" }"#, "b a"),
        (r#"{span.insurewatch.claim.id="c-1"}"#, "b a"),
        (r#"{ .insurewatch.claim.id = "c-1" && resource.service.name = "java-claims" }"#, "b"),
        (r#"{ .service.name = "python-api" }"#, "c a"),
        (r#"{ span.service.name = "python-api" }"#, ""),
        (r#"{ resource.insurewatch.claim.id = "c-1" }"#, ""),
        ("{ name = `POST /claims` }", "a"),
        (r#"{ name != "POST /claims" }"#, "b c a"),
        ("{ kind = server }", "b a"),
        ("{ kind = client && span.retried = true }", "a"),
        // Both hold somewhere in the trace, but of no single span.
        ("{ kind = server && span.retried = true }", ""),
        ("{ status = error }", "b"),
        ("{ status != error }", "c a"),
        ("{ status = unset && kind = unspecified }", "c"),
        ("{ nestedSetParent < 0 }", "c a"),
        ("{ nestedSetParent<0 && resource.service.name != \"python-api\" }", ""),
        ("{ span.http.response.status_code = 201 }", "a"),
        ("{ span.http.response.status_code = 201.0 }", "a"),
        ("{ span.http.response.status_code != 200 }", "a"),
        ("{ span.http.response.status_code = \"201\" }", ""),
        ("{ span.ratio = 0.5 }", "a"),
        ("{ span.ratio = -0.5 }", ""),
        ("{ span.retried != false }", "a"),
        ("{ span.http.request.header.traceparent = \"two\" }", "a"),
        ("{ span.http.request.header.traceparent != \"two\" }", ""),
        ("{ span.http.request.header.traceparent != \"three\" }", "a"),
        (r#"{ span.quoted = "a \"b\"\n" }"#, "b"),
        (r#"{ span."a key" = "spaced" }"#, "a"),
        (r#"{ ."a key"="spaced" }"#, "a"),
        // What is absent neither equals nor differs.
        (r#"{ span.missing != "x" }"#, ""),
    ] {
        let found = ids(&search(&store, &[("q", query)]).await).join(" ");
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn other_queries_are_refused_with_the_position() {
    let store = store();
    for (query, position, expected) in [
        ("nonsense", 1, "`{`"),
        ("{", 2, "span., resource."),
        ("{ span.a = 1", 13, "`&&` or `}`"),
        ("{ span.a = 1 } | count() > 1", 16, "the end of the query"),
        ("{} >> {}", 4, "the end of the query"),
        ("{ span.a = 1 || span.b = 2 }", 14, "`&&` or `}`"),
        ("{ (span.a = 1) }", 3, "span., resource."),
        ("{ span.a =~ \"x\" }", 11, "a quoted text, a number"),
        ("{ span.a > 1 }", 10, "`=` or `!=`"),
        ("{ span.a }", 10, "`=` or `!=`"),
        ("{ span. = 1 }", 8, "an attribute name"),
        ("{ span.a = x }", 12, "a quoted text, a number"),
        ("{ span.a = inf }", 12, "a quoted text, a number"),
        ("{ span.a = 10s }", 12, "a quoted text, a number"),
        ("{ span.a = nil }", 12, "a quoted text, a number"),
        ("{ span.a = \"x }", 16, "a closing quote"),
        ("{ span.a = `x }", 16, "a closing backtick"),
        (r#"{ span.a = "\q" }"#, 13, "one of \\n"),
        ("{ duration > 1s }", 3, "span., resource."),
        ("{ kind = \"server\" }", 10, "unspecified, internal"),
        ("{ kind = waiter }", 10, "unspecified, internal"),
        ("{ status = 2 }", 12, "unset, ok or error"),
        ("{ name = true }", 10, "a quoted text"),
        ("{ nestedSetParent = 0 }", 19, "`< 0`"),
        ("{ nestedSetParent < 1 }", 22, "`< 0`"),
        ("{ \"é\" = span.a }", 3, "span., resource."),
        ("{ span.é = 1 & }", 14, "`&&` or `}`"),
        ("{ \u{a0}&& }", 4, "span., resource."),
    ] {
        let answer = search(&store, &[("q", query)]).await;
        assert_eq!(answer.status, 400, "{query} is not understood");
        assert!(answer.content_type().starts_with("text/plain"), "{query}: errors are text in Tempo");
        let (message, at) = (answer.text(), format!("at character {position}. Supported is"));
        assert!(message.contains(&at), "{query}: {message}, not {at}");
        assert!(message.contains(&format!("expected {expected}")), "{query}: {message}, not {expected}");
    }
}

#[tokio::test]
async fn tags_find_what_they_say() {
    let store = store();
    for (tags, expected) in [
        ("", "b c a"),
        ("insurewatch.claim.id=c-1", "b a"),
        ("insurewatch.claim.id=c-", ""),
        ("service.name=claims", "b a"),
        ("service.name=python-api insurewatch.claim.id=c-1", "a"),
        (r#"  name="POST /cl"  "#, "a"),
        (r#"quoted="a \"b\"" "#, ""),
        ("status.code=error", "b"),
        ("root.name=POST", "a"),
        ("root.service.name=python", "c a"),
        // Tempo's tags compare with text only.
        ("http.response.status_code=201", ""),
    ] {
        assert_eq!(ids(&search(&store, &[("tags", tags)]).await).join(" "), expected, "{tags}");
    }
    for (tags, message) in [
        ("a=1 a=2", "tag a has been set twice"),
        ("=1", "expected a key at pos 1"),
        ("a=\"1", "unterminated quoted value at pos 5"),
        ("a=b=c", "expected a space at pos 4"),
    ] {
        let answer = search(&store, &[("tags", tags)]).await;
        assert_eq!(answer.status, 400, "{tags}");
        assert!(answer.text().contains(message), "{tags}: {}", answer.text());
    }
}

#[tokio::test]
async fn other_parameters_narrow_the_answer() {
    let store = store();
    for (parameters, expected) in [
        (&[("q", "{}"), ("limit", "1")][..], "b"),
        (&[("q", "{}"), ("start", "4"), ("end", "7")], "c"),
        (&[("q", "{}"), ("start", "3"), ("end", "5")], "c a"),
        (&[("q", "{}"), ("end", "1")], "a"),
        (&[("start", "11"), ("end", "12")], "b"),
        (&[("start", "12"), ("end", "13")], ""),
    ] {
        assert_eq!(ids(&search(&store, parameters).await).join(" "), expected, "{parameters:?}");
    }
    for (parameters, message) in [
        (&[("q", "{}"), ("limit", "0")][..], "must be a positive number"),
        (&[("limit", "many")], "invalid limit"),
        (&[("spss", "-1")], "invalid spss"),
        (&[("start", "1.5")], "invalid start"),
        (&[("end", "4294967296")], "invalid end"),
        (&[("start", "2"), ("end", "2")], "start must be before end"),
        (&[("q", "{}"), ("tags", "a=b")], "can't specify tags and q"),
        (&[("minDuration", "1s")], "minDuration is not supported"),
    ] {
        let answer = search(&store, parameters).await;
        assert_eq!(answer.status, 400, "{parameters:?}");
        assert!(answer.text().contains(message), "{parameters:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_is_not_indexed_is_found() {
    let store = Store::new(MAX_BYTES);
    let mut many = request("sender", vec![span(1, 1, 0)]);
    let resource = many.resource_spans[0].resource.as_mut().unwrap();
    resource.attributes.extend((0..300).map(|key| attribute(&format!("key-{key}"), text("r"))));
    store.insert(many);
    let mut long = span(2, 1, 0);
    let texts_of_it = (0..70_000).map(|item| item.to_string()).collect::<Vec<_>>();
    long.attributes = vec![attribute("long", texts(&texts_of_it.iter().map(String::as_str).collect::<Vec<_>>()))];
    store.insert(request("sender", vec![long]));
    for (query, expected) in [
        (r#"{ resource.key-299 = "r" }"#, "1"),
        (r#"{ resource.key-299 = "s" }"#, ""),
        (r#"{ span.long = "69999" }"#, "2"),
        (r#"{ span.long = "70000" }"#, ""),
    ] {
        assert_eq!(ids(&search(&store, &[("q", query)]).await).join(" "), expected, "{query}");
    }
}

#[tokio::test]
async fn what_a_query_may_ask_is_bounded() {
    let store = store();
    // 52 KB of conditions once kept the store busy until it was killed.
    let conditions = |count: usize| format!("{{{}}}", vec![".a=1"; count].join("&&"));
    let tags = |count: usize| (0..count).map(|tag| format!("tag-{tag}=x")).collect::<Vec<_>>().join(" ");
    for (parameter, most, more, message) in [
        ("q", conditions(32), conditions(33), "too many conditions at character 194: at most 32 are allowed"),
        ("q", conditions(32), conditions(4_700), "too many conditions at character 194: at most 32 are allowed"),
        ("tags", tags(32), tags(33), "33 tags: at most 32 are allowed"),
        // The last two as Tempo says them; its largest limit is another.
        ("limit", "10000".to_owned(), "10001".to_owned(), "limit 10001 exceeds max limit 10000"),
        ("spss", "100".to_owned(), "101".to_owned(), "spans per span set exceeds 100. received 101"),
    ] {
        assert_eq!(search(&store, &[(parameter, &most)]).await.status, 200, "{parameter}={most} is allowed");
        let answer = search(&store, &[(parameter, &more)]).await;
        assert_eq!(answer.status, 400, "{parameter}: {}", answer.text());
        assert!(answer.text().contains(message), "{parameter}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_length_of_an_answer_is_bounded() {
    let store = Store::new(MAX_BYTES);
    let mut large = request("sender", (1..=20).map(|id| span(1, id, 0)).collect());
    // Held once, and in the answer with each span that is shown.
    let resource = large.resource_spans[0].resource.as_mut().unwrap();
    resource.attributes.push(attribute("large", text(&"\n".repeat(1 << 20))));
    store.insert(large);
    let query = ("q", "{ resource.large != \"x\" }");
    let answer = search(&store, &[query, ("spss", "20")]).await;
    assert_eq!(answer.status, 400, "20 times a mebibyte, twice, with each character escaped");
    assert!(answer.text().contains("longer than 8388608 bytes: request less with limit or spss"), "{}", answer.text());
    assert_eq!(search(&store, &[query, ("spss", "1")]).await.status, 200, "less can be had");
    assert_eq!(search(&store, &[("q", "{}"), ("spss", "20")]).await.status, 200, "so can all spans without it");
}

/// A search that is awaited on the only async thread leaves it to others.
#[tokio::test(flavor = "current_thread")]
async fn a_search_keeps_no_async_thread_busy() {
    let store = Store::new(MAX_BYTES);
    for trace in 1..=2_000 {
        store.insert(request("sender", (1..=10).map(|id| span(trace, id, 0)).collect()));
    }
    let mut searching = pin!(search(&store, &[("q", "{ name != \"x\" }"), ("limit", "2000"), ("spss", "10")]));
    assert!(searching.as_mut().now_or_never().is_none(), "20,000 spans are not read where the others wait");
    assert_eq!(ids(&searching.await).len(), 2_000, "and the answer comes");
}

#[tokio::test]
async fn at_most_twenty_traces_by_default() {
    let store = Store::new(MAX_BYTES);
    for id in 1..=30 {
        store.insert(request("sender", vec![span(id, 1, 0)]));
    }
    assert_eq!(ids(&search(&store, &[]).await).len(), 20, "Tempo's default");
    assert_eq!(ids(&search(&store, &[("limit", "25")]).await).len(), 25, "asked for");
}

#[tokio::test]
async fn the_answer_has_tempos_shape() {
    let answer = search(&store(), &[("q", r#"{ .insurewatch.claim.id = "c-1" && kind = server }"#)]).await.json();
    let span_set = json!({
        "spans": [{
            "spanID": "0000000000000001",
            "startTimeUnixNano": "1000000000",
            "durationNanos": "1000000000",
            "attributes": [
                { "key": "insurewatch.claim.id", "value": { "stringValue": "c-1" } },
                { "key": "kind", "value": { "stringValue": "server" } },
            ],
        }],
        "matched": 1,
    });
    assert_eq!(
        answer["traces"][1],
        json!({
            "traceID": "a",
            "rootServiceName": "python-api",
            "rootTraceName": "POST /claims",
            "startTimeUnixNano": "1000000000",
            "durationMs": 2000,
            "spanSet": span_set,
            "spanSets": [span_set],
            "serviceStats": { "python-api": { "spanCount": 1 }, "java-claims": { "spanCount": 1 } },
        }),
        "one trace of two spans that overlap the seconds 1 to 3"
    );
    let orphan = &answer["traces"][0];
    assert_eq!(orphan["rootServiceName"], "<root span not yet received>", "b has no root");
    assert_eq!(orphan.get("rootTraceName"), None, "and what is empty is left out");
    assert_eq!(orphan["serviceStats"], json!({ "java-claims": { "spanCount": 1, "errorCount": 1 } }), "{orphan}");
    assert_eq!(answer["metrics"]["inspectedTraces"], 3, "{answer}");
}

#[tokio::test]
async fn span_sets_are_cut_but_counted() {
    let store = Store::new(MAX_BYTES);
    store.insert(request("sender", (1..=5).map(|id| span(1, id, id - 1)).collect()));
    for (spss, shown) in [("", 3), ("2", 2), ("10", 5), ("0", 5)] {
        let answer = search(&store, &[("q", "{}"), ("spss", spss)]).await.json();
        let span_set = &answer["traces"][0]["spanSets"][0];
        assert_eq!(span_set["spans"].as_array().unwrap().len(), shown, "spss={spss}");
        assert_eq!(span_set["matched"], 5, "spss={spss}: all are counted");
    }
}
