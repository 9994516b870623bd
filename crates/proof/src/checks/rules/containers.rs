//! Containers: created, running, healthy, not restarting; one-shots completed.

use chrono::Utc;

use super::{drift, health};
use crate::checks::{
    check::Check,
    context::CheckContext,
    finding::{Outcome, Status},
    ids,
};
use declaration::{Pipeline, Service};
use platform::{Container, State, replicas};

/// Of how many crashed containers the last lines are shown.
const MOURNED: usize = 2;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let services = dependencies_first(pipeline).into_iter();
    services.flat_map(|s| of_service(pipeline, s)).collect()
}

/// Services in the order of the declaration, but each after those that it depends on.
fn dependencies_first(pipeline: &Pipeline) -> Vec<&Service> {
    fn visit<'a>(pipeline: &'a Pipeline, service: &'a Service, ordered: &mut Vec<&'a Service>) {
        if ordered.iter().any(|s| s.name == service.name) {
            return;
        }
        let before = service.depends_on.iter();
        // A declaration with a cycle is an error, so this ends.
        for service in before.filter_map(|d| pipeline.service(&d.service)) {
            visit(pipeline, service, ordered);
        }
        ordered.push(service);
    }
    let mut ordered = Vec::new();
    for service in &pipeline.services {
        visit(pipeline, service, &mut ordered);
    }
    ordered
}

fn of_service<'a>(pipeline: &'a Pipeline, service: &'a Service) -> Vec<Check<'a>> {
    let deployed = ids::deployed(pipeline, service);
    let required = service.depends_on.iter().filter(|d| d.required);
    let before = ids::deployed_of(pipeline, required.map(|d| d.service.as_str()));
    if service.is_one_shot(pipeline) {
        let completed = async move |context: &CheckContext<'_>| completed(context, service).await;
        let expected = "completed with exit code 0";
        let completed = Check::new(deployed.clone(), expected, completed).explained_by(before);
        return vec![completed, drift::check(service, deployed)];
    }
    let running = async move |context: &CheckContext<'_>| running(context, service).await;
    let running = Check::new(deployed.clone(), expected(service), running).explained_by(before);
    let drift = drift::check(service, deployed.clone());
    let restarts = async move |context: &CheckContext<'_>| {
        let logs = context.command(&format!("logs {}", service.name));
        let own = context.observed.containers_of(service).await;
        let outcome = judge_restarts(&own);
        let restarted = own.into_iter().filter(|c| c.restart_count > 0);
        let words = last_words(context, restarted).await;
        outcome.evidence(words).hint(logs)
    };
    let restarts = Check::new(ids::RESTARTS.of(&service.name), "no restarts", restarts);
    vec![running, drift, restarts.warning().needs([deployed])]
}

/// The health checks of containers. A worker may be unhealthy because its group rebalances, so they refer to
/// checks of other layers.
pub(super) fn health(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let services = dependencies_first(pipeline).into_iter();
    let services = services.filter(|service| !service.is_one_shot(pipeline));
    services
        .filter_map(|service| health_of(pipeline, service))
        .collect()
}

fn health_of<'a>(pipeline: &'a Pipeline, service: &'a Service) -> Option<Check<'a>> {
    let probed = |test: &Vec<String>| test.first().is_some_and(|word| word != "NONE");
    let declared = service.healthcheck.as_ref().filter(|h| probed(&h.test))?;
    let health = async move |context: &CheckContext<'_>| {
        let own = context.observed.containers_of(service).await;
        let up: Vec<_> = own.into_iter().filter(is_running).collect();
        let outcome = health::judge(declared, &up, Utc::now());
        match outcome.status {
            // What it needs is impaired, mostly: a restart helps nobody.
            Status::Warn => outcome.hint(context.command(&format!("logs {}", service.name))),
            Status::Pass | Status::Fail | Status::Skip => {
                context.remedied(outcome, &service.name).await
            }
        }
    };
    let stable = || ids::group(service, ids::STABLE);
    let check = Check::new(ids::HEALTH.of(&service.name), "healthy", health)
        .needs([ids::deployed(pipeline, service)])
        .explained_by(stable())
        .explained_by(ids::dependencies_and_calls(pipeline, service))
        .possible_causes(stable())
        .possible_causes([ids::as_declared(service)]);
    Some(check)
}

fn is_running(container: &&Container) -> bool {
    container.state == State::Running
}

fn expected(service: &Service) -> String {
    match service.replicas {
        1 => "running".to_owned(),
        n => format!("{n} running"),
    }
}

