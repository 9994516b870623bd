//! Dead letters: list, show, replay, dismiss and delete them.
//!
//! - [`record_id`]: topic, partition and offset of a record; [`dead_letter`]: its headers;
//! - [`selection`]: which dead letters a command processes;
//! - [`journal`]: the replays so far, stored on a topic of their own;
//! - [`holder`]: which run the journal's records name as holder of the lease; [`lease`]: allows only
//!   one run at a time to change anything;
//! - [`summary`]: counts by topic, group, reason and age; [`find`]: one dead letter with its
//!   payload;
//! - [`plan`], [`replay`]: sends records back to their source topics; [`purge`]: deletes them;
//! - [`dismiss`]: marks dead letters that a test caused.
//!
//! docs/decisions/0008-replay.md has the reasons.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::BorrowedMessage;

pub mod dead_letter;
mod dismiss;
pub mod find;
mod holder;
pub mod journal;
mod lease;
pub mod plan;
pub mod purge;
mod record_id;
pub mod replay;
pub mod selection;
pub mod summary;

pub use dead_letter::DeadLetter;
pub use lease::this_process;
pub use record_id::{InvalidRecordId, RecordId};
pub use selection::Selection;

use declaration::{DeadLetterHeaders, Group, Pipeline, correlation::EventPart};
use diagnostics::{Error, Kind, Result};
pub use journal::journal_of;
use journal::{History, Journal};
use kafka::{
    Kafka, Partition, groups::matching_groups, offsets::Offsets, read::Span, topics::TopicState,
};

/// Progress of a long command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Dead letters were read.
    Reading {
        /// Records read so far.
        read: u64,
        /// Approximate number of records to read.
        of: i64,
    },
    /// Another run holds the lease. This run waits until the lease is renewed or expires.
    AwaitingLease {
        /// The holder, as shown to users.
        by: String,
    },
    /// Records were sent.
    Sent {
        /// Records sent so far.
        sent: usize,
        /// Records to send.
        of: usize,
    },
    /// The groups have passed records and did not dead-letter them again.
    Passed {
        /// Records passed so far.
        passed: usize,
        /// Records to send.
        of: usize,
    },
}

/// Receives progress.
pub type ReportProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Progress is reported once for this many records.
const REPORT_EVERY: u64 = 5_000;

/// Committed offsets by consumer group.
pub type CommittedOffsets = BTreeMap<String, Offsets>;

/// The dead-letter topic of a pipeline.
#[derive(Clone)]
pub struct DeadLetters {
    kafka: Kafka,
    topic: String,
    /// Names of the dead letters' headers.
    header_names: Arc<DeadLetterHeaders>,
    topics: Arc<BTreeMap<String, TopicState>>,
    /// Topics that records may be replayed to, each with the consumer groups that read it.
    sources: Arc<BTreeMap<String, BTreeSet<String>>>,
    /// Events of the flow are JSON: their correlation id is a part of their body.
    expects_json: bool,
    /// The process that makes changes, as shown to users.
    who: Arc<str>,
}

impl DeadLetters {
    /// Opens the dead-letter topic of a pipeline.
    ///
    /// # Errors
    /// The declaration names no dead-letter topic, it does not exist, or Kafka does not answer.
    pub async fn open(pipeline: &Pipeline, kafka: Kafka) -> Result<Self> {
        let topics = kafka.topics().await.map_err(unreachable)?;
        let topics = topics.into_iter().map(|t| (t.name.clone(), t)).collect();
        Self::with(pipeline, kafka, topics).await
    }

    /// Like [`Self::open`], with topics that the caller has already listed.
    ///
    /// # Errors
    /// See [`Self::open`].
    pub async fn with(
        pipeline: &Pipeline,
        kafka: Kafka,
        topics: BTreeMap<String, TopicState>,
    ) -> Result<Self> {
        let Some(topic) = &pipeline.dead_letters else {
            let what = "the declaration names no dead-letter topic";
            return Err(Error::new(Kind::Usage, what)
                .hint("declare x-caravan.dead-letters, one of x-caravan.topics"));
        };
        if !topics.contains_key(topic) {
            let what = format!("the dead-letter topic {topic} does not exist");
            return Err(Error::new(Kind::NotRight, what));
        }
        let declared = pipeline.services.iter().filter_map(|s| s.group.as_ref());
        let begin_alike: Vec<_> = declared.filter(|g| g.name().is_none()).collect();
        let there = kafka.groups_of(&begin_alike).await.map_err(unreachable)?;
        let names = |group: &Group| match group.name() {
            Some(name) => vec![name.to_owned()],
            None => {
                let matching = matching_groups(group, &there);
                matching.iter().map(|g| g.name.clone()).collect::<Vec<_>>()
            }
        };
        let readers = |topic: &String| -> BTreeSet<String> {
            let services = pipeline.services.iter();
            let services = services.filter(|s| s.consumes.contains(topic));
            services
                .filter_map(|s| s.group.as_ref())
                .flat_map(names)
                .collect()
        };
        let is_body = |part: &EventPart| matches!(part, EventPart::Body(_));
        let flow = pipeline.flow.as_ref();
        let sources = pipeline.topics.iter().map(|t| &t.name);
        let sources = sources.filter(|name| *name != topic);
        Ok(Self {
            kafka,
            topic: topic.clone(),
            header_names: Arc::new(pipeline.dead_letter_headers.clone()),
            topics: Arc::new(topics),
            sources: Arc::new(sources.map(|t| (t.clone(), readers(t))).collect()),
            expects_json: flow.is_some_and(|flow| flow.correlation.event.iter().any(is_body)),
            who: this_process().into(),
        })
    }

