//! The host ports that services publish: free, the project's own already, or another one that `up`
//! would choose in their place; by the code by which `up` chooses.

use std::time::Instant;

use super::{CheckId, Finding, Patient, PendingFinding, failed};
use crate::state::{self, Foreseen};
use declaration::{Pipeline, Port, VariablePort};
use diagnostics::Result;
use docker::{Engine, port_availability::PortAvailability, ports::other_port};
use platform::with_dependencies;

/// Whose the ports are, and what `up` would do about those that are taken.
pub(super) struct Seen {
    /// Of each wanted port, in their order.
    pub(super) availability: Vec<PortAvailability>,
    pub(super) variables: Vec<VariablePort>,
    pub(super) foreseen: Foreseen,
}

/// Services and the ports that they want on the host.
fn wanted(pipeline: &Pipeline) -> impl Iterator<Item = (&str, &Port)> {
    pipeline.services.iter().flat_map(|service| {
        let fixed = service.ports.iter().filter(|p| p.host_port.is_some());
        fixed.map(|port| (service.name.as_str(), port))
    })
}

pub(super) async fn check(engine: &Engine, patient: Patient<'_>) -> Vec<Finding> {
    let began = Instant::now();
    judge(began, patient.pipeline, see(engine, patient).await)
}

async fn see(engine: &Engine, patient: Patient<'_>) -> Result<Seen> {
    let ports: Vec<_> = wanted(patient.pipeline).map(|(_, port)| port).collect();
    let availability = engine
        .port_availability(&patient.pipeline.project, &ports)
        .await?;
    let ports = patient.source.host_ports()?;
    let services = with_dependencies(&ports.marked, &[]).into_iter();
    let services: Vec<_> = services.map(|service| service.name.clone()).collect();
    let host = state::Host {
        published: &engine.published().await?,
        local: engine.local,
    };
    let foreseen = state::examine_ports(patient.source, &ports, &services, &host)?;
    Ok(Seen {
        availability,
        variables: ports.variable,
        foreseen,
    })
}

pub(super) fn judge(began: Instant, pipeline: &Pipeline, seen: Result<Seen>) -> Vec<Finding> {
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
    match seen {
        Ok(seen) => checks
            .zip(&seen.availability)
            .map(|((check, service, port), availability)| {
                one(check, pipeline, service, port, availability, &seen)
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
    seen: &Seen,
) -> Finding {
    let number = port.host_port.unwrap_or_default();
    let mut variables = seen.variables.iter();
    let decided = variables.find(|v| v.service == service && v.number == number);
    if let Some(decided) = decided {
        let mut chosen = seen.foreseen.chosen.iter();
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
        let mut lost = seen.foreseen.lost.iter();
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
            let change = other_port(pipeline, &seen.variables, service, number);
            check
                .fail(format!("in use by {}", holder.who))
                .hint(holder.advice(&change))
        }
    }
}
