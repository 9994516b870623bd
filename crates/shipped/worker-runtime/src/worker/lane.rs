//! The consumer's side of each partition: its task, what lies in front of it, and which offsets
//! are to be committed.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Message,
    batch::{MAX_BYTES, MAX_EVENTS},
    gauge::Gauge,
};
use crate::metrics::{Pause, PauseReason, WorkerMetrics};

/// A lane is full when another batch lies in front of its task, beside the one that is worked on
/// and the one that is next. Then nothing is read, from no partition, until it has taken some:
/// that is a matter of milliseconds, and what librdkafka has fetched stays where it is.
const FULL_MESSAGES: usize = MAX_EVENTS;
const FULL_BYTES: usize = MAX_BYTES;
/// A lane that stays full for this long must not hold up the others: its partition is paused
/// (which throws away what was fetched of it), and resumed when half of it is free.
const HOLD: Duration = Duration::from_secs(1);
/// In-flight work is given this long to finish when its partition goes.
const DRAIN: Duration = Duration::from_secs(6);
/// No offset yet.
const NONE: i64 = -1;

/// Starts the task of a partition.
pub(crate) type Spawn = Box<
    dyn Fn(i32, UnboundedReceiver<Vec<Message>>, Arc<Gauge>, CancellationToken) -> JoinHandle<()>
        + Send
        + Sync,
>;

struct Lane {
    sender: UnboundedSender<Vec<Message>>,
    /// What the consumer's thread has read and not handed on yet.
    chunk: Vec<Message>,
    gauge: Arc<Gauge>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// The last offset handed to the task.
    delivered: i64,
    /// The last offset whose commit was asked for, unless that turned out to have failed.
    committed: i64,
    /// Since when it is full, unless it is paused.
    full_since: Option<Instant>,
    /// While it is paused because enough lies in front of its task.
    paused: Option<Pause>,
}

/// All partitions that this worker has. Only the consumer's thread touches it (the rebalance
/// callbacks run there, too); the lock is for the compiler.
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<i32, Lane>>,
    spawn: Spawn,
    runtime: Handle,
    metrics: WorkerMetrics,
    /// Told when a task takes something.
    room: Arc<Notify>,
}

/// What is to change in the reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) pause: Vec<i32>,
    pub(crate) resume: Vec<i32>,
    /// Nothing is to be read for now: see [`Lanes::wait_for_room`].
    pub(crate) hold: bool,
}

impl Lanes {
    pub(crate) fn new(spawn: Spawn, runtime: Handle, metrics: WorkerMetrics) -> Self {
        Self {
            lanes: Mutex::default(),
            spawn,
            runtime,
            metrics,
            room: Arc::default(),
        }
    }

    /// The partition is ours now.
    pub(crate) fn open(&self, partition: i32) {
        let lane = self.start(partition);
        let mut lanes = self.lock();
        if let Some(before) = lanes.insert(partition, lane) {
            before.task.abort();
        }
        self.metrics.assigned(lanes.len());
    }

