//! What a pipeline runs on, as a trait and its data: the containers of its services, their state, logs
//! and addresses; what `up` would do and did. Docker is one implementation (crate `docker`).
//!
//! `container` and `labels`: what there is; `logs`: what it wrote; `plan`, `event` and `report`: what
//! is to be done, is being done and was done; `question`: what only a service itself can answer;
//! `host_ports`: who has a host port.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use declaration::Pipeline;
use diagnostics::{Invocation, Result};
use futures_util::{future::BoxFuture, stream::BoxStream};
use tokio_util::sync::CancellationToken;

mod container;
mod event;
mod graph;
pub mod host_ports;
pub mod labels;
mod logs;
mod plan;
mod question;
mod report;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use container::{Container, Health, Settings, State, replicas};
pub use event::{Event, Events, Outcome};
pub use graph::with_dependencies;
pub use logs::{CutOff, Filter, LogLine, LogOptions, Logs, Scanned};
pub use plan::{Absent, Action, Drifted, Goal, Planned, Preview, Taken};
pub use question::{Answer, Answers, Departed, Inside, Question};
pub use report::{ServiceReport, UpReport};

/// Is shown each line of a log; true once it has found what it looks for.
pub type EachLine<'a> = &'a mut (dyn FnMut(LogLine) -> bool + Send);

/// A platform that answered.
///
/// All methods fail with `Unreachable` when it no longer answers.
pub trait Platform: Send + Sync {
    /// The project's containers.
    fn containers<'a>(&'a self, project: &'a str) -> BoxFuture<'a, Result<Vec<Container>>>;

    /// Of each service that has containers, those that are not as declared. An error concerns that
    /// service alone. Nothing is fetched or built.
    fn drifted<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        observed: &'a [Container],
    ) -> BoxFuture<'a, BTreeMap<String, Result<Vec<Drifted>>>>;

    /// Stored lines of several containers, by time.
    fn logs(&self, containers: &[Container], options: &LogOptions) -> Logs;

    /// Shows the first lines of a container's current run (or of its last one) to `each`, by time:
    /// `least` of them, and on to the one that `each` looks for; where that does not come, to the
    /// end of the beginning. The time this takes does not grow with the log.
    fn scan_beginning<'a>(
        &'a self,
        container: &'a Container,
        least: usize,
        each: EachLine<'a>,
    ) -> BoxFuture<'a, Result<Scanned>>;

    /// New lines of one container, those after `after` (exclusive), across restarts by the
    /// platform, until it has ended.
    fn follow<'a>(
        &'a self,
        container: &'a Container,
        after: Option<DateTime<Utc>>,
    ) -> BoxStream<'a, Result<LogLine>>;

    /// Brings a goal about and waits until its services are ready. What is right already is left
    /// alone.
    ///
    /// # Errors
    /// A service does not come up (its independent neighbours do); the deadline passes; cancelled.
    /// Containers stay as they are then, failed ones included.
    fn up<'a>(
        &'a self,
        goal: &'a Goal<'a>,
        invocation: &'a Invocation,
        deadline: Duration,
        events: &'a Events,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<UpReport>>;

    /// What [`Self::up`] would do. The platform is only asked.
    fn preview<'a>(
        &'a self,
        goal: &'a Goal<'a>,
        invocation: &'a Invocation,
    ) -> BoxFuture<'a, Result<Preview>>;
}
