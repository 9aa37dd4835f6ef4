//! Which traces changed last, and the question by which a reader follows them.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{Query as UrlQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::read::{Answer, Deadline, ReadError, Readers};
use crate::store::{Store, StoredTrace, TraceId};

/// How many changes are remembered: at 50 claims per second some ten seconds of them.
const REMEMBERED: usize = 4096;
/// How long a question waits for a change: less than running requests may take at shutdown.
const MAX_WAIT: Duration = Duration::from_secs(4);
/// How many requests wait at once: few of the connections that a store has.
pub(crate) const MAX_WAITING: usize = 16;
/// How long all values of a response may be together: escaped in JSON they are still shorter than the response to a search.
const MAX_VALUES_BYTES: usize = 256 << 10;

/// The newest changes, oldest first. Nothing is kept for a reader, so a slow one costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    traces: VecDeque<TraceId>,
    /// How many came before the first of `traces`.
    forgotten: u64,
}

/// Up to where a reader knows the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Another in every store, so that a restart is noticed.
    pub(crate) epoch: u64,
    /// How many changes there were.
    pub(crate) count: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    tag: String,
    after: Option<String>,
    wait: Option<String>,
}

/// Which values of a tag are in traces that changed.
#[derive(Debug, Default, Serialize)]
struct Changed {
    /// What to ask with next.
    at: String,
    /// Whether these are all; otherwise anything may have changed.
    complete: bool,
    values: BTreeSet<String>,
}

/// Why such a question was turned away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangesError {
    #[error("invalid after: it is no position that an answer told")]
    After,
    #[error("invalid wait: {0}")]
    Wait(ParseIntError),
    #[error("the store is busy: {MAX_WAITING} clients wait for changes already")]
    Waiting,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Waits for a change, then tells what changed.
pub(crate) async fn changes(
    State(readers): State<Readers>,
    UrlQuery(Parameters { tag, after, wait }): UrlQuery<Parameters>,
) -> Result<Response, ChangesError> {
    let after = after.map(|after| after.parse::<Position>()).transpose().map_err(|_| ChangesError::After)?;
    let wait = wait.map_or(Ok(0), |wait| wait.parse()).map_err(ChangesError::Wait)?;
    if let Some(after) = after {
        let Ok(_place) = readers.waiting.try_acquire() else { return Err(ChangesError::Waiting) };
        // Without a change the answer is that there is none.
        let _ = timeout(MAX_WAIT.min(Duration::from_millis(wait)), readers.store.changed(after)).await;
    }
    readers.read(0, move |store, deadline| Changed::since(after, &tag, store, deadline)).await
}

// === impl Changes ===

impl Changes {
    pub(crate) fn push(&mut self, trace: TraceId) {
        if self.traces.len() == REMEMBERED {
            self.traces.pop_front();
            self.forgotten += 1;
        }
        self.traces.push_back(trace);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.forgotten + self.traces.len() as u64
    }

    /// The traces that changed after the first `count` changes; `None` if not all of them are remembered.
    pub(crate) fn since(&self, count: u64) -> Option<HashSet<TraceId>> {
        let known = usize::try_from(count.checked_sub(self.forgotten)?).ok()?;
        (known <= self.traces.len()).then(|| self.traces.iter().skip(known).copied().collect())
    }
}

// === impl Changed ===

impl Changed {
    fn since(after: Option<Position>, tag: &str, store: &Store, deadline: Deadline) -> Result<Answer, ChangesError> {
        let (at, traces) = store.changes_since(after);
        let mut values = traces.as_ref().map(|_| BTreeSet::new());
        let mut bytes = 0;
        for trace in traces.into_iter().flatten().filter_map(|id| store.trace(id)) {
            deadline.check()?;
            for value in values_of(tag, &trace) {
                if let Some(found) = values.as_mut().filter(|found| !found.contains(value)) {
                    bytes += value.len();
                    found.insert(value.to_owned());
                }
            }
            values = values.filter(|_| bytes <= MAX_VALUES_BYTES);
        }
        let changed = Self { at: at.to_string(), complete: values.is_some(), values: values.unwrap_or_default() };
        Ok(Answer { content_type: "application/json", body: serde_json::to_vec(&changed).ok() })
    }
}

/// What spans of a trace have as this attribute, in text.
fn values_of<'t>(tag: &str, trace: &'t StoredTrace) -> impl Iterator<Item = &'t str> {
    let attributes = trace.spans().flat_map(|(_, span)| &span.attributes);
    attributes.filter(move |attribute| attribute.key == tag).filter_map(|attribute| {
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.as_str()),
            _ => None,
        }
    })
}

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.count)
    }
}

impl FromStr for Position {
    type Err = ChangesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-').and_then(|(epoch, count)| {
            Some(Self { epoch: u64::from_str_radix(epoch, 16).ok()?, count: count.parse().ok()? })
        });
        parts.ok_or(ChangesError::After)
    }
}

// === impl ChangesError ===

impl IntoResponse for ChangesError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Read(error) => return error.into_response(),
            Self::Waiting => StatusCode::SERVICE_UNAVAILABLE,
            Self::After | Self::Wait(_) => StatusCode::BAD_REQUEST,
        };
        (status, self.to_string()).into_response()
    }
}
