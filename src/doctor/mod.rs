//! Whether this machine and its engine are fit for a pipeline, before and beside it: what is asked
//! of them is seen first, then judged, by functions that see nothing else.
//!
//! Ids are a contract, as those of `verify`.
//!
//! | id | fails when (what else it may do) |
//! |---|---|
//! | `engine.reachable` | Docker does not answer; all else is skipped |
//! | `engine.api-version` | it is older than what Caravan speaks |
//! | `engine.platform` | it is not what this executable was built for, and services run from it |
//! | `engine.storage` | images would not unpack right (warns of what is slow or abandoned) |
//! | `engine.cgroup` | a declared limit would not be kept to |
//! | `network.dns` | a name does not resolve in a container of a network, or none can be started |
//! | `host.disk` | the images that are not here would not fit (warns when logs would not) |
//! | `host.memory` | the machine has less than all limits (warns when it is in others' use) |
//! | `registry.reachable` | an image is not here and cannot be had (warns where a stand-in is built) |
//! | `ports.SERVICE.PORT` | somebody else has it and `up` may choose no other, or the address cannot be used |
//! | `leftovers.secrets` | a data volume is there, the secrets that it was made with are not |
//! | `leftovers.lock` | (warns when another Caravan changes the project) |
//! | `leftovers.containers`, `.networks`, `.volumes` | (warns of those that nothing declares) |
//! | `leftovers.dead` | (warns of the project's containers that Docker could not remove) |
//! | `leftovers.doctor` | (warns of what an interrupted `doctor` left) |
//! | `leftovers.inside` | (warns of containers that commands were to run in, and never did) |
//! | `leftovers.images`, `.builds` | (warns of images of Caravan's that nobody uses any more) |

mod engine;
mod host;
pub(crate) mod inside;
mod leftovers;
mod network;
mod pending;
mod ports;
mod registry;

use std::time::Instant;

use futures_util::join;
use tokio_util::sync::CancellationToken;

use pending::PendingFinding;
use proof::checks::{
    CheckId,
    finding::{Finding, Status},
};

use declaration::{Pipeline, Source};
use diagnostics::{Error, Invocation, Result};
use docker::{Engine, images::Needed};

/// What is examined.
#[derive(Clone, Copy)]
pub(crate) struct Patient<'a> {
    pub(crate) source: &'a Source,
    /// Perhaps without its secrets.
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) invocation: &'a Invocation,
}

/// The id whose failure means that nothing else could be told.
const REACHABLE: CheckId = CheckId::of_layer("engine", "reachable");

/// Makes all checks; the findings are in the order of the table above.
pub(crate) async fn examine(
    patient: Patient<'_>,
    engine: Result<Engine>,
    cancel: &CancellationToken,
) -> Vec<Finding> {
    let began = Instant::now();
    let info = match &engine {
        Ok(engine) => engine.info().await,
        Err(e) => Err(e.clone()),
    };
    let check = PendingFinding::new(began, REACHABLE, "Docker answers");
    let (engine, info) = match (engine, info) {
        (Ok(engine), Ok(info)) => (engine, info),
        (Err(e), _) | (_, Err(e)) => return without_docker(failed(check, &e)),
    };
    let mut findings = vec![check.pass(format!("Docker {}", info.version))];
    findings.extend(engine::judge(began, &info, engine.api, patient.pipeline));
    let needed = engine.needed_images(patient.pipeline).await;
    let (inside, registry, ports) = join!(
        inside(&engine, patient, &needed, cancel),
        registry::check(&engine, &needed, patient.invocation),
        ports::check(&engine, patient),
    );
    findings.extend(inside);
    findings.push(registry);
    findings.extend(ports);
    findings.extend(leftovers::check(&engine, patient).await);
    findings
}

/// What a container sees.
async fn inside(
    engine: &Engine,
    patient: Patient<'_>,
    needed: &Result<Vec<Needed>>,
    cancel: &CancellationToken,
) -> Vec<Finding> {
    let began = Instant::now();
    let seen = engine.look_inside(patient.pipeline, cancel).await;
    let mut findings = vec![network::judge(began, &seen, patient.invocation)];
    findings.extend(host::check(engine, began, patient, &seen, needed).await);
    findings
}

/// Whether Docker itself could not be reached.
pub(crate) fn is_unreachable(findings: &[Finding]) -> bool {
    let unreachable = |f: &Finding| f.id == REACHABLE && f.status == Status::Fail;
    findings.iter().any(unreachable)
}

fn without_docker(reachable: Finding) -> Vec<Finding> {
    let others = [
        ("engine", "api-version"),
        ("engine", "storage"),
        ("engine", "cgroup"),
        ("network", "dns"),
        ("host", "disk"),
        ("host", "memory"),
        ("registry", "reachable"),
    ];
    let skipped = others.map(|(layer, aspect)| {
        let id = CheckId::of_layer(layer, aspect);
        let check = PendingFinding::new(Instant::now(), id, "-");
        check.skip("no Docker", REACHABLE)
    });
    std::iter::once(reachable).chain(skipped).collect()
}

/// A check that could not be made, or was answered by an error.
fn failed(check: PendingFinding, e: &Error) -> Finding {
    let finding = check.fail(e.what.clone()).evidence(e.evidence.clone());
    match &e.hint {
        Some(hint) => finding.hint(hint.clone()),
        None => finding,
    }
}

#[cfg(test)]
mod tests;
