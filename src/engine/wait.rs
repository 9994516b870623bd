//! Waiting for containers, on what Docker and the container itself tell; a wait fails as soon as
//! it can no longer succeed.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use bollard::query_parameters::EventsOptionsBuilder;
use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;

use super::{
    connect::Engine,
    observed::{Container, State},
};
use crate::{
    clients,
    error::Error,
    pipeline::{Endpoint, Pipeline, Ready, Service},
};

/// Restarts by Docker's policy after which a container is not going to make it.
const RESTARTS: i64 = 3;
/// Should an event get lost, the next look comes then.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Between two protocol probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(75);
/// What one protocol probe may take.
const PROBE: Duration = Duration::from_secs(1);

/// Why a container is not going to be ready.
#[derive(Debug)]
pub(super) enum NotReady {
    /// It ended. For a one-shot that is the goal.
    Ended(Container),
    /// Docker restarts it over and over.
    Looping(Container),
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

/// A running container that is waited for.
pub(super) struct Waiting<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) service: &'a Service,
    pub(super) container: &'a Container,
    /// Whether this very command started it: its log has only just begun.
    pub(super) fresh: bool,
    /// Told in a few words what is waited for.
    pub(super) doing: &'a (dyn Fn(&str) + Sync),
}

impl Engine {
    /// Waits until a service's container is ready: it has written its startup line, then answers
    /// its protocol; where neither is declared, Docker's health check passes; where there is none,
    /// it runs.
    ///
    /// # Errors
    /// It ended, or restarts over and over.
    pub(super) async fn until_ready(&self, waiting: &Waiting<'_>) -> Result<(), NotReady> {
        let baseline = if waiting.fresh {
            0
        } else {
            waiting.container.restart_count
        };
        let id = &waiting.container.id;
        tokio::select! {
            ready = self.conditions(waiting, baseline) => ready,
            ended = self.watch(id, baseline, |_| None::<Infallible>) => match ended {
                Ok(never) => match never {},
                Err(why) => Err(why),
            }
        }
    }

    async fn conditions(&self, waiting: &Waiting<'_>, baseline: i64) -> Result<(), NotReady> {
        let Waiting {
            pipeline,
            service,
            container,
            doing,
            ..
        } = waiting;
        let mut proven = false;
        if let Some(line) = &service.startup {
            doing("waiting for its startup line");
            proven = self.startup_line(waiting, line).await?;
        }
        if let Some((kind, endpoint)) = endpoint(pipeline, service) {
            doing("waiting for it to answer");
            until_answering(kind, &endpoint.address).await;
            proven = true;
        }
        let has_health = container.health.is_some();
        if !proven && has_health {
            doing("waiting for its health check");
            let healthy = |c: &Container| {
                c.health
                    .as_ref()
                    .is_some_and(|h| h.status == "healthy")
                    .then_some(())
            };
            self.watch(&container.id, baseline, healthy).await?;
        }
        Ok(())
    }

    /// Waits for a line with `text` of the current run. False: the log cannot tell (any more).
    async fn startup_line(&self, waiting: &Waiting<'_>, text: &str) -> Result<bool, NotReady> {
        let container = waiting.container;
        if !waiting.fresh {
            let mut found = false;
            let scanned = self.scan_since_start(container, |line| {
                found = line.text.contains(text);
                match found {
                    true => std::ops::ControlFlow::Break(()),
                    false => std::ops::ControlFlow::Continue(()),
                }
            });
            let start_lost = scanned.await.is_ok_and(|scanned| scanned.start_lost);
            if found || start_lost {
                return Ok(found);
            }
        }
        let began = container
            .run_began()
            .map(|at| at - TimeDelta::nanoseconds(1));
        let mut lines = std::pin::pin!(self.follow(container, began));
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) if line.text.contains(text) => return Ok(true),
                Ok(_) => {}
                // A logging driver that cannot be read.
                Err(_) => return Ok(false),
            }
        }
        // The container has ended; whoever watches it says how.
        std::future::pending().await
    }

    /// Waits until `judge` is satisfied with what Docker shows of a container, looking whenever
    /// Docker tells of a change.
    ///
    /// # Errors
    /// The container ended, or was restarted [`RESTARTS`] times beyond `baseline`.
    pub(super) async fn watch<T>(
        &self,
        id: &str,
        baseline: i64,
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
        loop {
            let container = self.inspect(id).await?.ok_or(NotReady::Gone)?;
            if let Some(satisfied) = judge(&container) {
                return Ok(satisfied);
            }
            match container.state {
                State::Exited | State::Dead => return Err(NotReady::Ended(container)),
                State::Running | State::Restarting
                    if container.restart_count - baseline >= RESTARTS =>
                {
                    return Err(NotReady::Looping(container));
                }
                State::Created
                | State::Running
                | State::Paused
                | State::Restarting
                | State::Removing
                | State::Unknown => {}
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

/// Where the service that declares a protocol answers on the host.
fn endpoint<'a>(pipeline: &'a Pipeline, service: &Service) -> Option<(Ready, &'a Endpoint)> {
    let kind = service.ready?;
    let endpoint = match kind {
        Ready::Kafka => pipeline.kafka.as_ref(),
        Ready::Postgres => pipeline.postgres.as_ref(),
        Ready::Redis => pipeline.redis.as_ref(),
    };
    let endpoint = endpoint.filter(|e| e.service == service.name)?;
    Some((kind, endpoint))
}

async fn until_answering(kind: Ready, address: &str) {
    while clients::ready(kind, address, PROBE).await.is_err() {
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_checks_own_events_are_no_change() {
        assert!(!concerns(Some("exec_start: redis-cli ping")));
        assert!(concerns(Some("health_status: healthy")));
        assert!(concerns(Some("die")));
        assert!(concerns(None));
    }
}
