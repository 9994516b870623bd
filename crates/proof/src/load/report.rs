//! The report of a load.

use std::time::Duration;

use chrono::{DateTime, Utc};

pub use super::pace::Lateness;
use super::{
    Options,
    drain::Drained,
    ledger::{Ledger, NEVER, Track, is_timed},
    rows::Effects,
};
pub use super::{
    histogram::Histogram,
    percentiles::Spread,
    poison::Poisoned,
    redeliver::{Change, Redelivery, Renamed},
    send::Outcome,
};
use crate::probe::{Cleanup, expected, hop::HopPlace, kept, unfollowed::Unfollowed};
use declaration::Pipeline;

/// Maximum number of named payments.
const NAMED: usize = 20;

/// The result of a load.
#[derive(Debug)]
pub struct Report {
    /// Payments that were to be sent.
    pub count: usize,
    /// Payments per second; None: as fast as they are accepted.
    pub rate: Option<f64>,
    /// Whether the first events were produced instead of requests to the entry service.
    pub direct: bool,
    /// How many payments were accepted, how many failed, and why.
    pub sent: Outcome,
    /// None: the times of the effects are unknown.
    pub throughput: Option<Throughput>,
    /// In the expected order.
    pub hops: Vec<Passed>,
    /// A payment that was not seen at a hop, or has too few rows there.
    pub missing: Deviations,
    /// A payment that has too many rows in a table.
    pub surplus: Deviations,
    /// What the consumer groups had not consumed at the deadline.
    pub pending: Option<String>,
    /// The bad event and its dead letters, if one was sent.
    pub poisoned: Option<Poisoned>,
    /// The result of the redelivery, or why it was not done; None: not requested.
    pub redelivery: Option<Result<Redelivery, String>>,
    /// Whether the payments' rows were deleted.
    pub cleanup: Cleanup,
    /// Tables whose rows are kept, as declared.
    pub kept: Vec<String>,
    /// What is declared and is not part of the hops.
    pub unfollowed: Unfollowed,
    /// Topics that the flow excludes, as declared.
    pub excluded: Vec<String>,
}

/// From the first effect to the last.
#[derive(Debug, Clone, Copy)]
pub struct Throughput {
    /// Payments per second.
    pub per_second: f64,
    /// From the first effect to the last.
    pub took: Duration,
    /// How both times are known.
    pub source: Source,
}

/// How the times of the first and the last effect are known.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The database keeps commit times.
    Commits {
        /// Commit of the first row of the first table.
        first: DateTime<Utc>,
        /// Commit of the last row of the last table.
        last: DateTime<Utc>,
    },
    /// The consumer groups' offsets, read four times a second.
    Offsets,
}

/// Counts and latencies of one hop.
#[derive(Debug)]
pub struct Passed {
    /// Where the hop can be seen.
    pub place: HopPlace,
    /// Payments that were seen there.
    pub seen: usize,
    /// Events beyond one a payment: redeliveries, which consumers drop.
    pub copies: usize,
    /// Since the payment was due.
    pub since_due: Option<Spread>,
    /// Since the event that this hop's service consumes was written; since the payment was due
    /// where it consumes none.
    pub since_input: Option<Spread>,
}

/// Payments that are not as declared at some hop.
#[derive(Debug, Default)]
pub struct Deviations {
    /// Payments and hops, all of them.
    pub total: usize,
    /// The first of them.
    pub named: Vec<Deviation>,
}

/// One of them.
#[derive(Debug)]
pub struct Deviation {
    /// The payment's correlation id.
    pub correlation_id: String,
    /// The hop concerned.
    pub place: HopPlace,
    /// Number of rows; None for an event.
    pub rows: Option<i64>,
    /// Rows that existed before the first payment and have not changed since.
    pub unchanged: i64,
}

