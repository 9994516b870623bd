//! The effects of what a consumer group has committed: of the last records, which have left a row.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{ObservationCache, ObservationError, broker::Broker};
use crate::{
    checks::effect_tables::EffectTables,
    dead_letters::{DeadLetter, RecordId},
    stores::postgres::{Postgres, lookup::Lookup},
};
use declaration::{Service, Table, correlation::Correlation};
use kafka::{
    identity::find_correlation,
    offsets::{Offsets, next},
    read::Span,
    record::{BorrowedMessage, Message, is_synthetic},
};

/// How many committed offsets of each partition are read, from the newest that is old enough backwards. If
/// they do not suffice, for instance because they belong to test traffic, the next number of earlier ones.
const PORTIONS: [i64; 3] = [5, 100, 1000];
/// The time limit for reading them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many records are looked up in the database at most.
const LOOKED_UP: usize = 60;
/// After so many records without a row no more are looked up.
pub(crate) const ENOUGH: usize = 3;
/// Younger records are ignored: some workers commit before they write.
const GRACE: TimeDelta = TimeDelta::seconds(30);
/// How much the clocks of a producer and of the database may differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(5);
/// Older records are ignored: their rows may have been archived.
const WITHIN: TimeDelta = TimeDelta::hours(24);

/// A record that the group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) place: RecordId,
    pub(crate) at: DateTime<Utc>,
    /// The time of the first record with these ids among those that were read: a record may have been repeated.
    first_at: DateTime<Utc>,
    /// Possible correlation ids, the likeliest first.
    pub(crate) ids: Vec<String>,
}

impl Committed {
    pub(crate) fn new(place: RecordId, at: DateTime<Utc>, ids: Vec<String>) -> Self {
        let first_at = at;
        Self {
            place,
            at,
            first_at,
            ids,
        }
    }
}

/// Which of the last committed records have left a row.
pub(crate) struct Effects {
    /// Those without a row, up to the first with one, the newest first; [`ENOUGH`] at most.
    pub(crate) without: Vec<Committed>,
    /// Whether a record with a row was found.
    pub(crate) found: bool,
    /// The table in which several records have the same row: it was written before those in `without`, or, if there
    /// are none, at an unknown time.
    pub(crate) shared: Option<String>,
    pub(crate) at: DateTime<Utc>,
}

pub(crate) async fn observe(
    observed: &ObservationCache<'_>,
    service: &Service,
    tables: &EffectTables<'_>,
) -> Result<Effects, ObservationError> {
    let broker = observed.broker().await?;
    let groups = observed.groups().await?;
    let (earliest, _) = groups.ends()?;
    let committed = groups.observed_committed(service)?;
    let at = Utc::now();
    let flow = observed.pipeline.flow.as_ref();
    let correlation = flow
        .map(|flow| flow.correlation.clone())
        .unwrap_or_default();
    let mut unread = Vec::new();
    for topic in &service.consumes {
        let partitions: Vec<_> = earliest
            .keys()
            .filter(|(t, _)| t == topic)
            .cloned()
            .collect();
        let young = (at - GRACE).timestamp_millis();
        let young = broker.kafka.offsets_at(&partitions, young).await?;
        unread.push(committed_before(topic, earliest, committed, &young));
    }
    let deadline = Instant::now() + PATIENCE;
    let postgres = observed.database().await?;
    let mut effects = Effects {
        without: Vec::new(),
        found: false,
        shared: None,
        at,
    };
    let mut newest: Option<(Committed, Evidence<'_>)> = None;
    let mut looked_up: Vec<Vec<String>> = Vec::new();
    'read: for size in PORTIONS {
        let mut records = Vec::new();
        for span in &mut unread {
            records.extend(read(broker, take_last(span, size), &correlation, deadline).await?);
        }
        for record in relevant(records, at) {
            if looked_up.contains(&record.ids) {
                continue;
            }
            looked_up.push(record.ids.clone());
            // The later tables first: if the rows of a message are deleted meanwhile, the message is unknown
            // rather than without effect.
            if let Some(evidence) = any_row(postgres, &tables.own, &record).await? {
                let Some((first, of_first)) = &newest else {
                    newest = Some((record, evidence));
                    continue;
                };
                if !evidence.is_same_row(postgres, of_first).await? {
                    effects.found = true;
                    break 'read;
                }
                // Not a row for each event: one that changes with each, mostly.
                let table = of_first.table.name.clone();
                let Some(written) = of_first.written(postgres).await? else {
                    effects.shared = Some(table);
                    break 'read;
                };
                let is_older = |record: &Committed| written < record.first_at - CLOCKS;
                if !is_older(first) {
                    effects.found = true;
                    break 'read;
                }
                if effects.shared.is_none() {
                    effects.without.push(first.clone());
                }
                if !is_older(&record) {
                    (effects.found, effects.shared) = (true, None);
                    break 'read;
                }
                effects.shared = Some(table);
                effects.without.push(record);
                if effects.without.len() >= ENOUGH {
                    break 'read;
                }
                continue;
            }
            if newest.is_some() && effects.shared.is_none() {
                // Its row may have been deleted; that of a newer one is there.
                continue;
            }
            let is_known = any_row(postgres, &tables.earlier, &record).await?.is_some();
            if is_known && !is_dead_letter(observed, service, &record).await {
                effects.without.push(record);
            }
            if effects.without.len() >= ENOUGH || looked_up.len() == LOOKED_UP {
                break 'read;
            }
        }
        if unread.iter().all(|span| span.messages() == 0) {
            break;
        }
    }
    effects.found |= newest.is_some() && effects.shared.is_none();
    Ok(effects)
}

