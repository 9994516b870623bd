//! The consumer's end of the partition queues: each partition's task, its queued messages, and the
//! offsets to commit.

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
    progress::PartitionProgress,
};
use crate::metrics::{PauseReason, PausedGuard, WorkerMetrics};

/// A queue is full when it holds one batch, beside the batch that is processed and the next one.
/// While a queue is full, no partition is read. The task usually dequeues within milliseconds, and
/// librdkafka keeps its prefetched messages meanwhile.
const FULL_MESSAGES: usize = MAX_EVENTS;
const FULL_BYTES: usize = MAX_BYTES;
/// If a queue stays full for this long, its partition is paused, so that the others can be read.
/// Pausing drops the partition's prefetched messages. It is resumed when the queue is half empty.
const HOLD: Duration = Duration::from_secs(1);
/// Time for the tasks of revoked partitions to finish their current batch.
const DRAIN: Duration = Duration::from_secs(6);
/// No offset yet.
const NONE: i64 = -1;

/// Starts the task of a partition.
pub(crate) type Spawn = Box<
    dyn Fn(
            i32,
            UnboundedReceiver<Vec<Message>>,
            Arc<PartitionProgress>,
            CancellationToken,
        ) -> JoinHandle<()>
        + Send
        + Sync,
>;

struct PartitionQueue {
    sender: UnboundedSender<Vec<Message>>,
    /// Messages that the consumer's thread has read since the last flush.
    chunk: Vec<Message>,
    progress: Arc<PartitionProgress>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// The last offset delivered to the queue.
    delivered: i64,
    /// The last offset whose commit was requested. [`NONE`] while the broker reports another
    /// committed offset: the request may have failed.
    commit_requested: i64,
    /// Since when the queue is full; None while the partition is paused.
    full_since: Option<Instant>,
    /// Set while the partition is paused because its queue stayed full.
    paused: Option<PausedGuard>,
}

/// The queues of all partitions that are assigned to this worker. Only the consumer's thread uses
/// them (rebalance callbacks run there too), so the lock is uncontended; it is needed for `Sync`.
pub(crate) struct PartitionQueues {
    queues: Mutex<HashMap<i32, PartitionQueue>>,
    spawn: Spawn,
    runtime: Handle,
    metrics: WorkerMetrics,
    /// Notified when a task dequeues messages.
    room: Arc<Notify>,
}

/// Which partitions to pause and resume, and whether to stop reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) pause: Vec<i32>,
    pub(crate) resume: Vec<i32>,
    /// Read no partition for now: see [`PartitionQueues::wait_for_room`].
    pub(crate) hold: bool,
}

impl PartitionQueues {
    pub(crate) fn new(spawn: Spawn, runtime: Handle, metrics: WorkerMetrics) -> Self {
        Self {
            queues: Mutex::default(),
            spawn,
            runtime,
            metrics,
            room: Arc::default(),
        }
    }

    /// Starts the queue and the task of a newly assigned partition.
    pub(crate) fn open(&self, partition: i32) {
        let queue = self.start(partition);
        let mut queues = self.lock();
        if let Some(before) = queues.insert(partition, queue) {
            before.task.abort();
        }
        self.metrics.assigned(queues.len());
    }

    /// Adds the message to the chunk that [`PartitionQueues::flush`] sends to its partition's task.
    ///
    /// A lower offset means that the topic was deleted and created again: the task and the events
    /// that it parked are replaced. No message of the same topic is lost, because the consumer goes
    /// back only to the start of a topic.
    ///
    /// The last message may be delivered twice: if a rebalance occurs after librdkafka returned it
    /// and before librdkafka stored its offset, reading resumes with it. The repetition is dropped.
    pub(crate) fn deliver(&self, message: Message) {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(&message.partition) else {
            return;
        };
        if message.offset == queue.delivered && message.offset > 0 {
            return;
        }
        if message.offset <= queue.delivered {
            tracing::warn!(
                partition = message.partition,
                offset = message.offset,
                before = queue.delivered,
                "offsets start over: the topic was recreated"
            );
            let fresh = self.start(message.partition);
            std::mem::replace(queue, fresh).task.abort();
        }
        queue.delivered = message.offset;
        queue.progress.enqueued(message.size());
        queue.chunk.push(message);
    }

    /// Sends the delivered messages to the partitions' tasks, one chunk per partition.
    pub(crate) fn flush(&self) {
        for queue in self.lock().values_mut() {
            if !queue.chunk.is_empty() {
                // Fails only if the task has ended. Its messages are not committed, so the next
                // owner of the partition reads them again.
                queue.sender.send(mem::take(&mut queue.chunk)).ok();
            }
        }
    }

