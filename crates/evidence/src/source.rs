//! Where spans come from: Grafana Tempo's query API, which the embedded store answers as well; that one also tells what
//! changed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use error_reporter::Report;
use prost::Message;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::TraceId;

use crate::otlp::TraceByIdResponse;
use crate::span::{CLAIM_ID, Decoded, Span, SpanKind};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How far a search reaches before the claim and into the future, because clocks differ.
const SEARCH_MARGIN_SECONDS: u64 = 60;
/// Tempo refuses to search through more (`query_frontend.search.max_duration`, 168 h).
const LONGEST_SEARCH_SECONDS: u64 = 168 * 3600;
/// More traces than one claim can be split into. A search that finds as many may have left others out.
pub(crate) const MAX_TRACES: usize = 200;
/// Tempo keeps no trace above 5 MB, the built-in store none above 16 MiB.
const MAX_BODY_BYTES: usize = 32 << 20;
/// How long one question waits for a change.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How much of an answer an error shows.
const SHOWN_CHARS: usize = 300;

/// A trace store with Tempo's query API (<https://grafana.com/docs/tempo/latest/api_docs/>).
#[derive(Clone, Debug)]
pub struct TraceSource {
    base_url: String,
    client: reqwest::Client,
}

/// One trace as the source has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Its spans, in no particular order.
    pub spans: Vec<Span>,
    /// How many spans and links had malformed ids and were left out.
    pub malformed: usize,
    /// Whether the source says that it left spans out.
    pub partial: bool,
    /// How long the answer was, in bytes.
    pub bytes: usize,
}

/// Follows the changes of a source, for one reader.
#[derive(Debug)]
pub struct Follower {
    source: TraceSource,
    /// Up to where changes are known, as the source told.
    at: Option<String>,
}

/// What changed since a [`Follower`] asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Traces with spans of these claims got more spans, and no others.
    Claims(BTreeSet<String>),
    /// Any claim may have: it was the first question, or the source does not know.
    Any,
}

/// A question that the source did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The request failed: nothing listens there, or there was no answer in time.
    #[error("GET {asked} failed: {reason}")]
    Failed {
        /// The address with path and query.
        asked: String,
        /// The error with its causes.
        reason: String,
    },
    /// The answer was an error.
    #[error("GET {asked} answered {status}: {body}")]
    Refused {
        /// The address with path and query.
        asked: String,
        /// The HTTP status.
        status: u16,
        /// The first part of the body.
        body: String,
    },
    /// The answer was not what the API promises.
    #[error("GET {asked} answered {status} with an unreadable body ({reason}): {body}")]
    Unreadable {
        /// The address with path and query.
        asked: String,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
        /// The first part of the body.
        body: String,
    },
}

#[derive(Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    traces: Vec<FoundTrace>,
}

#[derive(Deserialize)]
struct FoundTrace {
    #[serde(rename = "traceID")]
    trace_id: TraceId,
}

#[derive(Deserialize)]
struct ChangesAnswer {
    at: String,
    complete: bool,
    values: BTreeSet<String>,
}

struct Answer {
    asked: String,
    status: StatusCode,
    body: Vec<u8>,
}

// === impl TraceSource ===

impl TraceSource {
    /// A source at `base_url`, such as `http://127.0.0.1:3200`. The client must be one without tracing: reads create no
    /// spans.
    #[must_use]
    pub fn new(base_url: impl Into<String>, client: reqwest::Client) -> Self {
        Self { base_url: base_url.into().trim_end_matches('/').to_owned(), client }
    }

