//! Waits until every consumer group has consumed all of the messages' events.
//!
//! A worker emits before it commits its offset. So once the groups that feed a topic have passed
//! their own events, that topic's end offset is final for the messages' events. This goes from
//! topic to topic along the flow: when the last group has passed the last end, all events are
//! consumed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::{
    Progress,
    run::Run,
    sources::{Group, Topic, Topics, of_topic},
};
use kafka::{
    Partition,
    offsets::{Offsets, next},
};

/// Pause between two reads of the offsets.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// The wait ends if no group makes progress on the messages' events for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// After this long without progress, it is checked whether only transaction markers are left.
const LULL: Duration = Duration::from_millis(600);

/// How long to wait.
#[derive(Clone, Copy)]
pub(super) enum Until<'a> {
    /// Until this time, or until it is cancelled.
    Deadline(Instant, &'a CancellationToken),
    /// As long as the messages' events are being consumed.
    Stuck,
}

impl Until<'_> {
    /// Whether there is no time left.
    pub(super) fn is_over(self) -> bool {
        match self {
            Self::Deadline(at, cancel) => Instant::now() >= at || cancel.is_cancelled(),
            Self::Stuck => false,
        }
    }
}

/// The state of the messages when the wait ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Drained {
    /// What was not consumed.
    pub(super) pending: Option<String>,
    /// When a group was first seen to make progress, and when all groups had consumed everything.
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

