//! A queue in NATS JetStream: a work-queue stream with one durable pull consumer, and a stream of dead letters.
//!
//! Attributes are headers, and the id is `Nats-Msg-Id`. A publication returns when the server has written it to its
//! file; the server syncs files to the disk at its own interval (`sync_interval`). It confirms an ack before it
//! writes it: when it is killed, the messages acked last may be delivered again.
//!
//! The server counts an ack for the consumer that holds the message now, even when it comes from an earlier delivery. So a
//! delivery expires here, at the visibility timeout, [`GRACE`] before the server delivers the message again: an ack
//! that left in time arrives in time. The consumer's own `max_deliver` stays off, since a message that reaches it
//! remains in the stream, where no receiver gets it: the receiver moves such a message to the dead letters.
//!
//! <https://docs.nats.io/nats-concepts/jetstream/consumers>

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{HeaderName, HeaderValue, NATS_MESSAGE_ID};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{self, RawMessageErrorKind, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, AckKind};
use async_nats::{Client, ConnectOptions, HeaderMap};
use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::message::{Attribute, Message, is_reserved};
use crate::{
    BackendError, ConnectError, Counts, DEDUPLICATION_WINDOW, Delivery, LONGEST, Options, PublishError, Queue, Receipt,
    SettleError,
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How much later than the receiver the server sees a delivery expire: a delivery and its ack must travel in this time.
const GRACE: Duration = Duration::from_secs(1);

/// How long an answer of the server may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// One pull asks for no more than this.
const BATCH_LIMIT: usize = 1000;

pub(crate) struct Nats {
    client: Client,
    context: Context,
    consumer: Consumer<pull::Config>,
    dead: Stream,
    subject: String,
    dead_subject: String,
    options: Options,
    /// By receipt, which is the subject to answer on.
    held: Mutex<HashMap<String, Held>>,
}

/// A delivery that is not settled yet.
#[derive(Clone)]
struct Held {
    expires_at: Instant,
    attempt: u32,
    message: async_nats::Message,
}

// === impl Nats ===

impl Nats {
    pub(crate) async fn open(url: &Url, name: &str, options: Options) -> Result<Self, ConnectError> {
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || url.host_str().is_none_or(str::is_empty) {
            return Err(ConnectError::NatsServer);
        }
        Ok(Self::create(url, name, options).await.map_err(BackendError::when("open"))?)
    }

    async fn create(url: &Url, name: &str, options: Options) -> Result<Self, BoxError> {
        let client = ConnectOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).connect(url.as_str()).await?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(ANSWER_TIMEOUT);
        let (subject, dead_subject) = (format!("queue.{name}"), format!("dead-letters.{name}"));
        let config = |prefix: &str, subject: &str, retention| stream::Config {
            name: format!("{prefix}-{name}"),
            subjects: vec![subject.to_owned()],
            retention,
            storage: StorageType::File,
            duplicate_window: DEDUPLICATION_WINDOW,
            ..stream::Config::default()
        };
        let stream = context.get_or_create_stream(config("queue", &subject, RetentionPolicy::WorkQueue)).await?;
        let dead = context.get_or_create_stream(config("dead-letters", &dead_subject, RetentionPolicy::Limits)).await?;
        let consumer = pull::Config {
            durable_name: Some("workers".to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: options.visibility_timeout + GRACE,
            max_ack_pending: -1,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(consumer).await?;
        Ok(Self { client, context, consumer, dead, subject, dead_subject, options, held: Mutex::default() })
    }

    /// Hands out what the server has: at once, or as soon as something comes within `wait`.
    async fn pull(&self, max: usize, wait: Option<Duration>) -> Result<Vec<Delivery>, BoxError> {
        self.held().retain(|_, held| held.expires_at > Instant::now());
        let answered_by = Instant::now() + wait.unwrap_or_default() + ANSWER_TIMEOUT;
        let max = max.min(BATCH_LIMIT);
        let mut batch = match wait {
            None => self.consumer.fetch().max_messages(max).messages().await?,
            Some(wait) => self.consumer.batch().max_messages(max).expires(wait).messages().await?,
        };
        let mut deliveries = Vec::new();
        let mut failure = None;
        loop {
            let next = timeout_at(answered_by, batch.next()).await;
            let delivery = match next.map_err(BoxError::from) {
                Ok(Some(Ok(message))) => self.hold(message).await,
                Ok(None) => break,
                Ok(Some(Err(error))) | Err(error) => {
                    failure = Some(error);
                    break;
                }
            };
            match delivery {
                Ok(delivery) => deliveries.extend(delivery),
                Err(error) => failure = Some(error),
            }
        }
        // What is here is held: an error must not lose it.
        failure.filter(|_| deliveries.is_empty()).map_or(Ok(deliveries), Err)
    }

    /// Makes a delivery of it, or a dead letter if it has had its last attempt.
    async fn hold(&self, message: jetstream::Message) -> Result<Option<Delivery>, BoxError> {
        let expires_at = Instant::now() + self.options.visibility_timeout;
        let info = message.info()?;
        let attempt = u32::try_from(info.delivered)?;
        let sequence = info.stream_sequence;
        let message = message.message;
        let receipt = message.reply.as_ref().map(ToString::to_string).unwrap_or_default();
        let held = Held { expires_at, attempt, message };
        if attempt > self.options.max_attempts.get() {
            self.bury(&receipt, held).await?;
            return Ok(None);
        }
        let message = read(held.message.headers.as_ref(), &held.message.payload, sequence);
        self.held().insert(receipt.clone(), held);
        Ok(Some(Delivery { message, attempt, receipt: Receipt(receipt) }))
    }

    /// Moves a message to the dead letters. If the second step fails, the message comes again and is moved again; the
    /// dead letters then know its id.
    async fn bury(&self, receipt: &str, held: Held) -> Result<(), BoxError> {
        let headers = held.message.headers.unwrap_or_default();
        self.send(&self.dead_subject, headers, held.message.payload.to_vec()).await?;
        self.answer(receipt, AckKind::Term).await
    }

    async fn send(&self, subject: &str, headers: HeaderMap, payload: Vec<u8>) -> Result<(), BoxError> {
        self.context.publish_with_headers(subject.to_owned(), headers, payload.into()).await?.await?;
        Ok(())
    }

    /// Waits for the server's word, and sends nothing while disconnected: it would go out after the reconnect, too late.
    async fn answer(&self, receipt: &str, kind: AckKind) -> Result<(), BoxError> {
        if self.client.connection_state() != State::Connected {
            return Err("there is no connection to the server".into());
        }
        self.client.request(receipt.to_owned(), kind.into()).await?;
        Ok(())
    }

    fn find(&self, delivery: &Delivery) -> Result<Held, SettleError> {
        let held = self.held().get(&delivery.receipt.0).cloned();
        held.filter(|held| held.expires_at > Instant::now()).ok_or(SettleError::NotHeld)
    }

    fn settled(&self, delivery: &Delivery) {
        self.held().remove(&delivery.receipt.0);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn count(&self) -> Result<Counts, BoxError> {
        let consumer = self.consumer.get_info().await?;
        let dead = self.dead.get_info().await?.state.messages;
        Ok(Counts { waiting: consumer.num_pending, in_flight: u64::try_from(consumer.num_ack_pending)?, dead })
    }

    async fn read_dead(&self, limit: usize) -> Result<Vec<Message>, BoxError> {
        let mut messages = Vec::new();
        let mut sequence = 1;
        while messages.len() < limit {
            let request = self.dead.raw_message_builder().sequence(sequence).next_by_subject(self.dead_subject.clone());
            let message = match request.send().await {
                Ok(message) => message,
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
                Err(error) => return Err(error.into()),
            };
            messages.push(read(Some(&message.headers), &message.payload, message.sequence));
            sequence = message.sequence + 1;
        }
        Ok(messages)
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("subject", &self.subject).field("options", &self.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for Nats {
    async fn publish(&self, message: &Message) -> Result<(), PublishError> {
        message.check()?;
        let publish = async {
            let headers = write_headers(message)?;
            self.send(&self.subject, headers, message.body.clone().into_bytes()).await
        };
        Ok(publish.await.map_err(BackendError::when("publish"))?)
    }

    /// The server's answer to a publication is all that it says.
    async fn sync(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BackendError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait.min(LONGEST);
        loop {
            let deliveries = self.pull(max, None).await.map_err(BackendError::when("receive"))?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !deliveries.is_empty() || left.is_zero() {
                return Ok(deliveries);
            }
            // One ends the wait; messages that arrived with it are fetched as well.
            let mut deliveries = self.pull(1, Some(left)).await.map_err(BackendError::when("receive"))?;
            if !deliveries.is_empty() {
                if max > 1 {
                    deliveries.extend(self.pull(max - 1, None).await.unwrap_or_default());
                }
                return Ok(deliveries);
            }
        }
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), SettleError> {
        self.find(delivery)?;
        self.answer(&delivery.receipt.0, AckKind::Ack).await.map_err(BackendError::when("ack"))?;
        self.settled(delivery);
        Ok(())
    }

    async fn release(&self, delivery: &Delivery, after: Duration) -> Result<(), SettleError> {
        let held = self.find(delivery)?;
        let released = if held.attempt < self.options.max_attempts.get() {
            self.answer(&delivery.receipt.0, AckKind::Nak(Some(after.min(LONGEST)))).await
        } else {
            self.bury(&delivery.receipt.0, held).await
        };
        released.map_err(BackendError::when("release"))?;
        self.settled(delivery);
        Ok(())
    }

    async fn counts(&self) -> Result<Counts, BackendError> {
        self.count().await.map_err(BackendError::when("count"))
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<Message>, BackendError> {
        self.read_dead(limit).await.map_err(BackendError::when("read dead letters"))
    }

    async fn trouble(&self) -> Option<String> {
        (self.client.connection_state() != State::Connected).then(|| "there is no connection to the server".to_owned())
    }
}

fn write_headers(message: &Message) -> Result<HeaderMap, BoxError> {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message.id.parse::<HeaderValue>()?);
    for (name, attribute) in &message.attributes {
        headers.insert(name.parse::<HeaderName>()?, attribute.string_value.parse::<HeaderValue>()?);
    }
    Ok(headers)
}

/// Reads whatever is in the stream; what others put there may lack an id or be no text.
fn read(headers: Option<&HeaderMap>, payload: &[u8], sequence: u64) -> Message {
    let mut message =
        Message { id: sequence.to_string(), body: String::from_utf8_lossy(payload).into_owned(), ..Message::default() };
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let Some(value) = values.first().map(|value| value.as_str().to_owned()) else { continue };
        if *name == NATS_MESSAGE_ID {
            message.id = value;
        } else if !is_reserved(name.as_ref()) {
            message.attributes.insert(name.to_string(), Attribute::string(value));
        }
    }
    message
}
