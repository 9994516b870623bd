//! The consumer's side of each partition: its task, what lies in front of it, and which offsets
//! are to be committed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::Message;
use crate::metrics::{Pause, PauseReason, WorkerMetrics};

/// A partition is paused when this much lies in front of its task, and resumed at half of it.
/// The channel itself has no bound: `pause` takes effect at once, so little comes after it.
const MAX_MESSAGES: usize = 1_000;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// In-flight work is given this long to finish when its partition goes.
const DRAIN: Duration = Duration::from_secs(6);
/// No offset yet.
const NONE: i64 = -1;

/// Shared by the consumer's thread and a partition's task.
#[derive(Debug)]
pub(crate) struct Gauge {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// All before it is done.
    done: AtomicI64,
    /// Where reading began: what the group had committed.
    begin: AtomicI64,
    /// The partition's first offset and the one after its last, as the broker told last.
    low: AtomicI64,
    high: AtomicI64,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            done: AtomicI64::new(NONE),
            begin: AtomicI64::new(NONE),
            low: AtomicI64::new(NONE),
            high: AtomicI64::new(NONE),
        }
    }
}

impl Gauge {
    fn sent(&self, message: &Message) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(message.size(), Ordering::Relaxed);
    }

    /// The task has taken the message out of the channel.
    pub(crate) fn taken(&self, message: &Message) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(message.size(), Ordering::Relaxed);
    }

    /// Everything before `offset` is done and may be committed.
    pub(crate) fn done_before(&self, offset: i64) {
        self.done.store(offset, Ordering::Release);
    }

    /// The group had committed this offset before; 0 where it had none.
    pub(crate) fn begins_at(&self, offset: i64) {
        self.begin.store(offset, Ordering::Relaxed);
    }

    /// The broker has what lies from `low` up to `high`.
    pub(crate) fn lies_between(&self, low: i64, high: i64) {
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
    }

    /// Messages that are not done with; None while that is not known yet.
    pub(crate) fn lag(&self) -> Option<i64> {
        let begin = self.begin.load(Ordering::Relaxed);
        let high = self.high.load(Ordering::Relaxed);
        if begin == NONE || high == NONE {
            return None;
        }
        let done = self.done.load(Ordering::Acquire);
        let low = self.low.load(Ordering::Relaxed);
        // Below zero where the topic was made again.
        Some((high - done.max(begin).max(low)).max(0))
    }

    fn is_above(&self, messages: usize, bytes: usize) -> bool {
        self.messages.load(Ordering::Relaxed) > messages
            || self.bytes.load(Ordering::Relaxed) > bytes
    }
}

/// Starts the task of a partition.
pub(crate) type Spawn = Box<
    dyn Fn(i32, UnboundedReceiver<Message>, Arc<Gauge>, CancellationToken) -> JoinHandle<()>
        + Send
        + Sync,
>;

struct Lane {
    sender: UnboundedSender<Message>,
    gauge: Arc<Gauge>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// The last offset handed to the task.
    delivered: i64,
    /// The last offset whose commit was asked for.
    committed: i64,
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
}

