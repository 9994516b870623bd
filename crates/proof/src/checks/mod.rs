//! The checks of `verify`. Data passes through three places:
//!
//! - `observe` looks at containers, logs, Kafka, the database and the cache. What several checks need
//!   is observed once (`ObservationCache`). It knows no check.
//! - `rules` has a file per layer. It declares the checks of the layer (`Check`) and judges what
//!   was observed.
//! - `run` runs the checks concurrently and makes a `Finding` of each.
//!
//! Ids are a contract: `layer.subject.aspect`, where the subject is named as declared (`ids`). If a check
//! needs one that failed, it is skipped. If a check fails and another explains that, the finding names the
//! root cause. If no failure explains it, drift of the service does, though drift is only a warning
//! (docs/decisions/0034).
//!
//! | id | fails when (what else it may do) |
//! |---|---|
//! | `declaration.checks` | the declaration has nothing to check; otherwise this check does not exist |
//! | `containers.SERVICE.running` | a replica is missing, stopped, paused or restarting |
//! | `containers.SERVICE.as-declared` | (warns when a container differs from the declaration or from its image) |
//! | `containers.SERVICE.health` | unhealthy, or `starting` for longer than it may; skipped unless running (warns when the last probe printed `degraded: WHY`) |
//! | `containers.SERVICE.restarts` | (warns when Docker restarted it since it was last started) |
//! | `containers.SERVICE.completed` | a one-shot has not exited with 0 |
//! | `kafka.reachable` | no metadata; all of the next three layers are skipped |
//! | `topics.TOPIC.exists` | the topic does not exist |
//! | `topics.TOPIC.partitions` | fewer than declared (more: warns), or one without a leader |
//! | `topics.TOPIC.replicated` | a replica is not in sync, or the number of replicas is not as declared |
//! | `topics.TOPIC.retention` | the retention is shorter than declared (longer: warns) |
//! | `topics.TOPIC.min-insync` | `min.insync.replicas` is not as declared |
//! | `topics.TOPIC.settings` | a declared setting differs; or an undeclared one deletes events by size, compacts them or refuses larger ones; or `min.insync.replicas` is more than there are replicas |
//! | `topics.undeclared` | (warns of topics that are not declared) |
//! | `groups.SERVICE.exists` | the group does not exist |
//! | `groups.SERVICE.stable` | it still rebalances after some seconds; an empty group is stable (warns in the first minute after a container's start) |
//! | `groups.SERVICE.assigned` | a partition is not assigned to a running container of the service (warns in the first minute after a container's start if a former member has it, and of a consumer that assigns partitions itself) |
//! | `groups.SERVICE.committed` | there are messages, and the group has no offset in any partition |
//! | `groups.SERVICE.lost` | events were deleted before it consumed them |
//! | `groups.SERVICE.lag` | stuck: there is lag, and nothing is committed for 5 s, or for its `commit-interval`; or one partition is left behind by the others; a transaction that is open for a minute keeps events from it; an offset after the end is committed (passes with the number; warns when no running container consumes it, or when the oldest waits for a minute and the lag does not become smaller) |
//! | `groups.SERVICE.effects` | the last three committed events have no row in its tables, although earlier tables have rows of them (warns of fewer if there are no more events, and of one row that they share and that is older than they) |
//! | `logs.SERVICE.started` | no startup line since this start; skipped unless running (if its log cannot be read: not ready; warns if that is unknown) |
//! | `logs.SERVICE.clean` | a forbidden line in the last five minutes (warns of one in the last day since this start) |
//! | `logs.SERVICE.errors` | (warns when too many of its last lines are at level error) |
//! | `database.reachable` | no connection; the other checks of the layer are skipped |
//! | `database.writable` | new sessions cannot write: a standby, read-only, no synchronous standby, no session left; no room on the disk; or a service's login may not log in, not insert into what it writes, or not select from what it reads; or a sequence is at its end |
//! | `database.unblocked` | an idle transaction has locked a declared table against writers, or keeps others waiting, for 10 s; or a session of nobody in the pipeline keeps an advisory lock for which a service waits (warns of one that works) |
//! | `database.migrations` | the declared migration is not applied |
//! | `database.TABLE.exists` | the table does not exist |
//! | `database.TABLE.columns` | a declared column is missing, or has another type; skipped unless the table exists |
//! | `database.TABLE.indexes` | a declared index is missing or not valid; skipped unless the table exists |
//! | `database.TABLE.constraints` | a declared constraint is missing, not validated or not enforced; skipped unless the table exists (warns of others) |
//! | `database.TABLE.triggers` | a declared trigger is missing or disabled; skipped unless the table exists (warns of others, and of rewrite rules) |
//! | `database.INVARIANT.holds` | a row that is older than the rule's grace violates the rule, found now or by an earlier `verify` (warns when its time does not suffice for its newest rows) |
//! | `cache.reachable` | no answer to `PING` |
//! | `cache.writable` | it refuses a command that writes, or lets it wait (warns when that is not known) |
//! | `cache.memory` | full, and it refuses writes (warns when nearly full, and of evicted keys) |
//! | `dead-letters.empty` | (warns of dead letters that are waiting, or whose replay is in flight) |
//! | `dead-letters.room` | (warns when the largest message and 64 KiB of headers would not fit) |
//! | `services.SERVICE.answers` | the declared request is not answered with the declared status |
//! | `services.SERVICE.ready` | `GET /ready`, or the declared path, is not answered with 200, or the declared status |
//!
//! A worker that stops or is paused has the same set of failed ids at any time. A static member stays in
//! its group until its session times out, so `assigned` compares members with running containers; and
//! `stable` passes for an empty group.

