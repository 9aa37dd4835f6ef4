//! The desk as a whole, without a lab behind it.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, StatusCode};
use evidence::verdict::ClaimVerdict;
use evidence::{Outcome, Verdict};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use settings::Active;
use tower::ServiceExt;

use super::*;
use crate::api::CheckReport;
use crate::drill::Mask;

/// A desk whose services follow any settings, and answer nothing else.
struct Stand {
    desk: Router,
    folder: tempfile::TempDir,
}

/// What the services follow when the file tells no generation.
const FOLLOWED: u64 = 1_000_000;
/// What no page may show too early.
const SECRETS: testing::Secrets = testing::Secrets {
    id: "zebra-scenario",
    title: "Unmistakable title",
    setting: "quagga",
    hint: "Okapi hint.",
    cause: "Tapir cause.",
};

/// Nothing else has this number.
const LOST_SPANS: u64 = 987_654_321;

async fn stand(edit: impl FnOnce(&mut Config)) -> Stand {
    let folder = tempfile::tempdir().unwrap();
    let active = folder.path().join("active.toml");
    let followed = active.clone();
    let healthz = get(async move |Path(service): Path<String>| {
        let generation = Active::generation_in(&followed).unwrap_or(FOLLOWED);
        // Lost spans can give an exporter's settings away.
        let spans = json!({ "exported": 0, "pending": 0, "dropped": 0, "failed": LOST_SPANS });
        Json(json!({ "service": service, "generation": generation, "spans": spans }))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().route("/{service}/healthz", healthz)).into_future());
    let mut config = Config {
        seats: Vec::new(),
        services: Service::ALL.iter().map(|service| (*service, url.join(&format!("{service}/")).unwrap())).collect(),
        trace_source: url,
        active,
        catalogue: testing::catalogue(),
        schema: Arc::new(testing::schema()),
        backends: guard::backends::Backends::default(),
        token: None,
        lock_reveal: false,
        drills: Vec::new(),
        grafana: None,
        grafana_api: None,
        traffic_per_second: 0.0,
    };
    edit(&mut config);
    Stand { desk: app(config).unwrap(), folder }
}

// === impl Stand ===

impl Stand {
    async fn send(&self, request: Request<Body>) -> (StatusCode, axum::http::HeaderMap, String) {
        let response = self.desk.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
        let (status, _, body) = self.send(request).await;
        (status, body)
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, String) {
        let request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
        let (status, _, body) = self.send(request.body(Body::from(body.to_string())).unwrap()).await;
        (status, body)
    }
}

