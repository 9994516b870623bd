//! Drift: containers are what the declaration and their image say (docs/decisions/0034).

use crate::checks::{
    check::Check,
    context::CheckContext,
    finding::Outcome,
    ids::{self, CheckId},
};
use declaration::Service;
use diagnostics::Result;
use platform::Drifted;

/// How many differences are shown.
const SHOWN: usize = 10;

/// `deployed`: the check that the service has containers.
pub(super) fn check(service: &Service, deployed: CheckId) -> Check<'_> {
    let as_declared = async move |context: &CheckContext<'_>| {
        let outcome = match context.observed.drift(&service.name).await {
            None => Outcome::fail("not deployed"),
            Some(Err(e)) => Outcome::fail(format!("unknown: {e}")),
            Some(Ok(drifted)) => {
                judge(drifted, context.observed.containers_of(service).await.len())
            }
        };
        outcome.hint(context.command(&format!("up {}", service.name)))
    };
    let check = Check::new(ids::as_declared(service), "no drift", as_declared);
    check.warning().explained_by([deployed])
}

fn judge(drifted: &[Drifted], containers: usize) -> Outcome {
    let differences: usize = drifted.iter().map(|d| d.causes.len()).sum();
    let seen = match drifted {
        [] => return Outcome::pass("none"),
        [Drifted { causes, .. }] if containers == 1 && differences == 1 => causes.concat(),
        [_] if containers == 1 => format!("{differences} differences"),
        some => format!("{} of {containers} containers", some.len()),
    };
    Outcome::fail(seen).evidence(named(drifted))
}

/// The differences between the containers of a service and its declaration, a line each; none if they
/// are unknown.
pub(super) fn lines(drift: Option<&Result<Vec<Drifted>>>) -> Vec<String> {
    match drift {
        Some(Ok(drifted)) => named(drifted),
        Some(Err(_)) | None => Vec::new(),
    }
}

fn named(drifted: &[Drifted]) -> Vec<String> {
    let lines = drifted.iter().flat_map(|Drifted { container, causes }| {
        causes
            .iter()
            .map(move |cause| format!("{container} is not as declared: {cause}"))
    });
    let mut lines: Vec<_> = lines.collect();
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drifted(container: &str, causes: &[&str]) -> Drifted {
        Drifted {
            container: container.to_owned(),
            causes: causes.iter().map(|&cause| cause.to_owned()).collect(),
        }
    }

    #[test]
    fn drift_is_summed_up_and_listed_in_the_evidence() {
        let group = "environment.GROUP: lantern.mailer -> lantern.newsletter";
        let one = drifted("mailer", &[group]);
        assert_eq!(judge(std::slice::from_ref(&one), 1).seen, group);
        assert_eq!(
            judge(std::slice::from_ref(&one), 2).seen,
            "1 of 2 containers"
        );
        let two = drifted("mailer", &[group, "its image changed"]);
        let outcome = judge(std::slice::from_ref(&two), 1);
        assert_eq!(outcome.seen, "2 differences");
        assert_eq!(
            outcome.evidence,
            [
                format!("mailer is not as declared: {group}"),
                "mailer is not as declared: its image changed".to_owned(),
            ]
        );
        assert_eq!(judge(&[], 3), Outcome::pass("none"));
    }
}
