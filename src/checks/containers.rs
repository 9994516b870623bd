//! Containers: there, running, healthy, not restarting; one-shots completed.

use std::time::Instant;

use chrono::Utc;

use super::{
    Containers, Scene,
    finding::{Check, Finding, Status},
    health,
};
use crate::{
    engine::observed::{Container, State, replicas},
    error::Result,
    pipeline::Service,
};

pub(super) async fn check(scene: Scene<'_>, containers: impl Containers) -> Result<()> {
    let began = Instant::now();
    let containers = containers.await?;
    for service in &scene.pipeline.services {
        let own: Vec<_> = containers
            .iter()
            .filter(|c| c.service == service.name)
            .collect();
        let hint = scene.remedy(&containers, &service.name);
        let findings = if service.is_one_shot(scene.pipeline) {
            let logs = scene.invocation.command(&format!("logs {}", service.name));
            vec![completed(began, service, &own, &hint, &logs)]
        } else {
            let wanted = replicas(service, &containers);
            long_running(scene, began, (service, wanted), &own, &hint)
        };
        scene.report.send_all(findings);
    }
    Ok(())
}

fn long_running(
    scene: Scene<'_>,
    began: Instant,
    (service, wanted): (&Service, u32),
    own: &[&Container],
    hint: &str,
) -> Vec<Finding> {
    let running = running(began, service, wanted as usize, own);
    let up: Vec<_> = own
        .iter()
        .copied()
        .filter(|c| c.state == State::Running)
        .collect();
    let mut findings = Vec::new();
    if let Some(healthcheck) = &service.healthcheck
        && healthcheck.test.first().is_some_and(|test| test != "NONE")
    {
        let check = Check::new(
            began,
            format!("containers.{}.health", service.name),
            "healthy",
        );
        findings.push(if up.is_empty() {
            check.skip("not running", &running.id)
        } else {
            let restart = scene
                .invocation
                .command(&format!("restart {}", service.name));
            health::judge(check, healthcheck, &up, Utc::now(), &restart)
        });
    }
    let logs = scene.invocation.command(&format!("logs {}", service.name));
    findings.push(restarts(began, service, own, &running.id, &logs));
    findings.push(match running.status {
        Status::Fail => running.hint(hint),
        _ => running,
    });
    findings
}

/// All replicas that are wanted are there and running.
fn running(began: Instant, service: &Service, wanted: usize, own: &[&Container]) -> Finding {
    let expected = match wanted {
        1 => "running".to_owned(),
        n => format!("{n} running"),
    };
    let check = Check::new(
        began,
        format!("containers.{}.running", service.name),
        expected,
    );
    let running = own.iter().filter(|c| c.state == State::Running).count();
    if own.is_empty() {
        return check.fail("not deployed");
    }
    // One that is broken counts even where enough others run: it takes part in the group.
    let broken: Vec<_> = own.iter().filter(|c| c.state != State::Running).collect();
    match (running >= wanted && broken.is_empty(), wanted) {
        (true, 1) => check.pass("running"),
        (true, _) => check.pass(format!("{running} running")),
        (false, 1) if broken.len() == 1 => check
            .fail(describe(broken[0]))
            .evidence(broken.iter().filter_map(|c| docker_error(c))),
        (false, _) => check
            .fail(format!("{running} of {wanted} running"))
            .evidence(
                broken
                    .iter()
                    .map(|c| format!("{}: {}", c.name, describe(c))),
            )
            .evidence(broken.iter().filter_map(|c| docker_error(c))),
    }
}

/// `exited (137, out of memory)`, `paused`.
fn describe(container: &Container) -> String {
    let state = container.state.name();
    let ended = matches!(
        container.state,
        State::Exited | State::Dead | State::Restarting
    );
    match container.exit_code.filter(|_| ended) {
        Some(code) if container.oom_killed => format!("{state} ({code}, out of memory)"),
        Some(code) => format!("{state} ({code})"),
        None => state.to_owned(),
    }
}

fn docker_error(container: &Container) -> Option<String> {
    let error = container.error.as_ref().filter(|e| !e.is_empty())?;
    Some(format!("{}: {error}", container.name))
}

/// Docker's restarts since a person (or `up`) last started it.
fn restarts(
    began: Instant,
    service: &Service,
    own: &[&Container],
    running: &str,
    logs: &str,
) -> Finding {
    let id = format!("containers.{}.restarts", service.name);
    let check = Check::new(began, id, "no restarts");
    if own.is_empty() {
        return check.skip("not deployed", running);
    }
    match own.iter().map(|c| c.restart_count).sum::<i64>() {
        0 => check.pass("0"),
        n => {
            let evidence = own.iter().filter(|c| c.restart_count > 0).map(|c| {
                let started = c.started_at.map(|at| at.to_rfc3339()).unwrap_or_default();
                format!("{}: {} times, last at {started}", c.name, c.restart_count)
            });
            check
                .warn(format!("{n} since it was started"))
                .evidence(evidence)
                .hint(logs)
        }
    }
}

/// A one-shot ran, and ended well.
fn completed(
    began: Instant,
    service: &Service,
    own: &[&Container],
    up: &str,
    logs: &str,
) -> Finding {
    let id = format!("containers.{}.completed", service.name);
    let check = Check::new(began, id, "completed with exit code 0");
    let Some(last) = own.iter().max_by_key(|c| c.started_at) else {
        return check.fail("never ran").hint(up);
    };
    match (last.state, last.exit_code) {
        (State::Exited, Some(0)) => check.pass("completed"),
        (State::Exited | State::Dead, _) => check
            .fail(describe(last))
            .evidence(docker_error(last))
            .evidence([format!("its log: {logs}")])
            .hint(up),
        (State::Running | State::Restarting, _) => check
            .fail(format!("still {}", last.state.name()))
            .hint(logs),
        _ => check
            .fail(describe(last))
            .evidence(docker_error(last))
            .hint(up),
    }
}
