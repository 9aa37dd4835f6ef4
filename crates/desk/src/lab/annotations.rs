//! Annotates in Grafana when settings changed, but never to what: its dashboards draw a line there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use error_reporter::Report;
use reqwest::redirect::Policy;
use reqwest::{Client, Url, header};
use serde_json::json;
use service::url::resource;
use tokio::sync::mpsc;

/// How many changes wait for Grafana; those beyond are dropped.
const WAITING: usize = 16;
/// How long Grafana may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Where changes are noted. They are posted one after another by a task of their own, so that noting one never waits.
#[derive(Clone, Debug)]
pub(crate) struct Annotations {
    changes: mpsc::Sender<u64>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    posted: AtomicU64,
    dropped: AtomicU64,
}

// === impl Annotations ===

impl Annotations {
    /// Must be called within a Tokio runtime. `api` is where Grafana answers the desk, `public` where it answers people: a
    /// Grafana that enforces its domain answers to no other.
    pub(crate) fn start(api: &Url, public: &Url) -> Result<Self, reqwest::Error> {
        let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(TIMEOUT).build()?;
        let url = resource(api, &["api", "annotations"]);
        let host = public.host_str().unwrap_or_default();
        let host = public.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let (changes, mut waiting) = mpsc::channel::<u64>(WAITING);
        let counts = Arc::new(Counts::default());
        let counting = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Some(unix_ms) = waiting.recv().await {
                let body = json!({ "time": unix_ms, "tags": [dashboards::ANNOTATION_TAG], "text": "settings changed" });
                let sent = client.post(url.clone()).header(header::HOST, &host).json(&body).send().await;
                match sent.and_then(reqwest::Response::error_for_status) {
                    Ok(answer) if answer.status().is_success() => counting.posted.fetch_add(1, Relaxed),
                    Ok(answer) => counting.miss(&format!("it answers {}", answer.status())),
                    Err(error) => counting.miss(&Report::new(error).to_string()),
                };
            }
        });
        Ok(Self { changes, counts })
    }

    pub(crate) fn settings_changed(&self, unix_ms: u64) {
        if self.changes.try_send(unix_ms).is_err() {
            self.counts.miss("too many annotations are waiting");
        }
    }

    /// How many lines Grafana has taken, and how many it has not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.counts.posted.load(Relaxed), self.counts.dropped.load(Relaxed))
    }
}

// === impl Counts ===

impl Counts {
    /// Said once: a Grafana that is not there will not be there for the next change either.
    fn miss(&self, reason: &str) -> u64 {
        let before = self.dropped.fetch_add(1, Relaxed);
        if before == 0 {
            tracing::warn!(reason, "Grafana did not accept the annotation of a change");
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use serde_json::Value;
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// A Grafana that stores what it receives, and answers only when the test lets it.
    #[derive(Debug)]
    struct Grafana {
        url: Url,
        told: Arc<Mutex<Vec<(String, Value)>>>,
        may_answer: Arc<Semaphore>,
    }

    async fn grafana(status: StatusCode) -> Grafana {
        let (told, may_answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let (keep, wait) = (Arc::clone(&told), Arc::clone(&may_answer));
        let answer = async move |headers: HeaderMap, body: String| {
            wait.acquire().await.unwrap().forget();
            let host = headers["host"].to_str().unwrap().to_owned();
            keep.lock().unwrap().push((host, serde_json::from_str(&body).unwrap()));
            status
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let app = Router::new().route("/api/annotations", post(answer));
        tokio::spawn(axum::serve(listener, app).into_future());
        Grafana { url, told, may_answer }
    }

    async fn eventually(annotations: &Annotations, wanted: (u64, u64)) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while annotations.counts() != wanted {
            assert!(Instant::now() < deadline, "{:?} became {wanted:?}", annotations.counts());
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn grafana_is_told_when_and_not_what() {
        let grafana = grafana(StatusCode::OK).await;
        let public = "http://127.0.0.1:3001/".parse().unwrap();
        let annotations = Annotations::start(&grafana.url, &public).unwrap();
        grafana.may_answer.add_permits(2);
        annotations.settings_changed(1_700_000_000_000);
        annotations.settings_changed(1_700_000_001_000);
        eventually(&annotations, (2, 0)).await;
        let told = grafana.told.lock().unwrap().clone();
        let line = |time: u64| json!({ "time": time, "tags": ["insurewatch"], "text": "settings changed" });
        let host = || "127.0.0.1:3001".to_owned();
        let wanted = [(host(), line(1_700_000_000_000)), (host(), line(1_700_000_001_000))];
        assert_eq!(told, wanted, "nothing but the time, asked for as people do");
    }

    #[tokio::test]
    async fn a_grafana_that_hangs_or_refuses_is_in_nobodys_way() {
        let hanging = grafana(StatusCode::OK).await;
        let annotations = Annotations::start(&hanging.url, &hanging.url).unwrap();
        // One runs at most, so these are more than can wait. None of the calls can wait: they are not async.
        let changes = u64::try_from(WAITING).unwrap() + 5;
        (0..changes).for_each(|change| annotations.settings_changed(change));
        let (posted, dropped) = annotations.counts();
        assert!(posted == 0 && dropped >= 4, "more than can wait are dropped and counted: {dropped}");
        hanging.may_answer.add_permits(usize::try_from(changes).unwrap());
        eventually(&annotations, (changes - dropped, dropped)).await;

        let refusing = grafana(StatusCode::FORBIDDEN).await;
        let annotations = Annotations::start(&refusing.url, &refusing.url).unwrap();
        refusing.may_answer.add_permits(1);
        annotations.settings_changed(0);
        eventually(&annotations, (0, 1)).await;
    }
}
