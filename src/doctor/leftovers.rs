//! What earlier runs left behind, each with the command that removes it.

use std::time::Instant;

use super::{CheckId, Finding, Patient, PendingFinding, failed};
use crate::state;
use diagnostics::{Invocation, Result};
use docker::{Engine, leftovers::Leftovers};
use platform::Platform;

pub(super) async fn check(engine: &Engine, patient: Patient<'_>) -> Vec<Finding> {
    let began = Instant::now();
    let lost = lost_secrets(engine, patient).await;
    let mut findings = vec![
        secrets(began, lost, patient),
        lock(began, state::lock_holder(patient.source)),
    ];
    match engine.leftovers(patient.pipeline).await {
        Ok(left) => findings.extend(judge(began, &left, patient.invocation)),
        Err(e) => {
            let check =
                PendingFinding::new(began, CheckId::of_layer("leftovers", "containers"), "none");
            findings.push(failed(check, &e));
        }
    }
    findings
}

/// Existing data volumes and missing secrets.
pub(super) type Lost = (Vec<String>, Vec<String>);

async fn lost_secrets(engine: &Engine, patient: Patient<'_>) -> Result<Lost> {
    let missing = patient.source.missing_secrets();
    let volumes = patient.source.volume_names()?;
    Ok((engine.existing_volumes(&volumes).await?, missing))
}

pub(super) fn secrets(began: Instant, lost: Result<Lost>, patient: Patient<'_>) -> Finding {
    let check = PendingFinding::new(
        began,
        CheckId::of_layer("leftovers", "secrets"),
        "no data without its secrets",
    );
    match lost {
        Err(e) => failed(check, &e),
        Ok((volumes, missing)) if volumes.is_empty() || missing.is_empty() => check.pass("none"),
        Ok((volumes, missing)) => {
            let path = patient.source.env_path().display();
            let down = patient.invocation.command("down --volumes");
            check
                .fail(format!(
                    "{} without {}",
                    volumes.join(", "),
                    missing.join(", ")
                ))
                .hint(format!("restore {path}, or delete the data: {down}"))
        }
    }
}

pub(super) fn lock(began: Instant, holder: Option<String>) -> Finding {
    let check = PendingFinding::new(
        began,
        CheckId::of_layer("leftovers", "lock"),
        "no other caravan changes the project",
    );
    match holder {
        None => check.pass("nobody"),
        Some(pid) => check
            .warn(format!("process {pid} changes it"))
            .hint(format!("ps -fp {pid}")),
    }
}

pub(super) fn judge(began: Instant, left: &Leftovers, invocation: &Invocation) -> Vec<Finding> {
    let one = |what: &'static str, expected: &str, names: &[&[String]], remove: String| {
        let check = PendingFinding::new(began, CheckId::of_layer("leftovers", what), expected);
        match names.concat().as_slice() {
            [] => check.pass("none"),
            names => check.warn(names.join(", ")).hint(remove),
        }
    };
    let docker = |command: &str, names: &[String]| {
        invocation.docker(&format!("{command} {}", names.join(" ")))
    };
    // All projects of the engine share the images: another project may be about to start from one.
    let unneeded = |remove: String| format!("if no other project needs them: {remove}");
    let doctor = {
        let remove = [
            ("rm -f", &left.doctor_containers),
            ("network rm", &left.doctor_networks),
        ];
        let remove = remove.into_iter().filter(|(_, names)| !names.is_empty());
        let remove: Vec<_> = remove.map(|(what, names)| docker(what, names)).collect();
        remove.join(" && ")
    };
    vec![
        one(
            "containers",
            "no orphans",
            &[&left.containers],
            docker("rm -f", &left.containers),
        ),
        one(
            "networks",
            "no orphans",
            &[&left.networks],
            docker("network rm", &left.networks),
        ),
        one(
            "volumes",
            "no orphans",
            &[&left.volumes],
            format!(
                "if what they hold is not needed any more: {}",
                docker("volume rm", &left.volumes)
            ),
        ),
        one(
            "dead",
            "no dead containers",
            &[&left.dead],
            docker("rm -f", &left.dead),
        ),
        one(
            "doctor",
            "none of an interrupted `doctor`",
            &[&left.doctor_containers, &left.doctor_networks],
            doctor,
        ),
        one(
            "inside",
            "none of killed commands",
            &[&left.network_containers],
            docker("rm", &left.network_containers),
        ),
        one(
            "images",
            "none of other executables",
            &[&left.images],
            unneeded(docker("rmi", &left.images)),
        ),
        one(
            "builds",
            "no replaced images",
            &[&left.builds],
            unneeded(docker("rmi", &left.builds)),
        ),
    ]
}
