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

use super::plan::{Existing, Step, millis};
use crate::{clients::kafka::Kafka, pipeline::Topic};

const RETENTION: &str = "retention.ms";
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

    /// Those of `declared` that exist.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(super) async fn existing(
        &self,
        declared: &[Topic],
    ) -> Result<BTreeMap<String, Existing>, String> {
        let states = self.kafka.topics().await?;
        let partitions: BTreeMap<&str, i32> = states
            .iter()
            .filter(|t| declared.iter().any(|d| d.name == t.name))
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
            Step::Create(topic) => self.create(topic).await,
            Step::Adjust {
                declared,
                existing,
                grow,
                set_retention,
            } => {
                if *grow {
                    self.grow(declared).await?;
                }
                if *set_retention {
                    self.set_retention(declared, existing).await?;
                }
                Ok(())
            }
        }
    }

    async fn create(&self, topic: &Topic) -> Result<(), Refusal> {
        let retention = millis(topic.retention).to_string();
        let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(1))
            .set(RETENTION, &retention);
        let results = self.admin.create_topics([&new], &options()).await;
        results?
            .into_iter()
            .try_for_each(|r| r.map(drop).map_err(|(_, code)| code.into()))
    }

    async fn grow(&self, topic: &Topic) -> Result<(), Refusal> {
        let partitions = usize::try_from(topic.partitions).unwrap_or(usize::MAX);
        let new = NewPartitions::new(&topic.name, partitions);
        let results = self.admin.create_partitions([&new], &options()).await;
        results?
            .into_iter()
            .try_for_each(|r| r.map(drop).map_err(|(_, code)| code.into()))
    }

    async fn set_retention(&self, topic: &Topic, existing: &Existing) -> Result<(), Refusal> {
        let retention = millis(topic.retention).to_string();
        let kept = existing
            .overrides
            .iter()
            .filter(|(name, _)| *name != RETENTION);
        let config = kept.fold(
            AlterConfig::new(ResourceSpecifier::Topic(&topic.name)),
            |config, (name, value)| config.set(name, value),
        );
        let config = config.set(RETENTION, &retention);
        let results = self.admin.alter_configs([&config], &options()).await;
        results?
            .into_iter()
            .try_for_each(|r| r.map(drop).map_err(|(_, code)| code.into()))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

fn as_existing(partitions: i32, config: &ConfigResource) -> Result<Existing, String> {
    let retention = config.get(RETENTION).and_then(|e| e.value.as_deref());
    let retention_ms = retention
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            format!("the broker tells no {RETENTION} that is a number: {retention:?}")
        })?;
    let own = config
        .entries
        .iter()
        .filter(|e| e.source == ConfigSource::DynamicTopic);
    Ok(Existing {
        partitions,
        retention_ms,
        overrides: own
            .filter_map(|e| Some((e.name.clone(), e.value.clone()?)))
            .collect(),
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
