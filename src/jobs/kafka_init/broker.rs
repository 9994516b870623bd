//! What the broker has, and how it is changed.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions,
        NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::plan::{Existing, Step, Wanted, millis};
use crate::{clients::kafka::Kafka, pipeline::Topic};

const RETENTION: &str = "retention.ms";
const MESSAGE_BYTES: &str = "max.message.bytes";
/// One question to the broker, or one change that it carries out.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a change was not made.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Somebody else made it first: look again.
    Raced,
    /// Not now: a broker that is still starting, a lost connection.
    Again(String),
    /// Not ever: forbidden, or against the cluster's policy.
    Final(String),
}

/// A broker to look at and to change.
pub(super) struct Broker {
    kafka: Kafka,
    admin: AdminClient<DefaultClientContext>,
}

impl Broker {
    /// # Errors
    /// librdkafka could not be set up.
    pub(super) fn new(brokers: &str) -> Result<Self, String> {
        let admin = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "kafka-init")
            .set("reconnect.backoff.max.ms", "1000")
            // What matters comes back as the error of a call.
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create()
            .map_err(|e| e.to_string())?;
        Ok(Self {
            kafka: Kafka::new(brokers)?,
            admin,
        })
    }

    /// Those of `topics` that exist.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(super) async fn existing(
        &self,
        topics: &[Topic],
    ) -> Result<BTreeMap<String, Existing>, String> {
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
    ) -> Result<Vec<(String, ConfigResource)>, String> {
        let wanted: Vec<ResourceSpecifier<'_>> = names.map(ResourceSpecifier::Topic).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let described = self.admin.describe_configs(&wanted, &options()).await;
        let mut configs = Vec::new();
        for resource in described.map_err(|e| e.to_string())? {
            match resource {
                Ok(config) => {
                    if let OwnedResourceSpecifier::Topic(name) = &config.specifier {
                        configs.push((name.clone(), config));
                    }
                }
                // Deleted since the metadata was read: missing, then.
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                Err(code) => return Err(format!("the topics' settings: {code}")),
            }
        }
        Ok(configs)
    }

    /// Makes the changes of one step.
    pub(super) async fn apply(&self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::Create(wanted) => self.create(wanted).await,
            Step::Adjust {
                wanted,
                existing,
                grow,
                set_retention,
                raise_message_bytes,
            } => {
                if *grow {
                    self.grow(wanted).await?;
                }
                if *set_retention || *raise_message_bytes {
                    self.set(wanted, existing, *raise_message_bytes).await?;
                }
                Ok(())
            }
        }
    }

    async fn create(&self, wanted: &Wanted) -> Result<(), Refusal> {
        let (name, partitions) = (&wanted.topic.name, wanted.topic.partitions);
        let retention = wanted.topic.retention.map(|r| millis(r).to_string());
        let bytes = wanted.message_bytes.map(|bytes| bytes.to_string());
        let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        if let Some(retention) = &retention {
            new = new.set(RETENTION, retention);
        }
        if let Some(bytes) = &bytes {
            new = new.set(MESSAGE_BYTES, bytes);
        }
        let results = self.admin.create_topics([&new], &options()).await?;
        outcome(results.into_iter().map(|r| r.map_err(|(_, code)| code)))
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

fn as_existing(partitions: i32, config: &ConfigResource) -> Result<Existing, String> {
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

fn number(config: &ConfigResource, name: &str) -> Result<i64, String> {
    let value = config.get(name).and_then(|e| e.value.as_deref());
    value
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("the broker tells no {name} that is a number: {value:?}"))
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