    /// Names another process as the lease holder. A process inside a container is not visible to
    /// users, so it acts for the one that started it.
    pub fn on_behalf_of(mut self, who: Option<&str>) -> Self {
        self.who = who.map_or(self.who, Arc::from);
        self
    }

    /// Name of the dead-letter topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Whether a record with this payload fails whenever it is replayed: it is not JSON, and events are.
    pub fn is_unreadable(&self, payload: Option<&[u8]>) -> bool {
        let is_json = |text| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
        self.expects_json && !payload.is_some_and(is_json)
    }

    fn partitions(&self) -> Vec<Partition> {
        self.partitions_of(&self.topic)
    }

    fn partitions_of(&self, topic: &str) -> Vec<Partition> {
        let count = self.topics.get(topic).map_or(0, |t| t.partitions);
        (0..count).map(|p| (topic.to_owned(), p)).collect()
    }

    fn journal(&self) -> Journal {
        Journal::new(self.kafka.clone(), &self.topic, Arc::clone(&self.who))
    }

    /// Reads the journal; empty if its topic does not exist.
    ///
    /// # Errors
    /// Kafka does not answer, or the journal has a record that this version cannot read.
    pub async fn history(&self) -> Result<History> {
        let journal = self.journal();
        if self.topics.contains_key(journal.topic()) {
            journal.catch_up(History::default()).await
        } else {
            Ok(History::default())
        }
    }

    /// Committed offsets, on the replays' source partitions, of the groups that `history` names and
    /// of the declared ones.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn committed_offsets(&self, history: &History) -> Result<CommittedOffsets> {
        let mut partitions_of_group: BTreeMap<&String, BTreeSet<Partition>> = BTreeMap::new();
        for (source, replay) in history.replays() {
            let declared = self.sources.get(&*source.topic).into_iter().flatten();
            for group in declared.chain(&replay.groups) {
                partitions_of_group
                    .entry(group)
                    .or_default()
                    .insert(source.partition());
            }
        }
        let partitions_of_group =
            partitions_of_group
                .into_iter()
                .map(async |(group, partitions)| {
                    let partitions: Vec<_> = partitions.into_iter().collect();
                    let committed = self.kafka.committed_offsets(group, &partitions).await?;
                    Ok::<_, kafka::Error>((group.clone(), committed))
                });
        let committed = futures_util::future::try_join_all(partitions_of_group).await;
        Ok(committed.map_err(unreachable)?.into_iter().collect())
    }

    /// First and end offset of each partition of the dead-letter topic.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn span(&self) -> Result<Span> {
        let span = self.kafka.span(&self.partitions()).await;
        span.map_err(unreachable)
    }

    /// Passes all dead letters of `span` to `note`. Returns `state`.
    ///
    /// # Errors
    /// Kafka does not answer, or not all of them could be read within `patience`.
    async fn all<T: Send + 'static>(
        &self,
        span: Span,
        patience: Duration,
        report: ReportProgress,
        state: T,
        mut note: impl FnMut(&mut T, DeadLetter) + Send + 'static,
    ) -> Result<T> {
        let see = move |state: &mut T, dead_letter, _: &BorrowedMessage<'_>| {
            note(state, dead_letter);
            ControlFlow::Continue(())
        };
        let read = self.each(span.clone(), patience, report, state, see);
        match read.await? {
            (state, true) => Ok(state),
            (_, false) => Err(too_slow(&span, patience)),
        }
    }

    /// Passes each dead letter of `span` to `see` until `see` breaks or `patience` is over. Returns
    /// `state`, and whether all were read.
    async fn each<T: Send + 'static>(
        &self,
        span: Span,
        patience: Duration,
        report: ReportProgress,
        state: T,
        mut see: impl FnMut(&mut T, DeadLetter, &BorrowedMessage<'_>) -> ControlFlow<()>
        + Send
        + 'static,
    ) -> Result<(T, bool)> {
        let of = span.messages();
        let deadline = Instant::now() + patience;
        let mut read = 0;
        let header_names = Arc::clone(&self.header_names);
        self.kafka
            .read(span, deadline, state, move |state, message| {
                read += 1;
                if read % REPORT_EVERY == 0 {
                    report(Progress::Reading { read, of });
                }
                see(state, DeadLetter::of(message, &header_names), message)
            })
            .await
            .map_err(unreachable)
    }
}

/// Kafka did not answer.
fn unreachable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unreachable, "Kafka does not answer").because(why)
}

/// Not all dead letters could be read in time, and the command needs all of them.
fn too_slow(span: &Span, patience: Duration) -> Error {
    let what = format!(
        "the dead letters, about {}, could not be read within {}",
        span.messages(),
        declaration::units::exact(patience)
    );
    Error::new(Kind::Deadline, what).hint("give it more time with --timeout")
}
