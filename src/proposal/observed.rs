//! What was observed of a running project, as plain values.

use std::{collections::BTreeMap, time::Duration};

use proof::stores::postgres::table_schema::TableSchema;

/// Empty if no container runs or nothing is reachable.
#[derive(Debug, Default, Clone)]
pub(crate) struct Observed {
    /// None: the project has no Kafka, or it was not reachable.
    pub(crate) kafka: Option<ObservedKafka>,
    /// None: the project has no Postgres, or it was not reachable.
    pub(crate) postgres: Option<Vec<TableSchema>>,
    /// The constant part of the startup line, by service.
    pub(crate) startups: BTreeMap<String, String>,
    /// The path that answered 200, by service.
    pub(crate) ready: BTreeMap<String, String>,
    /// What was not observed and why, one line each.
    pub(crate) not_observed: Vec<String>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct ObservedKafka {
    /// Sorted by name.
    pub(crate) topics: Vec<ObservedTopic>,
    pub(crate) groups: Vec<ObservedGroup>,
}

#[derive(Debug, Clone)]
pub(crate) struct ObservedTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) replication: i32,
    /// None: unlimited.
    pub(crate) retention: Option<Duration>,
}

/// A consumer group that has members.
#[derive(Debug, Clone)]
pub(crate) struct ObservedGroup {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    /// The services from whose containers the members connect.
    pub(crate) services: Vec<String>,
}

impl Observed {
    /// The group whose members connect from a service's containers.
    pub(super) fn group(&self, service: &str) -> Option<&ObservedGroup> {
        let groups = &self.kafka.as_ref()?.groups;
        let of = |group: &&ObservedGroup| group.services.iter().any(|name| name == service);
        groups.iter().find(of)
    }
}
