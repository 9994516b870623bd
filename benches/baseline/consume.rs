//! A bare librdkafka consumer: polls what a topic holds and throws it away.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::{Value, json};

use crate::Result;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Consume all that a topic holds
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
}

pub(crate) fn run(args: &Args) -> Result<Value> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.brokers)
        .set("broker.address.family", "v4")
        .set("group.id", "caravan-baseline")
        .set("enable.auto.commit", "false")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(&args.topic), TIMEOUT)?;
    let partitions = metadata
        .topics()
        .first()
        .map_or(&[][..], |t| t.partitions());
    let mut from = TopicPartitionList::new();
    let mut messages = 0;
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(&args.topic, partition.id(), TIMEOUT)?;
        from.add_partition_offset(&args.topic, partition.id(), Offset::Offset(low))?;
        messages += high - low;
    }
    consumer.assign(&from)?;
    let mut bytes = 0;
    let began = Instant::now();
    for _ in 0..messages {
        let polled = consumer
            .poll(TIMEOUT)
            .ok_or("the topic ends before its end")?;
        bytes += polled?.payload_len();
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "what": "consume", "messages": messages, "bytes": bytes, "seconds": seconds,
        "perSecond": messages as f64 / seconds,
    }))
}
