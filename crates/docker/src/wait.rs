//! Waits for containers, by Docker's inspection, events and health checks and by the container's log and
//! protocol. A wait fails as soon as it can no longer succeed.

use std::{
    collections::HashMap,
    convert::Infallible,
    time::{Duration, Instant},
};

use bollard::query_parameters::EventsOptionsBuilder;
use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;

use crate::{
    connect::Engine,
    hindrance::{Hindrance, SETTLED, UNHEALTHY, hindrance},
    refusal::is_disk_full,
    rotation,
};
use declaration::{Endpoint, Pattern, Pipeline, Ready, Restart, Service};
use diagnostics::Error;
use platform::Question;
use platform::{Container, LogLine, State};

/// Restarts by Docker's policy after which a container counts as failed. Docker waits 100 ms before the first
/// restart and doubles the delay each time, so a dependency had 3 s to appear.
const RESTARTS: i64 = 5;
/// Docker's default for a health check without `retries`.
const RETRIES: i64 = 3;
/// How many of a container's last lines are searched for a full disk.
const LAST_WORDS: usize = 10;
/// The longest time between inspections, in case an event is lost.
const LONGEST_POLL: Duration = Duration::from_secs(2);
/// After this time without a new line, a full log is taken for one that rotated before it was read.
const QUIET: Duration = Duration::from_secs(2);
/// For how long after `up` begins to follow a log its lines may rotate away before they are read.
const FLOOD: TimeDelta = TimeDelta::seconds(1);
/// The time between inspections of a container that has to keep running.
const POLL: Duration = Duration::from_millis(250);

/// Why a container will not become ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// It exited. For a one-shot that is the goal.
    Ended(Container),
    /// Docker's restart policy restarted it too often.
    Looping(Container),
    /// It exited because a disk is full; a restart does not help.
    DiskFull(Container),
    /// Its health check used up its retries.
    Unhealthy(Container),
    /// It rejects the password, with this message.
    Refused(Container, String),
    /// Somebody removed it.
    Gone,
    /// Docker itself failed.
    Docker(Error),
}

impl From<Error> for NotReady {
    fn from(e: Error) -> Self {
        Self::Docker(e)
    }
}

/// How the wait for a startup line ended.
enum Startup {
    /// The line was written.
    Written,
    /// The log cannot be read, or rotation deleted its beginning.
    Unreadable,
    /// The run ended without it.
    Ended,
}

/// A container to wait for.
pub(super) struct Waiting<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) service: &'a Service,
    pub(super) container: &'a Container,
    /// Whether this command started it, so that its log has just begun.
    pub(super) fresh: bool,
    /// Called with a short text: what the wait is for.
    pub(super) report: &'a (dyn Fn(&str) + Sync),
}

/// How many restarts and failed probes a wait tolerates, counted from the container's state when the wait
/// begins: a cause that was just fixed lets a failing container recover.
#[derive(Debug, Clone, Copy)]
struct WaitLimits {
    /// Restarts by Docker's policy, since the container was last started by hand.
    restarts: i64,
    /// Restarts before the wait.
    before: i64,
    /// Failed probes in a row.
    probes: i64,
}

impl WaitLimits {
    /// A container with too many restarts already fails at the next one. A container that is unhealthy already
    /// fails when as many further probes fail as its health check's retries.
    fn with(service: &Service, container: &Container) -> Self {
        let restarts = match service.restart {
            // Docker itself enforces the declared limit.
            Restart::OnFailure(Some(_)) => i64::MAX,
            Restart::No | Restart::Always | Restart::UnlessStopped | Restart::OnFailure(None) => {
                RESTARTS
            }
        };
        let retries = service.healthcheck.as_ref().and_then(|h| h.retries);
        let unhealthy = container.health.as_ref().filter(|h| h.status == UNHEALTHY);
        Self {
            restarts: restarts.max(container.restart_count + 1),
            before: container.restart_count,
            probes: unhealthy.map_or(1, |h| h.failing_streak + retries.unwrap_or(RETRIES)),
        }
    }