    /// Ends the tasks of these partitions after their current batch, or after [`DRAIN`]. Returns the
    /// offsets to commit, `(partition, offset)`, including those whose commit was requested before
    /// and may have failed.
    ///
    /// Panics if called within the Tokio runtime.
    pub(crate) fn close(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let mut closing: Vec<(i32, PartitionQueue)> = {
            let mut queues = self.lock();
            let closing = partitions
                .iter()
                .filter_map(|partition| Some((*partition, queues.remove(partition)?)))
                .collect();
            self.metrics.assigned(queues.len());
            closing
        };
        for (_, queue) in &closing {
            queue.stop.cancel();
        }
        let deadline = Instant::now() + DRAIN;
        self.runtime.block_on(async {
            for (partition, queue) in &mut closing {
                if timeout_at(deadline, &mut queue.task).await.is_err() {
                    tracing::warn!(partition, "abandoned unfinished work, which is done again");
                    queue.task.abort();
                }
            }
        });
        closing
            .iter()
            .filter_map(|(partition, queue)| Some((*partition, queue.progress.done()?)))
            .collect()
    }

    /// The paused ones of these partitions.
    pub(crate) fn paused(&self, partitions: &[i32]) -> Vec<i32> {
        let queues = self.lock();
        let is_paused = |partition: &i32| {
            let queue = queues.get(partition);
            queue.is_some_and(|queue| queue.paused.is_some())
        };
        partitions.iter().copied().filter(is_paused).collect()
    }

    /// All assigned partitions.
    pub(crate) fn all(&self) -> Vec<i32> {
        self.lock().keys().copied().collect()
    }

    /// The offsets to commit whose commit was not requested yet: `(partition, offset)`.
    pub(crate) fn take_uncommitted(&self) -> Vec<(i32, i64)> {
        let mut offsets = Vec::new();
        for (partition, queue) in self.lock().iter_mut() {
            if let Some(offset) = queue
                .progress
                .done()
                .filter(|done| *done != queue.commit_requested)
            {
                queue.commit_requested = offset;
                offsets.push((*partition, offset));
            }
        }
        offsets
    }

    /// Sets the partition's committed offset as the broker reports it, 0 if there is none. If the
    /// requested offset differs, its commit failed or is in flight: it is requested again, which is
    /// harmless.
    pub(crate) fn set_committed(&self, partition: i32, offset: i64) {
        if let Some(queue) = self.lock().get_mut(&partition) {
            queue.progress.set_committed(offset);
            if queue.commit_requested != offset {
                queue.commit_requested = NONE;
            }
        }
    }

    /// Which partitions to pause and resume since the last call, and whether to stop reading.
    pub(crate) fn flow(&self, now: Instant) -> Flow {
        let mut flow = Flow::default();
        for (partition, queue) in self.lock().iter_mut() {
            if queue.paused.is_some() {
                if !queue.progress.is_above(FULL_MESSAGES / 2, FULL_BYTES / 2) {
                    queue.paused = None;
                    flow.resume.push(*partition);
                }
            } else if !queue.progress.is_above(FULL_MESSAGES, FULL_BYTES) {
                queue.full_since = None;
            } else if now - *queue.full_since.get_or_insert(now) < HOLD {
                flow.hold = true;
            } else {
                queue.full_since = None;
                queue.paused = Some(self.metrics.paused(PauseReason::Full));
                flow.pause.push(*partition);
            }
        }
        flow
    }

    /// Waits until a task dequeues messages, for `at_most`.
    ///
    /// Panics if called within the Tokio runtime.
    pub(crate) fn wait_for_room(&self, at_most: Duration) {
        self.runtime
            .block_on(async { timeout(at_most, self.room.notified()).await.ok() });
    }

