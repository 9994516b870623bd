//! Admin requests: topic settings, creating a topic, deleting records.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    time::Duration,
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, ConfigEntry, ConfigResource, ConfigSource, NewTopic,
        OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
    },
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{Error, Kafka, Result, TIMEOUT, client::TracingContext, offsets::Offsets};
use diagnostics::instrument_call;

/// Timeout of a change: the broker applies it before it responds.
const CHANGE: Duration = Duration::from_secs(10);

const RETENTION: &str = "retention.ms";
/// `retention.bytes`: the size of a partition from which its oldest records are deleted.
pub const RETENTION_BYTES: &str = "retention.bytes";
/// `cleanup.policy`: `delete`, `compact` or both.
pub const CLEANUP_POLICY: &str = "cleanup.policy";
const MIN_INSYNC: &str = "min.insync.replicas";
/// `max.message.bytes`: the largest record batch that the topic accepts.
pub const MESSAGE_BYTES: &str = "max.message.bytes";

/// Settings of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// `retention.ms`; None keeps records for ever.
    pub retention: Option<Duration>,
    /// `min.insync.replicas`; None if the broker reports no number.
    pub min_insync: Option<i64>,
    /// `max.message.bytes`, in bytes; None if the broker reports no number.
    pub message_bytes: Option<i64>,
    /// The value of each setting, by Kafka's name.
    pub all: BTreeMap<String, String>,
    /// Names of those that were set for this topic; the others are the broker's.
    pub own: BTreeSet<String>,
}

/// An admin client. Dropping it joins its polling thread, so it is dropped on a thread of its own.
struct Admin(Option<AdminClient<TracingContext>>);

impl Admin {
    fn new(bootstrap: &str) -> Result<Self, KafkaError> {
        ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("client.id", "caravan")
            .set("broker.address.family", "v4")
            .set("reconnect.backoff.ms", "20")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create_with_context(TracingContext)
            .map(|admin| Self(Some(admin)))
    }
}

impl Deref for Admin {
    type Target = AdminClient<TracingContext>;

    fn deref(&self) -> &Self::Target {
        self.0
            .as_ref()
            .unwrap_or_else(|| unreachable!("taken by drop alone"))
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        let admin = self.0.take();
        std::thread::spawn(move || drop(admin));
    }
}

impl Kafka {
    /// `retention.ms` of each of `topics` that exists; None is for ever.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn retentions(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<String, Option<Duration>>> {
        let settings = self.numbers(topics, RETENTION).await?;
        let duration = |millis| u64::try_from(millis).ok().map(Duration::from_millis);
        Ok(settings
            .into_iter()
            .map(|(topic, millis)| (topic, duration(millis)))
            .collect())
    }

    /// The settings that `verify` checks, of each of `topics` that exists.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn topic_settings(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<String, TopicSettings>> {
        let described = self.described(topics).await?;
        let settings = described.into_iter().map(|(topic, entries)| {
            let own = entries.iter().filter(|entry| is_own(entry));
            let own = own.map(|entry| entry.name.clone()).collect();
            let values = entries
                .into_iter()
                .filter_map(|entry| Some((entry.name, entry.value?)));
            let all: BTreeMap<String, String> = values.collect();
            let number = |name: &str| all.get(name)?.parse::<i64>().ok();
            let retention = number(RETENTION).and_then(|ms| u64::try_from(ms).ok());
            let settings = TopicSettings {
                retention: retention.map(Duration::from_millis),
                min_insync: number(MIN_INSYNC),
                message_bytes: number(MESSAGE_BYTES),
                all,
                own,
            };
            (topic, settings)
        });
        Ok(settings.collect())
    }

    /// `max.message.bytes` of each of `topics` that exists.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn message_limits(&self, topics: &[String]) -> Result<BTreeMap<String, i64>> {
        self.numbers(topics, MESSAGE_BYTES).await
    }

    /// A setting that is a number, of each of `topics` that exists.
    async fn numbers(
        &self,
        topics: &[String],
        setting: &'static str,
    ) -> Result<BTreeMap<String, i64>> {
        let described = self.described(topics).await?;
        let number = |(topic, entries): (String, Vec<ConfigEntry>)| {
            let entry = entries.into_iter().find(|entry| entry.name == setting)?;
            Some((topic, entry.value?.parse().ok()?))
        };
        Ok(described.into_iter().filter_map(number).collect())
    }

    /// All settings of each of `topics` that exists, in one request.
    async fn described(&self, topics: &[String]) -> Result<BTreeMap<String, Vec<ConfigEntry>>> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let call = "settings of topics";
        let admin = Admin::new(&self.bootstrap).map_err(|e| self.failed(call, e))?;
        let wanted: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let described = admin.describe_configs(wanted.iter(), &options);
        let described = instrument_call("kafka", call, described)
            .await
            .map_err(|e| self.failed(call, e))?;
        let named = |resource: ConfigResource| match resource.specifier {
            OwnedResourceSpecifier::Topic(name) => Some((name, resource.entries)),
            _ => None,
        };
        Ok(described.into_iter().flatten().filter_map(named).collect())
    }

    /// Creates a topic with one partition; an existing topic is not changed.
    ///
    /// # Errors
    /// Why it could not be created.
    pub async fn create_topic(
        &self,
        name: &str,
        replicas: i32,
        settings: &[(&str, &str)],
    ) -> Result<()> {
        let call = format!("make topic {name}");
        let admin = Admin::new(&self.bootstrap).map_err(|e| self.failed(&call, e))?;
        let new = NewTopic::new(name, 1, TopicReplication::Fixed(replicas));
        let new = settings
            .iter()
            .fold(new, |new, (setting, value)| new.set(setting, value));
        let options = change();
        let results = admin.create_topics([&new], &options);
        let results = instrument_call("kafka", &call, results).await;
        for result in results.map_err(|e| self.failed(&call, e))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(self.failed(&call, code)),
            }
        }
        Ok(())
    }

    /// Deletes the records before the given offsets (`DeleteRecords`). Returns each partition's new
    /// earliest offset.
    ///
    /// # Errors
    /// Why it failed, for one partition or for all. Other partitions may have been truncated.
    pub async fn delete_before(&self, offsets: &Offsets) -> Result<Offsets> {
        let call = "delete records";
        let admin = Admin::new(&self.bootstrap).map_err(|e| self.failed(call, e))?;
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|e| self.failed(call, e))?;
        }
        let options = change();
        let deleted = admin.delete_records(&list, &options);
        let deleted = instrument_call("kafka", call, deleted).await;
        super::offsets::absolute(&deleted.map_err(|e| self.failed(call, e))?)
            .map_err(|e| self.failed(call, e))
    }

    fn failed(&self, call: &str, error: impl Into<Error>) -> Error {
        error.into().at(&self.bootstrap).of_call(call)
    }
}

/// Whether a setting was set for the topic itself.
fn is_own(entry: &ConfigEntry) -> bool {
    matches!(entry.source, ConfigSource::DynamicTopic)
}

fn change() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CHANGE))
        .operation_timeout(Some(CHANGE))
}