    /// How the wait fails; None: the container may still become ready.
    fn judge(self, container: &Container) -> Option<fn(Container) -> NotReady> {
        match container.state {
            State::Exited | State::Dead => Some(NotReady::Ended),
            State::Running | State::Restarting if container.restart_count >= self.restarts => {
                Some(NotReady::Looping)
            }
            State::Running if self.is_unhealthy(container) => Some(NotReady::Unhealthy),
            State::Created
            | State::Running
            | State::Paused
            | State::Restarting
            | State::Removing
            | State::Unknown => None,
        }
    }

    /// Docker reports `unhealthy` once the start period is over and `retries` probes have failed in a row. (It
    /// also reports a paused container as unhealthy, without a failed probe.)
    fn is_unhealthy(self, container: &Container) -> bool {
        let health = container.health.as_ref();
        health.is_some_and(|h| h.status == UNHEALTHY && h.failing_streak >= self.probes)
    }
}

impl Engine {
    /// Waits until a service's container is ready; returns it as it was in that run. In its current run it has to write its startup line and
    /// then answer its protocol. If neither is declared, its health check has to pass; without one, it has to
    /// run for a second. It must not be unhealthy, and after a restart by Docker it has to run for 10 s.
    ///
    /// # Errors
    /// It exited, restarts too often, or is unhealthy.
    pub(super) async fn until_ready(&self, waiting: &Waiting<'_>) -> Result<Container, NotReady> {
        let id = &waiting.container.id;
        tokio::select! {
            ready = self.conditions(waiting) => ready,
            ended = self.watch(id, waiting.service, |_| None::<Infallible>) => match ended {
                Ok(never) => match never {},
                Err(why) => Err(why),
            }
        }
    }

    /// Checks the conditions again if Docker restarted the container meanwhile: they hold for one run only.
    async fn conditions(&self, waiting: &Waiting<'_>) -> Result<Container, NotReady> {
        loop {
            let run = self.running(&waiting.container.id).await?;
            let Some(proven) = self.prove(waiting, &run).await? else {
                continue;
            };
            let least = if proven { Duration::ZERO } else { SETTLED };
            if self.holds(waiting, &run, least).await? {
                return Ok(run);
            }
        }
    }

