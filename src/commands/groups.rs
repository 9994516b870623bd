use std::collections::BTreeSet;

use super::{
    Verdict,
    partitions::{self, Held},
    topics,
};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::{
        listing::{self, Column},
        topics::{self as output, Group, Member, MemberPartition},
    },
};
use declaration::Pipeline;
use diagnostics::Result;
use kafka::{
    Kafka, Partition,
    groups::{self, GroupState},
    offsets::{self, End},
    topics::TopicState,
};

/// List consumer groups, also declared ones that do not exist
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show this one by partition; a part of its name will do
    ///
    /// A group, or the service that it belongs to.
    #[arg(value_name = "GROUP")]
    name: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A group and its lag on the topics that its service declares to consume. A group that no service declares:
/// on the partitions that its members hold.
pub(super) struct Listed {
    pub(super) name: String,
    /// None: declared, but not there.
    state: Option<GroupState>,
    partitions: usize,
    pub(super) lag: i64,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let kafka = topics::connect(context, &pipeline).await?;
    if let Some(name) = &args.name {
        return one(context, &pipeline, &kafka, name, args.output.output).await;
    }
    let listed = list(&pipeline, &kafka)
        .await
        .map_err(|why| topics::unreachable(context, &pipeline, &why))?;
    match args.output.output {
        Format::Table => {
            let columns = [
                Column::name("GROUP"),
                Column::name("STATE"),
                Column::name("PROTOCOL").optional(1),
                Column::number("MEMBERS"),
                Column::number("PARTITIONS"),
                Column::number("LAG"),
            ];
            let rows: Vec<_> = listed.iter().map(row).collect();
            let table = listing::table(&context.console, &columns, rows);
            context.console.composed(&table);
        }
        Format::Json => {
            let groups = listed.iter().map(Listed::entry).collect();
            output::groups(&context.console, groups);
        }
    }
    Ok(Verdict::Right)
}

/// One group, by partition.
async fn one(
    context: &Context,
    pipeline: &Pipeline,
    kafka: &Kafka,
    name: &str,
    format: Format,
) -> Result<Verdict> {
    let unreachable = |why: kafka::Error| topics::unreachable(context, pipeline, &why);
    let (groups, topics) = tokio::try_join!(kafka.groups(), kafka.topics()).map_err(unreachable)?;
    let group = named(context, pipeline, &groups, name)?;
    let state = groups.iter().find(|g| g.name == group);
    let partitions = assigned(pipeline, &group, state, &topics);
    let containers = context.platform().await?;
    let containers = containers.containers(&pipeline.project).await?;
    let held = partitions::of_group(kafka, &containers, &group, state, &partitions);
    let held = held.await.map_err(unreachable)?;
    let lag: i64 = held.iter().map(|held| held.lag).sum();
    let word = state.map_or("missing", |g| groups::word(g.state));
    match format {
        Format::Table => {
            let mut columns = vec![Column::name("TOPIC"), Column::number("PARTITION")];
            columns.extend(partitions::COLUMNS);
            let row = |held: &Held| {
                let (topic, partition) = &held.partition;
                let mut row = vec![topic.as_str().into(), partition.to_string().into()];
                row.extend(partitions::cells(held));
                row
            };
            let table = listing::table(&context.console, &columns, held.iter().map(row).collect());
            let members = listing::count(state.map_or(0, |g| g.members.len()), "member");
            let summary = format!("{group}: {word}, {members}, lag {lag}");
            let summary = listing::prose(&context.console, &summary);
            context.console.composed(&format!("{table}\n\n{summary}"));
        }
        Format::Json => {
            let listed = Listed {
                name: group.clone(),
                state: state.cloned(),
                partitions: held.len(),
                lag,
            };
            let group = Group {
                offsets: Some(held.iter().map(partitions::entry).collect()),
                ..listed.entry()
            };
            output::groups(&context.console, vec![group]);
        }
    }
    Ok(Verdict::Right)
}

/// The group that is meant: one that exists, or that a service declares.
fn named(
    context: &Context,
    pipeline: &Pipeline,
    groups: &[GroupState],
    given: &str,
) -> Result<String> {
    let declared = pipeline.services.iter().filter_map(|service| {
        let name = service.group.as_ref()?.name()?;
        Some((service.name.as_str(), name))
    });
    let declared: Vec<_> = declared.collect();
    let mut names: BTreeSet<&str> = groups.iter().map(|g| g.name.as_str()).collect();
    names.extend(declared.iter().map(|(_, group)| *group));
    if let Some(name) = names.get(given) {
        return Ok((*name).to_owned());
    }
    let of_service = declared.iter().find(|(service, _)| *service == given);
    if let Some((_, group)) = of_service {
        return Ok((*group).to_owned());
    }
    topics::only_one_with(given, "group", &names)
        .map_err(|error| error.hint(context.invocation.command("groups")))
}

pub(super) async fn list(pipeline: &Pipeline, kafka: &Kafka) -> Result<Vec<Listed>, kafka::Error> {
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
        let partitions = assigned(pipeline, &name, state.as_ref(), &topics);
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
pub(super) fn assigned(
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

impl Listed {
    fn entry(&self) -> Group<'_> {
        let members = self.state.iter().flat_map(|g| &g.members);
        let members = members.map(|member| Member {
            client_id: &member.client_id,
            instance: member.instance.as_deref(),
            host: &member.host,
            partitions: member.partitions.iter().map(held).collect(),
        });
        Group {
            name: &self.name,
            exists: self.state.is_some(),
            state: self.state.as_ref().map(|g| groups::word(g.state)),
            protocol: self.state.as_ref().map(|g| groups::protocol(g.protocol)),
            members: members.collect(),
            partitions: self.partitions,
            lag: self.lag,
            offsets: None,
        }
    }
}

fn held((topic, partition): &Partition) -> MemberPartition<'_> {
    MemberPartition {
        topic,
        partition: *partition,
    }
}
