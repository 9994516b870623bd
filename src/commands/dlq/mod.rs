//! `caravan dlq`: a file per verb.

use std::{sync::Arc, time::Duration};

use super::{Verdict, topics};
use crate::{
    context::Context,
    flags::Format,
    output::{Spinner, dead_letters as output},
};
use declaration::Pipeline;
use diagnostics::{Error, Kind, Result};
use proof::dead_letters::{DeadLetters, RecordId, ReportProgress, Selection, selection::Choices};

mod list;
mod purge;
mod replay;
mod show;

/// List, show, replay and purge dead letters
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    #[command(visible_alias = "ls")]
    List(list::Args),
    Show(show::Args),
    Replay(replay::Args),
    Purge(purge::Args),
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match &self.verb {
            Verb::List(args) => args.output.output,
            Verb::Show(args) => args.output.output,
            Verb::Replay(args) => args.output.output,
            Verb::Purge(args) => args.output.output,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match &self.verb {
            Verb::List(_) => "dlq list",
            Verb::Show(_) => "dlq show",
            Verb::Replay(_) => "dlq replay",
            Verb::Purge(_) => "dlq purge",
        }
    }

    /// Whether the command stops cleanly: a replay ends between two rounds. The other commands change
    /// nothing, or everything in one request.
    pub(crate) fn stops_cleanly(&self) -> bool {
        matches!(self.verb, Verb::Replay(_))
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> Result<Verdict> {
    match &args.verb {
        Verb::List(args) => list::run(context, args).await,
        Verb::Show(args) => show::run(context, args).await,
        Verb::Replay(args) => Box::pin(replay::run(context, args)).await,
        Verb::Purge(args) => Box::pin(purge::run(context, args)).await,
    }
}

/// A selection of dead letters: all flags must match; of several values of one flag, any.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct SelectionArgs {
    /// A message or dead letter: TOPIC/PARTITION/OFFSET
    #[arg(value_name = "RECORD")]
    places: Vec<RecordId>,
    /// Only those with this reason
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Only those of messages of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Only those of this consumer group
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Only those that are at least this old
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only those that are younger
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
}

impl SelectionArgs {
    fn selection(&self) -> Result<Selection> {
        if let (Some(older), Some(newer)) = (self.older_than, self.newer_than)
            && older >= newer
        {
            let text = declaration::units::exact;
            let what = format!(
                "no dead letter is older than {} and newer than {}",
                text(older),
                text(newer)
            );
            return Err(Error::new(Kind::Usage, what)
                .hint("--older-than is the younger end: --older-than 1h --newer-than 2h"));
        }
        Ok(Selection {
            places: self.places.clone(),
            reasons: self.reason.clone(),
            topics: self.topic.clone(),
            groups: self.group.clone(),
            older_than: self.older_than,
            newer_than: self.newer_than,
        })
    }

    /// As [`Self::selection`], but selecting everything needs `--all`.
    fn explicit(&self, context: &Context, verb: &str, all: bool) -> Result<Selection> {
        let selection = self.selection()?;
        match (selection.is_empty(), all) {
            (true, true) | (false, false) => Ok(selection),
            (true, false) => Err(Error::new(
                Kind::Usage,
                format!("no dead letters to {verb} are selected"),
            )
            .because(
                "name records, or select with --reason, --topic, --group or an age, or give --all",
            )
            .hint(context.invocation.command("dlq list"))),
            (false, true) => Err(Error::new(
                Kind::Usage,
                "--all cannot be combined with a selection",
            )),
        }
    }
}

/// The dead letters of the declared pipeline.
async fn open(context: &Context, pipeline: &Pipeline) -> Result<DeadLetters> {
    let kafka = topics::connect(context, pipeline).await?;
    let opened = DeadLetters::open(pipeline, kafka).await;
    opened
        .map(|dead_letters| dead_letters.on_behalf_of(context.who()))
        .map_err(|error| remedied(context, error))
}

/// Adds the next command to an error without a hint.
fn remedied(context: &Context, mut error: Error) -> Error {
    let next = match error.kind {
        Kind::Unreachable | Kind::NotRight => "up",
        Kind::Deadline => "groups",
        Kind::Usage => "dlq list",
        Kind::Interrupted | Kind::Defect => return error,
    };
    error
        .hint
        .get_or_insert_with(|| context.invocation.command(next));
    error
}

/// An error if the selection matches nothing: it is probably a typing error.
fn expect_known(context: &Context, choices: &Choices, selection: &Selection) -> Result<()> {
    match choices.unknown(selection) {
        None => Ok(()),
        Some((what, there)) => {
            let mut error = Error::new(Kind::NotRight, what);
            if !there.is_empty() {
                error = error.because(there);
            }
            Err(error.hint(context.invocation.command("dlq list")))
        }
    }
}

/// Shows the progress of a long command: a spinner on a terminal, otherwise a line per milestone.
fn progress_reporter(context: &Context, what: &str) -> (ReportProgress, Spinner) {
    let spinner = context.console.spinner(what);
    let (bar, console) = (spinner.clone(), Arc::clone(&context.console));
    let report: ReportProgress = Arc::new(move |progress| {
        let text = output::progress(&progress);
        if console.live {
            bar.set_message(&text);
        } else if output::is_milestone(&progress) {
            console.note(&text);
        }
    });
    (report, spinner)
}