    /// Waits until a container runs. The concurrent [`Self::watch`] ends the wait if it never will.
    async fn running(&self, id: &str) -> Result<Container, NotReady> {
        loop {
            let container = self.inspect(id).await?.ok_or(NotReady::Gone)?;
            if container.state == State::Running {
                return Ok(container);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a run meets its declared conditions. False: none is declared, or its log cannot be read;
    /// None: the run ended before.
    async fn prove(
        &self,
        waiting: &Waiting<'_>,
        run: &Container,
    ) -> Result<Option<bool>, NotReady> {
        let Waiting {
            pipeline,
            service,
            report,
            ..
        } = waiting;
        let mut proven = false;
        if let Some(line) = &service.startup {
            report("waiting for its startup line");
            match self.startup_line(run, line, waiting.fresh).await? {
                Startup::Written => proven = true,
                Startup::Unreadable => {}
                Startup::Ended => return Ok(None),
            }
        }
        if let Some((kind, endpoint)) = endpoint(pipeline, service) {
            report("waiting for it to answer");
            let address = endpoint.address.clone();
            let question = Question::Ready { kind, address };
            // An error of the query itself is no failure: the service may still become ready.
            let answer = self.ask(pipeline, &endpoint.address, &question).await?;
            if let Ok(Some(why)) = answer {
                return Err(NotReady::Refused(run.clone(), why));
            }
            proven = true;
        }
        if !proven && run.health.is_some() {
            report("waiting for its health check");
            let healthy = |c: &Container| {
                let health = c.health.as_ref();
                health.is_some_and(|h| h.status == "healthy").then_some(())
            };
            self.watch(&run.id, service, healthy).await?;
            proven = true;
        }
        Ok(Some(proven))
    }

    /// Waits until no [`Hindrance`] is left for this run of a container; false: the run ended.
    async fn holds(
        &self,
        waiting: &Waiting<'_>,
        run: &Container,
        least: Duration,
    ) -> Result<bool, NotReady> {
        let watched = Instant::now();
        let mut reported = None;
        loop {
            let now = self.inspect(&run.id).await?.ok_or(NotReady::Gone)?;
            if now.state != State::Running || now.started_at != run.started_at {
                return Ok(false);
            }
            let Some(hindrance) = hindrance(&now, watched.elapsed(), least) else {
                return Ok(true);
            };
            if reported.replace(hindrance) != Some(hindrance) {
                (waiting.report)(match hindrance {
                    Hindrance::Unhealthy => "waiting until its health check passes",
                    Hindrance::JustStarted => "waiting to see whether it keeps running",
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits for a line of this run that matches `pattern`. `fresh`: the log has just begun.
    async fn startup_line(
        &self,
        run: &Container,
        pattern: &Pattern,
        fresh: bool,
    ) -> Result<Startup, NotReady> {
        if !fresh {
            let mut looked_for = |line: LogLine| pattern.matches(&line.text);
            let scanned = self.scan_beginning(run, 0, &mut looked_for).await;
            match scanned {
                Ok(scanned) if scanned.found => return Ok(Startup::Written),
                Ok(scanned) if scanned.start_lost => return Ok(Startup::Unreadable),
                Ok(_) | Err(_) => {}
            }
        }
        let began = run.run_began().map(|at| at - TimeDelta::nanoseconds(1));
        let mut lines = std::pin::pin!(self.follow(run, began));
        let limits = self.log_limits(run).await?;
        // Later lines are read as they are written. In the first second the log may rotate faster than that.
        let followed = Utc::now() + FLOOD;
        let mut early = rotation::Seen::default();
        loop {
            let line = tokio::time::timeout(QUIET, lines.next()).await;
            match &line {
                Ok(Some(Ok(line))) if pattern.matches(&line.text) => return Ok(Startup::Written),
                Ok(Some(Ok(line))) if line.at < followed => early.add(line),
                Ok(Some(Ok(_))) => {}
                // The logging driver does not support reading.
                Ok(Some(Err(_))) => return Ok(Startup::Unreadable),
                Ok(None) => return Ok(Startup::Ended),
                Err(_) => {}
            }
            if limits.is_some_and(|limits| early.may_lack_its_first(limits, line.is_err())) {
                return Ok(Startup::Unreadable);
            }
        }
    }

    /// Whether a container's last lines report a full disk.
    async fn met_full_disk(&self, container: &Container) -> bool {
        let lines = self.last_lines(container, LAST_WORDS).await;
        lines.iter().any(|line| is_disk_full(line))
    }

    /// Waits until `judge` returns a value for a container's inspection. Inspects it again on each of Docker's
    /// events.
    ///
    /// # Errors
    /// The container exited, restarts too often, or is unhealthy.
    pub(super) async fn watch<T>(
        &self,
        id: &str,
        service: &Service,
        mut judge: impl FnMut(&Container) -> Option<T>,
    ) -> Result<T, NotReady> {
        let filters = HashMap::from([("type", vec!["container"]), ("container", vec![id])]);
        // From a second ago, so that no event between the inspection and the subscription is missed.
        let since = (Utc::now() - TimeDelta::seconds(1)).timestamp().to_string();
        let options = EventsOptionsBuilder::new()
            .since(&since)
            .filters(&filters)
            .build();
        let mut events = std::pin::pin!(self.docker.events(Some(options)).fuse());
        let mut limits = None;
        loop {
            let container = self.inspect(id).await?.ok_or(NotReady::Gone)?;
            if let Some(satisfied) = judge(&container) {
                return Ok(satisfied);
            }
            let limits = limits.get_or_insert_with(|| WaitLimits::with(service, &container));
            if let Some(why) = limits.judge(&container) {
                return Err(why(container));
            }
            let again = container.restart_count > limits.before;
            let restarts = again && container.state == State::Restarting;
            if restarts && self.met_full_disk(&container).await {
                return Err(NotReady::DiskFull(container));
            }
            let change = async {
                loop {
                    match events.next().await {
                        Some(Ok(event)) if !concerns(event.action.as_deref()) => {}
                        Some(_) => return,
                        None => std::future::pending().await,
                    }
                }
            };
            // Event or timeout: inspect again.
            drop(tokio::time::timeout(LONGEST_POLL, change).await);
        }
    }
}

/// Whether an event may change the container's state; `exec_*` events of health checks do not.
fn concerns(action: Option<&str>) -> bool {
    action.is_none_or(|action| !action.starts_with("exec_"))
}

/// The address at which a service with a declared protocol answers.
fn endpoint<'a>(pipeline: &'a Pipeline, service: &Service) -> Option<(Ready, &'a Endpoint)> {
    let kind = service.ready?;
    let endpoint = match kind {
        Ready::Kafka => pipeline.kafka.as_ref(),
        Ready::Postgres => pipeline.postgres.as_ref(),
        Ready::Redis => pipeline.redis.as_ref(),
    };
    let endpoint = endpoint.filter(|e| e.service.as_ref() == Some(&service.name))?;
    Some((kind, endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::{
        Health,
        testing::{container, depending},
    };

    fn unhealthy(streak: i64) -> Container {
        let mut container = container("db", 1);
        container.health = Some(Health {
            status: UNHEALTHY.to_owned(),
            failing_streak: streak,
            outputs: Vec::new(),
        });
        container
    }

    fn fails(limits: WaitLimits, container: &Container) -> bool {
        limits.judge(container).is_some()
    }

    #[test]
    fn a_new_container_fails_as_soon_as_it_is_unhealthy() {
        let limits = WaitLimits::with(&depending("db", &[]), &container("db", 1));
        assert!(fails(limits, &unhealthy(3)));
        assert!(!fails(limits, &unhealthy(0)), "paused, and not failed");
        let mut starting = unhealthy(2);
        starting.health.as_mut().expect("has").status = "starting".to_owned();
        assert!(!fails(limits, &starting));
    }

    #[test]
    fn a_container_that_failed_before_may_recover() {
        let limits = WaitLimits::with(&depending("db", &[]), &unhealthy(7));
        assert!(!fails(limits, &unhealthy(9)));
        assert!(fails(limits, &unhealthy(10)));
        let mut looping = container("db", 1);
        looping.restart_count = 22;
        let limits = WaitLimits::with(&depending("db", &[]), &looping);
        assert!(!fails(limits, &looping));
        looping.restart_count += 1;
        assert!(fails(limits, &looping));
    }

    #[test]
    fn a_restart_loop_fails_unless_the_policy_has_a_limit() {
        let mut service = depending("db", &[]);
        let mut looping = container("db", 1);
        looping.state = State::Restarting;
        for (restart, restarts, expected) in [
            (Restart::Always, RESTARTS - 1, false),
            (Restart::Always, RESTARTS, true),
            (Restart::OnFailure(Some(9)), 8, false),
        ] {
            service.restart = restart;
            let limits = WaitLimits::with(&service, &container("db", 1));
            looping.restart_count = restarts;
            assert_eq!(fails(limits, &looping), expected, "{restart:?}");
        }
    }

    #[test]
    fn exec_events_of_health_checks_are_ignored() {
        assert!(!concerns(Some("exec_start: redis-cli ping")));
        assert!(concerns(Some("health_status: healthy")));
        assert!(concerns(Some("die")));
        assert!(concerns(None));
    }
}