/// All declared replicas exist and run.
async fn running(context: &CheckContext<'_>, service: &Service) -> Outcome {
    let observed = &context.observed;
    let wanted = replicas(service, observed.all_containers().await) as usize;
    let own = observed.containers_of(service).await;
    let mut outcome = judge_running(wanted, &own);
    if outcome.status != Status::Pass {
        let crashed = own.iter().copied().filter(|c| {
            let ended = matches!(c.state, State::Exited | State::Dead | State::Restarting);
            ended && c.exit_code != Some(0)
        });
        let words = last_words(context, crashed).await;
        outcome = outcome.evidence(words);
        // Drift may be the cause, and the check for it comes only after this one.
        outcome = outcome.evidence(drift::lines(observed.drift(&service.name).await));
    }
    context.remedied(outcome, &service.name).await
}

fn judge_running(wanted: usize, own: &[&Container]) -> Outcome {
    if own.is_empty() {
        return Outcome::fail("not deployed");
    }
    let running = own.iter().copied().filter(is_running).count();
    // A broken one counts although enough others run: it is a member of the group.
    let broken: Vec<_> = own.iter().filter(|c| c.state != State::Running).collect();
    match (running >= wanted && broken.is_empty(), wanted) {
        (true, 1) => Outcome::pass("running"),
        (true, _) => Outcome::pass(format!("{running} running")),
        (false, 1) if broken.len() == 1 => Outcome::fail(describe(broken[0]))
            .evidence(broken.iter().filter_map(|c| docker_error(c)))
            .evidence(broken.iter().filter_map(|c| restarted(c))),
        (false, _) => Outcome::fail(format!("{running} of {wanted} running"))
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

/// The last lines that containers wrote before their last run ended: they say why.
async fn last_words<'a>(
    context: &CheckContext<'_>,
    containers: impl Iterator<Item = &'a Container>,
) -> Vec<String> {
    let mut words = Vec::new();
    for container in containers.take(MOURNED) {
        // A log that cannot be read says nothing.
        let lines = context.observed.last_words(container).await;
        let lines = lines.unwrap_or_default().into_iter();
        words.extend(lines.map(|line| format!("{}: {line}", container.name)));
    }
    words
}

fn docker_error(container: &Container) -> Option<String> {
    let error = container.error.as_ref().filter(|e| !e.is_empty())?;
    Some(format!("{}: {error}", container.name))
}

/// A crash loop.
fn restarted(container: &Container) -> Option<String> {
    let times = container.restart_count;
    (times > 0).then(|| format!("{}: restarted {times} times", container.name))
}

/// Restarts by Docker since a person or `up` last started the containers.
fn judge_restarts(own: &[&Container]) -> Outcome {
    match own.iter().map(|c| c.restart_count).sum::<i64>() {
        0 => Outcome::pass("0"),
        n => {
            let evidence = own.iter().filter(|c| c.restart_count > 0).map(|c| {
                let started = c.started_at.map(|at| at.to_rfc3339()).unwrap_or_default();
                let killed = match c.oom_killed {
                    true => ", out of memory",
                    false => "",
                };
                let times = c.restart_count;
                format!("{}: {times} times, last at {started}{killed}", c.name)
            });
            Outcome::warn(format!("{n} since it was started")).evidence(evidence)
        }
    }
}

async fn completed(context: &CheckContext<'_>, service: &Service) -> Outcome {
    let up = context.remedy(&service.name).await;
    let logs = context.command(&format!("logs {}", service.name));
    judge_completed(&context.observed.containers_of(service).await, up, logs)
}

/// A one-shot ran and exited with 0. `up` runs it again; `logs` shows its log.
fn judge_completed(own: &[&Container], up: String, logs: String) -> Outcome {
    let Some(last) = own.iter().max_by_key(|c| c.started_at) else {
        return Outcome::fail("never ran").hint(up);
    };
    match (last.state, last.exit_code) {
        (State::Exited, Some(0)) => Outcome::pass("completed"),
        (State::Exited | State::Dead, _) => Outcome::fail(describe(last))
            .evidence(docker_error(last))
            .evidence([format!("its log: {logs}")])
            .hint(up),
        (State::Running | State::Restarting, _) => {
            Outcome::fail(format!("still {}", last.state.name())).hint(logs)
        }
        _ => Outcome::fail(describe(last))
            .evidence(docker_error(last))
            .hint(up),
    }
}
