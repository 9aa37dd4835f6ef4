//! What every adapter promises.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claims_queue::{Attribute, Counts, Delivery, Message, Options, PublishError, Queue, SettleError, connect};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than anything here takes; only a failure waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

/// So short that a delivery expires while a test waits for it.
pub(crate) const BRIEF: Duration = Duration::from_millis(200);

pub(crate) const NO_WAIT: Duration = Duration::ZERO;

/// Opens one queue again and again, each time as another process would.
#[derive(Clone)]
pub(crate) struct Factory {
    url: String,
    name: String,
}

type Case = fn(Factory) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), |factory| Box::pin($case(factory)))),*] };
}

const CASES: &[(&str, Case)] = cases![
    arrives_as_published,
    comes_in_the_order_of_publication,
    a_known_id_is_no_second_message,
    an_acked_message_is_gone,
    an_unacked_message_comes_again,
    a_released_message_comes_again_when_it_is_due,
    expired_last_attempts_end_in_the_dead_letters,
    a_released_last_attempt_is_a_dead_letter_at_once,
    an_expired_receipt_takes_nothing_from_the_next_holder,
    a_settled_delivery_cannot_be_settled_again,
    nobody_holds_what_another_holds,
    survives_reopening,
    each_is_processed_once_when_nobody_crashes,
    a_message_ends_the_wait,
    who_has_taken_all_gets_what_comes_next,
    what_cannot_travel_is_refused,
    queues_do_not_mix,
];

pub(crate) async fn conforms(url: &str) {
    let mut running = JoinSet::new();
    for (name, case) in CASES {
        let case = case(Factory::new(url, name));
        // Each case has its own task: one failure does not hide the others.
        running.spawn(async move { (*name, tokio::spawn(case).await) });
    }
    let done = running.join_all().await;
    assert_eq!(done.len(), CASES.len());
    let failed: BTreeSet<_> = done.iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:?}", failed.len(), CASES.len());
}

// === the cases ===

async fn arrives_as_published(factory: Factory) {
    let queue = factory.open().await;
    let attributes = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", ""),
        ("baggage", "tenant.id=acme,größe=ü;p=1"),
        ("x-b3-traceid", "0af7651916cd43dd"),
        ("uber-trace-id", "a:b:0:1"),
        ("X.Mixed_Case-1", "1"),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), Attribute::string(value)));
    let messages = [
        Message {
            id: "1".to_owned(), body: r#"{"claim": "CLM-ü-漢-🦀"}"#.to_owned(), attributes: attributes.into()
        },
        Message { id: "two ü: 2".to_owned(), body: String::new(), attributes: BTreeMap::new() },
        Message { id: "3".to_owned(), body: "line\r\nline\n\0end ".to_owned(), attributes: BTreeMap::new() },
    ];
    for message in &messages {
        queue.publish(message).await.unwrap();
        let [delivery] = one(&*queue).await;
        assert_eq!(delivery.message, *message, "body and attributes arrive unchanged");
        assert_eq!(delivery.attempt, 1, "it was never handed out before");
        queue.ack(&delivery).await.unwrap();
    }
}

async fn comes_in_the_order_of_publication(factory: Factory) {
    let queue = factory.open().await;
    let published: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    for id in &published {
        queue.publish(&message(id)).await.unwrap();
    }
    let mut received = Vec::new();
    while received.len() < published.len() {
        let deliveries = queue.receive(7, DEADLINE).await.unwrap();
        assert!((1..=7).contains(&deliveries.len()), "at least one is there, and no more were asked for");
        received.extend(ids(&deliveries).into_iter().map(str::to_owned));
    }
    assert_eq!(received, published, "a single receiver gets first attempts in the order of publication");
    assert!(queue.receive(0, DEADLINE).await.unwrap().is_empty(), "who asks for none waits for none");
}

