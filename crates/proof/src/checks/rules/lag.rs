//! The lag of a consumer group: none, or it becomes smaller, or records are consumed meanwhile, in each
//! partition.

use std::time::Duration;

use crate::checks::{
    context::CheckContext,
    finding::Outcome,
    observe::progress::{Beyond, HeldBack, Lag, Sample, Stuck, observe_lag},
};
use declaration::{Service, units};

/// A group whose oldest record waits for longer, and whose lag does not become smaller, is worth a warning.
const LATE: Duration = Duration::from_secs(60);
/// How many stuck partitions are shown.
const SHOWN: usize = 5;

/// What became of a lag between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trend {
    /// It became smaller.
    Draining,
    /// Records are consumed, and as many are produced.
    Steady,
    /// Records are consumed, and more are produced.
    Growing,
}

pub(super) async fn check(context: &CheckContext<'_>, service: &Service) -> Outcome {
    let outcome = match observe_lag(&context.observed, service).await {
        Ok(lag) => judge(&lag, service.commit_interval),
        Err(why) => Outcome::fail(format!("unknown: {why}")),
    };
    let errors = context.errors_of(service, &outcome).await;
    let outcome = outcome.evidence(errors);
    context.remedied(outcome, &service.name).await
}

fn judge(lag: &Lag, interval: Option<Duration>) -> Outcome {
    match lag {
        Lag::None => Outcome::pass("0"),
        Lag::NoRecords { offsets: 1 } => Outcome::pass("0: the last offset holds no message"),
        Lag::NoRecords { offsets } => {
            Outcome::pass(format!("0: the last {offsets} offsets hold no message"))
        }
        Lag::Beyond(beyond) => after_the_end(beyond),
        Lag::HeldBack(held_back) => behind_transaction(held_back),
        Lag::NoContainer { lag } => {
            Outcome::warn(format!("{lag}, and no running container to consume it"))
        }
        Lag::Waits { lag, age, interval } => Outcome::pass(format!(
            "{lag}, the oldest for {}: it commits every {}",
            units::coarse(*age),
            units::coarse(*interval)
        )),
        Lag::Sampled {
            first,
            last,
            stuck,
            oldest,
        } if stuck.is_empty() => moving(first, last, *oldest),
        Lag::Sampled {
            first, last, stuck, ..
        } => standing(first, last, stuck, interval),
    }
}

/// Records are consumed in each partition.
fn moving(first: &Sample, last: &Sample, oldest: Option<Duration>) -> Outcome {
    let (was, is) = (first.lag(), last.lag());
    let trend = trend(was, is);
    let mut seen = match trend {
        Trend::Draining if is == 0 => format!("0, was {was}"),
        Trend::Draining => {
            let seconds = (last.at - first.at).as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
            let rate = (was - is) as f64 / seconds;
            format!("{is}, draining by {rate:.0}/s")
        }
        Trend::Steady => format!("{is}, steady: was {was}"),
        Trend::Growing => format!("{is}, growing: was {was}"),
    };
    let late = oldest.filter(|age| is > 0 && *age > LATE);
    if let Some(age) = late {
        seen = format!("{seen}; the oldest waits for {}", units::coarse(age));
    }
    match (late, trend) {
        (None, _) | (_, Trend::Draining) => Outcome::pass(seen),
        (Some(_), Trend::Steady | Trend::Growing) => Outcome::warn(seen),
    }
}

/// Nothing is committed in some partition.
fn standing(first: &Sample, last: &Sample, stuck: &[Stuck], interval: Option<Duration>) -> Outcome {
    let seconds = (last.at - first.at).as_secs_f64();
    let waits: i64 = stuck.iter().map(|stuck| stuck.lag).sum();
    let is = last.lag();
    let all = stuck.len() == last.ends.keys().filter(|p| last.lag_of(p) > 0).count()
        && first.next.iter().all(|(p, was)| last.next_of(p) == *was);
    let seen = match stuck {
        _ if all => format!("{waits}, stuck: nothing committed in {seconds:.1}s"),
        [Stuck { partition, .. }] => {
            let (topic, number) = partition;
            format!("{is}, stuck in {topic}/{number}: nothing committed there in {seconds:.1}s")
        }
        several => {
            let n = several.len();
            format!("{is}, stuck in {n} partitions: nothing committed there in {seconds:.1}s")
        }
    };
    let lines = stuck.iter().take(SHOWN).map(describe);
    let rare = "a worker that commits more rarely by design declares `commit-interval`";
    Outcome::fail(seen)
        .evidence(lines)
        .evidence(interval.is_none().then(|| rare.to_owned()))
}

/// The partition lost records, for instance with the broker's volume. What is written to it now has offsets that
/// count as consumed.
fn after_the_end(beyond: &[Beyond]) -> Outcome {
    let lines = beyond.iter().take(SHOWN).map(|beyond| {
        let Beyond {
            partition: (topic, number),
            committed,
            end,
        } = beyond;
        format!("{topic}/{number}: {committed} is committed, and the topic ends at {end}")
    });
    let seen = match beyond {
        [_] => "unknown: an offset after the end is committed".to_owned(),
        several => format!(
            "unknown: in {} partitions an offset after the end is committed",
            several.len()
        ),
    };
    Outcome::fail(seen).evidence(lines)
}

