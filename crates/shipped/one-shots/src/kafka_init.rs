//! `kafka-init`: creates the declared topics, with their partitions and retention.
//!
//! It reads the topics, changes what differs, reads again, and succeeds once everything is as
//! declared. A topic with more partitions than declared is a warning, since Kafka cannot remove
//! partitions. The dead-letter topic accepts larger messages than the others: a dead letter is a source
//! message with additional headers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use worker_runtime::{
    backoff::Backoff,
    kafka::{DEAD_LETTER_HEADER_BYTES, SOURCE_MAX_BYTES},
};

use declaration::{Topic, topic_spec};
use diagnostics::{Error, Kind, Result};
use kafka::{
    Kafka,
    provision::{Broker, Existing, Refusal, Step, Wanted},
};

/// How long to wait for a broker that is still starting.
const BROKER_PATIENCE: Duration = Duration::from_secs(60);
/// Time for changes to be applied and visible.
const CHANGE_PATIENCE: Duration = Duration::from_secs(30);

/// Creates or changes the topics of `specs` (`NAME:PARTITIONS:RETENTION`); `dead_letters` is the name
/// of the dead-letter topic, which may be one of them.
///
/// # Errors
/// A specification is wrong, the broker does not answer, or it refuses a change.
pub async fn run(brokers: &str, specs: &[String], dead_letters: &str) -> Result<()> {
    let topics = parse(specs)?;
    let kafka = wait_for_broker(brokers).await?;
    let asking = tokio::spawn(request_coordinator(kafka.clone(), topics[0].name.clone()));
    let broker = Broker::new(brokers, kafka).map_err(|why| unreachable_broker(brokers, why))?;
    let reconciled = Reconciliation {
        broker,
        topics,
        dead_letters: dead_letters.to_owned(),
        logged: BTreeSet::new(),
    }
    .run()
    .await;
    asking.abort();
    reconciled
}

/// Makes the broker create `__consumer_offsets`, which it does at the first request for a group's
/// coordinator. Otherwise the workers' first requests to join would fail, and their retries would
/// take seconds. The response is ignored.
async fn request_coordinator(kafka: Kafka, topic: String) {
    drop(kafka.committed_offsets("kafka-init", &[(topic, 0)]).await);
}

/// Parses the specifications, in their order.
fn parse(specs: &[String]) -> Result<Vec<Topic>> {
    let wrong = |why: String| {
        Error::new(Kind::Usage, why).hint("caravan run kafka-init NAME:PARTITIONS:RETENTION…")
    };
    if specs.is_empty() {
        return Err(wrong("no topic is declared".to_owned()));
    }
    let mut topics: Vec<Topic> = Vec::new();
    for spec in specs {
        let topic = topic_spec::parse(spec).map_err(|why| wrong(why.to_string()))?;
        if topics.iter().any(|before| before.name == topic.name) {
            return Err(wrong(format!("topic {:?} is declared twice", topic.name)));
        }
        topics.push(topic);
    }
    Ok(topics)
}