async fn a_known_id_is_no_second_message(factory: Factory) {
    let (queue, other) = (factory.open().await, factory.open().await);
    let first = Message { body: "first".to_owned(), ..message("1") };
    queue.publish(&first).await.unwrap();
    other.publish(&Message { body: "second".to_owned(), ..message("1") }).await.unwrap();
    queue.publish(&message("2")).await.unwrap();
    let deliveries = receive_all(&*queue, 2).await;
    assert_eq!(ids(&deliveries), ["1", "2"], "the repeated id made no message");
    assert_eq!(deliveries[0].message, first, "what was published first stays");
    for delivery in &deliveries {
        queue.ack(delivery).await.unwrap();
    }
    queue.publish(&first).await.unwrap();
    assert!(queue.receive(1, NO_WAIT).await.unwrap().is_empty(), "the id is known although its message is acked");
    assert_eq!(queue.counts().await.unwrap(), Counts::default(), "nothing is left");
}

async fn an_acked_message_is_gone(factory: Factory) {
    let queue = factory.open().await;
    for id in ["1", "2", "3"] {
        queue.publish(&message(id)).await.unwrap();
    }
    assert_eq!(queue.counts().await.unwrap(), Counts { waiting: 3, in_flight: 0, dead: 0 });
    let [first] = one(&*queue).await;
    let [second] = one(&*queue).await;
    assert_eq!(queue.counts().await.unwrap(), Counts { waiting: 1, in_flight: 2, dead: 0 });
    queue.ack(&first).await.unwrap();
    assert_eq!(queue.counts().await.unwrap(), Counts { waiting: 1, in_flight: 1, dead: 0 });
    queue.ack(&second).await.unwrap();
    let [third] = one(&*queue).await;
    assert_eq!(third.message.id, "3", "neither of the acked ones comes again");
    queue.ack(&third).await.unwrap();
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
    assert!(queue.dead_letters(10).await.unwrap().is_empty(), "what was acked was not given up");
}

async fn an_unacked_message_comes_again(factory: Factory) {
    let queue = factory.open_with(BRIEF, 1000).await;
    queue.publish(&message("1")).await.unwrap();
    for attempt in 1..=3 {
        let [delivery] = one(&*queue).await;
        assert_eq!((delivery.attempt, delivery.message), (attempt, message("1")), "each attempt is one higher");
    }
    ack_in_time(&*queue, "1").await;
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
}

async fn a_released_message_comes_again_when_it_is_due(factory: Factory) {
    let queue = factory.open().await;
    queue.publish(&message("1")).await.unwrap();
    let [delivery] = one(&*queue).await;
    queue.release(&delivery, NO_WAIT).await.unwrap();
    let [delivery] = one(&*queue).await;
    assert_eq!((delivery.attempt, &*delivery.message.id), (2, "1"), "it comes again at once");
    queue.release(&delivery, BRIEF).await.unwrap();
    let [delivery] = one(&*queue).await;
    assert_eq!((delivery.attempt, &*delivery.message.id), (3, "1"), "it comes again when the delay has passed");
    queue.release(&delivery, Duration::MAX).await.unwrap();
    assert!(queue.receive(1, BRIEF).await.unwrap().is_empty(), "it is not due for a day");
    assert_eq!(queue.counts().await.unwrap(), Counts { waiting: 0, in_flight: 1, dead: 0 });
}

async fn expired_last_attempts_end_in_the_dead_letters(factory: Factory) {
    let queue = factory.open_with(BRIEF, 2).await;
    let letters = ["1", "2"].map(|id| Message {
        attributes: BTreeMap::from([("traceparent".to_owned(), Attribute::string("00-ab-cd-01"))]),
        ..message(id)
    });
    for letter in &letters {
        queue.publish(letter).await.unwrap();
    }
    let mut attempts: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let dead = within("both to be given up", async {
        loop {
            for delivery in queue.receive(10, BRIEF).await.unwrap() {
                attempts.entry(delivery.message.id).or_default().push(delivery.attempt);
            }
            let dead = queue.dead_letters(10).await.unwrap();
            if dead.len() == letters.len() {
                return dead;
            }
        }
    });
    let mut dead = dead.await;
    dead.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(dead, letters, "body and attributes are kept for later inspection");
    for (id, attempts) in attempts {
        assert_eq!(attempts, [1, 2], "{id} was handed out as often as allowed");
    }
    assert!(queue.receive(10, NO_WAIT).await.unwrap().is_empty(), "dead letters are not handed out");
    assert_eq!(queue.counts().await.unwrap(), Counts { waiting: 0, in_flight: 0, dead: 2 });
    assert_eq!(queue.dead_letters(1).await.unwrap().len(), 1, "no more are returned than asked for");
    assert_eq!(queue.dead_letters(0).await.unwrap().len(), 0, "no more are returned than asked for");
    queue.publish(&letters[0]).await.unwrap();
    assert!(queue.receive(10, NO_WAIT).await.unwrap().is_empty(), "publishing it again revives no dead letter");
}