#[tokio::test]
async fn grafana_gets_an_annotation_of_a_switch_without_the_scenario() {
    let (told, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let annotations = axum::routing::post(async move |line: String| told.send(line).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let grafana: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let app = Router::new().route("/api/annotations", annotations);
    tokio::spawn(axum::serve(listener, app).into_future());
    let stand = stand(|config| config.grafana = Some(grafana)).await;
    let (status, body) = stand.post("/api/settings/use", &json!({ "id": "lab-1" })).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let line = tokio::time::timeout(std::time::Duration::from_secs(20), lines.recv()).await.unwrap().unwrap();
    let mut line: Value = serde_json::from_str(&line).unwrap();
    assert!(line["time"].take().is_u64(), "{line}");
    let wanted = json!({ "time": null, "tags": ["insurewatch"], "text": "settings changed" });
    assert_eq!(line, wanted, "when, and nothing of the scenario");
}

#[tokio::test]
async fn a_drill_is_hidden_everywhere_until_it_is_solved() {
    let stand = stand(|_| ()).await;
    let (status, body) = stand.post("/api/drill", &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let settings: Value = serde_json::from_str(&stand.get("/api/settings").await.1).unwrap();
    assert_eq!((&settings["scenario"], &settings["settings"]), (&Value::Null, &json!({})), "settings are masked");
    let file = std::fs::read_to_string(stand.folder.path().join("active.toml")).unwrap();
    assert!(!file.contains("scenario ="), "the file of active settings names no scenario: {file}");
    for path in ["/api/settings", "/api/lab", "/parts/lab", "/parts/settings"] {
        let (_, body) = stand.get(path).await;
        assert!(!body.contains("lab-1") && !body.contains("=b3"), "{path} gives it away: {body}");
    }
    let (_, list) = stand.get("/parts/scenarios").await;
    assert!(list.contains("lab-1") && !list.contains("aria-pressed=\"true\""), "the list is there, and marks none");
    assert_eq!(stand.get("/api/scenarios/lab-1/answer").await.0, StatusCode::CONFLICT, "no answer is read meanwhile");
    let change = json!({ "service": "python-api", "key": "OTEL_PROPAGATORS", "value": "none" });
    let (status, body) = stand.post("/api/settings/set", &change).await;
    assert_eq!(status, StatusCode::OK, "writes are allowed");
    assert!(!body.contains("none"), "and answered masked: {body}");
    assert_eq!(stand.post("/api/drill", &json!({})).await.0, StatusCode::CONFLICT, "one drill at a time");

    for (number, status) in [(1, StatusCode::OK), (2, StatusCode::OK), (3, StatusCode::CONFLICT)] {
        assert_eq!(stand.post("/api/hint", &Value::Null).await.0, status, "hint {number} of 3: the last is the answer");
    }
    let answer = json!({ "place": "python-api -> java-claims", "kind": "extract" });
    let (_, judged) = stand.post("/api/drill/answer", &answer).await;
    let judged: Value = serde_json::from_str(&judged).unwrap();
    assert_eq!((&judged["correct"], &judged["drill"]["last"]["score"]), (&json!(true), &json!(80)), "{judged}");
    let settings: Value = serde_json::from_str(&stand.get("/api/settings").await.1).unwrap();
    assert_eq!((&settings["scenario"], &settings["masked"]), (&json!("lab-1"), &json!(false)), "now it is told");
}

/// The paths of a router, as its `Debug` has them: axum has no other way to ask.
fn paths(router: &Router) -> BTreeSet<String> {
    let debug = format!("{router:?}");
    let paths: BTreeSet<_> = debug.split('"').filter(|it| it.starts_with('/')).map(str::to_owned).collect();
    for known in ["/", "/healthz", "/api/lab", "/api/claims/{id}/diagnosis", "/parts/rows/{id}/{trace}"] {
        assert!(paths.contains(known), "{known} is a route, so the rest of {paths:?} are too: {debug}");
    }
    paths
}

#[tokio::test]
async fn nothing_that_can_be_read_gives_a_drill_away() {
    let stand = stand(|config| config.catalogue = testing::catalogue_with_secrets(&SECRETS)).await;
    let paths: Vec<_> = paths(&stand.desk)
        .into_iter()
        // It never ends; it tells numbers.
        .filter(|path| path != "/api/events")
        .flat_map(|path| {
            let path = path.replace("{trace}", &"a".repeat(32)).replace("{span}", &"b".repeat(16));
            let path = path.replace("{service}", "python-api");
            BTreeSet::from([SECRETS.id, "last"].map(|id| path.replace("{id}", id)))
        })
        .collect();
    let read = async || {
        let mut bodies = Vec::new();
        for path in &paths {
            bodies.push((path.as_str(), stand.get(path).await.1));
        }
        bodies
    };

    let (status, body) = stand.post("/api/settings/use", &json!({ "id": SECRETS.id })).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let open = read().await;
    let lost = LOST_SPANS.to_string();
    let secrets = [SECRETS.setting, SECRETS.hint, SECRETS.cause, &lost];
    for secret in secrets {
        assert!(open.iter().any(|(_, body)| body.contains(secret)), "{secret} can be read as long as no drill is on");
    }

    let (status, body) = stand.post("/api/drill", &json!({ "scenarios": [SECRETS.id] })).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    for (path, body) in read().await {
        for secret in secrets {
            assert!(!body.contains(secret), "GET {path} gives `{secret}` away: {body}");
        }
        // Lists have every scenario, and name the hidden one as they name any other; nothing else names it.
        let of_itself = path.contains(SECRETS.id);
        for (hidden, other) in [(SECRETS.id, "lab-1"), (SECRETS.title, "Two traces")] {
            let (hidden, other) = (body.matches(hidden).count(), body.matches(other).count());
            assert!(of_itself || hidden == other, "GET {path} has the hidden scenario stand out: {body}");
        }
    }
}

/// What a reader of a page sees of it.
fn text_of(page: &str) -> String {
    page.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
}

#[tokio::test]
async fn the_page_covers_a_lesson_until_there_is_a_hypothesis() {
    let stand = stand(|config| config.catalogue = testing::catalogue_with_secrets(&SECRETS)).await;
    let pages = paths(&stand.desk).into_iter().map(|path| path.replace("{service}", "python-api"));
    let pages: Vec<_> = pages.filter(|path| !path.starts_with("/api/") && !path.contains('{')).collect();
    assert!(pages.len() >= 8, "{pages:?}");
    let answer = |kind: &str| json!({ "place": "python-api -> java-claims", "kind": kind });
    for (route, body, why) in [
        ("/parts/hypothesis", answer("extract"), "it was answered"),
        ("/parts/uncover", Value::Null, "it was asked for"),
        ("/parts/reveal", Value::Null, "the answer was shown"),
    ] {
        stand.post("/api/settings/use", &json!({ "id": SECRETS.id })).await;
        let (_, judged) = stand.post("/parts/hypothesis", &answer("transit")).await;
        assert!(judged.contains("Send a claim first"), "nothing is judged without evidence: {judged}");
        for page in &pages {
            let (_, body) = stand.get(page).await;
            for secret in [SECRETS.setting, SECRETS.hint, SECRETS.cause] {
                assert!(!body.contains(secret), "GET {page} gives `{secret}` away: {body}");
            }
            assert!(!text_of(&body).contains(SECRETS.id), "GET {page} shows the id, which names the fault: {body}");
        }
        assert!(stand.get("/api/settings").await.1.contains(SECRETS.setting), "a program may ask");
        let (status, text) = stand.post(route, &body).await;
        assert_eq!(status, StatusCode::OK, "{why}: {text}");
        let form = stand.get("/parts/settings/python-api").await.1;
        assert!(form.contains(SECRETS.setting), "settings are shown, since {why}: {form}");
        assert!(text_of(&stand.get("/parts/lab").await.1).contains(SECRETS.id), "and the scenario's id, since {why}");
    }
}

#[tokio::test]
async fn a_page_that_does_not_exist_is_said_so_to_people_and_programs() {
    let stand = stand(|_| ()).await;
    for path in ["/nosuch", "/claims/", "/api/nosuch"] {
        for (accept, begins) in [("text/html,*/*", "<!DOCTYPE html>"), ("application/json", "{")] {
            let request = Request::get(path).header("host", "localhost").header("accept", accept);
            let (status, _, body) = stand.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
            assert!(body.starts_with(begins), "{path} for {accept}: {body}");
        }
    }
}

#[tokio::test]
async fn a_drill_chooses_nothing_that_a_service_in_a_seat_cannot_show() {
    let anywhere: Url = "http://127.0.0.1:9/".parse().unwrap();
    let (plainly, keeper) = (HealthAt::Plainly(anywhere.clone()), HealthAt::Keeper(anywhere));
    // lab-1 sets OTEL_PROPAGATORS of python-api.
    for (seat, chosen, why) in [
        (None, true, "the lab's own follow everything"),
        (Some((Service::PythonApi, keeper.clone())), true, "a command is restarted with what its SDK reads"),
        (Some((Service::PythonApi, plainly.clone())), false, "what runs already cannot be switched"),
        (Some((Service::JavaClaims, plainly)), true, "nothing of this one is switched"),
    ] {
        let stand = stand(|config| config.seats = seat.into_iter().collect()).await;
        let read = async |path| serde_json::from_str::<Value>(&stand.get(path).await.1).unwrap();
        let (set, left_out) = if chosen { (json!(["lab-1"]), Value::Null) } else { (json!([]), json!(["lab-1"])) };
        let drill = read("/api/drill").await;
        assert_eq!((&drill["scenarios"], &drill["left_out"]), (&set, &left_out), "{why}");
        assert_eq!(read("/api/scenarios/lab-1").await["needs_ours"], !chosen, "{why}");
        let list = stand.get("/parts/scenarios").await.1;
        assert_eq!(list.contains("needs a service of the lab's own"), !chosen, "{why}: {list}");
        if !chosen {
            for request in [json!({}), json!({ "scenarios": ["lab-1"] })] {
                let (status, body) = stand.post("/api/drill", &request).await;
                assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{why}: {body}");
                assert!(body.contains("a service of the lab's own in a seat that a service of yours fills"), "{body}");
            }
        }
    }
}

#[tokio::test]
async fn revealing_and_switching_end_a_drill() {
    let stand = stand(|_| ()).await;
    for (path, body, why) in [
        ("/api/reveal", Value::Null, "the answer was asked for"),
        ("/api/settings/use", json!({ "id": "lab-1" }), "another scenario was chosen"),
        ("/api/settings/reset", Value::Null, "it was given up"),
    ] {
        stand.post("/api/drill", &json!({})).await;
        let (status, text) = stand.post(path, &body).await;
        assert_eq!(status, StatusCode::OK, "{why}: {text}");
        let drill: Value = serde_json::from_str(&stand.get("/api/drill").await.1).unwrap();
        assert_eq!((&drill["current"], &drill["record"]["solved"]), (&Value::Null, &json!(0)), "{why}");
    }
}

#[tokio::test]
async fn reading_changes_nothing() {
    let stand = stand(|_| ()).await;
    let document: Value = serde_json::from_str(&stand.get("/api/openapi.json").await.1).unwrap();
    stand.post("/api/drill", &json!({})).await;
    let before = stand.get("/api/drill").await;
    let reads = document["paths"].as_object().unwrap().iter().filter(|(_, item)| item.get("get").is_some());
    let paths: Vec<_> = reads.map(|(path, _)| path.replace("{id}", "lab-1")).filter(|it| it != "/api/events").collect();
    assert!(paths.len() >= 9, "{paths:?}");
    for path in paths.iter().map(String::as_str).chain(["/api/claims/last/diagnosis"]) {
        let answer = stand.get(path).await;
        assert_eq!(stand.get("/api/drill").await, before, "GET {path} must not end a drill: {answer:?}");
    }
    assert_eq!(stand.get("/api/claims/last/diagnosis").await.0, StatusCode::METHOD_NOT_ALLOWED, "it ends a drill");
}

#[tokio::test]
async fn complete_settings_repair_a_broken_file() {
    let stand = stand(|_| ()).await;
    let path = stand.folder.path().join("active.toml");
    let change = json!({ "service": "python-api", "key": "OTEL_PROPAGATORS", "value": "none" });
    for (spoilt, least, why) in [
        ("generation = 2000000\n[settings.python-api]\nNONSENSE = 1\n", 2_000_001, "what it says of itself is known"),
        ("half of a fi", FOLLOWED + 1, "the services know what they follow"),
    ] {
        for (route, body) in [("/api/settings/use", json!({ "id": "lab-1" })), ("/api/settings/reset", Value::Null)] {
            std::fs::write(&path, spoilt).unwrap();
            let (status, refused) = stand.post("/api/settings/set", &change).await;
            assert_eq!(status, StatusCode::CONFLICT, "one setting cannot be changed in what cannot be read: {refused}");
            assert!(refused.contains("active.toml:"), "it is said where it is wrong: {refused}");
            let (status, text) = stand.post(route, &body).await;
            assert_eq!(status, StatusCode::OK, "{route} writes all of it again: {text}");
            let settings: Value = serde_json::from_str(&text).unwrap();
            assert!(settings["generation"].as_u64() >= Some(least), "the generation grows, {why}: {text}");
        }
        assert_eq!(stand.post("/api/settings/set", &change).await.0, StatusCode::OK, "all is well again");
    }
}

#[tokio::test]
async fn a_leader_can_lock_answers_and_set_the_drills() {
    let stand = stand(|config| {
        config.lock_reveal = true;
        config.drills = vec!["lab-1".to_owned()];
    })
    .await;
    stand.post("/api/drill", &json!({})).await;
    assert_eq!(stand.post("/api/reveal", &Value::Null).await.0, StatusCode::FORBIDDEN, "the answer is locked");
    let drill: Value = serde_json::from_str(&stand.get("/api/drill").await.1).unwrap();
    assert!(drill["current"].is_object(), "and the drill goes on");
    for path in ["/api/diagnoses", "/api/claims/last/diagnosis", "/parts/diagnosis"] {
        assert_eq!(stand.post(path, &Value::Null).await.0, StatusCode::FORBIDDEN, "{path} would be the answer");
    }
    let (_, used) = stand.post("/api/settings/use", &json!({ "id": "lab-1" })).await;
    let change = json!({ "service": "python-api", "key": "OTEL_PROPAGATORS", "value": "none" });
    let (_, set) = stand.post("/api/settings/set", &change).await;
    for told in [used, set, stand.get("/api/settings").await.1] {
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&told["settings"], &told["masked"]), (&json!({}), &json!(true)), "settings are hidden: {told}");
        assert_eq!(told["scenario"], "lab-1", "what was chosen by name is no secret");
    }
    for path in ["/api/lab", "/parts/settings", "/parts/lab"] {
        let (_, body) = stand.get(path).await;
        let lost = body.contains(&LOST_SPANS.to_string());
        let set = ["is-set", "value=\"b3\"", "=b3"].iter().any(|set| body.contains(set));
        assert!(!set && !lost, "{path} gives it away: {body}");
    }
    assert_eq!(drill["scenarios"], json!([]), "a drill that is on does not list what it may be");
}

#[tokio::test]
async fn pages_carry_a_policy_and_only_the_desks_own_write() {
    let stand = stand(|_| ()).await;
    let request = |origin: &str, host: &str| {
        let request = Request::post("/api/settings/reset").header("host", host).header("origin", origin);
        request.body(Body::empty()).unwrap()
    };
    for (origin, host, status, why) in [
        ("http://localhost:7700", "localhost:7700", StatusCode::OK, "the desk's own page"),
        ("http://evil.example", "localhost:7700", StatusCode::FORBIDDEN, "another site"),
    ] {
        let (found, headers, body) = stand.send(request(origin, host)).await;
        assert_eq!(found, status, "{why}: {body}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
    let (status, page) = stand.get("/").await;
    assert_eq!(status, StatusCode::OK);
    for inline in [" style=", "<style", " onclick=", "javascript:"] {
        assert!(!page.contains(inline), "{inline} would need a weaker policy");
    }
}

#[tokio::test]
async fn every_service_and_every_hop_is_drawn() {
    let stand = stand(|_| ()).await;
    let (_, sheet) = stand.get("/assets/desk.css").await;
    let (_, picture) = stand.get("/parts/chain").await;
    for service in Service::ALL {
        let rule = format!(".s-{service} {{ --service: light-dark(");
        assert_eq!(sheet.matches(&rule).count(), 1, "{service} has one colour");
        assert!(picture.contains(&format!("class=\"service s-{service}\"")), "{service} has a box: {picture}");
    }
    assert!(sheet.contains(".s-other {"), "and so has a service that is not of the chain");
    for hop in chain::Topology::LAB.hops {
        assert!(picture.contains(hop.arrow.path), "{hop} has an arrow: {picture}");
    }
}

#[tokio::test]
async fn a_token_is_wanted_everywhere_but_at_the_door() {
    let stand = stand(|config| config.token = Token::new("s3cret")).await;
    for (path, status) in [
        ("/healthz", StatusCode::OK),
        ("/login", StatusCode::OK),
        ("/", StatusCode::SEE_OTHER),
        ("/api/lab", StatusCode::UNAUTHORIZED),
        ("/api/openapi.json", StatusCode::UNAUTHORIZED),
        ("/parts/lab", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(stand.get(path).await.0, status, "{path}");
    }
    let lab = |name: &str, value: &str| {
        Request::get("/api/lab").header("host", "localhost").header(name, value).body(Body::empty()).unwrap()
    };
    for (name, value, status) in [
        ("authorization", "Bearer s3cret", StatusCode::OK),
        ("authorization", "Bearer s3cre", StatusCode::UNAUTHORIZED),
        ("cookie", "a=b; insurewatch_desk=s3cret", StatusCode::OK),
        ("cookie", "insurewatch_desk=", StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(stand.send(lab(name, value)).await.0, status, "{name}: {value}");
    }
    let login = |token: &str| {
        Request::post("/login").header("host", "localhost").body(Body::from(format!("token={token}"))).unwrap()
    };
    let (status, headers, _) = stand.send(login("s3cret")).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let cookie = headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(stand.send(login("wrong")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn any_token_can_log_in() {
    for token in ["a;b=c, d", "\u{fc}n\u{ef}", "100%41", "\"quoted\""] {
        let stand = stand(|config| config.token = Token::new(token)).await;
        let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
        let login = Request::post("/login").header("host", "localhost").body(Body::from(form)).unwrap();
        let (status, headers, _) = stand.send(login).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{token} is the token");
        let (cookie, _) = headers["set-cookie"].to_str().unwrap().split_once(';').unwrap();
        let bearer = format!("Bearer {token}");
        for (name, value) in [("cookie", cookie), ("authorization", &bearer)] {
            let lab = Request::get("/api/lab").header("host", "localhost").header(name, value.as_bytes());
            let (status, _, body) = stand.send(lab.body(Body::empty()).unwrap()).await;
            assert_eq!(status, StatusCode::OK, "{token} as {name}: {body}");
        }
    }
}

#[tokio::test]
async fn nobody_without_the_token_keeps_others_from_writing() {
    let stand = stand(|config| config.token = Token::new("s3cret")).await;
    let send = async |path: &str, token: &str| {
        let request =
            Request::post(path).header("host", "localhost").header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(Body::from("{\"per_second\":0}"));
        stand.send(request.unwrap()).await.0
    };
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        for (path, token) in [("/login", ""), ("/healthz", ""), ("/assets/desk.css", ""), ("/api/traffic", "wrong")] {
            seen.insert((path, send(path, token).await.as_u16()));
        }
    }
    let expected =
        [("/api/traffic", 401), ("/assets/desk.css", 405), ("/healthz", 405), ("/login", 401), ("/login", 429)];
    assert_eq!(seen, BTreeSet::from(expected), "only logins are limited, since only they can be tried");
    assert_eq!(send("/api/traffic", "s3cret").await, StatusCode::OK, "who has the token has a bucket of their own");
}

#[tokio::test]
async fn spans_are_sent_to_known_hosts_only() {
    let setting = settings::Setting::new("OTEL_EXPORTER_OTLP_ENDPOINT", "Where to.", "a URL", |_| Ok(()));
    let settings: &'static [_] = Box::leak(Box::new([setting]));
    let stand = stand(|config| config.schema = Arc::new(Schema::new().with(Service::PythonApi, settings))).await;
    let set = async |url: &str| {
        let change = json!({ "service": "python-api", "key": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": url });
        stand.post("/api/settings/set", &change).await
    };
    let (status, refused) = set("http://169.254.169.254").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "a request to anywhere, that somebody else makes: {refused}");
    assert!(refused.contains("INSUREWATCH_ALLOWED_BACKENDS"), "it says who can allow it: {refused}");
    assert_eq!(set("http://127.0.0.1:9").await.0, StatusCode::OK, "loopback");
}

#[tokio::test]
async fn pages_that_listen_are_counted() {
    let stand = stand(|_| ()).await;
    let listen = || Request::get("/api/events").header("host", "localhost").body(Body::empty()).unwrap();
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(stand.desk.clone().oneshot(listen()).await.unwrap());
        assert_eq!(open.last().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(stand.send(listen()).await.0, StatusCode::SERVICE_UNAVAILABLE, "each keeps a connection for good");
    open.pop();
    assert_eq!(stand.desk.clone().oneshot(listen()).await.unwrap().status(), StatusCode::OK, "one has left");
}

#[tokio::test]
async fn every_route_is_documented_with_its_refusals() {
    let stand = stand(|_| ()).await;
    let document: Value = serde_json::from_str(&stand.get("/api/openapi.json").await.1).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 18, "{} paths", paths.len());
    let documented: BTreeSet<_> = paths.keys().cloned().collect();
    let mut routes = self::paths(&stand.desk);
    routes.retain(|path| path.starts_with("/api/") && path != "/api/openapi.json");
    assert_eq!(documented, routes, "the document has every route of the API, and no other");
    for path in ["/api/settings/set", "/api/claims", "/api/drill/answer"] {
        assert!(paths[path]["post"]["requestBody"].is_object(), "{path} takes a body");
    }
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            let mut statuses = vec!["200", "400", "401", "403", "404", "409", "503"];
            statuses.extend((method == "post").then_some("429"));
            statuses.extend(["413", "415", "422"].iter().filter(|_| operation.get("requestBody").is_some()));
            for status in statuses {
                assert!(answers.contains_key(status), "{method} {path} may answer {status}");
            }
        }
    }
    let large = json!({ "id": "x".repeat(limits::MAX_BODY_BYTES) });
    assert_eq!(stand.post("/api/settings/use", &large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn a_masked_report_tells_no_verdict_not_even_by_its_exit_code_and_says_each_observation_once() {
    let claim = |id: &str, services: &str| ClaimVerdict {
        claim_id: format!("CLM-{id}"),
        outcome: Outcome::Broken,
        sentence: String::new(),
        traces: Vec::new(),
        observed: vec![format!("Claim CLM-{id} is in one trace."), format!("Trace {id} (services: {services}).")],
        evidence: Vec::new(),
    };
    let [one, same, other] = ["0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736", "c"];
    let outcomes =
        [Outcome::Healthy, Outcome::NotAPropagationBreak, Outcome::CannotTell, Outcome::Leaking, Outcome::Broken];
    for outcome in outcomes {
        let verdict = Verdict {
            outcome,
            sentence: String::new(),
            claims: vec![claim(one, "python-api"), claim(same, "python-api"), claim(other, "java-claims")],
            evidence: vec!["The cause.".to_owned()],
        };
        let unmet = vec!["A difference.".to_owned()];
        let report = CheckReport { verdict, masked: false, unmet, probes: Vec::new(), deadline_ms: 0, waited_ms: 0 };
        let masked = report.masked();
        assert_eq!(masked.exit_code(), 2, "{outcome:?} ends like every other");
        let observed = [
            &claim(one, "python-api").observed[..],
            &claim(other, "java-claims").observed,
            &[format!("The same was observed of claim CLM-{same}, with other ids.")],
        ];
        assert_eq!(masked.verdict.evidence, observed.concat(), "what differs is said, what is the same is named");
    }
}
