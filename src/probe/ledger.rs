//! What has been seen of the expected hops.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::{
    Posted,
    expected::Step,
    hop::{Hop, Place, Seen},
};
use crate::clients::kafka::Partition;

/// What a watcher tells.
#[derive(Debug)]
pub(super) enum Sighting {
    /// A hop, by its index.
    Hop(usize, Seen),
    /// The payment's event on a topic, by the hop's index, and where it stands.
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
        }
    }

    /// The entry service has answered: the first step.
    pub(super) fn entered(&mut self, detail: String) {
        self.note_seen(0, self.posted.seen_now(detail));
    }

    /// Takes sightings in till all hops are seen or `deadline`.
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

    /// Takes in what has been sighted already.
    pub(super) fn drain(&mut self, sightings: &mut UnboundedReceiver<Sighting>) {
        while let Ok(sighting) = sightings.try_recv() {
            self.take(sighting);
        }
    }

    fn take(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Hop(index, seen) => self.note_seen(index, seen),
            Sighting::Event(index, seen, partition, offset) => {
                self.note_seen(index, seen);
                self.events.push(Event { partition, offset });
            }
            Sighting::Note(index, note) => self.notes[index] = Some(note),
        }
    }

    fn note_seen(&mut self, index: usize, seen: Seen) {
        // A redelivery is not news: the first sighting counts.
        if self.seen[index].is_none() {
            let hop = Hop {
                place: self.steps[index].place.clone(),
                seen: Some(seen.clone()),
            };
            self.seen[index] = Some(seen);
            // Progress, for whoever watches.
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

    /// A topic of `service`'s on which nothing was seen.
    pub(super) fn unseen_topic_of(&self, service: &str) -> Option<&str> {
        let mut unseen = self
            .steps
            .iter()
            .zip(&self.seen)
            .filter(|(_, seen)| seen.is_none());
        unseen.find_map(|(step, _)| match &step.place {
            Place::Topic { topic } if step.service == service => Some(topic.as_str()),
            _ => None,
        })
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
