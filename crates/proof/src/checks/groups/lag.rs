//! How far a group is behind, and where that goes: two looks at least, where there is work.

use std::time::{Duration, Instant};

use super::{committed, consumed};
use crate::checks::{broker::Broker, facts::Facts, finding::Outcome};
use declaration::Service;
use kafka::offsets::{End, Offsets, lag, next};
use platform::State;

/// Between two looks: a worker commits a few times a second.
pub(super) const APART: Duration = Duration::from_millis(1_200);

/// How long nothing may be committed though there is work: one event may take its time.
const PATIENCE: Duration = Duration::from_secs(5);

/// A group's place in its topics at one moment.
#[derive(Debug, Clone)]
struct Sample {
    /// Messages that are not worked off.
    lag: i64,
    /// Sum of the committed offsets.
    committed: i64,
    at: Instant,
}

/// What became of a lag between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trend {
    /// It gets shorter.
    Draining,
    /// Work is done, and as much comes in, or more.
    Steady,
    /// Nothing is committed though there is work.
    Stuck,
}

pub(super) async fn check(facts: &Facts<'_>, service: &Service) -> Outcome {
    let outcome = judged(facts, service).await;
    let outcome = outcome.unwrap_or_else(|why| Outcome::fail(format!("cannot be told: {why}")));
    facts.remedied(outcome, &service.name).await
}

async fn judged(facts: &Facts<'_>, service: &Service) -> Result<Outcome, String> {
    let broker = facts.broker().await.as_ref().map_err(Clone::clone)?;
    let groups = facts.groups().await;
    let (earliest, latest) = groups.ends()?;
    let looked = Look {
        broker,
        service,
        earliest,
    };
    let committed = groups.committed(service)?;
    let first = looked.sample(committed, latest, groups.at);
    if first.lag == 0 {
        return Ok(Outcome::pass("0"));
    }
    let real = looked.of_messages(committed, latest, groups.at).await;
    if real.lag == 0 {
        return Ok(nothing_to_take(&first));
    }
    let own = facts.of(service).await;
    if !own.iter().any(|c| c.state == State::Running) {
        let seen = format!("{}, and no running container to work it off", real.lag);
        return Ok(Outcome::warn(seen));
    }
    let mut look_at = first.at + APART;
    loop {
        tokio::time::sleep_until(look_at.into()).await;
        let (committed, latest, at) = looked.again().await?;
        let second = looked.sample(&committed, &latest, at);
        if trend(&first, &second) != Trend::Stuck {
            return Ok(judge(&first, &second));
        }
        if second.at >= first.at + PATIENCE {
            let real = looked.of_messages(&committed, &latest, at).await;
            return Ok(match real.lag {
                0 => nothing_to_take(&second),
                _ => judge(&first, &real),
            });
        }
        look_at += APART;
    }
}

/// All is taken, and yet the end is not reached.
fn nothing_to_take(sample: &Sample) -> Outcome {
    let behind = match sample.lag {
        1 => "the last offset holds".to_owned(),
        n => format!("the last {n} offsets hold"),
    };
    Outcome::pass(format!("0: {behind} no message"))
}

fn judge(first: &Sample, second: &Sample) -> Outcome {
    let (was, is) = (first.lag, second.lag);
    let seconds = (second.at - first.at).as_secs_f64();
    match trend(first, second) {
        Trend::Draining if is == 0 => Outcome::pass(format!("0, was {was}")),
        Trend::Draining => {
            #[expect(clippy::cast_precision_loss, reason = "a rate for a person")]
            let rate = (was - is) as f64 / seconds;
            Outcome::pass(format!("{is}, draining by {rate:.0}/s"))
        }
        Trend::Steady => Outcome::pass(format!("{is}, steady: was {was}")),
        Trend::Stuck => Outcome::fail(format!("{is}, stuck: nothing committed in {seconds:.1} s")),
    }
}

fn trend(first: &Sample, second: &Sample) -> Trend {
    if second.committed <= first.committed {
        Trend::Stuck
    } else if second.lag < first.lag {
        Trend::Draining
    } else {
        Trend::Steady
    }
}

/// Looks at one service's group.
struct Look<'a> {
    broker: &'a Broker,
    service: &'a Service,
    earliest: &'a Offsets,
}

impl Look<'_> {
    async fn again(&self) -> Result<(Offsets, Offsets, Instant), String> {
        let partitions = consumed(self.broker, self.service);
        let at = Instant::now();
        let (committed, latest) = tokio::join!(
            committed(self.broker, self.service),
            self.broker.kafka.ends(&partitions, End::Latest),
        );
        Ok((committed?, latest?, at))
    }

    fn sample(&self, committed: &Offsets, latest: &Offsets, at: Instant) -> Sample {
        Sample {
            lag: lag(committed, self.earliest, &self.own(latest)),
            committed: self.own(committed).values().sum(),
            at,
        }
    }

    /// As [`Self::sample`], of messages alone; of all offsets where that cannot be told.
    async fn of_messages(&self, committed: &Offsets, latest: &Offsets, at: Instant) -> Sample {
        let latest = self.own(latest);
        let from = next(committed, self.earliest, &latest);
        let ends = self.broker.kafka.ends_of_messages(&from, &latest).await;
        self.sample(committed, ends.as_ref().unwrap_or(&latest), at)
    }

    /// Of the topics that the service consumes.
    fn own(&self, offsets: &Offsets) -> Offsets {
        let partitions = consumed(self.broker, self.service);
        let own = offsets.iter().filter(|(p, _)| partitions.contains(p));
        own.map(|(p, offset)| (p.clone(), *offset)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::finding::Status;

    fn verdict(lags: [i64; 2], committed: [i64; 2]) -> (Status, Trend) {
        let began = Instant::now();
        let sample = |n: usize| Sample {
            lag: lags[n],
            committed: committed[n],
            at: began + APART * u32::try_from(n).unwrap_or_default(),
        };
        let (first, second) = (sample(0), sample(1));
        (judge(&first, &second).status, trend(&first, &second))
    }

    #[test]
    fn a_lag_is_told_by_where_it_goes() {
        assert_eq!(verdict([9, 4], [0, 5]), (Status::Pass, Trend::Draining));
        assert_eq!(verdict([9, 9], [0, 5]), (Status::Pass, Trend::Steady));
        assert_eq!(verdict([9, 30], [0, 5]), (Status::Pass, Trend::Steady));
        assert_eq!(verdict([9, 9], [5, 5]), (Status::Fail, Trend::Stuck));
        assert_eq!(verdict([9, 20], [5, 5]), (Status::Fail, Trend::Stuck));
    }
}
