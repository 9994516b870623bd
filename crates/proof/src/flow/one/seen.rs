//! What has been seen of the message's hops so far, and whether all of its events are consumed.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Moment, Run};
use crate::{
    dead_letters::RecordId,
    flow::{Found, Hop, Progress, Sighting, Step, sources::Group},
};

/// Time limit for the groups.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two reads of the offsets; also how long no further event may appear.
const PAUSE: Duration = Duration::from_millis(40);

/// What a watcher reports.
#[derive(Debug)]
pub(super) enum Observation {
    /// A hop, by its index.
    Hop(usize, Sighting),
    /// The message's event on a topic, with the index of the hop.
    Event(usize, Sighting, RecordId),
    /// Why a hop has not been seen so far.
    Note(usize, String),
}

pub(super) struct SeenHops {
    began: Moment,
    hops: Vec<Hop>,
    /// The message's events, copies included.
    events: Vec<RecordId>,
    closed: bool,
}

impl SeenHops {
    pub(super) fn new(steps: &[Step], began: Moment) -> Self {
        let hop = |step: &Step| Hop {
            step: step.clone(),
            found: Found::Missing(None),
        };
        Self {
            hops: steps.iter().map(hop).collect(),
            began,
            events: Vec::new(),
            closed: false,
        }
    }

    /// The entry service has answered: the first step.
    pub(super) fn entered(&mut self, detail: String) {
        self.saw(0, self.began.seen_now(detail));
    }

    /// Records observations until all hops are seen or the deadline passes.
    pub(super) async fn fill(
        &mut self,
        observations: &mut UnboundedReceiver<Observation>,
        deadline: Instant,
        report: impl Fn(Progress),
    ) {
        while !self.is_complete() {
            match tokio::time::timeout_at(deadline.into(), observations.recv()).await {
                Ok(Some(observation)) => self.take(observation),
                Ok(None) | Err(_) => break,
            }
            report(Progress::Seen(self.count()));
        }
    }

    /// Records the observations that are already in the channel.
    pub(super) fn drain(&mut self, observations: &mut UnboundedReceiver<Observation>) {
        while let Ok(observation) = observations.try_recv() {
            self.take(observation);
        }
    }