fn behind_transaction(held_back: &[HeldBack]) -> Outcome {
    let offsets: i64 = held_back.iter().map(|held| held.offsets).sum();
    let oldest = held_back
        .iter()
        .map(|held| held.age)
        .max()
        .unwrap_or_default();
    let lines = held_back.iter().take(SHOWN).map(|held| {
        let (topic, number) = &held.partition;
        let HeldBack {
            from, offsets, age, ..
        } = held;
        format!(
            "{topic}/{number}: {offsets} from offset {from} on, for {}",
            units::coarse(*age)
        )
    });
    let ends = "kafka-transactions.sh find-hanging finds it, and abort ends it";
    Outcome::fail(format!(
        "{offsets}, behind a transaction that is open for {}",
        units::coarse(oldest)
    ))
    .evidence(lines)
    .evidence([ends.to_owned()])
}

fn describe(stuck: &Stuck) -> String {
    let Stuck {
        partition: (topic, number),
        offset,
        lag,
        age,
    } = stuck;
    let age = age.map_or_else(String::new, |age| {
        format!(", the next one for {}", units::coarse(age))
    });
    format!("{topic}/{number}: {lag} wait from offset {offset} on{age}")
}

fn trend(was: i64, is: i64) -> Trend {
    match is.cmp(&was) {
        std::cmp::Ordering::Less => Trend::Draining,
        std::cmp::Ordering::Equal => Trend::Steady,
        std::cmp::Ordering::Greater => Trend::Growing,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::checks::{finding::Status, observe::progress::INTERVAL};
    use kafka::Partition;

    fn partition(number: i32) -> Partition {
        ("orders".to_owned(), number)
    }

    /// Two samples of partitions, each with its next offset and its end.
    fn samples(partitions: &[[(i64, i64); 2]]) -> (Sample, Sample) {
        let began = Instant::now();
        let sample = |n: usize| {
            let each = || (0..).map(partition).zip(partitions);
            Sample {
                next: each().map(|(p, of)| (p, of[n].0)).collect(),
                ends: each().map(|(p, of)| (p, of[n].1)).collect(),
                at: began + INTERVAL * u32::try_from(n).unwrap_or_default(),
            }
        };
        (sample(0), sample(1))
    }

    fn judged(partitions: &[[(i64, i64); 2]], stuck: &[i32], oldest: u64) -> Outcome {
        let (first, last) = samples(partitions);
        let stuck = stuck.iter().map(|number| Stuck {
            offset: last.next_of(&partition(*number)),
            lag: last.lag_of(&partition(*number)),
            age: Some(Duration::from_secs(40)),
            partition: partition(*number),
        });
        let lag = Lag::Sampled {
            stuck: stuck.collect(),
            oldest: Some(Duration::from_secs(oldest)),
            first,
            last,
        };
        judge(&lag, None)
    }

    #[test]
    fn a_lag_is_judged_by_its_trend() {
        let seen = |partitions, oldest| {
            let outcome = judged(partitions, &[], oldest);
            (outcome.status, outcome.seen)
        };
        let (pass, warn) = (Status::Pass, Status::Warn);
        let draining = &[[(0, 9), (5, 9)]];
        assert_eq!(seen(draining, 5), (pass, "4, draining by 4/s".into()));
        let text = "4, draining by 4/s; the oldest waits for 2m";
        assert_eq!(seen(draining, 120), (pass, text.into()));
        let steady = &[[(0, 9), (5, 14)]];
        assert_eq!(seen(steady, 5), (pass, "9, steady: was 9".into()));
        let growing = &[[(0, 9), (5, 35)]];
        assert_eq!(seen(growing, 5), (pass, "30, growing: was 9".into()));
        let text = "30, growing: was 9; the oldest waits for 2m";
        assert_eq!(seen(growing, 120), (warn, text.into()));
    }

    #[test]
    fn one_partition_that_stands_still_is_named_with_its_offset() {
        let busy = [[(10, 20), (40, 44)], [(5, 10), (5, 48)]];
        let outcome = judged(&busy, &[1], 40);
        assert_eq!(outcome.status, Status::Fail);
        assert_eq!(
            outcome.seen,
            "47, stuck in orders/1: nothing committed there in 1.2s"
        );
        assert_eq!(
            outcome.evidence[0],
            "orders/1: 43 wait from offset 5 on, the next one for 40s"
        );
        let none_moves = [[(10, 20), (10, 20)], [(5, 10), (5, 10)]];
        let outcome = judged(&none_moves, &[0, 1], 40);
        assert_eq!(outcome.seen, "15, stuck: nothing committed in 1.2s");
    }

    #[test]
    fn a_worker_that_writes_in_batches_may_wait_for_its_interval() {
        let waits = Lag::Waits {
            lag: 3,
            age: Duration::from_secs(12),
            interval: Duration::from_secs(20),
        };
        let outcome = judge(&waits, Some(Duration::from_secs(20)));
        let seen = "3, the oldest for 12s: it commits every 20s";
        assert_eq!(outcome, Outcome::pass(seen));
    }

    #[test]
    fn offsets_without_a_record_are_no_lag_and_a_lag_without_a_container_is_a_warning() {
        let outcome = judge(&Lag::NoRecords { offsets: 1 }, None);
        assert_eq!(
            outcome,
            Outcome::pass("0: the last offset holds no message")
        );
        let outcome = judge(&Lag::NoContainer { lag: 3 }, None);
        assert_eq!(outcome.status, Status::Warn);
        assert_eq!(outcome.seen, "3, and no running container to consume it");
    }
}