impl Lanes {
    pub(crate) fn new(spawn: Spawn, runtime: Handle, metrics: WorkerMetrics) -> Self {
        Self {
            lanes: Mutex::default(),
            spawn,
            runtime,
            metrics,
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

    /// Hands the message to its partition's task.
    ///
    /// Offsets that go back mean another topic of the same name, read from its start: the task,
    /// and what it had parked of the old one, make way for a new one. Nothing of the same topic
    /// is lost by that: the consumer only ever goes back to the topic's start.
    pub(crate) fn deliver(&self, message: Message) {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(&message.partition) else {
            return;
        };
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
        lane.gauge.sent(&message);
        // The task only ends when it is told to; what it leaves is read again by the next owner.
        lane.sender.send(message).ok();
    }

    /// Ends the tasks of these partitions once what is under way is through, or after a bounded
    /// time, and returns what they have not committed: `(partition, offset)`.
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
            .filter_map(|(partition, lane)| Some((*partition, lane.uncommitted()?)))
            .collect()
    }

    /// All partitions.
    pub(crate) fn all(&self) -> Vec<i32> {
        self.lock().keys().copied().collect()
    }

    /// What has become done since the last call: `(partition, offset)`.
    pub(crate) fn take_uncommitted(&self) -> Vec<(i32, i64)> {
        let mut offsets = Vec::new();
        for (partition, lane) in self.lock().iter_mut() {
            if let Some(offset) = lane.uncommitted() {
                lane.committed = offset;
                offsets.push((*partition, offset));
            }
        }
        offsets
    }

    /// The group's committed offset of the partition, 0 where there is none.
    pub(crate) fn begins_at(&self, partition: i32, offset: i64) {
        if let Some(lane) = self.lock().get(&partition) {
            lane.gauge.begins_at(offset);
        }
    }

    /// A commit failed: all offsets are to be committed again.
    pub(crate) fn forget_commits(&self) {
        for lane in self.lock().values_mut() {
            lane.committed = NONE;
        }
    }

    /// Partitions that changed sides since the last call: `(to pause, to resume)`.
    pub(crate) fn take_flow_changes(&self) -> (Vec<i32>, Vec<i32>) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, lane) in self.lock().iter_mut() {
            let paused = lane.paused.is_some();
            if !paused && lane.gauge.is_above(MAX_MESSAGES, MAX_BYTES) {
                lane.paused = Some(self.metrics.pause(PauseReason::Full));
                pause.push(*partition);
            } else if paused && !lane.gauge.is_above(MAX_MESSAGES / 2, MAX_BYTES / 2) {
                lane.paused = None;
                resume.push(*partition);
            }
        }
        (pause, resume)
    }

    fn start(&self, partition: i32) -> Lane {
        let (sender, receiver) = unbounded_channel();
        let gauge = Arc::new(Gauge::default());
        let stop = CancellationToken::new();
        let task = (self.spawn)(partition, receiver, Arc::clone(&gauge), stop.clone());
        Lane {
            sender,
            gauge,
            stop,
            task,
            delivered: NONE,
            committed: NONE,
            paused: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn uncommitted(&self) -> Option<i64> {
        let done = self.gauge.done.load(Ordering::Acquire);
        (done != NONE && done != self.committed).then_some(done)
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
                while let Some(Some(message)) = stop.run_until_cancelled(inbox.recv()).await {
                    gauge.taken(&message);
                    gauge.done_before(message.offset + 1);
                    seen.send((partition, message.offset))
                        .expect("the test listens");
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
            topic: "t".to_owned(),
            partition: 0,
            offset,
            key: None,
            value: Some(vec![0; bytes]),
            headers: None,
        }
    }

    #[test]
    fn what_is_done_is_to_be_committed_once() {
        let runtime = runtime();
        let (lanes, offsets) = lanes(&runtime);
        lanes.open(0);
        assert_eq!(lanes.take_uncommitted(), []);
        lanes.deliver(message(5, 1));
        assert_eq!(offsets.recv_timeout(Duration::from_secs(5)), Ok((0, 5)));
        assert_eq!(lanes.take_uncommitted(), [(0, 6)]);
        assert_eq!(lanes.take_uncommitted(), []);
        lanes.forget_commits();
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
            assert_eq!(
                offsets.recv_timeout(Duration::from_secs(5)),
                Ok((0, offset))
            );
        }
        assert_eq!(lanes.take_uncommitted(), [(0, 2)]);
        // A message of a partition that is not ours (any more) is nobody's.
        lanes.close(&[0]);
        lanes.deliver(message(2, 1));
    }

    #[test]
    fn a_full_lane_is_paused_and_later_resumed() {
        let runtime = runtime();
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
        let lanes = Lanes::new(
            spawn,
            runtime.handle().clone(),
            Metrics::new(Health::default()).worker("t"),
        );
        lanes.open(0);
        let big = message(0, MAX_BYTES);
        lanes.deliver(big.clone());
        assert_eq!(lanes.take_flow_changes(), (vec![], vec![]));
        lanes.deliver(message(1, 1));
        assert_eq!(lanes.take_flow_changes(), (vec![0], vec![]));
        assert_eq!(lanes.take_flow_changes(), (vec![], vec![]));
        let gauge = gauge.lock().expect("one thread").take().expect("started");
        gauge.taken(&big);
        assert_eq!(lanes.take_flow_changes(), (vec![], vec![0]));
        lanes.close(&[0]);
    }

    #[test]
    fn lag_is_known_once_begin_and_end_are() {
        let gauge = Gauge::default();
        assert_eq!(gauge.lag(), None);
        gauge.lies_between(10, 100);
        assert_eq!(gauge.lag(), None);
        gauge.begins_at(0);
        assert_eq!(
            gauge.lag(),
            Some(90),
            "what retention took is nobody's work"
        );
        gauge.begins_at(40);
        assert_eq!(gauge.lag(), Some(60));
        gauge.done_before(99);
        assert_eq!(gauge.lag(), Some(1));
        gauge.done_before(100);
        assert_eq!(gauge.lag(), Some(0));
        gauge.lies_between(0, 3);
        assert_eq!(gauge.lag(), Some(0), "the topic was made again");
    }
}