impl Topics {
    /// Waits until all groups have consumed the events after `from`, at least `messages` of them.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub(super) async fn drain(
        &self,
        run: &Run<'_>,
        from: &Offsets,
        messages: usize,
        until: Until<'_>,
    ) -> Result<Drained, kafka::Error> {
        let mut goals = Goals::default();
        let mut drained = Drained::default();
        let mut before: Option<(Offsets, Vec<Offsets>)> = None;
        let (mut moved, mut looked) = (Instant::now(), Instant::now());
        loop {
            let committed = self.committed_by_group().await?;
            let ends = self.ends().await?;
            let seen = (ends, committed);
            if before.as_ref().is_some_and(|before| before.1 != seen.1) {
                drained.first.get_or_insert_with(Instant::now);
            }
            let topics = self.counts(from, &seen.0);
            run.report(Progress::Passing { topics });
            let pending = self.advance(&mut goals, from, messages, &seen);
            // Other traffic on the same topics does not count as progress.
            if drained.pending != pending {
                moved = Instant::now();
            }
            drained.pending = pending;
            if moved.max(looked).elapsed() > LULL {
                goals.lower(self, from, &seen.1).await?;
                looked = Instant::now();
            }
            before = Some(seen);
            if drained.pending.is_none() {
                drained.last = Some(Instant::now());
                return Ok(drained);
            }
            let (pause, cancelled) = match until {
                Until::Deadline(at, cancel) => {
                    let left = at.saturating_duration_since(Instant::now());
                    (left.min(PAUSE), Some(cancel))
                }
                Until::Stuck => (PATIENCE.saturating_sub(moved.elapsed()).min(PAUSE), None),
            };
            if pause.is_zero() || cancelled.is_some_and(CancellationToken::is_cancelled) {
                return Ok(drained);
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn committed_by_group(&self) -> Result<Vec<Offsets>, kafka::Error> {
        let ask = self.groups.iter().map(async |group| {
            let of_group = |p: &&Partition| group.topics.contains(&p.0);
            let partitions: Vec<_> = self.partitions.iter().filter(of_group).cloned().collect();
            group.offsets.lowest_committed(&partitions).await
        });
        try_join_all(ask).await
    }

    /// Events since `from`, by topic.
    fn counts(&self, from: &Offsets, ends: &Offsets) -> Vec<(String, i64)> {
        let count = |topic: &Topic| (topic.name.clone(), added(&topic.name, from, ends));
        self.topics.iter().map(count).collect()
    }

    /// Sets the end offsets that are final by now, and returns what is not consumed yet. The
    /// commits in `seen` are older than the ends.
    fn advance(
        &self,
        goals: &mut Goals,
        from: &Offsets,
        messages: usize,
        (ends, committed): &(Offsets, Vec<Offsets>),
    ) -> Option<String> {
        let wanted = i64::try_from(messages).unwrap_or(i64::MAX);
        for topic in self.topics.iter().filter(|t| t.first) {
            let there = added(&topic.name, from, ends);
            if there >= wanted {
                goals.fix(&topic.name, ends);
            } else if !goals.has(&topic.name) {
                return Some(format!("{there} of {wanted} events are on {}", topic.name));
            }
        }
        for topic in &self.topics {
            let fed = |&group: &usize| {
                let group_goals = self.groups[group].topics.iter();
                let known = group_goals.into_iter().all(|t| goals.has(t));
                known
                    && goals
                        .behind(&self.groups[group], from, &committed[group])
                        .is_none()
            };
            if topic.fed_by.iter().all(fed) {
                goals.fix(&topic.name, ends);
            }
        }
        let behind = self.groups.iter().zip(committed);
        let behind = behind.filter_map(|(group, committed)| {
            let (topic, events) = goals.behind(group, from, committed)?;
            Some(format!(
                "{} has not consumed {events} of its events on {topic}",
                group.service
            ))
        });
        let pending = behind.into_iter().next();
        if pending.is_none() {
            // Topics in a cycle feed themselves, so none of them can be final first.
            let open: Vec<_> = self.topics.iter().filter(|t| !goals.has(&t.name)).collect();
            for topic in &open {
                goals.fix(&topic.name, ends);
            }
            return open
                .first()
                .map(|t| format!("events have just arrived on {}", t.name));
        }
        pending
    }
}

/// End offsets of the messages' events on each topic, once they are final.
#[derive(Default)]
struct Goals(BTreeMap<String, Offsets>);

impl Goals {
    fn has(&self, topic: &str) -> bool {
        self.0.contains_key(topic)
    }

    fn fix(&mut self, topic: &str, ends: &Offsets) {
        let own = || of_topic(ends, topic);
        self.0.entry(topic.to_owned()).or_insert_with(own);
    }

    /// Lowers goals behind which only transaction markers follow, because no group consumes
    /// markers.
    async fn lower(
        &mut self,
        topics: &Topics,
        from: &Offsets,
        committed: &[Offsets],
    ) -> Result<(), kafka::Error> {
        for (group, committed) in topics.groups.iter().zip(committed) {
            for topic in &group.topics {
                let Some(goals) = self.0.get_mut(topic) else {
                    continue;
                };
                let at = next(committed, from, goals);
                *goals = topics.kafka.ends_of_messages(&at, goals).await?;
            }
        }
        Ok(())
    }

    /// The first topic that the group has not passed, and by how many events.
    fn behind<'g>(
        &self,
        group: &'g Group,
        from: &Offsets,
        committed: &Offsets,
    ) -> Option<(&'g str, i64)> {
        group.topics.iter().find_map(|topic| {
            let events: i64 = self
                .0
                .get(topic)?
                .iter()
                .map(|(partition, goal)| {
                    let from = from.get(partition).copied().unwrap_or(0);
                    let at = committed.get(partition).copied().unwrap_or(from);
                    (goal - at.max(from)).max(0)
                })
                .sum();
            (events > 0).then_some((topic.as_str(), events))
        })
    }
}

fn added(topic: &str, from: &Offsets, ends: &Offsets) -> i64 {
    let own = ends.iter().filter(|((name, _), _)| name == topic);
    own.map(|(partition, end)| end - from.get(partition).copied().unwrap_or(0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::correlation::Correlation;
    use kafka::Kafka;

    fn offsets<const N: usize>(of: [(&str, i64); N]) -> Offsets {
        of.map(|(topic, at)| ((topic.to_owned(), 0), at)).into()
    }

    /// A shop that announces on `paid`; `buyer` takes that and emits to `bought`, which `teacher`
    /// takes. Nothing is connected to.
    fn topics(bought_is_fed_by: Vec<usize>) -> Topics {
        let kafka = Kafka::new("127.0.0.1:1").expect("a client");
        let group = |service: &str, topic: &str| Group {
            service: service.to_owned(),
            topics: vec![topic.to_owned()],
            offsets: kafka.group(service),
        };
        let topic = |name: &str, first, fed_by| Topic {
            name: name.to_owned(),
            first,
            fed_by,
        };
        Topics {
            partitions: Vec::new(),
            topics: vec![
                topic("paid", true, Vec::new()),
                topic("bought", false, bought_is_fed_by),
            ],
            groups: vec![group("buyer", "paid"), group("teacher", "bought")],
            correlation: Correlation::default(),
            absent: None,
            kafka,
        }
    }

    /// What is pending at each look: ends of both topics, and what the two groups have committed.
    fn looks(topics: &Topics, looks: &[[i64; 4]]) -> Vec<String> {
        let from = offsets([("paid", 100), ("bought", 200)]);
        let mut goals = Goals::default();
        let look = |[paid, bought, buyer, teacher]: &[i64; 4]| {
            let ends = offsets([("paid", *paid), ("bought", *bought)]);
            let committed = vec![offsets([("paid", *buyer)]), offsets([("bought", *teacher)])];
            let pending = topics.advance(&mut goals, &from, 5, &(ends, committed));
            pending.unwrap_or_else(|| "none".to_owned())
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn a_topics_end_is_known_once_its_feeders_have_passed_theirs() {
        let pending = looks(
            &topics(vec![0]),
            &[
                [103, 200, 100, 200],
                [105, 201, 101, 201],
                [105, 204, 105, 202],
                [105, 205, 105, 204],
                [105, 205, 105, 205],
            ],
        );
        assert_eq!(
            pending,
            [
                "3 of 5 events are on paid",
                "buyer has not consumed 4 of its events on paid",
                "teacher has not consumed 2 of its events on bought",
                "none",
                "none",
            ]
        );
    }

    #[test]
    fn later_events_of_other_producers_are_not_waited_for() {
        let pending = looks(
            &topics(vec![0]),
            &[
                [105, 205, 105, 203],
                [900, 205, 105, 204],
                [900, 800, 105, 205],
            ],
        );
        assert_eq!(
            pending[1],
            "teacher has not consumed 1 of its events on bought"
        );
        assert_eq!(pending[2], "none");
    }

    /// A worker that emits to the topic which it consumes is never done before itself.
    #[test]
    fn topics_that_feed_themselves_end_the_wait_all_the_same() {
        let pending = looks(
            &topics(vec![1]),
            &[[105, 205, 105, 203], [105, 205, 105, 205]],
        );
        assert_eq!(pending, ["events have just arrived on bought", "none"]);
    }
}
