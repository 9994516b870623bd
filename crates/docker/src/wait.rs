//! Waiting for containers, on what Docker and the container itself tell; a wait fails as soon as
//! it can no longer succeed.

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
    refusal::is_disk_full,
    standing::{Hindrance, SETTLED, UNHEALTHY, hindrance},
};
use declaration::{Endpoint, Pattern, Pipeline, Ready, Restart, Service};
use diagnostics::Error;
use platform::Question;
use platform::{Container, LogLine, State};

/// Restarts by Docker's policy after which a container is not going to make it. Docker waits
/// 100 ms before the first and twice as long each time, so that a dependency had 3 s to appear.
const RESTARTS: i64 = 5;
/// Docker's default for what a health check leaves out.
const RETRIES: i64 = 3;
/// As many lines are a container's last words.
const LAST_WORDS: usize = 10;
/// Should an event get lost, the next look comes then.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How often a container is looked at that has to go on running.
const LOOKS: Duration = Duration::from_millis(250);

/// Why a container is not going to be ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// It ended. For a one-shot that is the goal.
    Ended(Container),
    /// Docker restarts it over and over.
    Looping(Container),
    /// It ended because a disk is full, and Docker's restarts cannot help that.
    DiskFull(Container),
    /// Its health check failed as often as it may.
    Unhealthy(Container),
    /// It refuses the password, in these words.
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

/// What became of the wait for a startup line.
enum Startup {
    Written,
    /// The log cannot tell (any more).
    Unreadable,
    /// The run ended without it.
    Ended,
}

/// A container that is waited for.
pub(super) struct Waiting<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) service: &'a Service,
    pub(super) container: &'a Container,
    /// Whether this very command started it: its log has only just begun.
    pub(super) fresh: bool,
    /// Told in a few words what is waited for.
    pub(super) doing: &'a (dyn Fn(&str) + Sync),
}

/// How much a wait puts up with, counted from what a container is like when it begins: what has
/// only just been put right may let it recover.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Restarts by Docker's policy, since the container was last started by hand.
    restarts: i64,
    /// Those that there had been already.
    before: i64,
    /// Failed probes in a row.
    probes: i64,
}

