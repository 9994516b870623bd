//! The payments that were sent, and when each was seen at each hop.

use std::sync::Arc;

use crate::probe::{expected::Step, hop::HopPlace};

/// A payment that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payment {
    /// Its correlation id.
    pub(super) id: Box<str>,
    /// When it was due, in microseconds since the epoch. Latencies are counted from here, so that a
    /// late sender does not hide them (coordinated omission).
    pub(super) due: i64,
    /// When the entry service answered, or Kafka acknowledged the event.
    pub(super) taken: i64,
}

/// When each payment was seen at one hop.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    /// Microseconds since the epoch, in the order of the payments; [`NEVER`], [`UNTIMED`].
    pub(super) at: Vec<i64>,
    /// Sightings beyond each payment's first.
    pub(super) copies: usize,
}

/// Not seen.
pub(super) const NEVER: i64 = i64::MIN;

/// Seen at an unknown time: by default Postgres does not keep commit times.
pub(super) const UNTIMED: i64 = NEVER + 1;

/// Whether it is known when something was seen.
pub(super) fn is_timed(at: i64) -> bool {
    at != NEVER && at != UNTIMED
}

impl Track {
    pub(super) fn saw(&mut self, payment: usize, at: i64) {
        if self.at[payment] == NEVER {
            self.at[payment] = at;
        } else {
            self.copies += 1;
        }
    }

    /// How many payments were seen.
    pub(super) fn seen(&self) -> usize {
        self.at.iter().filter(|at| **at != NEVER).count()
    }
}

/// A hop that many payments are followed through: the answer of the entry service, a topic or a
/// table. Log lines and keys are for [`crate::probe`], which follows one.
pub(super) fn is_followed(place: &HopPlace) -> bool {
    match place {
        HopPlace::Entry { .. } | HopPlace::Topic { .. } | HopPlace::Table { .. } => true,
        HopPlace::Log { .. } | HopPlace::Cache { .. } => false,
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) steps: Vec<Step>,
    /// A track for each step.
    pub(super) tracks: Vec<Track>,
    /// By id.
    pub(super) payments: Arc<[Payment]>,
}

impl Ledger {
    pub(super) fn new(mut steps: Vec<Step>) -> Self {
        steps.retain(|step| is_followed(&step.place));
        Self {
            tracks: vec![Track::default(); steps.len()],
            steps,
            payments: Arc::new([]),
        }
    }

    /// All that were sent.
    pub(super) fn enter(&mut self, mut payments: Vec<Payment>) {
        payments.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        for (step, track) in self.steps.iter().zip(&mut self.tracks) {
            track.at = match step.place {
                HopPlace::Entry { .. } => payments.iter().map(|p| p.taken).collect(),
                HopPlace::Topic { .. }
                | HopPlace::Table { .. }
                | HopPlace::Log { .. }
                | HopPlace::Cache { .. } => vec![NEVER; payments.len()],
            };
        }
        self.payments = payments.into();
    }

    /// Its place among the payments.
    pub(super) fn find(payments: &[Payment], id: &str) -> Option<usize> {
        payments.binary_search_by(|p| (*p.id).cmp(id)).ok()
    }

    /// Whether each payment was seen on each topic.
    pub(super) fn is_complete(&self) -> bool {
        let mut topics = self.topics();
        topics.all(|(step, _)| self.tracks[step].seen() == self.payments.len())
    }

    /// The topics with their steps, in order.
    pub(super) fn topics(&self) -> impl Iterator<Item = (usize, &str)> {
        let steps = self.steps.iter().enumerate();
        steps.filter_map(|(index, step)| match &step.place {
            HopPlace::Topic { topic } => Some((index, topic.as_str())),
            HopPlace::Entry { .. }
            | HopPlace::Table { .. }
            | HopPlace::Log { .. }
            | HopPlace::Cache { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(id: &str, due: i64) -> Payment {
        Payment {
            id: id.into(),
            due,
            taken: due + 1,
        }
    }

    fn step(place: HopPlace) -> Step {
        let service = "shop".to_owned();
        Step { place, service }
    }

    #[test]
    fn payments_are_found_by_id_and_counted_once() {
        let topic = "paid".to_owned();
        let service = "shop".to_owned();
        let stage = "received".into();
        let mut ledger = Ledger::new(vec![
            step(HopPlace::Entry {
                service: service.clone(),
            }),
            step(HopPlace::Log { service, stage }),
            step(HopPlace::Topic { topic }),
        ]);
        assert_eq!(ledger.topics().collect::<Vec<_>>(), [(1, "paid")]);
        ledger.enter(vec![payment("c", 3), payment("a", 1), payment("b", 2)]);
        assert_eq!(ledger.tracks[0].at, [2, 3, 4]);
        assert_eq!(Ledger::find(&ledger.payments, "b"), Some(1));
        assert_eq!(Ledger::find(&ledger.payments, "d"), None);
        let track = &mut ledger.tracks[1];
        track.saw(1, 10);
        track.saw(1, 11);
        assert_eq!(
            (track.at.as_slice(), track.copies),
            (&[NEVER, 10, NEVER][..], 1)
        );
        track.saw(0, UNTIMED);
        assert_eq!(track.seen(), 2);
        assert_eq!(track.at.iter().filter(|at| is_timed(**at)).count(), 1);
    }
}