async fn wait_for_broker(brokers: &str) -> Result<Kafka> {
    let deadline = Instant::now() + BROKER_PATIENCE;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let mut logged = false;
    loop {
        let why = match Kafka::answering(brokers, kafka::TIMEOUT).await {
            Ok(kafka) => return Ok(kafka),
            Err(why) => why,
        };
        if Instant::now() >= deadline {
            return Err(unreachable_broker(brokers, why));
        }
        if !logged {
            tracing::info!(brokers, %why, "waiting for the broker");
            logged = true;
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

fn unreachable_broker(brokers: &str, why: kafka::Error) -> Error {
    Error::new(Kind::Unreachable, format!("no broker at {brokers}"))
        .because(why)
        .hint("set KAFKA_BROKERS to a broker that runs, then start kafka-init again")
}

/// The wanted topics. The dead-letter topic has to accept the largest message of the others plus the
/// added headers. A missing topic counts with Kafka's default maximum; if the broker's default is
/// larger, the next round reads it.
fn wanted(
    topics: &[Topic],
    dead_letters: &str,
    existing: &BTreeMap<String, Existing>,
) -> Vec<Wanted> {
    let bytes = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let limit = |topic: &Topic| {
        let existing = existing.get(&topic.name);
        existing.map_or_else(|| bytes(SOURCE_MAX_BYTES), |e| e.message_bytes)
    };
    let sources = topics.iter().filter(|t| t.name != dead_letters);
    let largest = sources.map(limit).max();
    let needed = largest.map(|largest| largest.saturating_add(bytes(DEAD_LETTER_HEADER_BYTES)));
    let wanted = topics.iter().map(|topic| Wanted {
        topic: topic.clone(),
        message_bytes: needed.filter(|_| topic.name == dead_letters),
    });
    wanted.collect()
}

/// Changes the existing topics until they are as declared.
struct Reconciliation {
    broker: Broker,
    topics: Vec<Topic>,
    dead_letters: String,
    /// Topics whose line has been logged.
    logged: BTreeSet<String>,
}

impl Reconciliation {
    async fn run(mut self) -> Result<()> {
        let deadline = Instant::now() + CHANGE_PATIENCE;
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        loop {
            let waits = self.round().await?;
            if waits.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("the topics are not as declared after {CHANGE_PATIENCE:?}");
                return Err(Error::new(Kind::Deadline, what)
                    .because(waits.join("; "))
                    .hint("see the broker's log, then start kafka-init again"));
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Reads the topics and changes what differs. Returns what is not yet visible as declared, each in
    /// a line for a person; an error is final.
    async fn round(&mut self) -> Result<Vec<String>> {
        let existing = match self.broker.existing(&self.topics).await {
            Ok(existing) => existing,
            Err(why) => return Ok(vec![why.to_string()]),
        };
        let wanted = wanted(&self.topics, &self.dead_letters, &existing);
        let steps: Vec<Step> = wanted
            .iter()
            .map(|wanted| Step::of(wanted, existing.get(&wanted.topic.name)))
            .collect();
        let outcomes = self.broker.apply(&steps).await;
        let mut waits = Vec::new();
        for (step, outcome) in steps.iter().zip(outcomes) {
            let name = &step.wanted().topic.name;
            match outcome {
                Ok(()) => self.log_once(name, step),
                Err(Refusal::Raced) => {}
                Err(Refusal::Again(why)) => waits.push(format!("{name}: {why}")),
                Err(Refusal::Final(why)) => return Err(refused(name, why)),
            }
            if !step.is_done() {
                waits.push(format!("{name} was not yet seen as declared"));
            }
        }
        Ok(waits)
    }

    fn log_once(&mut self, name: &str, step: &Step) {
        if !self.logged.insert(name.to_owned()) {
            return;
        }
        if step.has_too_many() {
            tracing::warn!("{step}");
        } else {
            tracing::info!("{step}");
        }
    }
}

fn refused(name: &str, why: String) -> Error {
    Error::new(Kind::NotRight, format!("the broker refuses topic {name}"))
        .because(why)
        .hint("change the topic's declaration, or the broker's policy, then start kafka-init again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(specs: &[&str]) -> Vec<String> {
        specs.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn wrong_declarations_are_usage_errors_that_name_the_fault() {
        for (given, fault) in [
            (specs(&[]), "no topic"),
            (specs(&["orders"]), "\"orders\""),
            (specs(&["orders:3:7d", "orders:4:7d"]), "declared twice"),
        ] {
            let error = parse(&given).expect_err(fault);
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.what.contains(fault), "{error}");
        }
    }

    #[test]
    fn the_dead_letter_topic_accepts_the_largest_message_with_headers() {
        let topics = parse(&specs(&["a:1:1h", "b:1:1h", "dead:1:1h"])).expect("declarations");
        let bytes = |existing: &[(&str, i64)]| {
            let existing = existing.iter().map(|(name, message_bytes)| {
                let existing = Existing {
                    partitions: 1,
                    retention_ms: 1,
                    message_bytes: *message_bytes,
                    overrides: BTreeMap::new(),
                };
                ((*name).to_owned(), existing)
            });
            let wanted = wanted(&topics, "dead", &existing.collect());
            wanted.iter().map(|w| w.message_bytes).collect::<Vec<_>>()
        };
        let ten_mb = 10_000_000;
        assert_eq!(
            bytes(&[("a", ten_mb), ("dead", 7)]),
            [None, None, Some(10_065_536)]
        );
        assert_eq!(bytes(&[]), [None, None, Some(1_048_588 + 65_536)]);
        assert_eq!(bytes(&[("a", 1), ("b", 2)]), [None, None, Some(65_538)]);
    }

    #[test]
    fn each_declaration_is_a_topic() {
        let topics = parse(&specs(&["orders:3:7d", "bills:1:1h"])).expect("good declarations");
        assert_eq!(topics.len(), 2);
    }
}
