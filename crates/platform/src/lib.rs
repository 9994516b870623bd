//! The platform that a pipeline runs on, as a trait and its data. The crate `docker` implements it; another
//! platform implements the same trait, and no command changes.
//!
//! `container` and `deployment`: what exists; `logs`: log lines; `plan`, `event` and `report`: planned
//! steps, progress and result of `up`; `inside`: a command on the pipeline's network; `question`: what
//! only a service itself can answer; `host_ports`: which container or process uses a host port.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use chrono::{DateTime, Utc};
use declaration::Pipeline;
use diagnostics::{Invocation, Result};
use futures_util::{future::BoxFuture, stream::BoxStream};
use host_ports::UsedPorts;
use tokio_util::sync::CancellationToken;

mod container;
mod deployment;
mod event;
mod graph;
pub mod host_ports;
mod inside;
mod logs;
mod plan;
mod question;
mod report;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use container::{Container, Health, Settings, State, replicas};
pub use deployment::Deployment;
pub use event::{Event, Events, Outcome};
pub use graph::with_dependencies;
pub use inside::{Connection, Inside};
pub use logs::{CutOff, Filter, LogLine, LogOptions, Logs, OnLostLines, Scanned};
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

    /// The containers of all projects, by project.
    fn projects(&self) -> BoxFuture<'_, Result<BTreeMap<String, Vec<Container>>>>;

    /// Where a project is reached, and what it was created from. `queried_ports` are the host ports that
    /// the caller is about to connect to: a process outside the platform may listen on one of them.
    fn deployment<'a>(
        &'a self,
        project: &'a str,
        queried_ports: &'a BTreeSet<u16>,
    ) -> BoxFuture<'a, Result<Deployment>>;

    /// Names of the project's volumes.
    fn volumes<'a>(&'a self, project: &'a str) -> BoxFuture<'a, Result<Vec<String>>>;

    /// Those of the named volumes that exist, whichever project they belong to.
    fn existing_volumes<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>>;

    /// The host ports that containers of all projects publish.
    fn used_ports(&self) -> BoxFuture<'_, Result<UsedPorts>>;

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

    /// The stored lines of `containers`, then new lines of all present and future containers of the
    /// `services` (of all services, if none is named). The stream ends only with an error.
    fn follow_services(
        &self,
        project: &str,
        services: Vec<String>,
        containers: &[Container],
        options: LogOptions,
        on_lost: OnLostLines,
    ) -> BoxStream<'static, Result<LogLine>>;

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

    /// Restarts the existing containers of the named services (of all services, if none is named), and
    /// waits until they are ready. Completed one-shot services run again only if named.
    ///
    /// # Errors
    /// A service is not deployed; see [`Self::up`] for the rest.
    fn restart<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        services: &'a [String],
        invocation: &'a Invocation,
        deadline: Duration,
        events: &'a Events,
        cancel: CancellationToken,
    ) -> BoxFuture<'a, Result<UpReport>>;

    /// Stops and removes a project without its declaration, each container before its dependencies.
    /// `volumes`: its volumes too.
    ///
    /// # Errors
    /// The platform refuses. What was removed before stays removed.
    fn down<'a>(
        &'a self,
        project: &'a str,
        volumes: bool,
        events: &'a Events,
    ) -> BoxFuture<'a, Result<()>>;

    /// Those of these networks of the pipeline that exist.
    fn existing_networks<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<String>>>;

    /// A new name for a command that runs inside.
    fn inside_name(&self, pipeline: &Pipeline) -> String;

    /// Starts `command` of Caravan's own image on these networks of the pipeline. Also after an error, the
    /// caller removes it with [`Self::remove_inside`].
    fn start_inside<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        name: &'a str,
        networks: &'a [String],
        command: &'a [&'a str],
    ) -> BoxFuture<'a, Result<Inside>>;

    /// Ends and removes a command that runs inside, if it exists.
    fn remove_inside<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>>;

    /// A new connection to the platform's API, for a command inside, which cannot connect itself.
    fn open_connection(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>>;

    /// The address of the platform's API, for messages.
    fn address(&self) -> &str;
}
