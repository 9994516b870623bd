//! The flow of messages through the pipeline, as declared and as seen.
//!
//! The model, in the order in which data passes: `steps` derives from the declaration what a message
//! is expected to do, and has the types for what was seen of it; `unfollowed` finds what is declared and
//! not among these steps; `template` and `entry` fill in a message and send it; `sources` connects to
//! topics, tables and keys; `run` holds them together; `drain` waits until every consumer group has
//! consumed everything; `redeliver` sends the events again; `cleanup` deletes the rows; `missing` explains why a hop is missing.
//!
//! Three ways to look at it:
//! - `one`: one test message, watched at every hop while it passes.
//! - `many`: many test messages. While they pass, only offsets are read; afterwards each is looked up
//!   in topics and tables, because Kafka and Postgres store when everything was written.
//! - `trace`: an earlier message, searched in topics, logs and tables.

use std::time::Duration;

mod cleanup;
mod drain;
mod entry;
pub mod many;
mod missing;
pub mod one;
mod redeliver;
mod run;
mod sources;
mod steps;
mod template;
pub mod trace;
mod unfollowed;

pub use cleanup::{Cleanup, Collected, collect};
pub use missing::{Missing, Next};
pub use redeliver::{Change, Redelivery, Renamed};
pub use steps::{Found, Hop, HopPlace, Sighting, Step};
pub use unfollowed::Unfollowed;

use declaration::{Flow, Pipeline};
use diagnostics::{Error, Kind, Result};

/// What to send, and what to do with it.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many messages.
    pub count: usize,
    /// Messages per second; None: as fast as they are accepted.
    pub rate: Option<f64>,
    /// Maximum number of unanswered requests or events; None: the default of either.
    pub concurrency: Option<usize>,
    /// Produce the first events instead of sending requests to the entry service.
    pub direct: bool,
    /// Send every event again after all were consumed, and compare the rows.
    pub redeliver: bool,
    /// Send a few messages and a bad event between them, instead of `count` messages.
    pub poison: bool,
    /// Keep the rows.
    pub keep: bool,
    /// Time limit for the last hop, after the last message was sent.
    pub timeout: Duration,
}

impl Options {
    /// Whether one message is sent, which is watched at every hop: [`one::run`]. Otherwise
    /// [`many::run`].
    pub fn is_one(&self) -> bool {
        self.count == 1 && !self.poison
    }
}

/// Progress.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Number of hops of one message seen so far.
    Seen(usize),
    /// Messages are being sent.
    Sending {
        /// Messages sent so far.
        sent: usize,
        /// Messages to send.
        of: usize,
    },
    /// All messages were sent.
    Sent {
        /// Messages sent.
        sent: usize,
        /// Time since the first message was due.
        took: Duration,
    },
    /// Events on each topic since the start, in the order of the flow.
    Passing {
        /// Topic names and numbers of events.
        topics: Vec<(String, i64)>,
    },
    /// All consumer groups have consumed the messages' events.
    Passed {
        /// Messages that were sent.
        messages: usize,
        /// Time since the last message was sent.
        took: Duration,
    },
    /// Rows of a table are being counted.
    Checking {
        /// Table name as declared.
        table: String,
        /// Messages done.
        done: usize,
        /// Messages in all.
        of: usize,
    },
    /// Rows are being deleted.
    Cleaning {
        /// Messages done.
        done: usize,
        /// Messages in all.
        of: usize,
    },
}

/// How a run of one message or of many ended.
#[derive(Debug)]
pub struct Completion {
    /// What the consumer groups had not consumed at the end.
    pub pending: Option<String>,
    /// The result of the redelivery, or why it was not done; None: not requested.
    pub redelivery: Option<Result<Redelivery>>,
    /// Whether the test's rows and keys were deleted.
    pub cleanup: Cleanup,
    /// Tables whose rows are kept, as declared.
    pub kept: Vec<String>,
    /// What is declared and not part of the hops.
    pub unfollowed: Unfollowed,
    /// Topics that the flow excludes, as declared.
    pub excluded: Vec<String>,
}

impl Completion {
    /// Whether everything declared is followed, everything was consumed, the redelivery changed
    /// nothing, and the cleanup did not fail.
    pub fn is_right(&self) -> bool {
        let redelivery = self.redelivery.as_ref();
        self.unfollowed.is_empty()
            && self.pending.is_none()
            && redelivery.is_none_or(|again| again.as_ref().is_ok_and(Redelivery::is_right))
            && !matches!(self.cleanup, Cleanup::Failed(_))
    }
}

/// The declared flow.
///
/// # Errors
/// `Usage`: there is none.
fn declared(pipeline: &Pipeline) -> Result<&Flow> {
    pipeline.flow.as_ref().ok_or_else(|| {
        Error::new(Kind::Usage, "the declaration has no flow to follow")
            .hint("declare x-caravan.flow: how a message enters the pipeline")
    })
}