    fn start(&self, partition: i32) -> PartitionQueue {
        let (sender, receiver) = unbounded_channel();
        let progress = Arc::new(PartitionProgress::new(Arc::clone(&self.room)));
        let stop = CancellationToken::new();
        let task = (self.spawn)(partition, receiver, Arc::clone(&progress), stop.clone());
        PartitionQueue {
            sender,
            chunk: Vec::new(),
            progress,
            stop,
            task,
            delivered: NONE,
            commit_requested: NONE,
            full_since: None,
            paused: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, PartitionQueue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Health, Metrics};

    /// Queues whose tasks mark each message as done and send its offset to the test.
    fn queues(
        runtime: &tokio::runtime::Runtime,
    ) -> (PartitionQueues, std::sync::mpsc::Receiver<(i32, i64)>) {
        let (seen, offsets) = std::sync::mpsc::channel();
        let handle = runtime.handle().clone();
        let spawn: Spawn = Box::new(move |partition, mut inbox, progress, stop| {
            let seen = seen.clone();
            handle.spawn(async move {
                while let Some(Some(chunk)) = stop.run_until_cancelled(inbox.recv()).await {
                    for message in chunk {
                        progress.dequeued(1, message.size());
                        progress.done_before(message.offset + 1);
                        seen.send((partition, message.offset))
                            .expect("the test listens");
                    }
                }
            })
        });
        let metrics = Metrics::new(Health::default()).worker("t");
        (
            PartitionQueues::new(spawn, runtime.handle().clone(), metrics),
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
    fn a_done_offset_is_requested_again_until_it_is_committed() {
        let runtime = runtime();
        let (queues, offsets) = queues(&runtime);
        queues.open(0);
        assert_eq!(queues.take_uncommitted(), []);
        queues.deliver(message(5, 1));
        queues.flush();
        assert_eq!(offsets.recv_timeout(Duration::from_secs(5)), Ok((0, 5)));
        assert_eq!(queues.take_uncommitted(), [(0, 6)]);
        assert_eq!(queues.take_uncommitted(), []);
        queues.set_committed(0, 6);
        assert_eq!(queues.take_uncommitted(), []);
        queues.set_committed(0, 5);
        assert_eq!(queues.take_uncommitted(), [(0, 6)]);
        assert_eq!(queues.close(&[0]), [(0, 6)]);
        assert!(queues.all().is_empty());
    }

    #[test]
    fn lower_offsets_restart_the_task_of_the_partition() {
        let runtime = runtime();
        let (queues, offsets) = queues(&runtime);
        queues.open(0);
        for offset in [7, 0, 1] {
            queues.deliver(message(offset, 1));
            queues.flush();
            assert_eq!(
                offsets.recv_timeout(Duration::from_secs(5)),
                Ok((0, offset))
            );
        }
        assert_eq!(queues.take_uncommitted(), [(0, 2)]);
        // A repetition of the last message does not restart the task.
        for offset in [1, 2] {
            queues.deliver(message(offset, 1));
            queues.flush();
        }
        assert_eq!(offsets.recv_timeout(Duration::from_secs(5)), Ok((0, 2)));
        // A message of a revoked partition is dropped.
        queues.close(&[0]);
        queues.deliver(message(3, 1));
    }

    /// Queues with partition 0, whose task dequeues nothing, and its progress.
    fn idle_queue(runtime: &tokio::runtime::Runtime) -> (PartitionQueues, Arc<PartitionProgress>) {
        let progress = Arc::new(Mutex::new(None));
        let shown = Arc::clone(&progress);
        let handle = runtime.handle().clone();
        let spawn: Spawn = Box::new(move |_, inbox, progress, stop| {
            *shown.lock().expect("one thread") = Some(progress);
            handle.spawn(async move {
                stop.cancelled().await;
                drop(inbox);
            })
        });
        let metrics = Metrics::new(Health::default()).worker("t");
        let queues = PartitionQueues::new(spawn, runtime.handle().clone(), metrics);
        queues.open(0);
        let progress = progress
            .lock()
            .expect("one thread")
            .take()
            .expect("started");
        (queues, progress)
    }

    fn flow(pause: &[i32], resume: &[i32], hold: bool) -> Flow {
        Flow {
            pause: pause.to_vec(),
            resume: resume.to_vec(),
            hold,
        }
    }

    #[test]
    fn a_full_queue_stops_reading_and_is_paused_if_it_stays_full() {
        let runtime = runtime();
        let (queues, progress) = idle_queue(&runtime);
        let now = Instant::now();
        queues.deliver(message(0, FULL_BYTES));
        assert_eq!(queues.flow(now), flow(&[], &[], false));
        queues.deliver(message(1, 1));
        assert_eq!(queues.flow(now), flow(&[], &[], true));
        assert_eq!(queues.flow(now + HOLD), flow(&[0], &[], false));
        assert_eq!(queues.flow(now + HOLD), flow(&[], &[], false));
        progress.dequeued(1, FULL_BYTES);
        assert_eq!(queues.flow(now + HOLD), flow(&[], &[0], false));
        queues.close(&[0]);
    }

    #[test]
    fn a_full_queue_whose_task_dequeues_is_not_paused() {
        let runtime = runtime();
        let (queues, progress) = idle_queue(&runtime);
        let mut now = Instant::now();
        for offset in 0..10 {
            queues.deliver(message(offset, FULL_BYTES + 1));
            assert_eq!(queues.flow(now), flow(&[], &[], true));
            progress.dequeued(1, FULL_BYTES + 1);
            now += HOLD / 2;
            assert_eq!(queues.flow(now), flow(&[], &[], false));
        }
        queues.close(&[0]);
    }

    #[test]
    fn a_dequeue_ends_the_wait_for_room() {
        let runtime = runtime();
        let (queues, progress) = idle_queue(&runtime);
        queues.deliver(message(0, 1));
        progress.dequeued(1, 1);
        let began = Instant::now();
        queues.wait_for_room(Duration::from_secs(60));
        assert!(began.elapsed() < Duration::from_secs(30));
        queues.close(&[0]);
    }
}
