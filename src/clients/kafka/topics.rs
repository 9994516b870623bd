//! Topics as the broker's metadata shows them.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier},
    config::RDKafkaLogLevel,
    error::KafkaError,
    metadata::{MetadataPartition, MetadataTopic},
};

use super::{
    Kafka, TIMEOUT,
    client::{Silent, describe},
};

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicState {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    /// Partitions that no broker leads: nothing can be read from or written to them.
    pub(crate) leaderless: Vec<i32>,
}

impl Kafka {
    /// All topics, internal ones (`__…`) included, in no order.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(crate) async fn topics(&self) -> Result<Vec<TopicState>, String> {
        self.ask(|client| {
            let metadata = client
                .fetch_metadata(None, TIMEOUT)
                .map_err(|e| describe(&e))?;
            let state = |topic: &MetadataTopic| TopicState {
                name: topic.name().to_owned(),
                partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
                leaderless: topic
                    .partitions()
                    .iter()
                    .filter(|p| p.leader() < 0)
                    .map(MetadataPartition::id)
                    .collect(),
            };
            Ok(metadata.topics().iter().map(state).collect())
        })
        .await
    }

    /// `retention.ms` of each of `topics` that exists; None is for ever.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(crate) async fn retentions(
        &self,
        topics: &[String],
    ) -> Result<BTreeMap<String, Option<Duration>>, String> {
        let at = |e: &KafkaError| super::at(&self.bootstrap, &describe(e));
        let admin: AdminClient<Silent> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("broker.address.family", "v4")
            .set("reconnect.backoff.ms", "20")
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create_with_context(Silent)
            .map_err(|e| at(&e))?;
        let wanted: Vec<_> = topics.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let described = admin
            .describe_configs(wanted.iter(), &options)
            .await
            .map_err(|e| at(&e))?;
        // Its teardown waits for its own polling thread.
        std::thread::spawn(move || drop(admin));
        let mut retentions = BTreeMap::new();
        for resource in described.into_iter().flatten() {
            let millis = resource
                .get("retention.ms")
                .and_then(|entry| entry.value.as_ref()?.parse::<i64>().ok());
            if let (OwnedResourceSpecifier::Topic(name), Some(millis)) =
                (resource.specifier, millis)
            {
                retentions.insert(name, u64::try_from(millis).ok().map(Duration::from_millis));
            }
        }
        Ok(retentions)
    }
}
