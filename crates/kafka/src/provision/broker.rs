//! Reads a cluster's topics and changes them.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::{join, join_all};
use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions,
        NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication, TopicResult,
    },
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::plan::{Existing, Step, Wanted, millis};
use crate::{Error, Kafka, error::Result};
use declaration::Topic;

const RETENTION: &str = "retention.ms";
const MESSAGE_BYTES: &str = "max.message.bytes";
/// Timeout of one request, a change included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a change was not made.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Another client made it first: read the topic again.
    Raced,
    /// A transient failure: a broker that is still starting, a lost connection.
    Again(String),
    /// A permanent failure: not authorized, or against the cluster's policy.
    Final(String),
}

/// A connection that reads and changes topics.
pub struct Broker {
    kafka: Kafka,
    admin: AdminClient<DefaultClientContext>,
}

impl Broker {
    /// An admin client for the `bootstrap.servers` in `brokers`; `kafka` reads the metadata.
    ///
    /// # Errors
    /// librdkafka could not be configured.
    pub fn new(brokers: &str, kafka: Kafka) -> Result<Self> {
        let admin = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "kafka-init")
            .set("reconnect.backoff.max.ms", "1000")
            // Failures that matter are errors of the call.
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create()?;
        Ok(Self { kafka, admin })
    }

    /// Those of `topics` that exist.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn existing(&self, topics: &[Topic]) -> Result<BTreeMap<String, Existing>> {
        let states = self.kafka.topics().await?;
        let partitions: BTreeMap<&str, i32> = states
            .iter()
            .filter(|t| topics.iter().any(|w| w.name == t.name))
            .map(|t| (t.name.as_str(), t.partitions))
            .collect();
        let mut existing = BTreeMap::new();
        for (name, config) in self.configs(partitions.keys().copied()).await? {
            if let Some(&partitions) = partitions.get(name.as_str()) {
                existing.insert(name, as_existing(partitions, &config)?);
            }
        }
        Ok(existing)
    }

    async fn configs(
        &self,
        names: impl Iterator<Item = &str>,
    ) -> Result<Vec<(String, ConfigResource)>> {
        let wanted: Vec<ResourceSpecifier<'_>> = names.map(ResourceSpecifier::Topic).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let described = self.admin.describe_configs(&wanted, &options()).await;
        let mut configs = Vec::new();
        for resource in described? {
            match resource {
                Ok(config) => {
                    if let OwnedResourceSpecifier::Topic(name) = &config.specifier {
                        configs.push((name.clone(), config));
                    }
                }
                // Deleted after the metadata was read, so it counts as missing.
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                Err(code) => return Err(Error::from(code).about("the topics' settings")),
            }
        }
        Ok(configs)
    }

    /// Applies all steps concurrently; returns an outcome for each, in their order.
    pub async fn apply(&self, steps: &[Step]) -> Vec<Result<(), Refusal>> {
        let new = |step: &Step| matches!(step, Step::Create(_));
        let made = steps.iter().filter(|s| new(s)).map(Step::wanted).collect();
        let adjusted = steps.iter().filter(|s| !new(s)).map(|s| self.adjust(s));
        let (made, adjusted) = join(self.create(made), join_all(adjusted)).await;
        let (mut made, mut adjusted) = (made.into_iter(), adjusted.into_iter());
        let outcome = |step| match new(step) {
            true => made.next(),
            false => adjusted.next(),
        };
        steps.iter().filter_map(outcome).collect()
    }

    async fn adjust(&self, step: &Step) -> Result<(), Refusal> {
        let Step::Adjust {
            wanted,
            existing,
            grow,
            set_retention,
            raise_message_bytes,
        } = step
        else {
            return Ok(());
        };
        if *grow {
            self.grow(wanted).await?;
        }
        if *set_retention || *raise_message_bytes {
            self.set(wanted, existing, *raise_message_bytes).await?;
        }
        Ok(())
    }

    /// Creates all topics in one request: a broker that has just started is slow at each request.
    async fn create(&self, all: Vec<&Wanted>) -> Vec<Result<(), Refusal>> {
        if all.is_empty() {
            return Vec::new();
        }
        let settings: Vec<(Option<String>, Option<String>)> = all
            .iter()
            .map(|wanted| {
                let retention = wanted.topic.retention.map(|r| millis(r).to_string());
                (retention, wanted.message_bytes.map(|b| b.to_string()))
            })
            .collect();
        let new: Vec<NewTopic<'_>> = all
            .iter()
            .zip(&settings)
            .map(|(wanted, (retention, bytes))| {
                let Topic {
                    name, partitions, ..
                } = &wanted.topic;
                let new = NewTopic::new(name, *partitions, TopicReplication::Fixed(1));
                let settings = [(RETENTION, retention), (MESSAGE_BYTES, bytes)];
                let declared = settings
                    .iter()
                    .filter_map(|(key, v)| Some((key, v.as_ref()?)));
                declared.fold(new, |new, (key, value)| new.set(key, value))
            })
            .collect();
        let answer = self.admin.create_topics(&new, &options()).await;
        let answer = answer.map_err(Refusal::from);
        let names = all.iter().map(|wanted| wanted.topic.name.as_str());
        names.map(|name| outcome_of(name, &answer)).collect()
    }

    async fn grow(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let partitions = usize::try_from(wanted.topic.partitions).unwrap_or(usize::MAX);
        let new = NewPartitions::new(&wanted.topic.name, partitions);
        let results = self.admin.create_partitions([&new], &options()).await?;
        outcome(results.into_iter().map(|r| r.map_err(|(_, code)| code)))
    }

    async fn set(
        &self,
        wanted: &Wanted,
        existing: &Existing,
        raise_message_bytes: bool,
    ) -> Result<(), Refusal> {
        let mut settings = existing.overrides.clone();
        if let Some(retention) = wanted.topic.retention {
            settings.insert(RETENTION.to_owned(), millis(retention).to_string());
        }
        if let Some(bytes) = wanted.message_bytes.filter(|_| raise_message_bytes) {
            settings.insert(MESSAGE_BYTES.to_owned(), bytes.to_string());
        }
        let topic = AlterConfig::new(ResourceSpecifier::Topic(&wanted.topic.name));
        let config = settings
            .iter()
            .fold(topic, |config, (name, value)| config.set(name, value));
        let results = self.admin.alter_configs([&config], &options()).await?;
        outcome(results.into_iter().map(|r| r.map_err(|(_, code)| code)))
    }
}

