//! What runs is what is declared, and of the image that is there (docs/decisions/0034).

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use declaration::Service;
use platform::Drifted;

/// As many differences are named.
const SHOWN: usize = 10;

/// `deployed` says that there are containers at all.
pub(super) fn check<'a>(service: &'a Service, deployed: &str) -> Check<'a> {
    let as_declared = async move |facts: &Facts<'_>| {
        let outcome = judged(facts, service).await;
        outcome.hint(facts.command(&format!("up {}", service.name)))
    };
    let id = ids::as_declared(&service.name);
    let check = Check::new(id, "no drift", as_declared);
    check.warning().follows([deployed])
}

async fn judged(facts: &Facts<'_>, service: &Service) -> Outcome {
    match facts.drift(&service.name).await {
        None => Outcome::fail("not deployed"),
        Some(Err(e)) => Outcome::fail(format!("cannot be told: {e}")),
        Some(Ok(drifted)) => judge(drifted, facts.of(service).await.len()),
    }
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

/// In what the containers of a service are not as declared, a line each; none where that cannot be told.
pub(super) async fn lines(facts: &Facts<'_>, service: &Service) -> Vec<String> {
    match facts.drift(&service.name).await {
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
    fn drift_is_told_in_few_words_and_named_in_the_evidence() {
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
