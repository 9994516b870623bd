//! The host ports that services publish: free, or the project's own already.

use std::time::Instant;

use super::{Finding, PendingFinding, failed};
use declaration::{Pipeline, Port};
use diagnostics::Result;
use docker::{Engine, vacancy::Vacancy};

/// Services and the ports that they want on the host.
fn wanted(pipeline: &Pipeline) -> impl Iterator<Item = (&str, &Port)> {
    pipeline.services.iter().flat_map(|service| {
        let fixed = service.ports.iter().filter(|p| p.host_port.is_some());
        fixed.map(|port| (service.name.as_str(), port))
    })
}

pub(super) async fn check(engine: &Engine, pipeline: &Pipeline) -> Vec<Finding> {
    let began = Instant::now();
    let ports: Vec<_> = wanted(pipeline).map(|(_, port)| port).collect();
    let vacancies = engine.vacancies(&pipeline.project, &ports).await;
    judge(began, pipeline, vacancies)
}

pub(super) fn judge(
    began: Instant,
    pipeline: &Pipeline,
    vacancies: Result<Vec<Vacancy>>,
) -> Vec<Finding> {
    let checks = wanted(pipeline).map(|(service, port)| {
        let number = port.host_port.unwrap_or_default();
        let id = format!("ports.{service}.{number}");
        (PendingFinding::new(began, id, "free, or its own"), port)
    });
    match vacancies {
        Ok(vacancies) => checks
            .zip(vacancies)
            .map(|((check, port), vacancy)| one(check, port, vacancy))
            .collect(),
        Err(e) => checks.map(|(check, _)| failed(check, &e)).collect(),
    }
}

fn one(check: PendingFinding, port: &Port, vacancy: Vacancy) -> Finding {
    match vacancy {
        Vacancy::Free => check.pass("free"),
        Vacancy::Own(container) => check.pass(format!("its own: {container}")),
        Vacancy::Unusable(why) => check
            .fail(format!("{} cannot be used: {why}", port.host_ip))
            .hint("ip address, to see which addresses this machine has"),
        Vacancy::Taken(holder) => {
            let finding = check.fail(format!("taken by {}", holder.who));
            match holder.free {
                Some(free) => finding.hint(free),
                None => finding,
            }
        }
    }
}