mod check;
mod context;
mod effect_tables;
pub mod finding;
mod ids;
mod observe;
mod results;
mod rules;
mod run;
mod selection;

pub use check::Check;
pub use ids::CheckId;
pub use observe::invariants::AuditProgress;
pub use results::StoredResults;
pub use selection::Selection;

use std::collections::HashSet;

use context::CheckContext;
use declaration::Pipeline;
use diagnostics::{Invocation, Result};
use finding::Finding;
use platform::Platform;

/// All checks of a pipeline, in the order in which they are shown: after those that they refer to.
///
/// # Panics
/// In debug builds, if a check refers to one that does not precede it: a mistake in `rules`.
pub fn plan(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let mut plan = rules::checks(pipeline);
    let dangling = drop_dangling(&mut plan);
    debug_assert!(
        dangling.is_empty(),
        "references to checks that do not precede: {dangling:#?}"
    );
    plan
}

/// Removes references to checks that do not precede the one that refers to them, so that no checks
/// wait for each other, and returns them as `FROM -> TO`. There are none unless `rules` has a mistake.
fn drop_dangling(plan: &mut [Check<'_>]) -> Vec<String> {
    let mut dangling = Vec::new();
    let mut preceding = HashSet::new();
    for check in plan {
        let Check {
            id,
            needs,
            explained_by,
            possible_causes,
            ..
        } = check;
        for references in [needs, explained_by, possible_causes] {
            references.retain(|reference| {
                let precedes = preceding.contains(reference);
                if !precedes {
                    dangling.push(format!("{id} -> {reference}"));
                }
                precedes
            });
        }
        preceding.insert(id.clone());
    }
    dangling
}

/// Checks, or what is of checks, in the order in which they are shown: each with its layer.
pub fn shown<T>(mut items: Vec<T>, id: impl Fn(&T) -> &CheckId) -> Vec<T> {
    let mut layers: Vec<&'static str> = items.iter().map(|item| id(item).layer()).collect();
    let mut seen = HashSet::new();
    layers.retain(|layer| seen.insert(*layer));
    items.sort_by_key(|item| layers.iter().position(|layer| *layer == id(item).layer()));
    items
}

/// Runs the selected checks of a pipeline, and those that they refer to. Passes each finding to `report`
/// as soon as its check ends, in any order; a finding that is not selected only if it failed or is the
/// cause of a selected one. Returns the same findings in the order of the plan. `results` are those of
/// earlier runs; those of this run are added to them.
///
/// # Errors
/// The platform does not answer, so that nothing can be observed.
pub async fn run(
    pipeline: &Pipeline,
    platform: &dyn Platform,
    invocation: &Invocation,
    selection: &Selection,
    results: &mut StoredResults,
    mut report: impl FnMut(&Finding),
    progress: &dyn Fn(AuditProgress),
) -> Result<Vec<Finding>> {
    let mut context = CheckContext::new(pipeline, platform, invocation, results.clone(), progress);
    let plan = selection.of(plan(pipeline));
    let ids: Vec<_> = plan.iter().map(|check| check.id.clone()).collect();
    let is_planned = |id: &CheckId| ids.contains(id);
    context.observed.share_time(&is_planned, results);
    let order = shown(ids, |id| id);
    let (mut findings, mut hidden) = (Vec::new(), Vec::new());
    let running = run::run_all(plan, &context, |finding| {
        if selection.shows(&finding) {
            report(&finding);
            findings.push(finding);
        } else {
            hidden.push(finding);
        }
    });
    let ((), containers) = tokio::join!(running, context.observed.containers());
    results.clone_from(&context.results());
    results.logs = context.observed.log_results().await;
    if let Err(e) = containers {
        return Err(e.clone());
    }
    // A warning that is not selected may be the cause of a failure that is.
    for finding in hidden {
        let is_cause = |f: &Finding| f.cause.as_ref() == Some(&finding.id);
        if findings.iter().any(is_cause) {
            report(&finding);
            findings.push(finding);
        }
    }
    findings.sort_by_key(|finding| order.iter().position(|id| *id == finding.id));
    Ok(findings)
}

#[cfg(test)]
mod tests;
