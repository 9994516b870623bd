//! Searches topics, which may hold millions of records, for the message's events: first around the
//! expected time, then backwards from the end in growing pieces, the key's partition first. A deadline
//! bounds it, and the result says how many records were not read.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use kafka::record::{BorrowedMessage, Message, is_synthetic};

use super::{FoundEvent, Progress, Report, ReportProgress, Wanted, Window, judge::Evidence};
use crate::{
    dead_letters::{DeadLetter, RecordId},
    flow::steps,
    stores::StoreError,
};
use declaration::correlation::{self, Correlation};
use kafka::{
    Kafka, Partition, identity::find_correlation, offsets::Offsets, partitioner, read::Span,
    topics::TopicState,
};

/// Size of the first piece of each partition; each next piece is [`GROWTH`] times as large.
const FIRST: i64 = 5_000;
const GROWTH: i64 = 4;

/// Minimum time limit for reading dead letters.
const PATIENCE: Duration = Duration::from_secs(5);

/// Margin for differences between clocks and for the time that hops take.
const MARGIN: TimeDelta = TimeDelta::seconds(60);

/// Progress is reported once for this many records.
const REPORT_EVERY: u64 = 10_000;

/// Returns a value for a record that is searched for.
pub(super) type Pick<T> = Arc<dyn Fn(&BorrowedMessage<'_>) -> Option<T> + Send + Sync>;

/// How to search topics.
pub(super) struct Search<'a> {
    pub(super) kafka: &'a Kafka,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) deadline: Instant,
    pub(super) report: &'a ReportProgress,
}

/// The result of searching a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Looked<T> {
    /// In the order in which they were read.
    pub(super) found: Vec<T>,
    pub(super) read: u64,
    /// Approximate number of records that could not be read in time.
    pub(super) unread: i64,
    /// Older records may have been deleted. None: no record was deleted.
    pub(super) kept_since: Option<DateTime<Utc>>,
}

struct Reading<T> {
    found: Vec<T>,
    read: u64,
    /// By partition, the oldest timestamp that was read, in milliseconds since the epoch.
    oldest: BTreeMap<i32, i64>,
}

impl Search<'_> {
    /// Searches for records that `pick` accepts. `near`: when they were probably written; `key`:
    /// their probable key.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        topic: &TopicState,
        near: Option<Window>,
        key: &str,
        pick: Pick<T>,
    ) -> Result<Looked<T>, kafka::Error> {
        let partitions: Vec<Partition> = (0..topic.partitions)
            .map(|partition| (topic.name.clone(), partition))
            .collect();
        let mut span = self.kafka.span(&partitions).await?;
        let first = span.from.clone();
        if let Some(since) = self.since {
            let at = self.kafka.offsets_at(&partitions, since.timestamp_millis());
            raise(&mut span, &at.await?);
        }
        let mut reading = Reading {
            found: Vec::new(),
            read: 0,
            oldest: BTreeMap::new(),
        };
        let mut unread = 0;
        if let Some(window) = near {
            let near = self.around(&partitions, &span, window).await?;
            (reading, _) = self.read(topic, near, reading, &pick).await?;
        }
        if reading.found.is_empty() {
            reading.read = 0;
            let likely = partitioner::partition(key.as_bytes(), topic.partitions);
            for part in parts(&span, likely) {
                let (left, read) = self.backwards(topic, part, reading, &pick).await?;
                (unread, reading) = (unread + left, read);
                if !reading.found.is_empty() {
                    unread = 0;
                    break;
                }
            }
        }
        Ok(Looked {
            kept_since: kept_since(&first, &reading.oldest),
            found: reading.found,
            read: reading.read,
            unread,
        })
    }

    /// Reads a part from its end until a record is found. Returns how many records were not read.
    async fn backwards<T: Send + 'static>(
        &self,
        topic: &TopicState,
        mut left: Span,
        mut reading: Reading<T>,
        pick: &Pick<T>,
    ) -> Result<(i64, Reading<T>), kafka::Error> {
        let mut size = FIRST;
        while left.messages() > 0 && reading.found.is_empty() {
            let piece = left.last(size);
            let start = piece.from.clone();
            let whole;
            (reading, whole) = self.read(topic, piece, reading, pick).await?;
            if !whole && reading.found.is_empty() {
                break;
            }
            left.to = start;
            size = size.saturating_mul(GROWTH);
        }
        Ok((left.messages(), reading))
    }

    async fn read<T: Send + 'static>(
        &self,
        topic: &TopicState,
        span: Span,
        reading: Reading<T>,
        pick: &Pick<T>,
    ) -> Result<(Reading<T>, bool), kafka::Error> {
        let (pick, report) = (Arc::clone(pick), Arc::clone(self.report));
        let (topic, of) = (topic.name.clone(), span.messages());
        let mut read = 0;
        let see = move |reading: &mut Reading<T>, message: &BorrowedMessage<'_>| {
            reading.read += 1;
            read += 1;
            if read % REPORT_EVERY == 0 {
                let topic = topic.clone();
                report(Progress::Reading { topic, read, of });
            }
            if let Some(at) = message.timestamp().to_millis() {
                let oldest = reading.oldest.entry(message.partition()).or_insert(at);
                *oldest = at.min(*oldest);
            }
            reading.found.extend(pick(message));
            ControlFlow::Continue(())
        };
        self.kafka.read(span, self.deadline, reading, see).await
    }

    /// The part of `span` that was written in `window`, plus [`MARGIN`] on both sides.
    async fn around(
        &self,
        partitions: &[Partition],
        span: &Span,
        (from, to): Window,
    ) -> Result<Span, kafka::Error> {
        let (from, to) = tokio::try_join!(
            self.kafka
                .offsets_at(partitions, (from - MARGIN).timestamp_millis()),
            self.kafka
                .offsets_at(partitions, (to + MARGIN).timestamp_millis()),
        )?;
        let mut near = span.clone();
        raise(&mut near, &from);
        for (partition, end) in &mut near.to {
            *end = to.get(partition).copied().unwrap_or(*end).min(*end);
        }
        Ok(near)
    }
}

