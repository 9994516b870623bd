//! What was seen of a project that runs: plain values, wherever they were seen from.

use std::{collections::BTreeMap, time::Duration};

use proof::stores::postgres::table_schema::TableSchema;

/// Nothing, where nothing runs or nothing can be reached.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// None: Kafka was not asked, or did not answer.
    pub(crate) kafka: Option<KafkaSeen>,
    /// None: Postgres was not asked, or did not answer.
    pub(crate) postgres: Option<Vec<TableSchema>>,
    /// The part of its startup line that is the same each time, by service.
    pub(crate) startups: BTreeMap<String, String>,
    /// The path that answered 200, by service.
    pub(crate) ready: BTreeMap<String, String>,
    /// What could not be seen, and why, a line each.
    pub(crate) unseen: Vec<String>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct KafkaSeen {
    /// By name.
    pub(crate) topics: Vec<TopicSeen>,
    pub(crate) groups: Vec<GroupSeen>,
}

#[derive(Debug, Clone)]
pub(crate) struct TopicSeen {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replication: i32,
    /// None: for ever.
    pub(crate) retention: Option<Duration>,
}

/// A consumer group that has members.
#[derive(Debug, Clone)]
pub(crate) struct GroupSeen {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    /// The services whose containers its members connect from.
    pub(crate) services: Vec<String>,
}

impl Seen {
    /// The group of a service, and what it consumes.
    pub(super) fn group(&self, service: &str) -> Option<&GroupSeen> {
        let groups = &self.kafka.as_ref()?.groups;
        let of = |group: &&GroupSeen| group.services.iter().any(|name| name == service);
        groups.iter().find(of)
    }
}
