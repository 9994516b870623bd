//! The platform that a pipeline runs on, as a trait and its data: containers with their state, logs and
//! addresses, and the plan and result of `up`. The crate `docker` implements it.
//!
//! `container` and `labels`: what exists; `logs`: log lines; `plan`, `event` and `report`: planned
//! steps, progress and result of `up`; `question`: what only a service itself can answer;
//! `host_ports`: which container or process uses a host port.

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
pub use plan::{Action, Drifted, Goal, MissingImage, Planned, PortConflict, Preview};
pub use question::{Answer, Answers, Departed, HostInfo, Question};
pub use report::{ServiceReport, UpReport};

/// Receives each line of a log. Returns true once it has found the line that it searches for.
pub type EachLine<'a> = &'a mut (dyn FnMut(LogLine) -> bool + Send);

/// A connected platform.
///
/// All methods fail with `Unreachable` if the connection is lost.
pub trait Platform: Send + Sync {
    /// The project's containers.
    fn containers<'a>(&'a self, project: &'a str) -> BoxFuture<'a, Result<Vec<Container>>>;

    /// For each service that has containers, those that differ from the declaration. An error concerns
    /// only that service. No image is pulled or built.
    fn drifted<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        observed: &'a [Container],
    ) -> BoxFuture<'a, BTreeMap<String, Result<Vec<Drifted>>>>;

    /// Stored lines of several containers, by time.
    fn logs(&self, containers: &[Container], options: &LogOptions) -> Logs;

    /// Passes the first lines of a container's current run (or of its last run) to `each`, by time. It
    /// passes at least `least` lines, and stops at the line that `each` searches for or at a fixed
    /// bound. The duration does not grow with the log.
    fn scan_beginning<'a>(
        &'a self,
        container: &'a Container,
        least: usize,
        each: EachLine<'a>,
    ) -> BoxFuture<'a, Result<Scanned>>;

    /// New lines of one container after the time `after` (exclusive). The stream continues across
    /// restarts by the restart policy, and ends when the container has exited.
    fn follow<'a>(
        &'a self,
        container: &'a Container,
        after: Option<DateTime<Utc>>,
    ) -> BoxStream<'a, Result<LogLine>>;

    /// Creates, recreates and starts containers to reach `goal`, and waits until its services are
    /// ready. Containers that already are as declared are not changed.
    ///
    /// # Errors
    /// A service fails to start (services that do not depend on it still start); the deadline passes;
    /// `cancel` is triggered. All containers, failed ones included, stay as they are.
    fn up<'a>(
        &'a self,
        goal: &'a Goal<'a>,
        invocation: &'a Invocation,
        deadline: Duration,
        events: &'a Events,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<UpReport>>;

    /// The steps that [`Self::up`] would perform. Changes nothing.
    fn preview<'a>(
        &'a self,
        goal: &'a Goal<'a>,
        invocation: &'a Invocation,
    ) -> BoxFuture<'a, Result<Preview>>;
}