/// Raises the start of `span` to `at`, or to its end for partitions that `at` does not have.
fn raise(span: &mut Span, at: &Offsets) {
    for (partition, from) in &mut span.from {
        let end = span.to.get(partition).copied().unwrap_or(*from);
        *from = at.get(partition).copied().unwrap_or(end).max(*from);
    }
}

/// The likely partition alone, then the others.
fn parts(span: &Span, likely: Option<i32>) -> [Span; 2] {
    let part = |is: bool| {
        let of = |offsets: &Offsets| -> Offsets {
            let own = offsets
                .iter()
                .filter(|((_, p), _)| (Some(*p) == likely) == is);
            own.map(|(partition, at)| (partition.clone(), *at))
                .collect()
        };
        Span {
            from: of(&span.from),
            to: of(&span.to),
        }
    };
    [part(true), part(false)]
}

/// The time since which no record is missing, if `first` shows that records were deleted: the
/// newest of the partitions' oldest timestamps.
fn kept_since(first: &Offsets, oldest: &BTreeMap<i32, i64>) -> Option<DateTime<Utc>> {
    let cut = first.iter().filter(|(_, offset)| **offset > 0);
    let since = |partition: &i32| {
        let millis = oldest.get(partition).copied();
        // The partition is empty or was not read, so nothing is known about any time before now.
        millis.and_then(DateTime::from_timestamp_millis)
    };
    cut.map(|((_, partition), _)| since(partition).unwrap_or_else(Utc::now))
        .max()
}

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
    wanted: Wanted<'_>,
    mut near: Option<Window>,
) -> Result<Topics, StoreError> {
    let Some(endpoint) = &wanted.pipeline.kafka else {
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
        since: wanted.since,
        deadline: wanted.deadline,
        report: wanted.report,
    };
    let (correlation, id) = (wanted.correlation, wanted.id);
    for (index, topic) in steps::topics(wanted.steps) {
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

/// Accepts records of the message.
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
        // Most records belong to other messages, and parsing a record costs more than reading it.
        let holds =
            |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| contains(bytes, id.as_bytes()));
        let maybe = in_headers || holds(message.key()) || holds(message.payload());
        let own = |found: &str| (found == id).then_some(());
        (maybe && find_correlation(&correlation, message, own).is_some()).then(|| make(message))
    })
}