async fn a_released_last_attempt_is_a_dead_letter_at_once(factory: Factory) {
    let queue = factory.open_with(DEADLINE, 1).await;
    queue.publish(&message("1")).await.unwrap();
    let [delivery] = one(&*queue).await;
    queue.release(&delivery, Duration::MAX).await.unwrap();
    assert_eq!(queue.dead_letters(10).await.unwrap(), [message("1")]);
    assert_eq!(queue.counts().await.unwrap(), Counts { waiting: 0, in_flight: 0, dead: 1 });
    assert_not_held(&*queue, &delivery, "a dead letter is not deleted by its last holder").await;
}

async fn an_expired_receipt_takes_nothing_from_the_next_holder(factory: Factory) {
    let (slow, quick) = (factory.open_with(BRIEF, 1000).await, factory.open_with(BRIEF, 1000).await);
    slow.publish(&message("1")).await.unwrap();
    let [late] = one(&*slow).await;
    let [newer] = one(&*quick).await;
    assert_eq!((newer.attempt, &newer.message.id), (2, &late.message.id), "the other holds the same message now");
    assert_ne!(newer.receipt, late.receipt, "each delivery has its own receipt");
    assert_not_held(&*slow, &late, "somebody else holds the message now").await;
    // Had the late ack counted, this would wait for ever.
    ack_in_time(&*quick, "1").await;
    assert_not_held(&*slow, &late, "the message is gone").await;
}

async fn a_settled_delivery_cannot_be_settled_again(factory: Factory) {
    let queue = factory.open().await;
    queue.publish(&message("1")).await.unwrap();
    let [released] = one(&*queue).await;
    queue.release(&released, NO_WAIT).await.unwrap();
    assert_not_held(&*queue, &released, "it was released").await;
    let [acked] = one(&*queue).await;
    assert_eq!(acked.attempt, 2, "the late ack did not remove it");
    queue.ack(&acked).await.unwrap();
    assert_not_held(&*queue, &acked, "it was acked").await;
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
}

async fn nobody_holds_what_another_holds(factory: Factory) {
    const MESSAGES: usize = 60;
    let held = Arc::new(Mutex::new(BTreeSet::new()));
    let acked = Arc::new(Mutex::new(BTreeSet::new()));
    let publisher = factory.open().await;
    for number in 0..MESSAGES {
        publisher.publish(&message(&number.to_string())).await.unwrap();
    }
    let mut receivers = JoinSet::new();
    for receiver in 0..4_usize {
        let (queue, held, acked) = (factory.open().await, Arc::clone(&held), Arc::clone(&acked));
        receivers.spawn(async move {
            while acked.lock().unwrap().len() < MESSAGES {
                for delivery in queue.receive(1 + receiver, BRIEF).await.unwrap() {
                    let id = delivery.message.id.clone();
                    assert!(held.lock().unwrap().insert(id.clone()), "{id} has two holders");
                    tokio::task::yield_now().await;
                    // Given up before it is handed back, since the next may have it before this returns.
                    held.lock().unwrap().remove(&id);
                    if delivery.attempt == 1 {
                        queue.release(&delivery, NO_WAIT).await.unwrap();
                    } else {
                        queue.ack(&delivery).await.unwrap();
                        assert!(acked.lock().unwrap().insert(id.clone()), "{id} came again after its ack");
                    }
                }
            }
        });
    }
    within("every message to be acked", receivers.join_all()).await;
    assert_eq!(publisher.counts().await.unwrap(), Counts::default());
}

