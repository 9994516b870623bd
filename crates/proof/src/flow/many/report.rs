//! The report of many messages.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{
    Outcome, Poisoned, Spread,
    drain::Drained,
    ledger::{Ledger, NEVER, Track, WrongRowCount, is_timed},
};
use crate::flow::{Completion, HopPlace, steps};
use declaration::Pipeline;

/// Maximum number of named messages.
const NAMED: usize = 20;

/// The result of a load.
#[derive(Debug)]
pub struct Report {
    /// Messages that were to be sent.
    pub count: usize,
    /// Messages per second; None: as fast as they are accepted.
    pub rate: Option<f64>,
    /// Whether the first events were produced instead of requests to the entry service.
    pub direct: bool,
    /// How many messages were accepted, how many failed, and why.
    pub sent: Outcome,
    /// None: the times of the effects are unknown.
    pub throughput: Option<Throughput>,
    /// In the expected order.
    pub hops: Vec<Passed>,
    /// A message that was not seen at a hop, or has too few rows there.
    pub missing: Deviations,
    /// A message that has too many rows in a table.
    pub surplus: Deviations,
    /// The bad event and its dead letters, if one was sent.
    pub poisoned: Option<Poisoned>,
    /// Places of the flow that are watched of one message only.
    pub not_watched: Vec<HopPlace>,
    /// How the run ended.
    pub completion: Completion,
}

/// From the first effect to the last.
#[derive(Debug, Clone, Copy)]
pub struct Throughput {
    /// Messages per second.
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
    /// Messages that were seen there.
    pub seen: usize,
    /// Events beyond one for each message: redeliveries, which consumers drop.
    pub copies: usize,
    /// Since the message was due.
    pub since_due: Option<Spread>,
    /// Since the event that this hop's service consumes was written; since the message was due
    /// where it consumes none.
    pub since_input: Option<Spread>,
}

/// Messages that are not as declared at some hop.
#[derive(Debug, Default)]
pub struct Deviations {
    /// Messages and hops, all of them.
    pub total: usize,
    /// The first of them.
    pub named: Vec<Deviation>,
}

/// One of them.
#[derive(Debug)]
pub struct Deviation {
    /// The message's correlation id.
    pub correlation_id: String,
    /// The hop concerned.
    pub place: HopPlace,
    /// Number of rows; None for an event.
    pub rows: Option<i64>,
    /// Rows that existed before the first message and have not changed since.
    pub unchanged: i64,
}

/// What is known before the cleanup.
pub(super) struct Figures {
    pub(super) throughput: Option<Throughput>,
    pub(super) hops: Vec<Passed>,
    pub(super) missing: Deviations,
    pub(super) surplus: Deviations,
}

impl Figures {
    pub(super) fn new(
        pipeline: &Pipeline,
        ledger: &Ledger,
        wrong_rows: &[WrongRowCount],
        drained: &Drained,
    ) -> Self {
        let (missing, surplus) = deviations(ledger, wrong_rows);
        let passed = |step| passed(pipeline, ledger, step);
        Self {
            throughput: throughput(ledger, drained),
            hops: (0..ledger.steps.len()).map(passed).collect(),
            missing,
            surplus,
        }
    }
}

impl Report {
    /// Whether all messages were accepted and seen at every watched hop, and the run ended as it
    /// should.
    pub fn is_right(&self) -> bool {
        self.sent.accepted == self.count
            && self.missing.total == 0
            && self.surplus.total == 0
            && self.poisoned.as_ref().is_none_or(Poisoned::is_right)
            && self.completion.is_right()
    }
}