/// Reads the dead letters whose source record is one of the message's events, or that have its
/// correlation id.
pub(super) async fn dead_letters(
    wanted: Wanted<'_>,
    evidence: &Evidence<'_>,
    trace: &mut Report,
) -> Result<(), kafka::Error> {
    let pipeline = wanted.pipeline;
    let (Ok(topics), Some(name)) = (&evidence.topics, &pipeline.dead_letters) else {
        return Ok(());
    };
    let Some(topic) = topics.there.get(name) else {
        return Ok(());
    };
    let search = Search {
        kafka: &topics.kafka,
        since: wanted.since,
        // Reading logs may have used up the timeout. The reason of a dead letter is worth a few
        // more seconds.
        deadline: wanted.deadline.max(Instant::now() + PATIENCE),
        report: wanted.report,
    };
    let steps = 0..evidence.steps.len();
    let places: BTreeMap<RecordId, ()> = steps
        .flat_map(|step| evidence.events(step))
        .map(|event| (event.place.clone(), ()))
        .collect();
    let header_names = pipeline.dead_letter_headers.clone();
    let names = header_names.clone();
    let of_id = pick(wanted.correlation, wanted.id, move |record| {
        DeadLetter::of(record, &names)
    });
    let pick: Pick<DeadLetter> = Arc::new(move |record: &BorrowedMessage<'_>| {
        of_id(record).or_else(|| {
            let dead_letter = DeadLetter::of(record, &header_names);
            let source = dead_letter.source.as_ref();
            source
                .is_some_and(|source| places.contains_key(source))
                .then_some(dead_letter)
        })
    });
    let near = trace.began.map(|began| (began, began));
    let looked = search.look(topic, near, wanted.id, pick).await?;
    trace.note_read(name, looked.read, looked.unread, looked.kept_since);
    trace.dead_letters = looked.found;
    trace.dead_letters.sort_by_key(|dead_letter| dead_letter.at);
    Ok(())
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
    use super::*;

    fn offsets<const N: usize>(of: [(i32, i64); N]) -> Offsets {
        of.map(|(p, at)| (("t".to_owned(), p), at)).into()
    }

    fn span<const N: usize>(of: [(i32, i64, i64); N]) -> Span {
        Span {
            from: offsets(of.map(|(p, from, _)| (p, from))),
            to: offsets(of.map(|(p, _, to)| (p, to))),
        }
    }

    #[test]
    fn pieces_are_read_from_the_end_and_stop_at_the_first_offset() {
        let piece = span([(0, 10, 100), (1, 95, 100)]).last(20);
        assert_eq!(piece, span([(0, 80, 100), (1, 95, 100)]));
        assert_eq!(piece.messages(), 25);
    }

    #[test]
    fn the_likely_partition_comes_first_and_none_is_left_out() {
        let all = span([(0, 0, 9), (1, 0, 9), (2, 0, 9)]);
        let [likely, others] = parts(&all, Some(1));
        assert_eq!(likely, span([(1, 0, 9)]));
        assert_eq!(others, span([(0, 0, 9), (2, 0, 9)]));
        assert_eq!(parts(&all, None)[1], all);
    }

    #[test]
    fn a_time_after_the_last_record_leaves_nothing() {
        let mut span = span([(0, 0, 9), (1, 0, 9)]);
        raise(&mut span, &offsets([(0, 4)]));
        assert_eq!(span.from, offsets([(0, 4), (1, 9)]));
    }

    #[test]
    fn deleted_records_limit_the_complete_time_range() {
        let oldest = BTreeMap::from([(0, 5_000), (1, 7_000)]);
        assert_eq!(kept_since(&offsets([(0, 0), (1, 0)]), &oldest), None);
        let both = kept_since(&offsets([(0, 3), (1, 3)]), &oldest);
        assert_eq!(both, DateTime::from_timestamp(7, 0));
        let one = kept_since(&offsets([(0, 3), (1, 0)]), &oldest);
        assert_eq!(one, DateTime::from_timestamp(5, 0));
        let before = Utc::now();
        let none = kept_since(&offsets([(2, 3)]), &oldest);
        assert!(none.is_some_and(|at| at >= before), "{none:?}");
    }

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
