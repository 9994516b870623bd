//! Host ports that services publish: each one is free, used by the project itself, or would be replaced by
//! `up`. The replacement is computed by the same code as in `up`.

use std::time::Instant;

use super::{CheckId, Finding, Patient, PendingFinding, failed};
use crate::state::{self, PortPlan};
use declaration::{Pipeline, Port};
use diagnostics::Result;
use docker::{Engine, port_availability::PortAvailability, ports::other_port};
use platform::{Platform, with_dependencies};

/// Which ports are available, and which ones `up` would choose.
pub(super) struct Observed {
    /// Of each wanted port, in declared order.
    pub(super) availability: Vec<PortAvailability>,
    pub(super) plan: PortPlan,
}

/// The host ports that services publish, each with its service.
fn wanted(pipeline: &Pipeline) -> impl Iterator<Item = (&str, &Port)> {
    pipeline.services.iter().flat_map(|service| {
        let fixed = service.ports.iter().filter(|p| p.host_port.is_some());
        fixed.map(|port| (service.name.as_str(), port))
    })
}

pub(super) async fn check(engine: &Engine, patient: Patient<'_>) -> Vec<Finding> {
    let began = Instant::now();
    judge(began, patient.pipeline, observe(engine, patient).await)
}

async fn observe(engine: &Engine, patient: Patient<'_>) -> Result<Observed> {
    let ports: Vec<_> = wanted(patient.pipeline).map(|(_, port)| port).collect();
    let availability = engine
        .port_availability(&patient.pipeline.project, &ports)
        .await?;
    let draft = patient.source.resolve_without_secrets()?;
    let services = with_dependencies(&draft, &[]).into_iter();
    let services: Vec<_> = services.map(|service| service.name.clone()).collect();
    let used = engine.used_ports().await?;
    let plan = state::plan_ports(patient.source, &draft, &services, &used)?;
    Ok(Observed { availability, plan })
}

pub(super) fn judge(
    began: Instant,
    pipeline: &Pipeline,
    observed: Result<Observed>,
) -> Vec<Finding> {
    let checks = wanted(pipeline).map(|(service, port)| {
        let number = port.host_port.unwrap_or_default();
        let id = CheckId::of_subject("ports", service, number.to_string());
        let check = PendingFinding::new(
            began,
            id,
            "free, used by the project, or replaceable \
                                                    by `up`",
        );
        (check, service, port)
    });
    match observed {
        Ok(observed) => checks
            .zip(&observed.availability)
            .map(|((check, service, port), availability)| {
                one(check, pipeline, service, port, availability, &observed)
            })
            .collect(),
        Err(e) => checks.map(|(check, ..)| failed(check, &e)).collect(),
    }
}

fn one(
    check: PendingFinding,
    pipeline: &Pipeline,
    service: &str,
    port: &Port,
    availability: &PortAvailability,
    observed: &Observed,
) -> Finding {
    let number = port.host_port.unwrap_or_default();
    let mut variables = pipeline.variable_ports.iter();
    let decided = variables.find(|v| v.service == service && v.number == number);
    if let Some(decided) = decided {
        let mut chosen = observed.plan.chosen.iter();
        if let Some(chosen) = chosen.find(|c| c.variable == decided.variable) {
            let who = match availability {
                PortAvailability::Taken(holder) => &holder.who,
                PortAvailability::Free
                | PortAvailability::Own(_)
                | PortAvailability::Unusable(_) => &chosen.holder,
            };
            return check.pass(format!(
                "in use by {who}: `up` will use {} ({})",
                chosen.number, chosen.variable
            ));
        }
        let mut lost = observed.plan.lost.iter();
        if let Some((_, e)) = lost.find(|(variable, _)| *variable == decided.variable) {
            return failed(check, e);
        }
    }
    match availability {
        PortAvailability::Free => check.pass("free"),
        PortAvailability::Own(container) => check.pass(format!("its own: {container}")),
        PortAvailability::Unusable(why) => check
            .fail(format!("{} cannot be used: {why}", port.host_ip))
            .hint("ip address, to see which addresses this machine has"),
        PortAvailability::Taken(holder) => {
            let change = other_port(pipeline, service, number);
            check
                .fail(format!("in use by {}", holder.who))
                .hint(holder.advice(&change))
        }
    }
}
