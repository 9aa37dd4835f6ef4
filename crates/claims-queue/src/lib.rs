//! One queue interface with at-least-once delivery, and two real adapters behind it.
//!
//! - [`Queue`]: publish, sync, receive, ack, release; [`connect`] chooses the adapter by the scheme of a URL
//! - [`Message`]: what is sent; its attributes are the carrier of trace context
//! - `sqlite`: a table in a file that several processes share; `nats`: JetStream, with the cargo feature `nats`
//!
//! It writes nothing into attributes and reads nothing from them: its users' propagators do that. It creates no
//! spans, does not retry, and does not promise exactly-once processing.
//!
//! # What every adapter promises
//! - At least once: a delivery that is neither acked nor released within the visibility timeout is repeated, its
//!   attempt one higher. After the last attempt the message goes to the dead letters.
//! - A message is held by one receiver at a time, and only its current holder can ack or release it.
//! - Order is roughly first in, first out: a single receiver gets first attempts in the order of publication;
//!   redeliveries are in between.
//! - Publishing an id again does not create a second message for at least [`DEDUPLICATION_WINDOW`] after the first publication.
//!
//! Every connection to one queue must be given the same [`Options`].

mod bell;
mod clock;
mod message;
#[cfg(feature = "nats")]
mod nats;
mod sqlite;

use std::error::Error;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use url::Url;

pub use message::{Attribute, InvalidMessage, Message};

/// How long after its first publication an id is remembered at least.
pub const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(600);

/// No timeout, wait or delay is longer than this; longer ones are cut to it.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A queue.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync {
    /// Adds a message, which outlives every process when this returns, and a power cut after [`Queue::sync`]. An id that is
    /// already known changes nothing: what was published first stays.
    ///
    /// # Errors
    /// [`PublishError::Invalid`] when the message can never be published; [`PublishError::Backend`] when it may or
    /// may not have been: publish it again.
    async fn publish(&self, message: &Message) -> Result<(), PublishError>;

    /// Waits until what was published before is on disk, or what the adapter knows of it: then its publisher may forget it.
    ///
    /// # Errors
    /// The queue cannot be reached, or its answer is wrong: publish it again.
    async fn sync(&self) -> Result<(), BackendError>;

    /// Hands out up to `max` messages as soon as there are any, and none when nothing came within `wait`.
    ///
    /// Dropping the future loses no message, but may spend an attempt of one.
    ///
    /// # Errors
    /// The queue cannot be reached, or its answer is wrong.
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BackendError>;

    /// Removes the message for good. A power cut may bring it back.
    ///
    /// # Errors
    /// [`SettleError::NotHeld`] when the delivery expired or is settled already; [`SettleError::Backend`] when it may
    /// or may not have been removed: ack again, or else it may come again.
    async fn ack(&self, delivery: &Delivery) -> Result<(), SettleError>;

    /// Hands the message back; it comes again when `after` has passed. After the last attempt it goes to the dead
    /// letters at once.
    ///
    /// # Errors
    /// As for [`Queue::ack`].
    async fn release(&self, delivery: &Delivery, after: Duration) -> Result<(), SettleError>;

    /// How many messages there are.
    ///
    /// # Errors
    /// The queue cannot be reached, or its answer is wrong.
    async fn counts(&self) -> Result<Counts, BackendError>;

    /// The oldest messages that were given up, oldest first, `limit` at most.
    ///
    /// # Errors
    /// The queue cannot be reached, or its answer is wrong.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<Message>, BackendError>;

    /// The known reason why nothing can be written now; cheap enough to ask often.
    async fn trouble(&self) -> Option<String>;
}

/// A message that one receiver holds. It can be settled only through the connection that received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What was published.
    pub message: Message,
    /// How often it has been delivered, from 1.
    pub attempt: u32,
    /// The right to ack or release it, until the visibility timeout.
    pub receipt: Receipt,
}

/// Names one delivery, never two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(String);

/// How many messages a queue has, at one moment. An expired delivery may be noticed, and counted elsewhere, only by the
/// next [`Queue::receive`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// They could be received now.
    pub waiting: u64,
    /// A receiver holds them, or they were released and are not due yet.
    pub in_flight: u64,
    /// They were given up.
    pub dead: u64,
}

/// How deliveries behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a receiver holds a delivery; 30 s by default. From 1 ms to [`LONGEST`].
    pub visibility_timeout: Duration,
    /// How often a message is delivered before it becomes a dead letter; 5 by default.
    pub max_attempts: NonZeroU32,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It is no URL.
    #[error("the queue URL cannot be read; allowed are {ALLOWED}")]
    Url(#[from] url::ParseError),
    /// Nobody serves this scheme.
    #[error("unknown scheme `{0}` in the queue URL; allowed are {ALLOWED}")]
    Scheme(String),
    /// A `sqlite` URL without a file, or with more than that.
    #[error("a sqlite URL names a file and nothing else: sqlite:///path/queue.db")]
    SqliteFile,
    /// A `nats` URL without a host, or with more than host, port and user.
    #[error("a nats URL names a server and nothing else: nats://host:port")]
    NatsServer,
    /// The adapter was not compiled.
    #[error("this build has no NATS adapter for nats://; build with `--features claims-queue/nats`")]
    NotBuiltIn,
    /// The name does not suit every adapter.
    #[error("the queue name `{0}` must be 1 to 100 letters, digits, `_` and `-`")]
    Name(String),
    /// The options make no sense.
    #[error("a visibility timeout of {} ms is outside of 1 to {} ms", .0.as_millis(), LONGEST.as_millis())]
    VisibilityTimeout(Duration),
    /// The queue itself said no.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// The queue cannot be reached, or its answer is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the queue failed to {doing}")]
pub struct BackendError {
    doing: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

/// Why a message may not be in the queue.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not every adapter could carry it.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
    /// The queue did not confirm it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a delivery may not be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Somebody else may hold the message by now.
    #[error("the delivery is no longer held: it expired or was settled before")]
    NotHeld,
    /// The queue did not confirm it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

const ALLOWED: &str = "sqlite:///path/queue.db and nats://host:port";

/// Opens the queue `name`, and creates it if there is none.
///
/// # Errors
/// [`ConnectError`] says what is wrong with URL, name or options, or that the queue cannot be reached. It never shows
/// the URL, which may hold a password.
pub async fn connect(url: &str, name: &str, options: Options) -> Result<Arc<dyn Queue>, ConnectError> {
    let name_char = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    if name.is_empty() || name.len() > 100 || !name.chars().all(name_char) {
        return Err(ConnectError::Name(name.to_owned()));
    }
    if options.visibility_timeout < Duration::from_millis(1) || options.visibility_timeout > LONGEST {
        return Err(ConnectError::VisibilityTimeout(options.visibility_timeout));
    }
    let parsed = Url::parse(url)?;
    match parsed.scheme() {
        "sqlite" => Ok(Arc::new(sqlite::Sqlite::open(url, name, options).await?)),
        #[cfg(feature = "nats")]
        "nats" => Ok(Arc::new(nats::Nats::open(&parsed, name, options).await?)),
        #[cfg(not(feature = "nats"))]
        "nats" => Err(ConnectError::NotBuiltIn),
        scheme => Err(ConnectError::Scheme(scheme.to_owned())),
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { visibility_timeout: Duration::from_secs(30), max_attempts: NonZeroU32::MIN.saturating_add(4) }
    }
}

// === impl BackendError ===

impl BackendError {
    fn when(doing: &'static str) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> Self {
        move |source| Self { doing, source }
    }
}
