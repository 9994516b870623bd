use std::collections::BTreeSet;

use serde_json::json;

use super::{Verdict, topics};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::listing,
};
use declaration::Pipeline;
use diagnostics::Result;
use kafka::{
    Kafka, Partition,
    groups::{self, GroupState},
    offsets::{self, End},
    topics::TopicState,
};

/// List consumer groups, including declared groups that do not exist
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A group and its lag on the topics that its service declares to consume. A group that no service declares:
/// on the partitions that its members hold.
struct Listed {
    name: String,
    /// None: declared, but not there.
    state: Option<GroupState>,
    partitions: usize,
    lag: i64,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let kafka = topics::connect(context, &pipeline).await?;
    let listed = list(&pipeline, &kafka)
        .await
        .map_err(|why| topics::unreachable(context, &pipeline, &why))?;
    match args.output.output {
        Format::Table => {
            let header = ["GROUP", "STATE", "PROTOCOL", "MEMBERS", "PARTITIONS", "LAG"];
            let rows = listed.iter().map(row).collect();
            let table = listing::table(&context.console, &header, rows);
            context.console.composed(&table);
        }
        Format::Json => {
            let groups: Vec<_> = listed.iter().map(value).collect();
            let document = json!({ "project": pipeline.project, "groups": groups });
            context.console.document(&document);
        }
    }
    Ok(Verdict::Right)
}

async fn list(pipeline: &Pipeline, kafka: &Kafka) -> Result<Vec<Listed>, kafka::Error> {
    let (groups, topics) = tokio::try_join!(kafka.groups(), kafka.topics())?;
    let declared = pipeline.services.iter().filter_map(|s| s.group.as_ref());
    let missing = declared.filter(|d| !groups.iter().any(|g| d.is(&g.name)));
    let names: BTreeSet<_> = groups
        .iter()
        .map(|g| g.name.clone())
        .chain(missing.map(ToString::to_string))
        .collect();
    let tasks = names.into_iter().map(async |name| {
        let state = groups.iter().find(|g| g.name == name).cloned();
        let partitions = partitions(pipeline, &name, state.as_ref(), &topics);
        let (committed, earliest, latest) = tokio::try_join!(
            kafka.committed_offsets(&name, &partitions),
            kafka.ends(&partitions, End::Earliest),
            kafka.ends(&partitions, End::Latest),
        )?;
        Ok(Listed {
            name,
            state,
            partitions: partitions.len(),
            lag: offsets::lag(&committed, &earliest, &latest),
        })
    });
    futures_util::future::try_join_all(tasks).await
}

/// The existing partitions that the group's service declares to consume. For an undeclared group: those that
/// its members hold.
fn partitions(
    pipeline: &Pipeline,
    group: &str,
    state: Option<&GroupState>,
    topics: &[TopicState],
) -> Vec<Partition> {
    let mut partitions = BTreeSet::new();
    let services = pipeline.services.iter();
    for service in services.filter(|s| s.group.as_ref().is_some_and(|g| g.is(group))) {
        for topic in topics.iter().filter(|t| service.consumes.contains(&t.name)) {
            partitions.extend((0..topic.partitions).map(|p| (topic.name.clone(), p)));
        }
    }
    if partitions.is_empty() {
        let members = state.iter().flat_map(|g| &g.members);
        partitions.extend(members.flat_map(|m| m.partitions.iter().cloned()));
    }
    partitions.into_iter().collect()
}

fn row(group: &Listed) -> Vec<String> {
    let state = group.state.as_ref();
    vec![
        group.name.clone(),
        state
            .map_or("missing", |g| groups::word(g.state))
            .to_owned(),
        state
            .map_or("", |g| groups::protocol(g.protocol))
            .to_owned(),
        state.map_or(0, |g| g.members.len()).to_string(),
        group.partitions.to_string(),
        group.lag.to_string(),
    ]
}

fn value(group: &Listed) -> serde_json::Value {
    let members = group.state.iter().flat_map(|g| &g.members);
    let members: Vec<_> = members
        .map(|m| {
            let partitions: Vec<_> = m
                .partitions
                .iter()
                .map(|(t, p)| format!("{t}/{p}"))
                .collect();
            json!({
                "clientId": m.client_id,
                "instance": m.instance,
                "host": m.host,
                "partitions": partitions,
            })
        })
        .collect();
    json!({
        "group": group.name,
        "exists": group.state.is_some(),
        "state": group.state.as_ref().map(|g| groups::word(g.state)),
        "protocol": group.state.as_ref().map(|g| groups::protocol(g.protocol)),
        "members": members,
        "partitions": group.partitions,
        "lag": group.lag,
    })
}
