//! Dead letters: what was given up and why, sending it back, and cutting it off.
//!
//! - [`record_id`], [`dead_letter`]: what a dead letter is known by, and what its headers say;
//! - [`selection`]: which ones a command is about;
//! - [`journal`]: what was sent back, remembered on a topic beside the dead letters';
//! - [`lease`]: one run that changes anything at a time;
//! - [`summary`]: what there is, grouped; [`find`]: one of them, whole;
//! - [`plan`], [`replay`]: sending back, in rounds; [`purge`]: cutting off;
//! - [`dismiss`]: done with, because a test provoked it.
//!
//! docs/decisions/0008-replay.md says why it is so.

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
pub use record_id::RecordId;
pub use selection::Selection;

use declaration::{Group, LetterHeaders, Pipeline};
use diagnostics::{Error, Kind, Result};
pub use journal::journal_of;
use journal::{History, Journal};
use kafka::{Kafka, Partition, groups::meant, offsets::Offsets, read::Span, topics::TopicState};

/// What a long command tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So many letters of about so many were read.
    Reading { read: u64, of: i64 },
    /// Another run has the lease; it is awaited as long as it may be a dead one's.
    AwaitingLease { by: String },
    /// So many of so many were sent.
    Sent { sent: usize, of: usize },
    /// So many of so many went through.
    Passed { passed: usize, of: usize },
}

/// Where events go.
pub type ReportProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// How often reading is told of.
const REPORT_EVERY: u64 = 5_000;

/// How far groups have come, as far as it was asked for.
pub type CommittedOffsets = BTreeMap<String, Offsets>;

/// The dead-letter topic of a pipeline.
#[derive(Clone)]
pub struct DeadLetters {
    kafka: Kafka,
    topic: String,
    /// What the letters' headers are called.
    header_names: Arc<LetterHeaders>,
    topics: Arc<BTreeMap<String, TopicState>>,
    /// Topics that letters may be sent back to, each with the groups that read it.
    sources: Arc<BTreeMap<String, BTreeSet<String>>>,
    /// Who changes them, for a person.
    who: Arc<str>,
}

impl DeadLetters {
    /// # Errors
    /// The declaration names no dead-letter topic, it does not exist, or Kafka does not answer.
    pub async fn open(pipeline: &Pipeline, kafka: Kafka) -> Result<Self> {
        let topics = kafka.topics().await.map_err(unreachable)?;
        let topics = topics.into_iter().map(|t| (t.name.clone(), t)).collect();
        Self::with(pipeline, kafka, topics).await
    }

    /// As [`Self::open`], with topics that were asked for already.
    ///
    /// # Errors
    /// As there.
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
                let meant = meant(group, &there);
                meant.iter().map(|g| g.name.clone()).collect::<Vec<_>>()
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
        let sources = pipeline.topics.iter().map(|t| &t.name);
        let sources = sources.filter(|name| *name != topic);
        Ok(Self {
            kafka,
            topic: topic.clone(),
            header_names: Arc::new(pipeline.letter_headers.clone()),
            topics: Arc::new(topics),
            sources: Arc::new(sources.map(|t| (t.clone(), readers(t))).collect()),
            who: this_process().into(),
        })
    }

    /// For somebody else: a process that runs inside is one that nobody else sees.
    pub fn on_behalf_of(mut self, who: Option<&str>) -> Self {
        self.who = who.map_or(self.who, Arc::from);
        self
    }

    /// The dead-letter topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
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

    /// What was sent back so far; nothing where nothing ever was.
    ///
    /// # Errors
    /// Kafka does not answer, or the journal is not of this Caravan's making.
    pub async fn history(&self) -> Result<History> {
        let journal = self.journal();
        if self.topics.contains_key(journal.topic()) {
            journal.catch_up(History::default()).await
        } else {
            Ok(History::default())
        }
    }

    /// How far the groups have come that `history` waits for, and those that are declared.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn committed_offsets(&self, history: &History) -> Result<CommittedOffsets> {
        let mut asked: BTreeMap<&String, BTreeSet<Partition>> = BTreeMap::new();
        for (source, replay) in history.replays() {
            let declared = self.sources.get(&*source.topic).into_iter().flatten();
            for group in declared.chain(&replay.groups) {
                asked.entry(group).or_default().insert(source.partition());
            }
        }
        let asked = asked.into_iter().map(async |(group, partitions)| {
            let partitions: Vec<_> = partitions.into_iter().collect();
            let committed = self.kafka.committed(group, &partitions).await?;
            Ok::<_, kafka::Error>((group.clone(), committed))
        });
        let committed = futures_util::future::try_join_all(asked).await;
        Ok(committed.map_err(unreachable)?.into_iter().collect())
    }

    /// What stands on the dead-letter topic now.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn span(&self) -> Result<Span> {
        let span = self.kafka.span(&self.partitions()).await;
        span.map_err(unreachable)
    }

    /// Hands each letter of `span` to `see`, till `patience` is over or it breaks; gives `state`
    /// back, and whether all were read.
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

/// Kafka did not answer in the midst of the work.
fn unreachable(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Unreachable, "Kafka does not answer").because(why)
}

/// Not all letters could be looked at, and the command cannot do with some.
fn too_slow(span: &Span, patience: Duration) -> Error {
    let what = format!(
        "the dead letters, about {}, could not be read within {}",
        span.messages(),
        humantime::format_duration(patience)
    );
    Error::new(Kind::Deadline, what).hint("give it more time with --timeout")
}
