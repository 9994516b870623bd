//! A payment's events.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use kafka::record::is_synthetic;
use kafka::record::{BorrowedMessage, Message};

use super::{
    FoundEvent, ReportProgress,
    search::{Looked, Pick, Search, Window},
};
use crate::{
    dead_letters::RecordId,
    probe::{expected::Step, hop::HopPlace},
    stores::StoreError,
};
use declaration::{
    Pipeline,
    correlation::{self, Correlation},
};
use kafka::{Kafka, identity::find_correlation, topics::TopicState};

/// What was found in each topic of the flow, by step; None: the topic does not exist.
pub(super) struct Topics {
    pub(super) kafka: Kafka,
    pub(super) there: BTreeMap<String, TopicState>,
    pub(super) looked: Vec<(usize, Option<Looked<FoundEvent>>)>,
}

/// Searches every topic of the flow. Once an event is found, the other topics are searched around
/// its time first.
///
/// # Errors
/// Kafka does not answer, or the declaration does not say where it is.
pub(super) async fn look(
    pipeline: &Pipeline,
    steps: &[Step],
    (correlation, id): (&Correlation, &str),
    (since, deadline): (Option<DateTime<Utc>>, Instant),
    mut near: Option<Window>,
    report: &ReportProgress,
) -> Result<Topics, StoreError> {
    let Some(endpoint) = &pipeline.kafka else {
        return Err(StoreError::undeclared(
            "the declaration does not say where Kafka is",
        ));
    };
    let kafka = Kafka::connect(&endpoint.address).await?;
    let there = kafka.topics().await?.into_iter();
    let mut topics = Topics {
        there: there.map(|t| (t.name.clone(), t)).collect(),
        kafka,
        looked: Vec::new(),
    };
    let search = Search {
        kafka: &topics.kafka,
        since,
        deadline,
        report,
    };
    for (index, step) in steps.iter().enumerate() {
        let HopPlace::Topic { topic } = &step.place else {
            continue;
        };
        let Some(state) = topics.there.get(topic) else {
            topics.looked.push((index, None));
            continue;
        };
        let mut looked = search
            .look(state, near, id, pick(correlation, id, event))
            .await?;
        looked.found.sort_by_key(|event| event.at);
        let times = looked.found.iter().filter_map(|event| event.at);
        near = near.or_else(|| {
            let first = times.min()?;
            Some((first, first))
        });
        topics.looked.push((index, Some(looked)));
    }
    Ok(topics)
}

/// From the first event to the last.
pub(super) fn window(topics: &Topics) -> Option<Window> {
    let events = topics
        .looked
        .iter()
        .filter_map(|(_, looked)| looked.as_ref());
    let times = events
        .flat_map(|looked| &looked.found)
        .filter_map(|event| event.at);
    let times: Vec<DateTime<Utc>> = times.collect();
    Some((*times.iter().min()?, *times.iter().max()?))
}

/// Accepts messages of the payment.
pub(super) fn pick<T: 'static>(
    correlation: &Correlation,
    id: &str,
    make: impl Fn(&BorrowedMessage<'_>) -> T + Send + Sync + 'static,
) -> Pick<T> {
    let (correlation, id) = (correlation.clone(), id.to_owned());
    let in_header =
        |place: &correlation::EventPart| matches!(place, correlation::EventPart::Header(_));
    let in_headers = correlation.event.iter().any(in_header);
    Arc::new(move |message| {
        // Most messages belong to other payments, and parsing a message costs more than reading it.
        let holds =
            |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| contains(bytes, id.as_bytes()));
        let maybe = in_headers || holds(message.key()) || holds(message.payload());
        let own = |found: &str| (found == id).then_some(());
        (maybe && find_correlation(&correlation, message, own).is_some()).then(|| make(message))
    })
}

fn event(message: &BorrowedMessage<'_>) -> FoundEvent {
    let millis = message.timestamp().to_millis();
    FoundEvent {
        at: millis.and_then(DateTime::from_timestamp_millis),
        place: RecordId::new(message.topic(), message.partition(), message.offset()),
        synthetic: is_synthetic(message.headers()),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else {
        return true;
    };
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(part) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn a_part_is_found_wherever_it_stands() {
        for (bytes, part, found) in [
            ("p-1", "p-1", true),
            ("pp-1", "p-1", true),
            ("{\"id\":\"p-1\"}", "p-1", true),
            ("p-", "p-1", false),
            ("", "p-1", false),
            ("x", "", true),
        ] {
            assert_eq!(
                contains(bytes.as_bytes(), part.as_bytes()),
                found,
                "{bytes}"
            );
        }
    }
}