    /// Puts the message with those that [`Lanes::flush`] hands to its partition's task.
    ///
    /// Offsets that go back mean another topic of the same name, read from its start: the task,
    /// and what it had parked of the old one, make way for a new one. Nothing of the same topic
    /// is lost by that: the consumer only ever goes back to the topic's start.
    ///
    /// But for one message: where a rebalance falls between its coming out of librdkafka's queue
    /// and librdkafka's noting so, reading resumes with it. The task has it already.
    pub(crate) fn deliver(&self, message: Message) {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&message.partition) else {
            return;
        };
        if message.offset == lane.delivered && message.offset > 0 {
            return;
        }
        if message.offset <= lane.delivered {
            tracing::warn!(
                partition = message.partition,
                offset = message.offset,
                before = lane.delivered,
                "offsets begin anew: the topic was made again"
            );
            let fresh = self.start(message.partition);
            std::mem::replace(lane, fresh).task.abort();
        }
        lane.delivered = message.offset;
        lane.gauge.sent(message.size());
        lane.chunk.push(message);
    }

    /// Hands what was delivered to the partitions' tasks, one send for each.
    pub(crate) fn flush(&self) {
        for lane in self.lock().values_mut() {
            if !lane.chunk.is_empty() {
                // The task only ends when it is told to; what it leaves is read again by the next
                // owner.
                lane.sender.send(mem::take(&mut lane.chunk)).ok();
            }
        }
    }

    /// Ends the tasks of these partitions once what is under way is through, or after a bounded
    /// time, and returns what is to be committed of them, `(partition, offset)`: also what was
    /// asked for before, whose success is not known yet.
    ///
    /// Not to be called from within the Tokio runtime.
    pub(crate) fn close(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let mut closing: Vec<(i32, Lane)> = {
            let mut lanes = self.lock();
            let closing = partitions
                .iter()
                .filter_map(|partition| Some((*partition, lanes.remove(partition)?)))
                .collect();
            self.metrics.assigned(lanes.len());
            closing
        };
        for (_, lane) in &closing {
            lane.stop.cancel();
        }
        let deadline = Instant::now() + DRAIN;
        self.runtime.block_on(async {
            for (partition, lane) in &mut closing {
                if timeout_at(deadline, &mut lane.task).await.is_err() {
                    tracing::warn!(partition, "abandoned unfinished work, to be done again");
                    lane.task.abort();
                }
            }
        });
        closing
            .iter()
            .filter_map(|(partition, lane)| Some((*partition, lane.gauge.done()?)))
            .collect()
    }

    /// Those of these partitions that are paused.
    pub(crate) fn paused(&self, partitions: &[i32]) -> Vec<i32> {
        let lanes = self.lock();
        let is_paused = |partition: &i32| {
            let lane = lanes.get(partition);
            lane.is_some_and(|lane| lane.paused.is_some())
        };
        partitions.iter().copied().filter(is_paused).collect()
    }

    /// All partitions.
    pub(crate) fn all(&self) -> Vec<i32> {
        self.lock().keys().copied().collect()
    }

    /// What has become done since the last call: `(partition, offset)`.
    pub(crate) fn take_uncommitted(&self) -> Vec<(i32, i64)> {
        let mut offsets = Vec::new();
        for (partition, lane) in self.lock().iter_mut() {
            if let Some(offset) = lane.gauge.done().filter(|done| *done != lane.committed) {
                lane.committed = offset;
                offsets.push((*partition, offset));
            }
        }
        offsets
    }

    /// The broker's word on what is committed of the partition, 0 where nothing is. What was asked
    /// for and is not there has failed, or is on its way: it is asked for again, which is harmless.
    pub(crate) fn committed_is(&self, partition: i32, offset: i64) {
        if let Some(lane) = self.lock().get_mut(&partition) {
            lane.gauge.begins_at(offset);
            if lane.committed != offset {
                lane.committed = NONE;
            }
        }
    }

    /// Which partitions are to be paused or resumed since the last call, and whether to read on.
    pub(crate) fn flow(&self, now: Instant) -> Flow {
        let mut flow = Flow::default();
        for (partition, lane) in self.lock().iter_mut() {
            if lane.paused.is_some() {
                if !lane.gauge.is_above(FULL_MESSAGES / 2, FULL_BYTES / 2) {
                    lane.paused = None;
                    flow.resume.push(*partition);
                }
            } else if !lane.gauge.is_above(FULL_MESSAGES, FULL_BYTES) {
                lane.full_since = None;
            } else if now - *lane.full_since.get_or_insert(now) < HOLD {
                flow.hold = true;
            } else {
                lane.full_since = None;
                lane.paused = Some(self.metrics.pause(PauseReason::Full));
                flow.pause.push(*partition);
            }
        }
        flow
    }

    /// Until some task has taken something, or `at_most`.
    ///
    /// Not to be called from within the Tokio runtime.
    pub(crate) fn wait_for_room(&self, at_most: Duration) {
        self.runtime
            .block_on(async { timeout(at_most, self.room.notified()).await.ok() });
    }

    fn start(&self, partition: i32) -> Lane {
        let (sender, receiver) = unbounded_channel();
        let gauge = Arc::new(Gauge::new(Arc::clone(&self.room)));
        let stop = CancellationToken::new();
        let task = (self.spawn)(partition, receiver, Arc::clone(&gauge), stop.clone());
        Lane {
            sender,
            chunk: Vec::new(),
            gauge,
            stop,
            task,
            delivered: NONE,
            committed: NONE,
            full_since: None,
            paused: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Health, Metrics};

    /// Lanes whose tasks pass on the offsets that they were given and count them as done.
    fn lanes(runtime: &tokio::runtime::Runtime) -> (Lanes, std::sync::mpsc::Receiver<(i32, i64)>) {
        let (seen, offsets) = std::sync::mpsc::channel();
        let handle = runtime.handle().clone();
        let spawn: Spawn = Box::new(move |partition, mut inbox, gauge, stop| {
            let seen = seen.clone();
            handle.spawn(async move {
                while let Some(Some(chunk)) = stop.run_until_cancelled(inbox.recv()).await {
                    for message in chunk {
                        gauge.taken(1, message.size());
                        gauge.done_before(message.offset + 1);
                        seen.send((partition, message.offset))
                            .expect("the test listens");
                    }
                }
            })
        });
        let metrics = Metrics::new(Health::default()).worker("t");
        (
            Lanes::new(spawn, runtime.handle().clone(), metrics),
            offsets,
        )
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("a runtime")
    }

    fn message(offset: i64, bytes: usize) -> Message {
        Message {
            topic: "t",
            partition: 0,
            offset,
            key: None,
            value: Some(vec![0; bytes]),
            headers: None,
        }
    }

    #[test]
    fn what_is_done_is_to_be_committed_until_it_is() {
        let runtime = runtime();
        let (lanes, offsets) = lanes(&runtime);
        lanes.open(0);
        assert_eq!(lanes.take_uncommitted(), []);
        lanes.deliver(message(5, 1));
        lanes.flush();
        assert_eq!(offsets.recv_timeout(Duration::from_secs(5)), Ok((0, 5)));
        assert_eq!(lanes.take_uncommitted(), [(0, 6)]);
        assert_eq!(lanes.take_uncommitted(), []);
        lanes.committed_is(0, 6);
        assert_eq!(lanes.take_uncommitted(), []);
        lanes.committed_is(0, 5);
        assert_eq!(lanes.take_uncommitted(), [(0, 6)]);
        assert_eq!(lanes.close(&[0]), [(0, 6)]);
        assert!(lanes.all().is_empty());
    }

    #[test]
    fn offsets_that_go_back_begin_anew() {
        let runtime = runtime();
        let (lanes, offsets) = lanes(&runtime);
        lanes.open(0);
        for offset in [7, 0, 1] {
            lanes.deliver(message(offset, 1));
            lanes.flush();
            assert_eq!(
                offsets.recv_timeout(Duration::from_secs(5)),
                Ok((0, offset))
            );
        }
        assert_eq!(lanes.take_uncommitted(), [(0, 2)]);
        // The last one once more is no new beginning.
        for offset in [1, 2] {
            lanes.deliver(message(offset, 1));
            lanes.flush();
        }
        assert_eq!(offsets.recv_timeout(Duration::from_secs(5)), Ok((0, 2)));
        // A message of a partition that is not ours (any more) is nobody's.
        lanes.close(&[0]);
        lanes.deliver(message(3, 1));
    }

    /// Lanes of which partition 0 is open, and its gauge; its task takes nothing.
    fn idle_lane(runtime: &tokio::runtime::Runtime) -> (Lanes, Arc<Gauge>) {
        let gauge = Arc::new(Mutex::new(None));
        let shown = Arc::clone(&gauge);
        let handle = runtime.handle().clone();
        let spawn: Spawn = Box::new(move |_, inbox, gauge, stop| {
            *shown.lock().expect("one thread") = Some(gauge);
            handle.spawn(async move {
                stop.cancelled().await;
                drop(inbox);
            })
        });
        let metrics = Metrics::new(Health::default()).worker("t");
        let lanes = Lanes::new(spawn, runtime.handle().clone(), metrics);
        lanes.open(0);
        let gauge = gauge.lock().expect("one thread").take().expect("started");
        (lanes, gauge)
    }

    fn flow(pause: &[i32], resume: &[i32], hold: bool) -> Flow {
        Flow {
            pause: pause.to_vec(),
            resume: resume.to_vec(),
            hold,
        }
    }

    #[test]
    fn a_full_lane_holds_the_reading_and_is_paused_where_it_stays_full() {
        let runtime = runtime();
        let (lanes, gauge) = idle_lane(&runtime);
        let now = Instant::now();
        lanes.deliver(message(0, FULL_BYTES));
        assert_eq!(lanes.flow(now), flow(&[], &[], false));
        lanes.deliver(message(1, 1));
        assert_eq!(lanes.flow(now), flow(&[], &[], true));
        assert_eq!(lanes.flow(now + HOLD), flow(&[0], &[], false));
        assert_eq!(lanes.flow(now + HOLD), flow(&[], &[], false));
        gauge.taken(1, FULL_BYTES);
        assert_eq!(lanes.flow(now + HOLD), flow(&[], &[0], false));
        lanes.close(&[0]);
    }

    #[test]
    fn a_full_lane_that_moves_is_not_paused() {
        let runtime = runtime();
        let (lanes, gauge) = idle_lane(&runtime);
        let mut now = Instant::now();
        for offset in 0..10 {
            lanes.deliver(message(offset, FULL_BYTES + 1));
            assert_eq!(lanes.flow(now), flow(&[], &[], true));
            gauge.taken(1, FULL_BYTES + 1);
            now += HOLD / 2;
            assert_eq!(lanes.flow(now), flow(&[], &[], false));
        }
        lanes.close(&[0]);
    }

    #[test]
    fn room_ends_the_wait_for_it() {
        let runtime = runtime();
        let (lanes, gauge) = idle_lane(&runtime);
        lanes.deliver(message(0, 1));
        gauge.taken(1, 1);
        let began = Instant::now();
        lanes.wait_for_room(Duration::from_secs(60));
        assert!(began.elapsed() < Duration::from_secs(30));
        lanes.close(&[0]);
    }
}
