//! `topics`: `NAME:PARTITIONS:RETENTION`, or the long form.

use super::texts;
use crate::{Topic, problem::Problem, topic_spec, yaml::View};

pub(super) fn topics(view: &View<'_>) -> Result<Vec<Topic>, Problem> {
    let mut topics: Vec<Topic> = Vec::new();
    for item in view.items()? {
        let topic = topic(&item)?;
        if topics.iter().any(|t| t.name == topic.name) {
            return Err(item.problem(format!("topic `{}` is declared twice", topic.name)));
        }
        topics.push(topic);
    }
    Ok(topics)
}

fn topic(view: &View<'_>) -> Result<Topic, Problem> {
    if !view.is_mapping() {
        return topic_spec::parse(view.str()?).map_err(|why| view.problem(why.to_string()));
    }
    let mut fields = view.fields()?;
    let copies = |view: &View<'_>| view.parse("a number of replicas", topic_spec::parse_copies);
    let partitions = fields.require("partitions")?;
    let topic = Topic {
        name: fields
            .require("name")?
            .parse("a topic's name", topic_spec::parse_name)?,
        partitions: partitions.parse("a number of partitions", topic_spec::parse_partitions)?,
        retention: fields.read("retention", |v| {
            v.parse("a duration", topic_spec::parse_retention)
        })?,
        replication: fields.read("replication", copies)?,
        min_insync: fields.read("min-insync", copies)?,
        settings: fields.read_or_default("settings", texts)?,
    };
    let too_many = |copies: i32| topic.min_insync.is_some_and(|least| least > copies);
    if topic.replication.is_some_and(too_many) {
        return Err(
            fields.problem("`min-insync` is more than `replication`: nothing could be written")
        );
    }
    fields.finish()?;
    Ok(topic)
}