/// A row of a record: where it was found.
struct Evidence<'a> {
    table: &'a Table,
    id: String,
}

impl Evidence<'_> {
    /// Whether `other`, of a different record, is the same row.
    async fn is_same_row(
        &self,
        postgres: &Postgres,
        other: &Self,
    ) -> Result<bool, ObservationError> {
        if self.table.name != other.table.name {
            return Ok(false);
        }
        let contents = async |of: &Self| {
            let find = &of.table.find;
            postgres.row_contents(&of.table.name, find, &of.id).await
        };
        let own = contents(self).await?;
        Ok(own.is_some() && own == contents(other).await?)
    }

    /// When it was written; None: the server does not keep that.
    async fn written(
        &self,
        postgres: &Postgres,
    ) -> Result<Option<DateTime<Utc>>, ObservationError> {
        if !postgres.keeps_commit_times().await? {
            return Ok(None);
        }
        let (name, find) = (&self.table.name, &self.table.find);
        Ok(match postgres.look_up(name, find, &self.id, true).await? {
            Lookup::Rows(rows) => rows.last,
            Lookup::NotAnId | Lookup::Refused(_) => None,
        })
    }
}

/// The committed offsets of a topic's partitions, without those from `young` on.
fn committed_before(topic: &str, earliest: &Offsets, committed: &Offsets, young: &Offsets) -> Span {
    let own = earliest.iter().filter(|((t, _), _)| t == topic);
    let from: Offsets = own.map(|(p, first)| (p.clone(), *first)).collect();
    let mut to = next(committed, &from, &from);
    for (partition, end) in &mut to {
        if let Some(young) = young.get(partition) {
            *end = (*end).min(*young).max(from[partition]);
        }
    }
    Span { from, to }
}

/// Takes the last `size` offsets of each partition away from `span`.
fn take_last(span: &mut Span, size: i64) -> Span {
    let last = span.last(size);
    span.to.clone_from(&last.from);
    last
}

/// The records of a span that have a correlation id and are not synthetic.
async fn read(
    broker: &Broker,
    span: Span,
    correlation: &Correlation,
    deadline: Instant,
) -> Result<Vec<Committed>, ObservationError> {
    let correlation = correlation.clone();
    let each = move |records: &mut Vec<Committed>, message: &BorrowedMessage<'_>| {
        if !is_synthetic(message.headers()) {
            records.extend(record(&correlation, message));
        }
        ControlFlow::Continue(())
    };
    let (records, _) = broker.kafka.read(span, deadline, Vec::new(), each).await?;
    Ok(records)
}

fn record(correlation: &Correlation, message: &impl Message) -> Option<Committed> {
    let mut ids = Vec::new();
    let collect = |id: &str| {
        // The key and the value mostly hold the same id.
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
        None::<()>
    };
    let _all_are_collected = find_correlation(correlation, message, collect);
    let at = DateTime::from_timestamp_millis(message.timestamp().to_millis()?)?;
    let place = RecordId::new(message.topic(), message.partition(), message.offset());
    (!ids.is_empty()).then(|| Committed::new(place, at, ids))
}

/// Those that are neither too young nor too old, each message once, the newest first.
fn relevant(mut records: Vec<Committed>, now: DateTime<Utc>) -> Vec<Committed> {
    records.retain(|record| (GRACE..WITHIN).contains(&(now - record.at)));
    records.sort_by(|a, b| (b.at, &b.place).cmp(&(a.at, &a.place)));
    let mut each: Vec<Committed> = Vec::new();
    for record in records {
        match each.iter_mut().find(|known| known.ids == record.ids) {
            Some(known) => known.first_at = known.first_at.min(record.at),
            None => each.push(record),
        }
    }
    each
}