impl Patience {
    /// One that was restarted over and over before is given up when that happens once more, one
    /// that Docker calls unhealthy when as many more probes fail as had to.
    fn with(service: &Service, container: &Container) -> Self {
        let restarts = match service.restart {
            // Docker keeps to the limit that is declared.
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

    /// As what a container is given up; None: it may still become ready.
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

    /// Docker says `unhealthy` only when the start period is over and as many probes as declared
    /// have failed in a row. (One that was paused it calls so, too, without a failed probe.)
    fn is_unhealthy(self, container: &Container) -> bool {
        let health = container.health.as_ref();
        health.is_some_and(|h| h.status == UNHEALTHY && h.failing_streak >= self.probes)
    }
}

impl Engine {
    /// Waits until a service's container is ready: in its current run it has written its startup
    /// line, then answers its protocol; where neither is declared, Docker's health check passes;
    /// where there is none, it has run for a second. Nor is it unhealthy, and one that Docker
    /// restarted has run for a while.
    ///
    /// # Errors
    /// It ended, restarts over and over, or is unhealthy.
    pub(super) async fn until_ready(&self, waiting: &Waiting<'_>) -> Result<(), NotReady> {
        let id = &waiting.container.id;
        tokio::select! {
            ready = self.conditions(waiting) => ready,
            ended = self.watch(id, waiting.service, |_| None::<Infallible>) => match ended {
                Ok(never) => match never {},
                Err(why) => Err(why),
            }
        }
    }

    /// What a run proved counts only while that run goes on: Docker may have restarted the
    /// container since.
    async fn conditions(&self, waiting: &Waiting<'_>) -> Result<(), NotReady> {
        loop {
            let run = self.running(&waiting.container.id).await?;
            let Some(proven) = self.prove(waiting, &run).await? else {
                continue;
            };
            let least = if proven { Duration::ZERO } else { SETTLED };
            if self.holds(waiting, &run, least).await? {
                return Ok(());
            }
        }
    }

    /// Waits until a container runs. Whoever watches it says when that is not going to happen.
    async fn running(&self, id: &str) -> Result<Container, NotReady> {
        loop {
            let container = self.inspect(id).await?.ok_or(NotReady::Gone)?;
            if container.state == State::Running {
                return Ok(container);
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// Waits until a run has shown what is declared of it. False: nothing is, or it cannot be seen
    /// (any more); None: the run ended before.
    async fn prove(
        &self,
        waiting: &Waiting<'_>,
        run: &Container,
    ) -> Result<Option<bool>, NotReady> {
        let Waiting {
            pipeline,
            service,
            doing,
            ..
        } = waiting;
        let mut proven = false;
        if let Some(line) = &service.startup {
            doing("waiting for its startup line");
            match self.startup_line(run, line, waiting.fresh).await? {
                Startup::Written => proven = true,
                Startup::Unreadable => {}
                Startup::Ended => return Ok(None),
            }
        }
        if let Some((kind, endpoint)) = endpoint(pipeline, service) {
            doing("waiting for it to answer");
            let address = endpoint.address.clone();
            let question = Question::Ready { kind, address };
            // It is answered when it can be, or not at all.
            let answer = self.ask(pipeline, &endpoint.address, &question).await?;
            if let Ok(Some(why)) = answer {
                return Err(NotReady::Refused(run.clone(), why));
            }
            proven = true;
        }
        if !proven && run.health.is_some() {
            doing("waiting for its health check");
            let healthy = |c: &Container| {
                let health = c.health.as_ref();
                health.is_some_and(|h| h.status == "healthy").then_some(())
            };
            self.watch(&run.id, service, healthy).await?;
            proven = true;
        }
        Ok(Some(proven))
    }

    /// Waits until nothing keeps this run of a container from being up; false when the run ended.
    async fn holds(
        &self,
        waiting: &Waiting<'_>,
        run: &Container,
        least: Duration,
    ) -> Result<bool, NotReady> {
        let watched = Instant::now();
        let mut told = None;
        loop {
            let now = self.inspect(&run.id).await?.ok_or(NotReady::Gone)?;
            if now.state != State::Running || now.started_at != run.started_at {
                return Ok(false);
            }
            let Some(hindrance) = hindrance(&now, watched.elapsed(), least) else {
                return Ok(true);
            };
            if told.replace(hindrance) != Some(hindrance) {
                (waiting.doing)(match hindrance {
                    Hindrance::Unhealthy => "waiting until its health check passes",
                    Hindrance::Young => "waiting whether it goes on running",
                });
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// Waits for a line that has `pattern`, of this run. `fresh`: its log has only just begun.
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
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) if pattern.matches(&line.text) => return Ok(Startup::Written),
                Ok(_) => {}
                // A logging driver that cannot be read.
                Err(_) => return Ok(Startup::Unreadable),
            }
        }
        Ok(Startup::Ended)
    }

    /// Whether a container's last words are about a full disk.
    async fn met_full_disk(&self, container: &Container) -> bool {
        let lines = self.last_lines(container, LAST_WORDS).await;
        lines.iter().any(|line| is_disk_full(line))
    }

    /// Waits until `judge` is satisfied with what Docker shows of a container, looking whenever
    /// Docker tells of a change.
    ///
    /// # Errors
    /// The container ended, is restarted over and over, or is unhealthy.
    pub(super) async fn watch<T>(
        &self,
        id: &str,
        service: &Service,
        mut judge: impl FnMut(&Container) -> Option<T>,
    ) -> Result<T, NotReady> {
        let filters = HashMap::from([("type", vec!["container"]), ("container", vec![id])]);
        // From a moment ago, so that nothing falls between this look and Docker's first event.
        let since = (Utc::now() - TimeDelta::seconds(1)).timestamp().to_string();
        let options = EventsOptionsBuilder::new()
            .since(&since)
            .filters(&filters)
            .build();
        let mut events = std::pin::pin!(self.docker.events(Some(options)).fuse());
        let mut patience = None;
        loop {
            let container = self.inspect(id).await?.ok_or(NotReady::Gone)?;
            if let Some(satisfied) = judge(&container) {
                return Ok(satisfied);
            }
            let patience = patience.get_or_insert_with(|| Patience::with(service, &container));
            if let Some(why) = patience.judge(&container) {
                return Err(why(container));
            }
            let again = container.restart_count > patience.before;
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
            // Either way it is time to look.
            drop(tokio::time::timeout(LOOK_AGAIN, change).await);
        }
    }
}

/// Whether an event may change what is waited for; health checks come as executions, too.
fn concerns(action: Option<&str>) -> bool {
    action.is_none_or(|action| !action.starts_with("exec_"))
}

/// Where the service that declares a protocol answers.
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

    fn gives_up(patience: Patience, container: &Container) -> bool {
        patience.judge(container).is_some()
    }

    #[test]
    fn what_has_just_been_started_is_given_up_as_soon_as_it_is_unhealthy() {
        let patience = Patience::with(&depending("db", &[]), &container("db", 1));
        assert!(gives_up(patience, &unhealthy(3)));
        assert!(!gives_up(patience, &unhealthy(0)), "paused, and not failed");
        let mut starting = unhealthy(2);
        starting.health.as_mut().expect("has").status = "starting".to_owned();
        assert!(!gives_up(patience, &starting));
    }

    #[test]
    fn what_runs_already_may_recover() {
        let patience = Patience::with(&depending("db", &[]), &unhealthy(7));
        assert!(!gives_up(patience, &unhealthy(9)));
        assert!(gives_up(patience, &unhealthy(10)));
        let mut looping = container("db", 1);
        looping.restart_count = 22;
        let patience = Patience::with(&depending("db", &[]), &looping);
        assert!(!gives_up(patience, &looping));
        looping.restart_count += 1;
        assert!(gives_up(patience, &looping));
    }

    #[test]
    fn a_loop_is_given_up_unless_docker_has_a_limit_of_its_own() {
        let mut service = depending("db", &[]);
        let mut looping = container("db", 1);
        looping.state = State::Restarting;
        for (restart, restarts, given_up) in [
            (Restart::Always, RESTARTS - 1, false),
            (Restart::Always, RESTARTS, true),
            (Restart::OnFailure(Some(9)), 8, false),
        ] {
            service.restart = restart;
            let patience = Patience::with(&service, &container("db", 1));
            looping.restart_count = restarts;
            assert_eq!(gives_up(patience, &looping), given_up, "{restart:?}");
        }
    }

    #[test]
    fn health_checks_own_events_are_no_change() {
        assert!(!concerns(Some("exec_start: redis-cli ping")));
        assert!(concerns(Some("health_status: healthy")));
        assert!(concerns(Some("die")));
        assert!(concerns(None));
    }
}
