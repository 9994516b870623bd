//! `up` refuses a project whose existing volumes have other secrets.

use crate::context::Context;
use declaration::{Endpoint, Ready, Source};
use diagnostics::{Cause, Error, Kind, Result};
use platform::{Goal, Platform, with_dependencies};
use proof::stores;

/// Refuses a project that was brought up from another directory with other secrets: its existing data could
/// not be opened with the secrets of this directory.
///
/// # Errors
/// The secrets differ.
pub(crate) async fn other_secrets(
    context: &Context,
    platform: &dyn Platform,
    source: &Source,
    line: &str,
) -> Result<()> {
    let Some(elsewhere) = context.other_origin() else {
        return Ok(());
    };
    let project = source.project();
    let volumes = platform.volumes(project).await?;
    if volumes.is_empty() {
        return Ok(());
    }
    let (theirs, ours) = (elsewhere.env_path.display(), source.env_path().display());
    let names = elsewhere.secrets.join(", ");
    let what = format!("{project} was brought up from {}", elsewhere.from);
    Err(Error::new(Kind::Usage, what)
        .because(format!(
            "the data in {} was created with the secrets in {theirs}",
            volumes.join(", ")
        ))
        .because(format!("{names}: different or missing in {ours}"))
        .because(format!("to bring it up from here, copy them from {theirs}"))
        .hint(elsewhere.invocation.command(line)))
}

/// Refuses to recreate a running database with another password: its volume keeps the old one, so it would
/// become unreachable.
///
/// # Errors
/// The running database refuses the password.
pub(super) async fn other_password(
    context: &Context,
    source: &Source,
    goal: &Goal<'_>,
    existing: &[String],
) -> Result<()> {
    let deployed = context.deployed(goal.pipeline.clone());
    let Some(Endpoint {
        service: Some(name),
        address,
    }) = &deployed.postgres
    else {
        return Ok(());
    };
    let services = with_dependencies(goal.pipeline, goal.named);
    let Some(service) = services.iter().find(|s| s.name == *name) else {
        return Ok(());
    };
    let mut volumes = deployed.volumes_of(service);
    volumes.retain(|volume| existing.iter().any(|existing| existing == volume));
    if volumes.is_empty() || deployed.is_inside(address) {
        return Ok(());
    }
    match stores::ready(Ready::Postgres, address, stores::TIMEOUT).await {
        Err(error) if error.cause() == Cause::Authentication => {
            let what = format!("{name} runs with a password that differs from the declared one");
            let env = source.env_path().display();
            Err(Error::new(Kind::NotRight, what)
                .because(error)
                .because(format!(
                    "the data in {} keeps the password with which it was created",
                    volumes.join(", ")
                ))
                .because("to change it, change it in the database first (ALTER ROLE)")
                .hint(format!(
                    "set that password in {env} again, then: {}",
                    context.invocation.command(&format!("up {name}"))
                )))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
