use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::Verdict;
use crate::{
    context::Context,
    flags::{Format, OutputArgs},
    output::{
        json,
        listing::{self, Column},
    },
};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use kafka::{Kafka, offsets::End, topics::TopicState};

/// List topics, including declared topics that do not exist
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
            let topics: Vec<_> = listed.iter().map(value).collect();
            let document = json!({ "project": pipeline.project, "topics": topics });
            context.console.document(&document);
        }
    }
    Ok(Verdict::Right)
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

fn value(topic: &Listed) -> serde_json::Value {
    json!({
        "name": topic.name,
        "exists": topic.partitions.is_some(),
        "partitions": topic.partitions,
        "declaredPartitions": topic.declared,
        "messages": topic.messages,
        "retentionMs": topic.retention.map(json::milliseconds),
    })
}
