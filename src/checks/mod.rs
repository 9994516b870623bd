//! One file per layer; each turns the pipeline and what is there into findings. `doctor` does so
//! with the machine and its engine.
//!
//! Ids are a contract: `layer.subject.aspect`, where the subject is named as declared.
//!
//! | id | fails when (what else it may do) |
//! |---|---|
//! | `declaration.checks` | the declaration has nothing that could be checked; not there otherwise |
//! | `containers.SERVICE.running` | a replica is missing, stopped, paused or restarting |
//! | `containers.SERVICE.health` | unhealthy, or `starting` for longer than it may; skipped unless running |
//! | `containers.SERVICE.restarts` | (warns when Docker restarted it since it was last started) |
//! | `containers.SERVICE.completed` | a one-shot has not ended with 0 |
//! | `kafka.reachable` | no metadata; all of the next three layers are skipped |
//! | `topics.TOPIC.exists` | it does not |
//! | `topics.TOPIC.partitions` | fewer than declared (more: warns), or one without a leader |
//! | `groups.SERVICE.exists` | the group does not |
//! | `groups.SERVICE.stable` | it still rebalances after some seconds; an empty group is at rest |
//! | `groups.SERVICE.assigned` | a partition is not held by a running container of the service |
//! | `groups.SERVICE.lag` | (passes with the number; warns when nobody is there to work it off) |
//! | `logs.SERVICE.started` | no startup line since this start; skipped unless running |
//! | `logs.SERVICE.clean` | a forbidden line since this start |
//! | `database.reachable` | no connection; the rest of the layer is skipped |
//! | `database.migrations` | the declared migration is not applied |
//! | `database.TABLE.exists` | it does not |
//! | `database.TABLE.columns`, `.indexes` | one that is declared is missing, or has another type; skipped unless it exists |
//! | `database.INVARIANT.holds` | a counterexample older than the invariant's grace |
//! | `cache.reachable` | no answer to `PING` |
//! | `dead-letters.empty` | (warns of those that wait, or whose replay is in flight) |
//! | `dead-letters.room` | (warns when the largest message and 64 KiB of headers would not fit) |
//! | `services.SERVICE.ready` | `GET /ready`, or the declared path, is not 200, or the declared status |
//!
//! After a worker stops or is paused its set of failed ids is the same at any time: a static
//! member lingers in its group until its session ends, so `assigned` compares members with running
//! containers, and `stable` takes an empty group for what it is, a group at rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use futures_util::{FutureExt, TryFutureExt};
use tokio::sync::mpsc::UnboundedSender;

mod broker;
mod cache;
mod containers;
mod database;
mod dead_letters;
pub(crate) mod doctor;
pub(crate) mod finding;
mod groups;
mod health;
mod invariants;
mod logs;
mod order;
mod remedy;
mod services;
mod shape;
mod topics;

pub(crate) use order::sort;

use crate::{
    engine::{Engine, observed::Container},
    error::Result,
    invocation::Invocation,
    pipeline::Pipeline,
};
use finding::{Check, Finding};

/// What each layer is given.
#[derive(Clone, Copy)]
struct Scene<'a> {
    pipeline: &'a Pipeline,
    engine: &'a Engine,
    invocation: &'a Invocation,
    report: &'a Report,
}

/// The project's containers, asked for once and awaited by every layer that compares with them.
trait Containers: Future<Output = Result<Arc<Vec<Container>>>> {}

impl<F: Future<Output = Result<Arc<Vec<Container>>>>> Containers for F {}

/// Makes all checks of a pipeline, at once; each finding is sent when it is there, in no order
/// (see [`sort`]).
///
/// # Errors
/// Docker cannot be reached: nothing else can be told from there.
pub(crate) async fn run(
    pipeline: &Pipeline,
    engine: &Engine,
    invocation: &Invocation,
    findings: UnboundedSender<Finding>,
) -> Result<()> {
    let report = Report::new(findings);
    let scene = Scene {
        pipeline,
        engine,
        invocation,
        report: &report,
    };
    let containers = engine.containers(&pipeline.project).map_ok(Arc::new);
    let containers = Box::pin(containers).shared();
    tokio::try_join!(
        Box::pin(containers::check(scene, containers.clone())),
        Box::pin(broker::check(scene, containers.clone())),
        Box::pin(logs::check(scene, containers.clone())),
        Box::pin(database::check(scene, containers.clone())),
        Box::pin(cache::check(scene, containers.clone())),
        Box::pin(services::check(scene, containers.clone())),
    )?;
    if !report.any() {
        let check = Check::new(Instant::now(), "declaration.checks", "something to check");
        report.send(check.fail("no checks declared").hint(
            "declare services and, under x-caravan, what they promise; see docs/declaration.md",
        ));
    }
    Ok(())
}

/// Where findings go; remembers whether there were any.
struct Report {
    findings: UnboundedSender<Finding>,
    any: AtomicBool,
}

impl Report {
    fn new(findings: UnboundedSender<Finding>) -> Self {
        Self {
            findings,
            any: AtomicBool::new(false),
        }
    }

    fn send(&self, finding: Finding) {
        self.any.store(true, Ordering::Relaxed);
        // Nobody listens any more: then nobody misses it.
        let _unheard = self.findings.send(finding);
    }

    fn send_all(&self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.send(finding));
    }

    fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }
}
