//! Posts with known ids, sent at a steady pace while a test breaks things. Each is there in the end: what a client gives
//! up, or keeps for long, as it may when a broker dies or hangs, is sent again, by a new client if need be. Every
//! hundredth is no JSON and must become a dead letter; one in twenty takes an earlier one back with another text, one in
//! twenty deletes one; and somebody labels every fiftieth. So must every tenth of these labels, which is none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::message::{Message as _, OwnedMessage};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::{Value, json};

use super::{SOON, Trial, text};

/// The `number`-th post of a story that goes on, and whether it is news.
pub fn post(number: usize) -> (bool, Value) {
    let says = match number % 3 {
        0 => format!("Aurora Mills shares fall after the company cuts its outlook for quarter {number}"),
        1 => format!("Analysts expect that Brookwater will report stronger earnings, note {number} of the week"),
        _ => format!("The weather was mild over the weekend and the markets were closed, says bulletin {number}"),
    };
    let id = format!("post-{number}");
    if number.is_multiple_of(2) {
        (true, json!({ "id": id, "text": says, "url": format!("https://example.org/{number}") }))
    } else {
        (false, json!({ "id": id, "body": says }))
    }
}

/// A load that goes on until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Load {
    /// Stops it; how many were sent.
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Trial {
    /// Sends posts at a pace until the load is stopped.
    pub fn load(&self, per_second: u32) -> Load {
        let (config, topics) = (self.producer_config(), self.targets());
        let mut producer = sender(&config);
        let first = self.next_post.fetch_add(10_000_000, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                // Whoever falls behind its pace catches up.
                let due = began.elapsed().as_millis() * u128::from(per_second) / 1_000;
                while (sent as u128) < due && !stopped.load(Ordering::Relaxed) {
                    send(&producer, &topics, first + sent, 0);
                    sent += 1;
                }
                // In handfuls, as publishers send, or the broker would be busy with the load alone.
                std::thread::sleep(Duration::from_millis(10));
                renew_if_stuck(&mut producer, &config);
            }
            flush(&producer);
            sent
        });
        Load { stop, thread: Some(thread) }
    }

    /// Sends `count` posts as fast as they go, and waits until they are there.
    pub fn pile_up(&self, count: usize) {
        self.pile_up_large(count, 0);
    }

    /// As [`Trial::pile_up`], each post with so many bytes more that nobody reads.
    pub fn pile_up_large(&self, count: usize, bytes: usize) {
        let (producer, topics) = (sender(&self.producer_config()), self.targets());
        let first = self.next_post.fetch_add(10_000_000, Ordering::Relaxed);
        for number in 0..count {
            send(&producer, &topics, first + number, bytes);
        }
        flush(&producer);
    }

    /// Where news, social posts and labels go.
    fn targets(&self) -> [String; 3] {
        [self.input("news"), self.input("social"), self.own("labels")]
    }
}

type Sender = ThreadedProducer<Reports>;

/// When a label is said to be given.
const AT: &str = "2026-03-02T13:30:00Z";

/// What no model answers.
const NO_CLASS: &str = "bored";
const NO_TASK: &str = "weather";

/// Whether a label is one of those that must become a dead letter.
pub fn is_broken_label(value: &[u8]) -> bool {
    serde_json::from_slice(value).map_or(true, |label: Value| label["label"] == NO_CLASS || label["task"] == NO_TASK)
}

/// A client that delivers nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(15);

/// The records that the client gave up, and when it last delivered one.
struct Reports {
    refused: Mutex<Vec<OwnedMessage>>,
    delivered: Mutex<Instant>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => *self.delivered.lock().unwrap() = Instant::now(),
            Err((_, message)) => self.refused.lock().unwrap().push(message.detach()),
        }
    }
}

fn sender(config: &ClientConfig) -> Sender {
    let reports = Reports { refused: Mutex::default(), delivered: Mutex::new(Instant::now()) };
    config.create_with_context(reports).unwrap()
}

/// Another client takes over what a stuck one has not delivered.
fn renew_if_stuck(producer: &mut Sender, config: &ClientConfig) {
    if producer.in_flight_count() == 0 || producer.context().delivered.lock().unwrap().elapsed() < STUCK {
        return;
    }
    let old = std::mem::replace(producer, sender(config));
    old.purge(PurgeConfig::default().queue().inflight());
    // Each is reported as given up; a broker that is away is no reason to wait.
    drop(old.flush(Duration::from_secs(5)));
    send_again(producer, &std::mem::take(&mut *old.context().refused.lock().unwrap()));
    std::thread::spawn(move || drop(old));
}

fn send_again(producer: &Sender, refused: &[OwnedMessage]) {
    for message in refused {
        queue(producer, message.topic(), message.key().unwrap(), message.payload().unwrap());
    }
}

/// Sends again what was given up until nothing is.
fn flush(producer: &Sender) {
    loop {
        producer.flush(SOON).unwrap();
        let refused = std::mem::take(&mut *producer.context().refused.lock().unwrap());
        if refused.is_empty() {
            return;
        }
        send_again(producer, &refused);
    }
}

fn send(producer: &Sender, [news, social, labels]: &[String; 3], number: usize, bytes: usize) {
    let (is_news, mut sent) = post(number);
    // Each record has a key of its own, by which it is counted: what takes a post back may stand in another partition.
    let key = text(&sent["id"]);
    match number % 20 {
        3 => (sent["id"], sent["action"]) = (post(number - 2).1["id"].take(), "updated".into()),
        14 => sent = json!({ "id": post(number - 4).1["id"], "action": "deleted" }),
        _ => {}
    }
    if bytes > 0 {
        sent["attachment"] = "x".repeat(bytes).into();
    }
    let value = if number % 100 == 99 { format!("{{\"id\": \"{key}\", broken") } else { sent.to_string() };
    queue(producer, if is_news { news } else { social }, key.as_bytes(), value.as_bytes());
    if number % 50 == 25 {
        let mut label =
            json!({ "post_id": key, "task": "sentiment", "label": "neutral", "annotator": "ann", "at": AT });
        let broken = (number % 500 == 225).then_some(number / 500 % 3);
        match broken {
            Some(0) => label["label"] = NO_CLASS.into(),
            Some(1) => label["task"] = NO_TASK.into(),
            _ => {}
        }
        let value = if broken == Some(2) { format!("{{\"post_id\": \"{key}\", broken") } else { label.to_string() };
        queue(producer, labels, key.as_bytes(), value.as_bytes());
    }
}

/// The queue is full while a broker is away: there is room again when it is back.
fn queue(producer: &Sender, topic: &str, key: &[u8], value: &[u8]) {
    let until = Instant::now() + SOON;
    while producer.send(BaseRecord::to(topic).key(key).payload(value)).is_err() {
        assert!(Instant::now() < until, "{} cannot be sent", String::from_utf8_lossy(key));
        std::thread::sleep(Duration::from_millis(10));
    }
}