/// The outcome of one topic in a response about several.
fn outcome_of(name: &str, answer: &Result<Vec<TopicResult>, Refusal>) -> Result<(), Refusal> {
    let results = answer.as_ref().map_err(Refusal::clone)?;
    for result in results {
        match result {
            Ok(made) if made == name => return Ok(()),
            Err((refused, code)) if refused == name => return Err((*code).into()),
            Ok(_) | Err(_) => {}
        }
    }
    Err(Refusal::Again("the broker does not report it".to_owned()))
}

fn outcome<T>(results: impl Iterator<Item = Result<T, RDKafkaErrorCode>>) -> Result<(), Refusal> {
    for result in results {
        result?;
    }
    Ok(())
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

fn as_existing(partitions: i32, config: &ConfigResource) -> Result<Existing> {
    let own = config
        .entries
        .iter()
        .filter(|e| e.source == ConfigSource::DynamicTopic);
    Ok(Existing {
        partitions,
        retention_ms: number(config, RETENTION)?,
        message_bytes: number(config, MESSAGE_BYTES)?,
        overrides: own
            .filter_map(|e| Some((e.name.clone(), e.value.clone()?)))
            .collect(),
    })
}

fn number(config: &ConfigResource, name: &str) -> Result<i64> {
    let value = config.get(name).and_then(|e| e.value.as_deref());
    value.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let what = format!("the broker's {name} is not a number: {value:?}");
        Error::unexpected(what)
    })
}

impl From<KafkaError> for Refusal {
    fn from(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(code) => code.into(),
            None => Self::Again(error.to_string()),
        }
    }
}

impl From<RDKafkaErrorCode> for Refusal {
    fn from(code: RDKafkaErrorCode) -> Self {
        use RDKafkaErrorCode as Code;
        match code {
            Code::TopicAlreadyExists | Code::InvalidPartitions => Self::Raced,
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::PolicyViolation
            | Code::InvalidConfig
            | Code::InvalidTopic => Self::Final(code.to_string()),
            _ => Self::Again(code.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_about_several_topics_is_split_by_topic() {
        let answer = Ok(vec![
            Ok("orders".to_owned()),
            Err(("bills".to_owned(), RDKafkaErrorCode::TopicAlreadyExists)),
            Err(("dead".to_owned(), RDKafkaErrorCode::PolicyViolation)),
        ]);
        assert!(outcome_of("orders", &answer).is_ok());
        assert!(matches!(outcome_of("bills", &answer), Err(Refusal::Raced)));
        assert!(matches!(
            outcome_of("dead", &answer),
            Err(Refusal::Final(_))
        ));
        assert!(matches!(
            outcome_of("none", &answer),
            Err(Refusal::Again(_))
        ));
        let none = Err(Refusal::Again("no broker".to_owned()));
        assert!(matches!(
            outcome_of("orders", &none),
            Err(Refusal::Again(_))
        ));
    }
}
