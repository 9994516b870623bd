use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Verdict, groups, partitions};
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::{
        json::Millis,
        listing::{self, Cell, Column},
        topics::{self as output, Offsets, Reader, Topic},
    },
};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use kafka::{Kafka, Partition, offsets::End, topics::TopicState};

/// List topics, also declared ones that do not exist
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show this one by partition; a part of its name will do
    ///
    /// And what each consumer group has read of it.
    #[arg(value_name = "TOPIC")]
    name: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A line of the listing.
struct Listed {
    name: String,
    /// None: declared, but not there.
    partitions: Option<i32>,
    declared: Option<i32>,
    messages: i64,
    /// None: for ever, or not known.
    retention: Option<Duration>,
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    let pipeline = context.pipeline()?;
    let kafka = connect(context, &pipeline).await?;
    if let Some(name) = &args.name {
        return one(context, &pipeline, &kafka, name, args.output.output).await;
    }
    let listed = list(&pipeline, &kafka)
        .await
        .map_err(|why| unreachable(context, &pipeline, &why))?;
    match args.output.output {
        Format::Table => {
            let columns = [
                Column::name("TOPIC"),
                Column::number("PARTITIONS"),
                Column::number("DECLARED"),
                Column::number("MESSAGES"),
                Column::number("RETENTION"),
            ];
            let rows: Vec<_> = listed.iter().map(row).collect();
            let table = listing::table(&context.console, &columns, rows);
            context.console.composed(&table);
        }
        Format::Json => {
            let topics = listed.iter().map(entry).collect();
            output::topics(&context.console, topics);
        }
    }
    Ok(Verdict::Right)
}

/// One topic, by partition, and what each group has read of it.
async fn one(
    context: &Context,
    pipeline: &Pipeline,
    kafka: &Kafka,
    name: &str,
    format: Format,
) -> Result<Verdict> {
    let unavailable = |why: kafka::Error| unreachable(context, pipeline, &why);
    let (groups, topics) = tokio::try_join!(kafka.groups(), kafka.topics()).map_err(unavailable)?;
    let names: BTreeSet<_> = topics.iter().map(|t| t.name.as_str()).collect();
    let topic = match names.get(name) {
        Some(name) => (*name).to_owned(),
        None => only_one_with(name, "topic", &names)
            .map_err(|error| error.hint(context.invocation.command("topics")))?,
    };
    let of_topic = topics.iter().filter(|t| t.name == topic);
    let partitions = of_topic.flat_map(|t| (0..t.partitions).map(|p| (topic.clone(), p)));
    let partitions: Vec<Partition> = partitions.collect();
    let containers = context.platform().await?;
    let containers = containers.containers(&pipeline.project).await?;
    let mut read = Vec::new();
    for group in &groups {
        let assigned = groups::assigned(pipeline, &group.name, Some(group), &topics);
        if assigned.iter().any(|(of, _)| *of == topic) {
            let held =
                partitions::of_group(kafka, &containers, &group.name, Some(group), &partitions);
            read.push((group.name.as_str(), held.await.map_err(unavailable)?));
        }
    }
    let span = kafka.span(&partitions).await.map_err(unavailable)?;
    let begin = |partition: &Partition| span.from.get(partition).copied().unwrap_or_default();
    match format {
        Format::Table => {
            let mut columns = vec![
                Column::number("PARTITION"),
                Column::number("BEGIN").optional(5),
                Column::name("GROUP"),
            ];
            columns.extend(partitions::COLUMNS);
            let mut rows = Vec::new();
            for partition in &partitions {
                let number = partition.1.to_string();
                let begin = begin(partition).to_string();
                let end = span.to.get(partition).copied().unwrap_or_default();
                let own = read.iter().flat_map(|(group, held)| {
                    let own = held.iter().filter(|held| held.partition == *partition);
                    own.map(|held| (*group, held))
                });
                let own: Vec<_> = own.collect();
                if own.is_empty() {
                    let nobody = ["-".into(), end.to_string().into()];
                    rows.push(
                        [number.clone().into(), begin.clone().into()]
                            .into_iter()
                            .chain(nobody)
                            .collect(),
                    );
                }
                rows.extend(own.iter().map(|(group, held)| {
                    let mut row: Vec<Cell> =
                        vec![number.clone().into(), begin.clone().into(), (*group).into()];
                    row.extend(partitions::cells(held));
                    row
                }));
            }
            let table = listing::table(&context.console, &columns, rows);
            let partitions = listing::count(partitions.len(), "partition");
            let messages = usize::try_from(span.messages()).unwrap_or_default();
            let messages = listing::count(messages, "message");
            let summary = format!("{topic}: {partitions}, {messages}");
            let summary = listing::prose(&context.console, &summary);
            context.console.composed(&format!("{table}\n\n{summary}"));
        }
        Format::Json => {
            let readers = read.iter().map(|(group, held)| Reader {
                name: group,
                offsets: held.iter().map(partitions::entry).collect(),
            });
            let offsets = partitions.iter().map(|partition| Offsets {
                partition: partition.1,
                begin: begin(partition),
                end: span.to.get(partition).copied().unwrap_or_default(),
            });
            let listed = list(pipeline, kafka).await.map_err(unavailable)?;
            let named = listed.iter().filter(|listed| listed.name == topic);
            let named = named.map(|listed| Topic {
                offsets: Some(offsets.clone().collect()),
                groups: Some(readers.clone().collect()),
                ..entry(listed)
            });
            output::topics(&context.console, named.collect());
        }
    }
    Ok(Verdict::Right)
}