    /// Later sightings of hops are too late. Events still count as in progress.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    fn take(&mut self, observation: Observation) {
        match observation {
            Observation::Hop(index, sighting) => self.saw(index, sighting),
            Observation::Event(index, sighting, event) => {
                self.saw(index, sighting);
                self.events.push(event);
            }
            Observation::Note(index, note) => {
                if !self.closed
                    && let Found::Missing(instead) = &mut self.hops[index].found
                {
                    *instead = Some(note);
                }
            }
        }
    }

    fn saw(&mut self, index: usize, sighting: Sighting) {
        // Only the first sighting counts: a later one is a redelivery.
        if self.hops[index].is_missing() && !self.closed {
            self.hops[index].found = Found::Seen(vec![sighting]);
        }
    }

    fn count(&self) -> usize {
        self.hops.iter().filter(|hop| hop.is_seen()).count()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.count() == self.hops.len()
    }

    /// A topic of `service`'s on which no event was seen.
    fn unseen_topic_of(&self, service: &str) -> Option<&str> {
        let own = self.hops.iter().filter(|hop| hop.step.service == service);
        let mut topics = own.filter_map(|hop| hop.step.topic());
        topics.find(|topic| self.events.iter().all(|event| *event.topic != **topic))
    }

    /// Since the message was sent: to the last sighting, or to the deadline.
    pub(super) fn took(&self, deadline: Instant) -> Duration {
        if self.is_complete() {
            let sightings = self.hops.iter().filter_map(|hop| match &hop.found {
                Found::Seen(sightings) => sightings[0].after,
                Found::Missing(_) | Found::Unknown(_) => None,
            });
            sightings.max().unwrap_or_default()
        } else {
            let end = Instant::now().min(deadline);
            end.saturating_duration_since(self.began.instant)
        }
    }

    /// `12 of 20 hops seen`
    pub(super) fn summary(&self) -> String {
        format!("{} of {} hops seen", self.count(), self.hops.len())
    }

    pub(super) fn first_missing(&self) -> Option<usize> {
        self.hops.iter().position(|hop| !hop.is_seen())
    }

    /// The message's first event on the topic of a step.
    pub(super) fn first_event(&self, step: &Step) -> Option<RecordId> {
        let topic = step.topic()?;
        let mut events = self.events.iter();
        events.find(|event| *event.topic == *topic).cloned()
    }

    pub(super) fn into_hops(self) -> Vec<Hop> {
        self.hops
    }

    /// Waits until every consumer group has consumed all of the message's events, and polls
    /// `watching` meanwhile. Returns what is not consumed when the time limit ends.
    ///
    /// A worker emits before it commits its offset. So once every group has passed all events that
    /// were seen, and no further event appears, no event is pending: rows that are deleted then are
    /// not written again.
    pub(super) async fn settle<W: Future<Output = ()>>(
        &mut self,
        run: &Run<'_>,
        watching: &mut Pin<Box<W>>,
        observations: &mut UnboundedReceiver<Observation>,
    ) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.events.len();
            let pending = self.pending(run).await;
            tokio::select! {
                () = watching.as_mut() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
            self.drain(observations);
            match pending {
                None if self.events.len() == events => return None,
                Some(why) if Instant::now() > deadline => return Some(why),
                None | Some(_) => {}
            }
        }
    }

    /// What has not been consumed yet.
    async fn pending(&self, run: &Run<'_>) -> Option<String> {
        let maker = run.flow.maker();
        if let Some(topic) = self.unseen_topic_of(maker) {
            return Some(format!("{maker} has not emitted its event on {topic}"));
        }
        let groups = run.topics.iter().flat_map(|topics| &topics.groups);
        let pending = join_all(groups.map(|group| self.pending_of(group))).await;
        pending.into_iter().flatten().next()
    }

    async fn pending_of(&self, group: &Group) -> Option<String> {
        let service = &group.service;
        match group.first_unconsumed(&self.events).await {
            Ok(first) => {
                first.map(|(event, _)| format!("{service} has not consumed its event {event}"))
            }
            Err(why) => Some(format!(
                "the committed offsets of {service} are unknown: {why}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::flow::HopPlace;

    fn step(place: HopPlace) -> Step {
        Step {
            place,
            service: "shop".to_owned(),
        }
    }

    fn seen() -> SeenHops {
        let topic = "paid".to_owned();
        let service = "shop".to_owned();
        let steps = [
            step(HopPlace::Entry { service }),
            step(HopPlace::Topic { topic }),
        ];
        SeenHops::new(&steps, Moment::now())
    }

    fn event(seen: &SeenHops) -> Observation {
        let sighting = seen.began.seen_now("partition 0 offset 7".to_owned());
        Observation::Event(1, sighting, RecordId::new("paid", 0, 7))
    }

    #[tokio::test]
    async fn it_is_complete_once_every_hop_was_seen() {
        let mut seen = seen();
        seen.entered("201".to_owned());
        assert!(seen.hops[0].is_seen() && seen.hops[1].is_missing());
        assert_eq!(seen.unseen_topic_of("shop"), Some("paid"));
        let (sender, mut observations) = mpsc::unbounded_channel();
        sender.send(event(&seen)).expect("the receiver is there");
        let deadline = Instant::now() + Duration::from_secs(5);
        seen.fill(&mut observations, deadline, drop).await;
        assert!(Instant::now() < deadline, "it does not wait for more");
        assert!(seen.is_complete());
        assert_eq!(seen.unseen_topic_of("shop"), None);
    }

    #[test]
    fn a_late_event_is_recorded_but_its_hop_is_not_seen() {
        let mut seen = seen();
        seen.entered("201".to_owned());
        seen.take(Observation::Note(1, "no broker answers".to_owned()));
        seen.close();
        seen.take(event(&seen));
        seen.take(Observation::Note(1, "later".to_owned()));
        let note = Found::Missing(Some("no broker answers".to_owned()));
        assert_eq!(seen.hops[1].found, note);
        assert_eq!(seen.events.len(), 1);
        assert_eq!(seen.summary(), "1 of 2 hops seen");
    }
}
