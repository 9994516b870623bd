//! What a check gets when it runs, and the command that it proposes when a service does not work.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    finding::{Outcome, Status},
    observe::{ObservationCache, invariants::AuditProgress},
    results::{RuleResult, StoredResults},
};
use declaration::{Endpoint, Pipeline, Service};
use diagnostics::Invocation;
use platform::{Platform, State, replicas};

/// How many errors of a service explain a failure.
const ERRORS: usize = 2;

/// The declaration, the observations, and how `caravan` was invoked.
pub(super) struct CheckContext<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) observed: ObservationCache<'a>,
    invocation: &'a Invocation,
    results: Mutex<StoredResults>,
    progress: &'a dyn Fn(AuditProgress),
}

impl<'a> CheckContext<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        platform: &'a dyn Platform,
        invocation: &'a Invocation,
        results: StoredResults,
        progress: &'a dyn Fn(AuditProgress),
    ) -> Self {
        Self {
            pipeline,
            observed: ObservationCache::new(pipeline, platform, results.logs.clone()),
            invocation,
            results: Mutex::new(results),
            progress,
        }
    }

    /// Reports how far `--since` has come.
    pub(super) fn progress(&self, progress: AuditProgress) {
        (self.progress)(progress);
    }

    /// What earlier runs found of a rule.
    pub(super) fn result_of(&self, rule: &str) -> RuleResult {
        self.results().rule(rule)
    }

    /// Stores what this run found of a rule.
    pub(super) fn store(&self, rule: &str, result: RuleResult) {
        self.results().set(rule, result);
    }

    /// All results, for the next run.
    pub(super) fn results(&self) -> MutexGuard<'_, StoredResults> {
        // A panic cannot leave it half changed: each change is one assignment.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A `caravan` command line for this pipeline.
    pub(super) fn command(&self, rest: &str) -> String {
        self.invocation.command(rest)
    }

    /// The remedy for the endpoint that `x-caravan.KEY` declares. It may be no service of this pipeline.
    pub(super) async fn remedy_of(&self, key: &str, endpoint: &Endpoint) -> String {
        match &endpoint.service {
            Some(service) => self.remedy(service).await,
            None => format!(
                "see whether x-caravan.{key} has the right address, and whether it \
                             runs"
            ),
        }
    }

    /// Adds [`Self::remedy`] as the next command, unless the check passed or was skipped.
    pub(super) async fn remedied(&self, outcome: Outcome, service: &str) -> Outcome {
        match outcome.status {
            Status::Pass | Status::Skip => outcome,
            Status::Warn | Status::Fail => outcome.hint(self.remedy(service).await),
        }
    }

    /// The command that makes `service` work again: `docker unpause` for paused containers, `restart`
    /// for running ones, and `up` if one is missing, has drifted or was not created by Caravan. Of a crash loop
    /// `logs` shows why.
    pub(super) async fn remedy(&self, service: &str) -> String {
        let containers = self.observed.all_containers().await;
        let own: Vec<_> = containers.iter().filter(|c| c.service == service).collect();
        let paused: Vec<_> = own
            .iter()
            .filter(|c| c.state == State::Paused)
            .map(|c| c.name.as_str())
            .collect();
        let declared = self.pipeline.service(service);
        let replicas = declared.map_or(1, |s| replicas(s, containers));
        let running = own.iter().filter(|c| c.state == State::Running).count();
        if !paused.is_empty() {
            self.invocation
                .docker(&format!("unpause {}", paused.join(" ")))
        } else if own.iter().any(|c| c.state == State::Restarting)
            && !self.has_drifted(service).await
        {
            // It is started again and again already.
            self.command(&format!("logs {service}"))
        } else if running > 0
            && running >= replicas as usize
            && own.iter().all(|c| c.by_caravan)
            && !self.has_drifted(service).await
        {
            self.command(&format!("restart {service}"))
        } else {
            self.command(&format!("up {service}"))
        }
    }

    /// What a service complains of, for a check that did not pass: the output of a probe that failed, and the last
    /// lines at level error. A service that swallows an error prints it and goes on.
    pub(super) async fn errors_of(&self, service: &Service, outcome: &Outcome) -> Vec<String> {
        if matches!(outcome.status, Status::Pass | Status::Skip) {
            return Vec::new();
        }
        let containers = self.observed.containers_of(service).await;
        let probes = containers.iter().filter_map(|container| {
            let health = container.health.as_ref()?;
            let output = health.outputs.last()?;
            // While a container starts, Docker does not count.
            let fails = health.failing_streak > 0 || health.status == "starting";
            fails.then(|| format!("{}: {output}", container.name))
        });
        let logs = self.observed.logs(service).await.iter().flatten();
        let mut errors: Vec<_> = logs.flat_map(|log| log.recent.errors.values()).collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.at));
        let errors = errors.into_iter().map(|error| error.text.clone());
        probes.chain(errors.take(ERRORS)).collect()
    }

    async fn has_drifted(&self, service: &str) -> bool {
        let drift = self.observed.drift(service).await;
        drift.is_some_and(|drift| drift.as_ref().is_ok_and(|drifted| !drifted.is_empty()))
    }
}
