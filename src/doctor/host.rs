//! Compares the free disk space and memory of the engine's host with what the declared pipeline needs.

use std::time::Instant;

use super::{CheckId, Finding, Patient, PendingFinding, network};
use declaration::{Logging, Pipeline, Service, units, units::size};
use diagnostics::{Invocation, Result};
use docker::{Engine, images::Needed};
use platform::{Container, HostInfo, Platform, State};

/// Free space for data, in addition to images and logs.
const ROOM: u64 = 1 << 30;
const DISK: CheckId = CheckId::of_layer("host", "disk");
const MEMORY: CheckId = CheckId::of_layer("host", "memory");

pub(super) async fn check(
    engine: &Engine,
    began: Instant,
    patient: Patient<'_>,
    host_info: &Result<HostInfo>,
    needed: &Result<Vec<Needed>>,
) -> [Finding; 2] {
    let pipeline = patient.pipeline;
    let Ok(host_info) = host_info else {
        return [DISK, MEMORY].map(|id| {
            let check = PendingFinding::new(began, id, "enough");
            check.skip("no container could run", network::ID)
        });
    };
    let images = needed.iter().flatten().map(Needed::takes).sum();
    // If the containers cannot be listed, all count as not running: the check then requires more memory.
    let observed = engine.containers(&pipeline.project).await;
    let memory = Memory::of(pipeline, &observed.unwrap_or_default());
    [
        disk(
            began,
            host_info.disk_free,
            images,
            &Logs::of(pipeline),
            patient.invocation,
        ),
        memory.judge(began, host_info, patient.invocation),
    ]
}

/// The size that the containers' logs can reach.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Logs {
    bytes: u64,
    /// Services whose logs have no bound.
    unbounded: Vec<String>,
}

impl Logs {
    pub(super) fn of(pipeline: &Pipeline) -> Self {
        let mut logs = Self::default();
        for service in &pipeline.services {
            match service.logging.as_ref().and_then(bound) {
                Some(bytes) => logs.bytes += bytes * u64::from(service.replicas),
                None => logs.unbounded.push(service.name.clone()),
            }
        }
        logs
    }
}

fn bound(logging: &Logging) -> Option<u64> {
    let size = units::bytes(logging.options.get("max-size")?).ok()?;
    let files = logging.options.get("max-file");
    let files = files.map_or(Some(1), |n| n.parse::<u64>().ok())?;
    Some(u64::try_from(size).ok()? * files)
}

pub(super) fn disk(
    began: Instant,
    free: Option<u64>,
    images: u64,
    logs: &Logs,
    invocation: &Invocation,
) -> Finding {
    let wanted = images + logs.bytes + ROOM;
    let check = PendingFinding::new(began, DISK, format!("{} free", size(wanted)));
    let evidence = [
        format!("missing images: {}", size(images)),
        format!("logs, at most: {}", size(logs.bytes)),
        format!("initial size of data: {}", size(ROOM)),
    ];
    let disk_usage = invocation.docker("system df");
    let Some(free) = free else {
        return check.fail("unknown").hint(disk_usage);
    };
    let seen = format!("{} free", size(free));
    match free {
        _ if free < images => check.fail(seen).evidence(evidence).hint(disk_usage),
        _ if free < wanted => check.warn(seen).evidence(evidence).hint(disk_usage),
        _ if logs.unbounded.is_empty() => check.pass(seen),
        _ => check
            .warn(format!("{seen}, and logs without a limit"))
            .evidence([logs.unbounded.join(", ")])
            .hint(
                "declare logging: {driver: json-file, options: {max-size: 50m, max-file: \"4\"}}",
            ),
    }
}

/// The memory limits of the services.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Of all replicas.
    all: u64,
    /// Of the replicas that are not running.
    not_running: u64,
    unlimited: Vec<String>,
}

impl Memory {
    /// Ignores one-shots: they end before the other services are under load.
    pub(super) fn of(pipeline: &Pipeline, observed: &[Container]) -> Self {
        let mut memory = Self::default();
        let services = pipeline.services.iter();
        for service in services.filter(|s| !s.is_one_shot(pipeline)) {
            let Some(limit) = service.mem_limit.and_then(|l| u64::try_from(l).ok()) else {
                memory.unlimited.push(service.name.clone());
                continue;
            };
            let replicas = u64::from(service.replicas);
            let running = running(service, observed).min(replicas);
            memory.all += limit * replicas;
            memory.not_running += limit * (replicas - running);
        }
        memory
    }

    pub(super) fn judge(
        &self,
        began: Instant,
        seen: &HostInfo,
        invocation: &Invocation,
    ) -> Finding {
        let expected = match self.all {
            0 => "no limits are declared".to_owned(),
            _ => format!("{} available", size(self.not_running)),
        };
        let check = PendingFinding::new(began, MEMORY, expected);
        let memory_usage = invocation.docker("stats --no-stream");
        let (Some(total), Some(available)) = (seen.memory_total, seen.memory_available) else {
            return check.fail("unknown").hint(memory_usage);
        };
        let seen = format!("{} of {}", size(available), size(total));
        let mut evidence = vec![format!(
            "limits of all services (mem_limit): {}, of those that do not run yet: {}",
            size(self.all),
            size(self.not_running)
        )];
        if !self.unlimited.is_empty() {
            evidence.push(format!("without a limit: {}", self.unlimited.join(", ")));
        }
        match () {
            () if total < self.all => check
                .fail(seen)
                .evidence(evidence)
                .hint("declare lower limits, or use a machine with more memory"),
            () if available < self.not_running => {
                check.warn(seen).evidence(evidence).hint(memory_usage)
            }
            () => check.pass(seen),
        }
    }
}

fn running(service: &Service, observed: &[Container]) -> u64 {
    let runs = |c: &&Container| c.service == service.name && c.state == State::Running;
    observed.iter().filter(runs).count() as u64
}
