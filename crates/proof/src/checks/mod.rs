//! Checks as data. Each layer has a file, which makes [`check::Check`]s of the declaration: an id, what
//! is expected, which other checks it needs and which would explain its failure. [`run`] makes them, all
//! at once as far as their needs allow, from facts that are found out once ([`facts::Facts`]).
//!
//! Ids are a contract: `layer.subject.aspect`, where the subject is named as declared. A check that
//! needs a failed one is skipped; one that fails after another names it as its cause, so that what
//! has no cause is a root. Where nothing else explains a failure, drift of the service does, though that
//! is a warning (docs/decisions/0034).
//!
//! | id | fails when (what else it may do) |
//! |---|---|
//! | `declaration.checks` | the declaration has nothing that could be checked; not there otherwise |
//! | `containers.SERVICE.running` | a replica is missing, stopped, paused or restarting |
//! | `containers.SERVICE.as-declared` | (warns when a container is not what the declaration and its image say) |
//! | `containers.SERVICE.health` | unhealthy, or `starting` for longer than it may; skipped unless running |
//! | `containers.SERVICE.restarts` | (warns when Docker restarted it since it was last started) |
//! | `containers.SERVICE.completed` | a one-shot has not ended with 0 |
//! | `kafka.reachable` | no metadata; all of the next three layers are skipped |
//! | `topics.TOPIC.exists` | it does not |
//! | `topics.TOPIC.partitions` | fewer than declared (more: warns), or one without a leader |
//! | `topics.TOPIC.replicated` | a copy is not in sync, or there are not as many as declared |
//! | `topics.TOPIC.retention` | events go earlier than declared (later: warns) |
//! | `topics.TOPIC.min-insync` | `min.insync.replicas` is not as declared |
//! | `topics.undeclared` | (warns of topics that nothing declares) |
//! | `groups.SERVICE.exists` | the group does not |
//! | `groups.SERVICE.stable` | it still rebalances after some seconds; an empty group is at rest |
//! | `groups.SERVICE.assigned` | a partition is not held by a running container of the service |
//! | `groups.SERVICE.committed` | there are messages, and the group has no offset in any partition |
//! | `groups.SERVICE.lag` | stuck: there is work, and nothing is committed for 5 s (passes with the number; warns when nobody is there to work it off) |
//! | `groups.SERVICE.effects` | the last three events that it has committed left no row in its tables, though the payments have rows before (warns of fewer, where there are no more) |
//! | `logs.SERVICE.started` | no startup line since this start; skipped unless running |
//! | `logs.SERVICE.clean` | a forbidden line since this start |
//! | `logs.SERVICE.errors` | (warns when too many of its last lines are at level error) |
//! | `database.reachable` | no connection; the rest of the layer is skipped |
//! | `database.migrations` | the declared migration is not applied |
//! | `database.TABLE.exists` | it does not |
//! | `database.TABLE.columns` | one that is declared is missing, or has another type; skipped unless the table exists |
//! | `database.TABLE.indexes` | one that is declared is missing; skipped unless the table exists |
//! | `database.INVARIANT.holds` | a counterexample older than the invariant's grace |
//! | `cache.reachable` | no answer to `PING` |
//! | `cache.memory` | full, and it refuses writes (warns when nearly so, and of evicted keys) |
//! | `dead-letters.empty` | (warns of those that wait, or whose replay is in flight) |
//! | `dead-letters.room` | (warns when the largest message and 64 KiB of headers would not fit) |
//! | `services.SERVICE.answers` | the declared request is not answered with the declared status |
//! | `services.SERVICE.ready` | `GET /ready`, or the declared path, is not 200, or the declared status |
//!
//! After a worker stops or is paused its set of failed ids is the same at any time: a static
//! member lingers in its group until its session ends, so `assigned` compares members with running
//! containers, and `stable` takes an empty group for what it is, a group at rest.

mod broker;
mod cache;
mod check;
mod containers;
mod database;
mod dead_letters;
mod drift;
mod facts;
pub mod finding;
mod groups;
mod health;
mod ids;
mod invariants;
mod logs;
mod remedy;
mod run;
mod selection;
mod services;
mod shape;
mod topics;

pub use selection::Selection;

use std::collections::HashSet;

use check::Check;
use declaration::Pipeline;
use diagnostics::{Invocation, Result};
use facts::Facts;
use finding::{Finding, Outcome};
use platform::Platform;

/// All checks of a pipeline, in the order in which they are shown: what a check needs or follows
/// comes before it.
pub fn plan(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let layers = [
        containers::checks,
        broker::checks,
        topics::checks,
        database::checks,
        shape::checks,
        cache::checks,
        services::checks,
        logs::checks,
        groups::checks,
        invariants::checks,
        dead_letters::checks,
    ];
    let mut plan: Vec<_> = layers.iter().flat_map(|checks| checks(pipeline)).collect();
    if plan.is_empty() {
        plan.push(nothing());
    }
    let mut before = HashSet::new();
    for check in &mut plan {
        // What comes later cannot be waited for: so nothing waits in a circle.
        check.needs.retain(|id| before.contains(id));
        check.follows.retain(|id| before.contains(id));
        check.suspects.retain(|id| before.contains(id));
        before.insert(check.id.clone());
    }
    plan
}

/// A declaration without anything that could be checked is not right.
fn nothing<'a>() -> Check<'a> {
    let none = async |_: &Facts<'_>| {
        Outcome::fail("no checks declared").hint(
            "declare services and, under x-caravan, what they promise; see docs/declaration.md",
        )
    };
    Check::new("declaration.checks", "something to check", none)
}

/// Makes the selected checks of a pipeline, and those that they need; tells of each as it ends, in no
/// order. Of those that are only needed, failures alone. Gives all that were told, in the plan's order.
///
/// # Errors
/// Docker cannot be reached: nothing else can be told from there.
pub async fn run(
    pipeline: &Pipeline,
    engine: &dyn Platform,
    invocation: &Invocation,
    selection: &Selection,
    mut tell: impl FnMut(&Finding),
) -> Result<Vec<Finding>> {
    let facts = Facts::new(pipeline, engine, invocation);
    let plan = selection.of(plan(pipeline));
    let order: Vec<_> = plan.iter().map(|check| check.id.clone()).collect();
    let (mut findings, mut aside) = (Vec::new(), Vec::new());
    let made = run::make_all(plan, &facts, |finding| {
        if selection.shows(&finding) {
            tell(&finding);
            findings.push(finding);
        } else {
            aside.push(finding);
        }
    });
    let ((), containers) = tokio::join!(made, facts.containers());
    if let Err(e) = containers {
        return Err(e.clone());
    }
    // A warning that nobody asked for, and a failure goes back to.
    for finding in aside {
        let is_cause = |f: &Finding| f.cause.as_ref() == Some(&finding.id);
        if findings.iter().any(is_cause) {
            tell(&finding);
            findings.push(finding);
        }
    }
    findings.sort_by_key(|finding| order.iter().position(|id| *id == finding.id));
    Ok(findings)
}

#[cfg(test)]
mod tests;
