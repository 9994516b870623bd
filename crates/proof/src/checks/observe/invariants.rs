//! Counterexamples of an invariant, and the records that belong to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;

use super::{ObservationCache, ObservationError};
use crate::stores::{StoreError, postgres::Counterexample};
use declaration::{Invariant, RULE_TIMEOUT, Replay};
use kafka::scan::Found;

/// What the query of an invariant returned.
pub(crate) struct Counterexamples {
    pub(crate) found: Vec<Counterexample>,
    /// The span that the query covered; None: the declaration does not limit it.
    pub(crate) within: Option<Duration>,
    pub(crate) at: DateTime<Utc>,
}

/// Queries the counterexamples of `rule`, on the connection of `turn`.
///
/// If the query takes too long, for instance after an unusually busy day, a shorter span is queried
/// than is declared. A span that the grace of the rule covers would tell nothing.
pub(crate) async fn counterexamples(
    observed: &ObservationCache<'_>,
    rule: &Invariant,
    turn: usize,
) -> Result<Counterexamples, ObservationError> {
    let postgres = observed.database(turn).await?;
    let at = Utc::now();
    let mut within = rule.within;
    loop {
        let since = within.map(|within| start(at, within));
        let found = postgres.counterexamples(&rule.sql, since, rule.timeout);
        if let Some(found) = found.await? {
            return Ok(Counterexamples { found, within, at });
        }
        let shorter = within.map(|within| within / 8);
        let tells = |shorter: &Duration| *shorter > 2 * rule.grace;
        match shorter.filter(tells) {
            Some(shorter) if rule.timeout <= RULE_TIMEOUT => within = Some(shorter),
            _ => {
                return Err(ObservationError::SlowQuery(rule.timeout));
            }
        }
    }
}

/// The start of a span that ends now; the Unix epoch if the span is longer.
fn start(now: DateTime<Utc>, within: Duration) -> DateTime<Utc> {
    let span = TimeDelta::from_std(within).ok();
    let start = span.and_then(|span| now.checked_sub_signed(span));
    start
        .unwrap_or(DateTime::UNIX_EPOCH)
        .max(DateTime::UNIX_EPOCH)
}

/// A counterexample and its record in Kafka.
pub(crate) struct Trace {
    pub(crate) id: String,
    /// `topic/partition/offset (key KEY)`, or why it is not known.
    pub(crate) record: Result<String, ObservationError>,
}

/// The records of counterexamples, if the rule says how to find them.
pub(crate) async fn traces(
    observed: &ObservationCache<'_>,
    rule: &Invariant,
    turn: usize,
    counterexamples: &[&Counterexample],
) -> Result<Vec<Trace>, ObservationError> {
    let Some(replay) = &rule.replay else {
        return Ok(Vec::new());
    };
    let postgres = observed.database(turn).await?;
    let ids = counterexamples.iter().map(|c| c.id.as_str());
    let keys = ids.clone().map(|id| postgres.text(&replay.key_sql, id));
    let keys = join_all(keys).await;
    let wanted: BTreeSet<String> = keys
        .iter()
        .filter_map(|key| key.as_ref().ok()?.clone())
        .collect();
    let found = find(observed, &replay.topic, wanted).await;
    let record = |key: Result<Option<String>, StoreError>| match (key?, &found) {
        (None, _) => Err(ObservationError::Incomplete(
            "the declared query finds no key for it".to_owned(),
        )),
        (Some(_), Err(why)) => Err(why.clone()),
        (Some(key), Ok(found)) => located(replay, &key, found.get(&key)),
    };
    let traces = ids.zip(keys).map(|(id, key)| Trace {
        id: id.to_owned(),
        record: record(key),
    });
    Ok(traces.collect())
}

fn located(replay: &Replay, key: &str, found: Option<&Found>) -> Result<String, ObservationError> {
    let topic = &replay.topic;
    match found {
        Some(Found { partition, offset }) => {
            Ok(format!("{topic}/{partition}/{offset} (key {key})"))
        }
        None => Err(ObservationError::Incomplete(format!(
            "no message with key {key} was found on {topic}"
        ))),
    }
}

async fn find(
    observed: &ObservationCache<'_>,
    topic: &str,
    keys: BTreeSet<String>,
) -> Result<BTreeMap<String, Found>, ObservationError> {
    let broker = observed.broker().await?;
    let partitions = broker.partitions(topic);
    Ok(broker.kafka.find_keys(&partitions, keys).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::NO_LIMIT;

    #[test]
    fn a_span_starts_at_the_unix_epoch_at_the_earliest() {
        let now = Utc::now();
        assert_eq!(start(now, NO_LIMIT), DateTime::UNIX_EPOCH);
        assert_eq!(
            start(now, Duration::from_secs(60)),
            now - TimeDelta::seconds(60)
        );
    }
}