async fn any_row<'a>(
    postgres: &Postgres,
    tables: &[&'a Table],
    record: &Committed,
) -> Result<Option<Evidence<'a>>, ObservationError> {
    for table in tables {
        for id in &record.ids {
            match postgres
                .look_up(&table.name, &table.find, id, false)
                .await?
            {
                Lookup::Rows(rows) if rows.count > 0 => {
                    let id = id.clone();
                    return Ok(Some(Evidence { table, id }));
                }
                Lookup::Rows(_) | Lookup::NotAnId => {}
                Lookup::Refused(why) => {
                    let why = format!("{}: {why}", table.name);
                    return Err(ObservationError::Incomplete(why));
                }
            }
        }
    }
    Ok(None)
}

/// Whether a record is a dead letter, so that it has no row. A dead letter that does not name its
/// source may be any earlier record.
async fn is_dead_letter(
    observed: &ObservationCache<'_>,
    service: &Service,
    record: &Committed,
) -> bool {
    let Ok(summary) = observed.dead_letters().await else {
        return false;
    };
    let group = service.group.as_ref().and_then(|group| group.name());
    let is_of = |dead_letter: &DeadLetter| {
        let by_it = dead_letter
            .group
            .as_deref()
            .zip(group)
            .is_none_or(|(by, own)| by == own);
        by_it
            && match &dead_letter.source {
                Some(source) => *source == record.place,
                None => dead_letter.at.is_none_or(|at| at >= record.at),
            }
    };
    summary
        .listed
        .iter()
        .any(|(dead_letter, _)| is_of(dead_letter))
}

#[cfg(test)]
mod tests {
    use kafka::record::{OwnedMessage, Timestamp};

    use super::*;

    fn committed(id: &str, offset: i64, age: i64, now: DateTime<Utc>) -> Committed {
        let at = now - TimeDelta::seconds(age);
        Committed::new(RecordId::new("t", 0, offset), at, vec![id.to_owned()])
    }

    #[test]
    fn a_record_has_each_possible_id_once() {
        let of = |key: &str, timestamp| {
            let value = br#"{"correlationId":"p-1"}"#.to_vec();
            let (key, at) = (key.as_bytes().to_vec(), timestamp);
            let message = OwnedMessage::new(Some(value), Some(key), "t".to_owned(), at, 0, 7, None);
            super::record(&Correlation::default(), &message)
        };
        let made = Timestamp::CreateTime(1_000);
        let ids = |key| of(key, made).expect("a record").ids;
        assert_eq!(ids("p-1"), ["p-1"]);
        assert_eq!(ids("customer-7"), ["customer-7", "p-1"]);
        assert_eq!(of("p-1", Timestamp::NotAvailable), None);
    }

    #[test]
    fn the_last_offsets_are_those_before_the_committed_one() {
        let offsets =
            |of: [(i32, i64); 3]| -> Offsets { of.map(|(p, at)| (("t".to_owned(), p), at)).into() };
        let mut committed = offsets([(0, 100), (1, 12), (2, 0)]);
        committed.remove(&("t".to_owned(), 2));
        let earliest = offsets([(0, 0), (1, 10), (2, 7)]);
        let mut rest = committed_before("t", &earliest, &committed, &Offsets::new());
        let span = take_last(&mut rest, 5);
        assert_eq!(span.from, offsets([(0, 95), (1, 10), (2, 7)]));
        assert_eq!(span.to, offsets([(0, 100), (1, 12), (2, 7)]));
        let earlier = take_last(&mut rest, 50);
        assert_eq!(earlier.from, offsets([(0, 45), (1, 10), (2, 7)]));
        assert_eq!(earlier.to, span.from);
        let other = committed_before("u", &earliest, &committed, &Offsets::new());
        assert_eq!(other, Span::default());
    }

    #[test]
    fn under_traffic_the_last_offsets_are_those_before_the_young_ones() {
        let offsets =
            |of: [(i32, i64); 2]| -> Offsets { of.map(|(p, at)| (("t".to_owned(), p), at)).into() };
        let (earliest, committed) = (offsets([(0, 50), (1, 50)]), offsets([(0, 100), (1, 100)]));
        let young = offsets([(0, 90), (1, 40)]);
        let mut rest = committed_before("t", &earliest, &committed, &young);
        let span = take_last(&mut rest, 5);
        assert_eq!(span.from, offsets([(0, 85), (1, 50)]));
        assert_eq!(span.to, offsets([(0, 90), (1, 50)]));
    }

    #[test]
    fn the_newest_comes_first_and_each_message_once() {
        let now = Utc::now();
        let day = 24 * 3600;
        let events = [
            ("a", 1, 90),
            ("b", 2, 60),
            ("a", 3, 40),
            ("c", 4, 29),
            ("d", 0, day),
        ];
        let events = events.map(|(id, offset, age)| committed(id, offset, age, now));
        let relevant = relevant(events.into(), now);
        let offsets: Vec<_> = relevant.iter().map(|event| event.place.offset).collect();
        assert_eq!(offsets, [3, 2], "one is too young, one too old");
        assert_eq!(relevant[0].first_at, now - TimeDelta::seconds(90));
    }
}
