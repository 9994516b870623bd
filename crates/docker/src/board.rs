//! The stage of each service, for its dependants and for the error message of an `up` that ends early.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Instant,
};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use declaration::{Condition, Service};
use platform::Container;

/// The stage of a service during `up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    /// Its containers run.
    Started,
    /// It is ready; a one-shot has completed.
    Ready,
    /// It will not become ready, because it or one of its dependencies failed.
    Failed,
}

/// The services of one `up`.
pub(super) struct Board<'a> {
    stages: HashMap<&'a str, watch::Sender<Stage>>,
    /// The current activity of each service, as shown to the user.
    activities: Mutex<HashMap<String, String>>,
    /// Services whose containers were started by this command.
    renewed: Mutex<HashSet<String>>,
    /// The runs that are ready.
    runs: Mutex<Vec<Run>>,
}

/// The name of a dependency that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FailedDependency(pub(super) String);

/// A container's run that was ready.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) service: String,
    pub(super) container: String,
    pub(super) started_at: Option<DateTime<Utc>>,
    /// When a run that this command started was ready.
    pub(super) fresh_since: Option<Instant>,
}

impl Run {
    /// `fresh`: this command started it.
    pub(super) fn ready(container: &Container, fresh: bool) -> Self {
        Self {
            service: container.service.clone(),
            container: container.id.clone(),
            started_at: container.started_at,
            fresh_since: fresh.then(Instant::now),
        }
    }
}

impl<'a> Board<'a> {
    pub(super) fn new(services: &[&'a Service]) -> Self {
        let stage = |s: &&'a Service| (s.name.as_str(), watch::Sender::new(Stage::Waiting));
        Self {
            stages: services.iter().map(stage).collect(),
            activities: Mutex::default(),
            renewed: Mutex::default(),
            runs: Mutex::default(),
        }
    }

    pub(super) fn set(&self, service: &str, stage: Stage) {
        if let Some(sender) = self.stages.get(service) {
            sender.send_replace(stage);
        }
    }

    pub(super) fn stage(&self, service: &str) -> Option<Stage> {
        self.stages.get(service).map(|sender| *sender.borrow())
    }

    /// Has to be called before the service's stage changes, which lets its dependants go on.
    pub(super) fn set_renewed(&self, service: &str) {
        if let Ok(mut renewed) = self.renewed.lock() {
            renewed.insert(service.to_owned());
        }
    }

    pub(super) fn is_renewed(&self, service: &str) -> bool {
        let renewed = self.renewed.lock();
        renewed.is_ok_and(|renewed| renewed.contains(service))
    }

    /// A container is ready; a later run replaces its earlier one.
    pub(super) fn set_run(&self, run: Run) {
        if let Ok(mut runs) = self.runs.lock() {
            runs.retain(|known| known.container != run.container);
            runs.push(run);
        }
    }

    pub(super) fn runs(&self) -> Vec<Run> {
        let runs = self.runs.lock();
        runs.map_or_else(|_| Vec::new(), |runs| runs.clone())
    }

    pub(super) fn note(&self, service: &str, what: &str) {
        if let Ok(mut activities) = self.activities.lock() {
            activities.insert(service.to_owned(), what.to_owned());
        }
    }

    pub(super) fn activity(&self, service: &str) -> String {
        let activities = self.activities.lock().ok();
        activities
            .and_then(|d| d.get(service).cloned())
            .unwrap_or_default()
    }

    /// Waits until all dependencies of a service meet its conditions. Services that are not on the board
    /// are skipped.
    ///
    /// # Errors
    /// A required dependency failed.
    pub(super) async fn dependencies(&self, service: &Service) -> Result<(), FailedDependency> {
        for dependency in &service.depends_on {
            let Some(sender) = self.stages.get(dependency.service.as_str()) else {
                continue;
            };
            let enough = |stage: &Stage| match (dependency.condition, *stage) {
                (_, Stage::Ready | Stage::Failed) | (Condition::Started, Stage::Started) => true,
                (_, Stage::Waiting | Stage::Started) => false,
            };
            let mut stage = sender.subscribe();
            // Never closed: the board owns the sender.
            let reached = stage.wait_for(enough).await.map(|stage| *stage);
            if dependency.required && !reached.is_ok_and(|stage| stage != Stage::Failed) {
                return Err(FailedDependency(dependency.service.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::testing::depending;

    #[tokio::test]
    async fn a_dependency_is_waited_for_until_it_is_ready_or_fails() {
        let (db, worker) = (
            depending("db", &[]),
            depending("worker", &["db", "elsewhere"]),
        );
        let board = Board::new(&[&db, &worker]);
        let mut waiting = std::pin::pin!(board.dependencies(&worker));
        board.set("db", Stage::Started);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        board.set("db", Stage::Ready);
        assert_eq!(waiting.await, Ok(()));
        board.set("db", Stage::Failed);
        assert_eq!(
            board.dependencies(&worker).await,
            Err(FailedDependency("db".to_owned()))
        );
        let mut optional = depending("worker", &["db"]);
        optional.depends_on[0].required = false;
        assert_eq!(board.dependencies(&optional).await, Ok(()));
    }
}
