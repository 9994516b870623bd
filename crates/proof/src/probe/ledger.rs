//! What has been seen of the expected hops.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::{
    Posted,
    expected::Step,
    hop::{Hop, HopPlace, Seen},
};
use kafka::Partition;

/// What a watcher reports.
#[derive(Debug)]
pub(super) enum Sighting {
    /// A hop, by its index.
    Hop(usize, Seen),
    /// The payment's event on a topic: index of the hop, partition and offset.
    Event(usize, Seen, Partition, i64),
    /// Why a hop has not been seen so far.
    Note(usize, String),
}

/// The payment's event on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) partition: Partition,
    pub(super) offset: i64,
}

pub(super) struct Ledger {
    pub(super) posted: Posted,
    pub(super) steps: Vec<Step>,
    seen: Vec<Option<Seen>>,
    notes: Vec<Option<String>>,
    events: Vec<Event>,
    hops: UnboundedSender<Hop>,
    closed: bool,
}

impl Ledger {
    pub(super) fn new(steps: Vec<Step>, posted: Posted, hops: UnboundedSender<Hop>) -> Self {
        Self {
            posted,
            seen: vec![None; steps.len()],
            notes: vec![None; steps.len()],
            events: Vec::new(),
            steps,
            hops,
            closed: false,
        }
    }

    /// The entry service has answered: the first step.
    pub(super) fn entered(&mut self, detail: String) {
        self.note_seen(0, self.posted.seen_now(detail));
    }

    /// Records sightings until all hops are seen or the deadline passes.
    pub(super) async fn fill(
        &mut self,
        sightings: &mut UnboundedReceiver<Sighting>,
        deadline: Instant,
    ) {
        while !self.is_complete() {
            match tokio::time::timeout_at(deadline.into(), sightings.recv()).await {
                Ok(Some(sighting)) => self.take(sighting),
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// Records the sightings that are already in the channel.
    pub(super) fn drain(&mut self, sightings: &mut UnboundedReceiver<Sighting>) {
        while let Ok(sighting) = sightings.try_recv() {
            self.take(sighting);
        }
    }

    /// Later sightings of hops are too late. Events still count as in progress.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    fn take(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Hop(index, seen) => self.note_seen(index, seen),
            Sighting::Event(index, seen, partition, offset) => {
                self.note_seen(index, seen);
                self.events.push(Event { partition, offset });
            }
            Sighting::Note(..) if self.closed => {}
            Sighting::Note(index, note) => self.notes[index] = Some(note),
        }
    }

    fn note_seen(&mut self, index: usize, seen: Seen) {
        // Only the first sighting counts: a later one is a redelivery.
        if self.seen[index].is_none() && !self.closed {
            let hop = Hop {
                place: self.steps[index].place.clone(),
                seen: Some(seen.clone()),
            };
            self.seen[index] = Some(seen);
            // An error means that nobody receives progress.
            let _unwatched = self.hops.send(hop);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.seen.iter().all(Option::is_some)
    }

    /// The first step that was not seen, and what was seen instead.
    pub(super) fn first_missing(&self) -> Option<(usize, Option<&str>)> {
        let index = self.seen.iter().position(Option::is_none)?;
        Some((index, self.notes[index].as_deref()))
    }

    /// The payment's events so far, copies included.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    /// A topic of `service`'s on which no event was seen.
    pub(super) fn unseen_topic_of(&self, service: &str) -> Option<&str> {
        let own = self.steps.iter().filter(|step| step.service == service);
        let mut topics = own.filter_map(|step| match &step.place {
            HopPlace::Topic { topic } => Some(topic.as_str()),
            HopPlace::Entry { .. }
            | HopPlace::Log { .. }
            | HopPlace::Table { .. }
            | HopPlace::Cache { .. } => None,
        });
        topics.find(|topic| self.events.iter().all(|event| event.partition.0 != *topic))
    }

    /// Since the payment was posted: to the last sighting, or to the deadline.
    pub(super) fn took(&self, deadline: Instant) -> Duration {
        if self.is_complete() {
            self.seen
                .iter()
                .flatten()
                .map(|s| s.after)
                .max()
                .unwrap_or_default()
        } else {
            let end = Instant::now().min(deadline);
            end.saturating_duration_since(self.posted.instant)
        }
    }

    /// `12 of 20 hops seen`
    pub(super) fn summary(&self) -> String {
        let seen = self.seen.iter().flatten().count();
        format!("{seen} of {} hops seen", self.steps.len())
    }

    pub(super) fn into_hops(self) -> Vec<Hop> {
        let hops = self.steps.into_iter().zip(self.seen);
        hops.map(|(step, seen)| Hop {
            place: step.place,
            seen,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn step(place: HopPlace) -> Step {
        Step {
            place,
            service: "shop".to_owned(),
        }
    }

    fn ledger() -> Ledger {
        let topic = "paid".to_owned();
        let service = "shop".to_owned();
        let steps = vec![
            step(HopPlace::Entry { service }),
            step(HopPlace::Topic { topic }),
        ];
        let (hops, _unwatched) = mpsc::unbounded_channel();
        Ledger::new(steps, Posted::now(), hops)
    }

    fn event(ledger: &Ledger) -> Sighting {
        let seen = ledger.posted.seen_now("partition 0 offset 7".to_owned());
        Sighting::Event(1, seen, ("paid".to_owned(), 0), 7)
    }

    #[tokio::test]
    async fn a_ledger_is_complete_once_every_hop_was_seen() {
        let mut ledger = ledger();
        ledger.entered("201".to_owned());
        assert_eq!(ledger.first_missing(), Some((1, None)));
        assert_eq!(ledger.unseen_topic_of("shop"), Some("paid"));
        let (sender, mut sightings) = mpsc::unbounded_channel();
        sender.send(event(&ledger)).expect("the receiver is there");
        let deadline = Instant::now() + Duration::from_secs(5);
        ledger.fill(&mut sightings, deadline).await;
        assert!(Instant::now() < deadline, "it does not wait for more");
        assert!(ledger.is_complete());
        assert_eq!(ledger.unseen_topic_of("shop"), None);
    }

    #[test]
    fn a_late_event_is_recorded_but_its_hop_is_not_seen() {
        let mut ledger = ledger();
        ledger.entered("201".to_owned());
        ledger.close();
        ledger.take(event(&ledger));
        assert_eq!(ledger.first_missing(), Some((1, None)));
        assert_eq!(ledger.events().len(), 1);
        assert_eq!(ledger.summary(), "1 of 2 hops seen");
    }
}