impl Report {
    pub(super) fn new(
        pipeline: &Pipeline,
        options: Options,
        ledger: &Ledger,
        sent: Outcome,
        effects: &Effects,
        drained: &Drained,
        cleanup: Cleanup,
    ) -> Self {
        let (missing, surplus) = deviations(ledger, effects);
        let passed = |step| passed(pipeline, ledger, step);
        Self {
            count: options.count,
            rate: options.rate,
            direct: options.direct,
            sent,
            throughput: throughput(ledger.payments.len(), effects, drained),
            hops: (0..ledger.steps.len()).map(passed).collect(),
            missing,
            surplus,
            pending: drained.pending.clone(),
            poisoned: None,
            redelivery: None,
            kept: match &cleanup {
                Cleanup::Deleted(_) | Cleanup::Nothing => kept(pipeline, &ledger.steps),
                Cleanup::Kept | Cleanup::Failed(_) => Vec::new(),
            },
            cleanup,
            unfollowed: Unfollowed::default(),
            excluded: match &pipeline.flow {
                Some(flow) => flow.excludes.clone(),
                None => Vec::new(),
            },
        }
    }

    /// Whether all payments were accepted, seen at every hop and cleaned up, and nothing declared
    /// is outside the flow.
    pub fn is_right(&self) -> bool {
        self.sent.accepted == self.count
            && self.missing.total == 0
            && self.surplus.total == 0
            && self.pending.is_none()
            && self.unfollowed.is_empty()
            && self.poisoned.as_ref().is_none_or(Poisoned::is_right)
            && self
                .redelivery
                .as_ref()
                .is_none_or(|r| r.as_ref().is_ok_and(Redelivery::is_right))
            && !matches!(self.cleanup, Cleanup::Failed(_))
    }
}

fn throughput(payments: usize, effects: &Effects, drained: &Drained) -> Option<Throughput> {
    let (took, source) = match (effects.first, effects.last, drained.first, drained.last) {
        (Some(first), Some(last), _, _) => {
            let took = (last - first).to_std().ok()?;
            (took, Source::Commits { first, last })
        }
        (_, _, Some(first), Some(last)) => (last - first, Source::Offsets),
        _ => return None,
    };
    let seconds = took.as_secs_f64();
    (seconds > 0.0).then(|| Throughput {
        per_second: payments as f64 / seconds,
        took,
        source,
    })
}

fn passed(pipeline: &Pipeline, ledger: &Ledger, step: usize) -> Passed {
    let track = &ledger.tracks[step];
    let due: Vec<i64> = ledger.payments.iter().map(|p| p.due).collect();
    let input = expected::input(pipeline, &ledger.steps, step).map(|i| &ledger.tracks[i].at);
    Passed {
        place: ledger.steps[step].place.clone(),
        seen: track.seen(),
        copies: track.copies,
        since_due: since(track, &due),
        since_input: since(track, input.unwrap_or(&due)),
    }
}

fn since(track: &Track, from: &[i64]) -> Option<Spread> {
    let both = track.at.iter().zip(from);
    let seen = both.filter(|(at, from)| is_timed(**at) && is_timed(**from));
    Spread::of(seen.map(|(at, from)| at - from).collect())
}

/// Too little, and too much.
fn deviations(ledger: &Ledger, effects: &Effects) -> (Deviations, Deviations) {
    let mut missing = Deviations::default();
    let mut surplus = Deviations::default();
    for (step, _) in ledger.topics() {
        let at = ledger.tracks[step].at.iter().enumerate();
        for (payment, _) in at.filter(|(_, at)| **at == NEVER) {
            missing.note(ledger, (step, payment), None, 0);
        }
    }
    for wrong_row_counts in &effects.wrong_row_counts {
        let expected = match ledger.steps[wrong_row_counts.step].place {
            HopPlace::Table { rows, .. } => rows,
            HopPlace::Entry { .. }
            | HopPlace::Topic { .. }
            | HopPlace::Log { .. }
            | HopPlace::Cache { .. } => 0,
        };
        let list = if wrong_row_counts.rows - wrong_row_counts.unchanged < expected {
            &mut missing
        } else {
            &mut surplus
        };
        let at = (wrong_row_counts.step, wrong_row_counts.payment);
        list.note(
            ledger,
            at,
            Some(wrong_row_counts.rows),
            wrong_row_counts.unchanged,
        );
    }
    (missing, surplus)
}

