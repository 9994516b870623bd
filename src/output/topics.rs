//! What `topics` and `groups` write as JSON: the same document with a name, in which one topic or group has its
//! partitions.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Console,
    json::{Millis, Outcome},
};

/// The number of topics.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TopicCounts {
    total: usize,
    /// Declared topics that do not exist.
    missing: usize,
    messages: i64,
}

/// Topics, declared ones that do not exist included.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Topics<'a> {
    topics: Vec<Topic<'a>>,
}

/// A topic.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Topic<'a> {
    pub(crate) name: &'a str,
    pub(crate) exists: bool,
    /// The number of partitions. Null: it does not exist.
    pub(crate) partitions: Option<i32>,
    /// Null: it is not declared.
    pub(crate) declared_partitions: Option<i32>,
    pub(crate) messages: i64,
    /// Null: for ever, or unknown.
    pub(crate) retention_ms: Option<Millis>,
    /// By partition: only of the topic that the command line names.
    pub(crate) offsets: Option<Vec<Offsets>>,
    /// What each consumer group has read: only of the topic that the command line names.
    pub(crate) groups: Option<Vec<Reader<'a>>>,
}

/// The offsets of a partition.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offsets {
    pub(crate) partition: i32,
    pub(crate) begin: i64,
    pub(crate) end: i64,
}

/// A consumer group of a topic.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reader<'a> {
    pub(crate) name: &'a str,
    pub(crate) offsets: Vec<Held<'a>>,
}

/// A partition as a group has read it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) end: i64,
    /// Null: nothing.
    pub(crate) committed: Option<i64>,
    pub(crate) lag: i64,
    /// The age of the oldest event that was not read. Null: there is none, or it could not be read.
    pub(crate) oldest_unread_ms: Option<Millis>,
    /// The member that holds it.
    pub(crate) member: Option<&'a str>,
    /// The container that the member connects from.
    pub(crate) container: Option<&'a str>,
}

/// The number of groups.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupCounts {
    total: usize,
    /// Declared groups that do not exist.
    missing: usize,
    lag: i64,
}

/// Consumer groups, declared ones that do not exist included.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Groups<'a> {
    groups: Vec<Group<'a>>,
}

/// A consumer group.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Group<'a> {
    pub(crate) name: &'a str,
    pub(crate) exists: bool,
    /// As Kafka calls it, such as `Stable`. Null: it does not exist.
    pub(crate) state: Option<&'static str>,
    /// `classic` or `consumer`.
    pub(crate) protocol: Option<&'static str>,
    pub(crate) members: Vec<Member<'a>>,
    /// The number of its partitions.
    pub(crate) partitions: usize,
    pub(crate) lag: i64,
    /// By partition: only of the group that the command line names.
    pub(crate) offsets: Option<Vec<Held<'a>>>,
}

/// A member of a group.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member<'a> {
    pub(crate) client_id: &'a str,
    /// `group.instance.id`. Null: a dynamic member.
    pub(crate) instance: Option<&'a str>,
    pub(crate) host: &'a str,
    pub(crate) partitions: Vec<MemberPartition<'a>>,
}

/// A partition that a member holds.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemberPartition<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
}

/// Writes topics. A declared topic that does not exist is a warning.
pub(crate) fn topics(console: &Console, topics: Vec<Topic<'_>>) {
    let counts = TopicCounts {
        total: topics.len(),
        missing: topics.iter().filter(|topic| !topic.exists).count(),
        messages: topics.iter().map(|topic| topic.messages).sum(),
    };
    let status = Outcome::doubtful(counts.missing > 0);
    console.report(status, counts, Topics { topics });
}

/// Writes groups. A declared group that does not exist is a warning.
pub(crate) fn groups(console: &Console, groups: Vec<Group<'_>>) {
    let counts = GroupCounts {
        total: groups.len(),
        missing: groups.iter().filter(|group| !group.exists).count(),
        lag: groups.iter().map(|group| group.lag).sum(),
    };
    let status = Outcome::doubtful(counts.missing > 0);
    console.report(status, counts, Groups { groups });
}
