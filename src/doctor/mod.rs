//! Checks of the engine and its host. A check first observes, then a function judges only what was observed.
//!
//! The ids are a contract, as those of `verify`.
//!
//! | id | fails if (what else it does) |
//! |---|---|
//! | `engine.reachable` | Docker does not respond; all other checks are skipped |
//! | `engine.api-version` | Docker's API is older than the oldest one that Caravan supports |
//! | `engine.platform` | services run from this executable, and it was built for another platform |
//! | `engine.storage` | images cannot be unpacked correctly (warns about slow or abandoned drivers) |
//! | `engine.cgroup` | the engine cannot enforce a declared limit |
//! | `network.dns` | a container on a network cannot resolve a name, or cannot be started |
//! | `host.disk` | the missing images do not fit (warns if data and logs may not fit) |
//! | `host.memory` | the limits exceed the total memory (warns if those of stopped containers exceed what is available) |
//! | `registry.reachable` | a missing image can be neither pulled nor built (warns if it will be built) |
//! | `ports.SERVICE.PORT` | the port is in use and `up` may not choose another one, or the address is unusable |
//! | `leftovers.secrets` | a data volume exists, and a secret that it was created with is missing |
//! | `leftovers.lock` | (warns if another Caravan process is changing the project) |
//! | `leftovers.containers`, `.networks`, `.volumes` | (warns about those that the declaration does not have) |
//! | `leftovers.dead` | (warns about the project's containers that Docker could not remove) |
//! | `leftovers.doctor` | (warns about the container and network of an interrupted `doctor`) |
//! | `leftovers.inside` | (warns about temporary containers of commands that were created and never started) |
//! | `leftovers.images`, `.builds` | (warns about images of Caravan that no container uses) |

mod engine;
mod host;
pub(crate) mod host_info;
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

/// What the checks are made for.
#[derive(Clone, Copy)]
pub(crate) struct Patient<'a> {
    pub(crate) source: &'a Source,
    /// Resolved without its secrets.
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) invocation: &'a Invocation,
}

/// If this check fails, all others are skipped.
const REACHABLE: CheckId = CheckId::of_layer("engine", "reachable");

/// Runs all checks. The findings are in the order of the table above.
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
    let (in_container, registry, ports) = join!(
        check_in_container(&engine, patient, &needed, cancel),
        registry::check(&engine, &needed, patient.invocation),
        ports::check(&engine, patient),
    );
    findings.extend(in_container);
    findings.push(registry);
    findings.extend(ports);
    findings.extend(leftovers::check(&engine, patient).await);
    findings
}

/// Runs the checks that need a container: of the network, and of the host's disk and memory.
async fn check_in_container(
    engine: &Engine,
    patient: Patient<'_>,
    needed: &Result<Vec<Needed>>,
    cancel: &CancellationToken,
) -> Vec<Finding> {
    let began = Instant::now();
    let host_info = engine.look_inside(patient.pipeline, cancel).await;
    let mut findings = vec![network::judge(began, &host_info, patient.invocation)];
    findings.extend(host::check(engine, began, patient, &host_info, needed).await);
    findings
}

/// Whether Docker did not respond.
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

/// The finding of a check that ended with an error.
fn failed(check: PendingFinding, e: &Error) -> Finding {
    let finding = check.fail(e.what.clone()).evidence(e.evidence.clone());
    match &e.hint {
        Some(hint) => finding.hint(hint.clone()),
        None => finding,
    }
}

#[cfg(test)]
mod tests;