    /// The traces that hold a span with this claim's id in the attribute `key`, 200 at most: the newest, if the source sorts.
    ///
    /// `since_unix_seconds` is any time before the claim was sent, by less than a week; the search starts a minute before
    /// it and ends, as Tempo wants it, no later than a week after that.
    ///
    /// # Errors
    /// When the source cannot be reached in five seconds, refuses or answers something unreadable.
    pub async fn traces_of_claim(
        &self,
        key: &str,
        claim_id: &str,
        since_unix_seconds: u64,
    ) -> Result<BTreeSet<TraceId>, SourceError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        // TraceQL reads strings as Go does, and whatever JSON escapes, Go reads alike.
        let query = format!("{{ span.{key} = {} }}", Value::from(claim_id));
        let start = since_unix_seconds.saturating_sub(SEARCH_MARGIN_SECONDS);
        let end = now.max(since_unix_seconds).saturating_add(SEARCH_MARGIN_SECONDS);
        self.search(&query, start, end).await
    }

    /// The traces with a span of this service and kind that began between two times, which are widened to whole seconds.
    pub(crate) async fn traces_of_service(
        &self,
        service: &str,
        kind: SpanKind,
        (from, to): (Duration, Duration),
    ) -> Result<BTreeSet<TraceId>, SourceError> {
        let query = format!("{{ resource.service.name = {} && kind = {} }}", Value::from(service), kind.name());
        self.search(&query, from.as_secs().saturating_sub(1), to.as_secs().saturating_add(2)).await
    }

    async fn search(&self, query: &str, start: u64, end: u64) -> Result<BTreeSet<TraceId>, SourceError> {
        let end = end.min(start.saturating_add(LONGEST_SEARCH_SECONDS)).to_string();
        let (start, limit) = (start.to_string(), MAX_TRACES.to_string());
        let parameters = [("q", query), ("start", &start), ("end", &end), ("limit", &limit)];

        let request = self.client.get(format!("{}/api/search", self.base_url)).query(&parameters);
        let answer = self.ask(request).await?.success()?;
        let found: SearchAnswer = answer.json()?;
        Ok(found.traces.into_iter().map(|trace| trace.trace_id).collect())
    }

    /// The spans of one trace; `None` if the source has none (yet).
    ///
    /// # Errors
    /// When the source cannot be reached in five seconds, refuses or answers something unreadable.
    pub async fn trace(&self, id: TraceId) -> Result<Option<Trace>, SourceError> {
        let url = format!("{}/api/v2/traces/{id}", self.base_url);
        let answer = self.ask(self.client.get(url).header(ACCEPT, "application/protobuf")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = answer.success()?;
        let found =
            TraceByIdResponse::decode(answer.body.as_slice()).map_err(|error| answer.unreadable(error.to_string()))?;
        let Decoded { spans, malformed } = found.trace.unwrap_or_default().into();
        let trace = Trace { spans, malformed, partial: found.status == 1, bytes: answer.body.len() };
        let is_empty = trace.spans.is_empty() && malformed == 0 && !trace.partial;
        Ok(Some(trace).filter(|_| !is_empty))
    }

    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower { source: self.clone(), at: None }
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, SourceError> {
        let request = request.timeout(REQUEST_TIMEOUT).build().map_err(|error| failed(&self.base_url, &error))?;
        let asked = request.url().to_string();
        let mut response = self.client.execute(request).await.map_err(|error| failed(&asked, &error))?;
        let mut answer = Answer { asked, status: response.status(), body: Vec::new() };
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&answer.asked, &error))? {
            if answer.body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(answer.unreadable(format!("it is longer than {MAX_BODY_BYTES} bytes")));
            }
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

// === impl Follower ===

impl Follower {
    /// Waits for a change, two seconds at most; the first answer comes at once. What changes between two questions is in
    /// the answer to the second.
    ///
    /// # Errors
    /// When the source tells no changes, as Tempo, which answers 404; or cannot be reached, refuses or answers something
    /// unreadable.
    pub async fn next(&mut self, wait: Duration) -> Result<Changed, SourceError> {
        let wait = wait.min(LONGEST_WAIT).as_millis().to_string();
        let mut parameters = vec![("tag", CLAIM_ID.to_owned()), ("wait", wait)];
        // After an error the next question is a first one.
        parameters.extend(self.at.take().map(|at| ("after", at)));
        let request = self.source.client.get(format!("{}/api/changes", self.source.base_url)).query(&parameters);
        let answer: ChangesAnswer = self.source.ask(request).await?.success()?.json()?;
        self.at = Some(answer.at);
        Ok(if answer.complete { Changed::Claims(answer.values) } else { Changed::Any })
    }
}

// === impl Answer ===

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        serde_json::from_slice(&self.body).map_err(|error| self.unreadable(error.to_string()))
    }

    fn success(self) -> Result<Self, SourceError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let body = self.shown();
        Err(SourceError::Refused { asked: self.asked, status: self.status.as_u16(), body })
    }

    fn unreadable(&self, reason: String) -> SourceError {
        SourceError::Unreadable { asked: self.asked.clone(), status: self.status.as_u16(), reason, body: self.shown() }
    }

    fn shown(&self) -> String {
        let start = self.body.get(..4 * SHOWN_CHARS).unwrap_or(&self.body);
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        String::from_utf8_lossy(start).chars().take(SHOWN_CHARS).map(shown).collect()
    }
}

fn failed(asked: &str, error: &reqwest::Error) -> SourceError {
    SourceError::Failed { asked: asked.to_owned(), reason: Report::new(error).to_string() }
}
