//! What one test message and many have in common: how they enter, what is open, and how a run ends.

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    Cleanup, Completion, Options, Progress, cleanup,
    entry::Sender,
    redeliver::Redelivery,
    sources::{Tables, Topics},
    steps::{self, HopPlace, Step},
    unfollowed::{Unfollowed, unfollowed},
};
use declaration::{Flow, Pipeline};
use diagnostics::{Error, Kind, Result};
use kafka::offsets::Offsets;

/// The parts that do not change during a run.
pub(super) struct Run<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) flow: &'a Flow,
    pub(super) sender: Sender<'a>,
    /// The steps that are watched.
    pub(super) steps: Vec<Step>,
    /// Places of the steps that are not watched.
    pub(super) not_watched: Vec<HopPlace>,
    pub(super) unfollowed: Unfollowed,
    pub(super) topics: Option<Topics>,
    pub(super) tables: Option<Tables>,
    pub(super) options: Options,
    pub(super) cancel: CancellationToken,
    progress: UnboundedSender<Progress>,
}

/// A message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TestMessage {
    /// Its correlation id.
    pub(super) id: Box<str>,
    /// When it was due, in microseconds since the epoch. Latencies are counted from here, so that a
    /// late sender does not hide them (coordinated omission).
    pub(super) due: i64,
    /// When the entry service answered, or Kafka acknowledged the event.
    pub(super) accepted: i64,
}

impl TestMessage {
    /// The index of the message with this id; `messages` are sorted by id.
    pub(super) fn find(messages: &[Self], id: &str) -> Option<usize> {
        messages
            .binary_search_by(|message| (*message.id).cmp(id))
            .ok()
    }
}

impl<'a> Run<'a> {
    /// Connects to all that is watched. Log lines and Redis keys are watched of one message only.
    ///
    /// # Errors
    /// `Usage`: the declaration has no flow, or no event for `direct`. `Unreachable`: Kafka or
    /// Postgres do not answer.
    pub(super) async fn open(
        pipeline: &'a Pipeline,
        options: Options,
        cancel: CancellationToken,
        progress: UnboundedSender<Progress>,
    ) -> Result<Self> {
        let flow = super::declared(pipeline)?;
        let options = Options {
            direct: options.direct || options.poison || flow.entry.is_none(),
            ..options
        };
        let sender = Sender::open(pipeline, flow, options)?;
        let watched = |step: &Step| match step.place {
            HopPlace::Entry { .. } | HopPlace::Topic { .. } | HopPlace::Table { .. } => true,
            HopPlace::Log { .. } | HopPlace::Cache { .. } => options.is_one(),
        };
        let steps = steps::steps(pipeline, flow, sender.start()).into_iter();
        let (steps, not_watched): (Vec<_>, Vec<_>) = steps.partition(watched);
        let ready = async {
            sender.ready().await;
            Ok(())
        };
        let (topics, tables, ()) = tokio::try_join!(
            Topics::open(pipeline, flow, &steps),
            Tables::open(pipeline, &steps, options.keep),
            ready,
        )?;
        Ok(Self {
            pipeline,
            flow,
            sender,
            steps,
            not_watched: not_watched.into_iter().map(|step| step.place).collect(),
            unfollowed: unfollowed(pipeline, flow),
            topics,
            tables,
            options,
            cancel,
            progress,
        })
    }

    pub(super) fn report(&self, progress: Progress) {
        // An error means that nobody receives progress.
        let _unwatched = self.progress.send(progress);
    }

    /// Sends all events after `from` again, if that was requested. `complete`: whether every message
    /// went through as declared.
    pub(super) async fn again(
        &self,
        messages: &[TestMessage],
        from: &Offsets,
        complete: bool,
    ) -> Option<Result<Redelivery>> {
        if !self.options.redeliver || self.cancel.is_cancelled() {
            return None;
        }
        let Some(topics) = self.topics.as_ref().filter(|_| complete) else {
            let noun = self.flow.noun.one();
            let what = format!("not every {noun} went through as declared");
            return Some(Err(Error::new(Kind::NotRight, what)));
        };
        // The report gives the reason of an error; the run itself does not fail.
        Some(self.redeliver(topics, messages, from).await)
    }

    /// Deletes the rows of `messages`. `pending`: what was not consumed; then nothing is deleted,
    /// because a worker that still has to consume an event would write rows without the ones that
    /// they depend on.
    pub(super) async fn clean(&self, messages: &[TestMessage], pending: Option<String>) -> Cleanup {
        if self.options.keep {
            return Cleanup::Kept;
        }
        let pending = pending.or_else(|| {
            let names = self.unfollowed.names();
            (!self.unfollowed.is_empty()).then(|| format!("whether {names} are done is unknown"))
        });
        let Some(why) = pending else {
            return match &self.tables {
                Some(tables) => cleanup::clean(self, tables, messages).await,
                None => Cleanup::Nothing,
            };
        };
        let noun = &self.flow.noun;
        let rows = match messages.len() {
            1 => "its rows".to_owned(),
            count => format!("the rows of all {count} {}", noun.many()),
        };
        Cleanup::Left(cleanup::left_rows(self.pipeline, why, &rows))
    }

    /// How the run ended.
    pub(super) fn completion(
        self,
        pending: Option<String>,
        redelivery: Option<Result<Redelivery>>,
        cleanup: Cleanup,
    ) -> Completion {
        Completion {
            pending,
            redelivery,
            kept: match &cleanup {
                Cleanup::Deleted(_) | Cleanup::Nothing => steps::kept(self.pipeline, &self.steps),
                Cleanup::Kept | Cleanup::Failed(_) | Cleanup::Left(_) => Vec::new(),
            },
            cleanup,
            unfollowed: self.unfollowed,
            excluded: self.flow.excludes.clone(),
        }
    }
}

/// The run was interrupted; says what became of the rows.
pub(super) fn interrupted(what: String, cleanup: &Cleanup) -> Error {
    let error = Error::new(Kind::Interrupted, format!("interrupted: {what}"));
    match cleanup {
        Cleanup::Nothing => error,
        Cleanup::Kept => error.because("the test's rows are kept"),
        Cleanup::Deleted(deleted) => {
            let rows: u64 = deleted.rows.iter().map(|(_, rows)| rows).sum();
            let left = deleted.left.iter().map(|left| left.table.as_str());
            let error = error.because(format!("the test's {rows} rows were deleted"));
            left.fold(error, |error, table| {
                error.because(format!(
                    "rows of {table} that are not proven to be the test's are left"
                ))
            })
        }
        Cleanup::Failed(why) => error.because(format!("not cleaned up: {why}")),
        Cleanup::Left(left) => error.because(format!("not cleaned up: {left}")),
    }
}