/// The only one of `names` that contains `given`.
///
/// # Errors
/// `NotRight`: none does, or several do.
pub(super) fn only_one_with(given: &str, noun: &str, names: &BTreeSet<&str>) -> Result<String> {
    let word = given.to_lowercase();
    let contains = |name: &&&str| !word.is_empty() && name.to_lowercase().contains(&word);
    let found: Vec<&str> = names.iter().filter(contains).copied().collect();
    match found[..] {
        [one] => Ok(one.to_owned()),
        [] => {
            let what = format!("no {noun} is called {given}");
            Err(Error::new(Kind::NotRight, what))
        }
        _ => {
            let what = format!("`{given}` is more than one {noun}");
            let could = format!("it could be {}", found.join(", "));
            Err(Error::new(Kind::NotRight, what).because(could))
        }
    }
}

/// A client of the declared Kafka.
///
/// # Errors
/// No Kafka is declared, or it is unreachable.
pub(super) async fn connect(context: &Context, pipeline: &Pipeline) -> Result<Kafka> {
    let Some(endpoint) = &pipeline.kafka else {
        return Err(
            Error::new(Kind::Usage, "the declaration has no x-caravan.kafka")
                .hint("declare x-caravan.kafka with `bootstrap`"),
        );
    };
    Kafka::connect(&endpoint.address)
        .await
        .map_err(|why| unreachable(context, pipeline, &why))
}

pub(super) fn unreachable(context: &Context, pipeline: &Pipeline, why: &kafka::Error) -> Error {
    let service = pipeline.kafka.as_ref().and_then(|k| k.service.as_ref());
    let hint = match service {
        Some(service) => context.invocation.command(&format!("up {service}")),
        None => "see whether x-caravan.kafka has the right address, and whether it runs".to_owned(),
    };
    Error::new(Kind::Unreachable, "Kafka cannot be reached")
        .because(why)
        .hint(hint)
}

async fn list(pipeline: &Pipeline, kafka: &Kafka) -> Result<Vec<Listed>, kafka::Error> {
    let mut there = kafka.topics().await?;
    there.retain(|t| !t.name.starts_with("__"));
    let partitions: Vec<_> = there
        .iter()
        .flat_map(|t| (0..t.partitions).map(|p| (t.name.clone(), p)))
        .collect();
    let names: Vec<_> = there.iter().map(|t| t.name.clone()).collect();
    let (earliest, latest, retentions) = tokio::try_join!(
        kafka.ends(&partitions, End::Earliest),
        kafka.ends(&partitions, End::Latest),
        kafka.retentions(&names),
    )?;
    let mut messages: BTreeMap<&str, i64> = BTreeMap::new();
    for (partition, end) in &latest {
        let begin = earliest.get(partition).copied().unwrap_or_default();
        *messages.entry(partition.0.as_str()).or_default() += end - begin;
    }
    let listed = |topic: &TopicState| Listed {
        name: topic.name.clone(),
        partitions: Some(topic.partitions),
        declared: pipeline.topic(&topic.name).map(|d| d.partitions),
        messages: messages
            .get(topic.name.as_str())
            .copied()
            .unwrap_or_default(),
        retention: retentions.get(&topic.name).copied().flatten(),
    };
    let mut all: Vec<_> = there.iter().map(listed).collect();
    let missing = pipeline.topics.iter().filter(|d| !names.contains(&d.name));
    all.extend(missing.map(|declared| Listed {
        name: declared.name.clone(),
        partitions: None,
        declared: Some(declared.partitions),
        messages: 0,
        retention: None,
    }));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn row(topic: &Listed) -> Vec<String> {
    let number = |n: Option<i32>, none: &str| n.map_or_else(|| none.to_owned(), |n| n.to_string());
    let retention = topic.retention.map(declaration::units::exact);
    vec![
        topic.name.clone(),
        number(topic.partitions, "missing"),
        number(topic.declared, "-"),
        topic.messages.to_string(),
        retention.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn entry(topic: &Listed) -> Topic<'_> {
    Topic {
        name: &topic.name,
        exists: topic.partitions.is_some(),
        partitions: topic.partitions,
        declared_partitions: topic.declared,
        messages: topic.messages,
        retention_ms: Millis::of(topic.retention),
        offsets: None,
        groups: None,
    }
}