async fn survives_reopening(factory: Factory) {
    let queue = factory.open_with(BRIEF, 1000).await;
    for id in ["acked", "held", "waiting"] {
        queue.publish(&message(id)).await.unwrap();
    }
    ack_in_time(&*queue, "acked").await;
    drop(queue.receive(1, DEADLINE).await.unwrap());
    drop(queue);
    let queue = factory.open_with(BRIEF, 1000).await;
    queue.publish(&message("acked")).await.unwrap();
    let mut left = BTreeSet::from(["held".to_owned(), "waiting".to_owned()]);
    within("what was not acked to come again", async {
        while !left.is_empty() {
            for delivery in queue.receive(1, DEADLINE).await.unwrap() {
                assert_ne!(delivery.message.id, "acked", "acks and ids survive");
                match queue.ack(&delivery).await {
                    Ok(()) => assert!(left.remove(&delivery.message.id), "{delivery:?} was acked before"),
                    Err(SettleError::NotHeld) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    })
    .await;
    assert_eq!(queue.counts().await.unwrap(), Counts::default());
}

async fn each_is_processed_once_when_nobody_crashes(factory: Factory) {
    const PUBLISHERS: usize = 4;
    const MESSAGES_EACH: usize = 20;
    let connections = [factory.open().await, factory.open().await];
    let acks: Arc<Mutex<BTreeMap<String, u32>>> = Arc::default();
    let mut tasks = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let queue = Arc::clone(&connections[publisher % 2]);
        tasks.spawn(async move {
            for number in 0..MESSAGES_EACH {
                queue.publish(&message(&format!("{publisher}-{number}"))).await.unwrap();
            }
        });
    }
    for consumer in 0..4 {
        let (queue, acks) = (Arc::clone(&connections[consumer % 2]), Arc::clone(&acks));
        tasks.spawn(async move {
            while acks.lock().unwrap().len() < PUBLISHERS * MESSAGES_EACH {
                for delivery in queue.receive(5, BRIEF).await.unwrap() {
                    queue.ack(&delivery).await.unwrap();
                    *acks.lock().unwrap().entry(delivery.message.id).or_default() += 1;
                }
            }
        });
    }
    within("every message to be acked", tasks.join_all()).await;
    for (id, acks) in &*acks.lock().unwrap() {
        assert_eq!(*acks, 1, "{id} was processed more than once");
    }
    assert_eq!(connections[0].counts().await.unwrap(), Counts::default());
}

async fn a_message_ends_the_wait(factory: Factory) {
    let (consumer, publisher) = (factory.open().await, factory.open().await);
    // Far beyond the deadline of the test, so only the message can end it.
    let waiting = tokio::spawn(async move { consumer.receive(10, DEADLINE * 60).await.unwrap() });
    tokio::task::yield_now().await;
    publisher.publish(&message("1")).await.unwrap();
    let deliveries = within("the message to end the wait", waiting).await.unwrap();
    assert_eq!(ids(&deliveries), ["1"], "fewer than asked for end the wait too");
}

async fn who_has_taken_all_gets_what_comes_next(factory: Factory) {
    let (consumer, publisher) = (factory.open_with(BRIEF, 1000).await, factory.open_with(BRIEF, 1000).await);
    let next = async |why: &str| {
        let mut deliveries = within(why, consumer.receive(10, DEADLINE * 60)).await.unwrap();
        assert_eq!(deliveries.len(), 1, "{why}");
        deliveries.remove(0)
    };
    publisher.publish(&message("1")).await.unwrap();
    assert_eq!(next("the first message").await.attempt, 1, "and no other is there");
    let again = next("its delivery to expire").await;
    assert_eq!((&*again.message.id, again.attempt), ("1", 2), "nobody has settled it");
    if consumer.release(&again, BRIEF).await.is_ok() {
        assert_eq!(next("the released one to become due").await.message.id, "1", "it was put back");
    }
    ack_in_time(&*consumer, "1").await;
    publisher.publish(&message("2")).await.unwrap();
    assert_eq!(next("what another process publishes").await.message.id, "2", "only this one is left");
}

async fn what_cannot_travel_is_refused(factory: Factory) {
    let queue = factory.open().await;
    let attributes = BTreeMap::from([("traceparent".to_owned(), Attribute::string("00\r\nx: y"))]);
    let refusal =
        queue.publish(&Message { attributes, ..message("1") }).await.expect_err("it would smuggle in a header");
    assert!(matches!(refusal, PublishError::Invalid(_)), "no second try will help: {refusal}");
    assert_eq!(queue.counts().await.unwrap(), Counts::default(), "nothing was published");
}

async fn queues_do_not_mix(factory: Factory) {
    let other = Factory { name: format!("{}-dead", factory.name), ..factory.clone() };
    let (queue, other) = (factory.open_with(DEADLINE, 1).await, other.open_with(DEADLINE, 1).await);
    queue.publish(&message("1")).await.unwrap();
    other.publish(&Message { body: "other".to_owned(), ..message("1") }).await.unwrap();
    let ([mine], [theirs]) = (one(&*queue).await, one(&*other).await);
    assert_eq!((mine.message, &*theirs.message.body), (message("1"), "other"), "an id is known per queue");
    other.release(&theirs, NO_WAIT).await.unwrap();
    assert!(queue.dead_letters(1).await.unwrap().is_empty(), "dead letters stay with their queue");
    assert_eq!(other.dead_letters(2).await.unwrap().len(), 1, "dead letters stay with their queue");
}

// === helpers ===

impl Factory {
    pub(crate) fn new(url: &str, name: &str) -> Self {
        Self { url: url.to_owned(), name: name.to_owned() }
    }

    /// With deliveries that do not expire before the test does.
    pub(crate) async fn open(&self) -> Arc<dyn Queue> {
        self.open_with(DEADLINE * 10, 5).await
    }

    pub(crate) async fn open_with(&self, visibility_timeout: Duration, max_attempts: u32) -> Arc<dyn Queue> {
        let options = Options { visibility_timeout, max_attempts: NonZeroU32::new(max_attempts).unwrap() };
        connect(&self.url, &self.name, options).await.unwrap()
    }
}

pub(crate) fn message(id: &str) -> Message {
    Message { id: id.to_owned(), body: format!("body of {id}"), attributes: BTreeMap::new() }
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| &*delivery.message.id).collect()
}

pub(crate) async fn within<T>(reason: &str, future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited too long for {reason}"))
}

pub(crate) async fn one(queue: &dyn Queue) -> [Delivery; 1] {
    receive_all(queue, 1).await.try_into().expect("no more than one was asked for")
}

async fn receive_all(queue: &dyn Queue, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    within("messages that are there", async {
        while deliveries.len() < count {
            deliveries.extend(queue.receive(count - deliveries.len(), DEADLINE).await.unwrap());
        }
    })
    .await;
    deliveries
}

/// Acks the next message, however often a slow machine lets its brief delivery expire first.
async fn ack_in_time(queue: &dyn Queue, id: &str) {
    within("an ack within the visibility timeout", async {
        loop {
            let [delivery] = one(queue).await;
            if delivery.message.id != id {
                continue;
            }
            match queue.ack(&delivery).await {
                Ok(()) => return,
                Err(SettleError::NotHeld) => {}
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
}

async fn assert_not_held(queue: &dyn Queue, delivery: &Delivery, why: &str) {
    for (settled, how) in [(queue.ack(delivery).await, "ack"), (queue.release(delivery, NO_WAIT).await, "release")] {
        assert!(matches!(settled, Err(SettleError::NotHeld)), "{how} must be refused: {why}; got {settled:?}");
    }
}