fn throughput(ledger: &Ledger, drained: &Drained) -> Option<Throughput> {
    let (took, source) = match (
        ledger.first_effect,
        ledger.last_effect,
        drained.first,
        drained.last,
    ) {
        (Some(first), Some(last), _, _) => {
            let took = (last - first).to_std().ok()?;
            (took, Source::Commits { first, last })
        }
        (_, _, Some(first), Some(last)) => (last - first, Source::Offsets),
        _ => return None,
    };
    let seconds = took.as_secs_f64();
    (seconds > 0.0).then(|| Throughput {
        per_second: ledger.messages.len() as f64 / seconds,
        took,
        source,
    })
}

fn passed(pipeline: &Pipeline, ledger: &Ledger, step: usize) -> Passed {
    let track = &ledger.tracks[step];
    let due: Vec<i64> = ledger.messages.iter().map(|p| p.due).collect();
    let input = steps::input(pipeline, &ledger.steps, step).map(|i| &ledger.tracks[i].at);
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
fn deviations(ledger: &Ledger, wrong_rows: &[WrongRowCount]) -> (Deviations, Deviations) {
    let mut missing = Deviations::default();
    let mut surplus = Deviations::default();
    for (step, _) in steps::topics(&ledger.steps) {
        let at = ledger.tracks[step].at.iter().enumerate();
        for (message, _) in at.filter(|(_, at)| **at == NEVER) {
            missing.note(ledger, (step, message), None, 0);
        }
    }
    for wrong in wrong_rows {
        let expected = match ledger.steps[wrong.step].place {
            HopPlace::Table { rows, .. } => rows,
            HopPlace::Entry { .. }
            | HopPlace::Topic { .. }
            | HopPlace::Log { .. }
            | HopPlace::Cache { .. } => 0,
        };
        let list = match wrong.rows - wrong.unchanged < expected {
            true => &mut missing,
            false => &mut surplus,
        };
        let at = (wrong.step, wrong.message);
        list.note(ledger, at, Some(wrong.rows), wrong.unchanged);
    }
    (missing, surplus)
}

impl Deviations {
    fn note(
        &mut self,
        ledger: &Ledger,
        (step, message): (usize, usize),
        rows: Option<i64>,
        unchanged: i64,
    ) {
        self.total += 1;
        if self.named.len() < NAMED {
            self.named.push(Deviation {
                correlation_id: ledger.messages[message].id.to_string(),
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
    use crate::flow::{
        Step,
        run::TestMessage,
        steps::{Start, steps},
    };
    use declaration::testing::shipped;

    fn ledger(pipeline: &Pipeline, messages: usize) -> Ledger {
        let flow = pipeline.flow.as_ref().expect("a flow");
        let mut steps = steps(pipeline, flow, Start::Event("purchase-confirmed"));
        steps.retain(|step| matches!(step.place, HopPlace::Topic { .. } | HopPlace::Table { .. }));
        let message = |n: usize| TestMessage {
            id: format!("p-{n:03}").into(),
            due: 1_000_000,
            accepted: 1_000_500,
        };
        Ledger::new(&steps, (0..messages).map(message).collect())
    }

    fn name(step: &Step) -> &str {
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
                let input = steps::input(&pipeline, &ledger.steps, step);
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
            for message in 0..30 {
                track.saw(message, 2_000_000);
            }
        }
        ledger.tracks[2].at[7] = NEVER;
        let last = ledger.steps.len() - 1;
        let wrong = |message, rows| WrongRowCount {
            step: last,
            message,
            rows,
            unchanged: 0,
        };
        let six = (0..25).map(|n| wrong(n, 6));
        let wrong: Vec<_> = six.chain([wrong(29, 8)]).collect();
        let (missing, surplus) = deviations(&ledger, &wrong);
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
        let mut ledger = ledger(&shipped(), 1000);
        assert!(throughput(&ledger, &Drained::default()).is_none());
        ledger.first_effect = at("2026-01-01T00:00:00Z");
        ledger.last_effect = at("2026-01-01T00:00:02Z");
        let throughput = throughput(&ledger, &Drained::default()).expect("both known");
        assert!((throughput.per_second - 500.0).abs() < 1e-9);
    }
}
