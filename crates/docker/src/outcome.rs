//! Combines the outcomes of all services: all reports, or one error with the root cause first.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::apply::Trouble;
use declaration::Service;
use diagnostics::{Error, Kind, Result};
use platform::ServiceReport;

/// The failure that blocks the most services with all its evidence, then the other failures in a line each,
/// then which services each failure blocks.
pub(super) fn sum_up(
    services: &[&Service],
    outcomes: Vec<Result<ServiceReport, Trouble>>,
) -> Result<Vec<ServiceReport>> {
    let (mut reports, mut failures, mut blocked) = (Vec::new(), Vec::new(), Vec::new());
    for (service, outcome) in services.iter().zip(outcomes) {
        let name = service.name.as_str();
        match outcome {
            Ok(report) => reports.push(report),
            Err(Trouble::Failed(e)) => failures.push((name, e)),
            Err(Trouble::Blocked { by }) => blocked.push((name, by)),
        }
    }
    let held_up = held_up(&blocked);
    let holds_up = |name: &str| held_up.get(name).map_or(0, Vec::len);
    // If Docker is unreachable, that explains the other failures.
    let unreachable = |e: &Error| e.kind == Kind::Unreachable;
    failures.sort_by_key(|(name, e)| Reverse((unreachable(e), holds_up(name))));
    let Some((_, root)) = failures.first() else {
        return Ok(reports);
    };
    let mut error = root.clone();
    for (_, other) in failures.iter().filter(|(_, e)| e.what != root.what) {
        let first = other.evidence.first().map(|e| format!(": {e}"));
        let first = first.unwrap_or_default();
        error = error.because(format!("also: {}{first}", other.what));
    }
    for (name, _) in &failures {
        if let Some(names) = held_up.get(name) {
            error = error.because(format!("waiting for {name}: {}", names.join(", ")));
        }
    }
    Err(error)
}

/// For each failed service, the services that wait for it, directly or indirectly.
fn held_up<'a>(blocked: &'a [(&str, String)]) -> BTreeMap<&'a str, Vec<&'a str>> {
    let waits_for: BTreeMap<&str, &str> = blocked.iter().map(|(n, by)| (*n, by.as_str())).collect();
    let mut held_up: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, by) in blocked {
        let mut root = by.as_str();
        // Ends: the declaration's dependencies have no cycles.
        while let Some(next) = waits_for.get(root) {
            root = next;
        }
        held_up.entry(root).or_default().push(name);
    }
    held_up
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::testing::depending;

    fn failed(kind: Kind, what: &str) -> Result<ServiceReport, Trouble> {
        Err(Trouble::Failed(Error::new(kind, what).because("why")))
    }

    fn blocked(by: &str) -> Result<ServiceReport, Trouble> {
        let by = by.to_owned();
        Err(Trouble::Blocked { by })
    }

    #[test]
    fn the_root_of_most_goes_first_and_what_waits_for_it_last() {
        let services = ["aside", "db", "migrate", "worker"].map(|name| depending(name, &[]));
        let services: Vec<_> = services.iter().collect();
        let outcomes = vec![
            failed(Kind::NotRight, "aside failed"),
            failed(Kind::NotRight, "db failed"),
            blocked("db"),
            blocked("migrate"),
        ];
        let error = sum_up(&services, outcomes).expect_err("failed");
        assert_eq!(error.what, "db failed");
        assert_eq!(
            error.evidence,
            [
                "why",
                "also: aside failed: why",
                "waiting for db: migrate, worker"
            ]
        );
    }

    #[test]
    fn without_docker_nothing_else_counts() {
        let services = ["a", "b", "c"].map(|name| depending(name, &[]));
        let services: Vec<_> = services.iter().collect();
        let gone = || failed(Kind::Unreachable, "Docker is gone");
        let outcomes = vec![failed(Kind::NotRight, "a failed"), gone(), gone()];
        let error = sum_up(&services, outcomes).expect_err("failed");
        assert_eq!(
            (error.kind, error.what.as_str()),
            (Kind::Unreachable, "Docker is gone")
        );
        assert_eq!(error.evidence, ["why", "also: a failed: why"]);
    }
}
