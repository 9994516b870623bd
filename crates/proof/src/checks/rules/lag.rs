//! The lag of a consumer group: none, or it becomes smaller, or records are consumed meanwhile.

use crate::checks::{
    context::CheckContext,
    finding::Outcome,
    observe::progress::{Lag, Sample, observe_lag},
};
use declaration::Service;

/// What became of a lag between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trend {
    /// It became smaller.
    Draining,
    /// Records are consumed, and as many or more are produced.
    Steady,
    /// Nothing is committed though records wait.
    Stuck,
}

pub(super) async fn check(context: &CheckContext<'_>, service: &Service) -> Outcome {
    let outcome = match observe_lag(&context.observed, service).await {
        Ok(lag) => judge(&lag),
        Err(why) => Outcome::fail(format!("unknown: {why}")),
    };
    context.remedied(outcome, &service.name).await
}

fn judge(lag: &Lag) -> Outcome {
    match lag {
        Lag::None => Outcome::pass("0"),
        Lag::NoRecords { offsets: 1 } => Outcome::pass("0: the last offset holds no message"),
        Lag::NoRecords { offsets } => {
            Outcome::pass(format!("0: the last {offsets} offsets hold no message"))
        }
        Lag::NoContainer { lag } => {
            Outcome::warn(format!("{lag}, and no running container to consume it"))
        }
        Lag::Sampled { first, last } => sampled(first, last),
    }
}

fn sampled(first: &Sample, last: &Sample) -> Outcome {
    let (was, is) = (first.lag, last.lag);
    let seconds = (last.at - first.at).as_secs_f64();
    match trend(first, last) {
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

fn trend(first: &Sample, last: &Sample) -> Trend {
    if last.committed <= first.committed {
        Trend::Stuck
    } else if last.lag < first.lag {
        Trend::Draining
    } else {
        Trend::Steady
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::checks::{finding::Status, observe::progress::INTERVAL};

    fn verdict(lags: [i64; 2], committed: [i64; 2]) -> (Status, Trend) {
        let began = Instant::now();
        let sample = |n: usize| Sample {
            lag: lags[n],
            committed: committed[n],
            at: began + INTERVAL * u32::try_from(n).unwrap_or_default(),
        };
        let (first, second) = (sample(0), sample(1));
        (sampled(&first, &second).status, trend(&first, &second))
    }

    #[test]
    fn a_lag_is_judged_by_its_trend() {
        assert_eq!(verdict([9, 4], [0, 5]), (Status::Pass, Trend::Draining));
        assert_eq!(verdict([9, 9], [0, 5]), (Status::Pass, Trend::Steady));
        assert_eq!(verdict([9, 30], [0, 5]), (Status::Pass, Trend::Steady));
        assert_eq!(verdict([9, 9], [5, 5]), (Status::Fail, Trend::Stuck));
        assert_eq!(verdict([9, 20], [5, 5]), (Status::Fail, Trend::Stuck));
    }

    #[test]
    fn offsets_without_a_record_are_no_lag_and_a_lag_without_a_container_is_a_warning() {
        let outcome = judge(&Lag::NoRecords { offsets: 1 });
        assert_eq!(
            outcome,
            Outcome::pass("0: the last offset holds no message")
        );
        let outcome = judge(&Lag::NoContainer { lag: 3 });
        assert_eq!(outcome.status, Status::Warn);
        assert_eq!(outcome.seen, "3, and no running container to consume it");
    }
}