impl Deviations {
    fn note(
        &mut self,
        ledger: &Ledger,
        (step, payment): (usize, usize),
        rows: Option<i64>,
        unchanged: i64,
    ) {
        self.total += 1;
        if self.named.len() < NAMED {
            self.named.push(Deviation {
                correlation_id: ledger.payments[payment].id.to_string(),
                place: ledger.steps[step].place.clone(),
                rows,
                unchanged,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{ledger::Payment, rows::WrongRowCount},
        probe::expected::{Start, steps},
    };
    use declaration::testing::shipped;

    fn ledger(pipeline: &Pipeline, payments: usize) -> Ledger {
        let flow = pipeline.flow.as_ref().expect("a flow");
        let mut ledger = Ledger::new(steps(pipeline, flow, Start::Event("purchase-confirmed")));
        let payment = |n: usize| Payment {
            id: format!("p-{n:03}").into(),
            due: 1_000_000,
            taken: 1_000_500,
        };
        ledger.enter((0..payments).map(payment).collect());
        ledger
    }

    fn name(step: &expected::Step) -> &str {
        match &step.place {
            HopPlace::Topic { topic } => topic,
            HopPlace::Table { table, .. } => table,
            HopPlace::Entry { .. } | HopPlace::Log { .. } | HopPlace::Cache { .. } => "-",
        }
    }

    /// What a hop is measured against follows from the declaration.
    #[test]
    fn a_hop_takes_as_long_as_since_the_event_that_it_consumes() {
        let pipeline = shipped();
        let ledger = ledger(&pipeline, 1);
        let inputs: Vec<_> = (0..ledger.steps.len())
            .map(|step| {
                let input = expected::input(&pipeline, &ledger.steps, step);
                (
                    name(&ledger.steps[step]),
                    input.map_or("-", |i| name(&ledger.steps[i])),
                )
            })
            .collect();
        assert_eq!(
            inputs,
            [
                ("purchase-confirmed", "-"),
                ("student_course_purchases", "purchase-confirmed"),
                ("purchase-created", "purchase-confirmed"),
                ("trainer_allocations", "purchase-created"),
                ("trainer-allocated", "purchase-created"),
                ("tutoring_sessions", "trainer-allocated"),
            ]
        );
    }

    #[test]
    fn missing_and_surplus_are_counted_and_the_first_are_named() {
        let pipeline = shipped();
        let mut ledger = ledger(&pipeline, 30);
        for track in &mut ledger.tracks {
            for payment in 0..30 {
                track.saw(payment, 2_000_000);
            }
        }
        ledger.tracks[2].at[7] = NEVER;
        let last = ledger.steps.len() - 1;
        let wrong_row_counts = |payment, rows| WrongRowCount {
            step: last,
            payment,
            rows,
            unchanged: 0,
        };
        let six = (0..25).map(|n| wrong_row_counts(n, 6));
        let effects = Effects {
            wrong_row_counts: six.chain([wrong_row_counts(29, 8)]).collect(),
            ..Effects::default()
        };
        let (missing, surplus) = deviations(&ledger, &effects);
        assert_eq!((missing.total, missing.named.len()), (26, NAMED));
        assert_eq!(missing.named[0].correlation_id, "p-007");
        assert_eq!(missing.named[1].rows, Some(6));
        assert_eq!((surplus.total, surplus.named[0].rows), (1, Some(8)));
        let passed = passed(&pipeline, &ledger, 0);
        assert_eq!(
            passed.since_due.map(|s| s.p50),
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn throughput_is_from_the_first_commit_to_the_last() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().ok();
        let effects = Effects {
            first: at("2026-01-01T00:00:00Z"),
            last: at("2026-01-01T00:00:02Z"),
            ..Effects::default()
        };
        let throughput = throughput(1000, &effects, &Drained::default()).expect("both known");
        assert!((throughput.per_second - 500.0).abs() < 1e-9);
        assert!(super::throughput(1000, &Effects::default(), &Drained::default()).is_none());
    }
}
