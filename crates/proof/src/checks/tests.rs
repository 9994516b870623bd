//! What holds for every plan.

use std::collections::HashSet;

use super::plan;
use declaration::testing::shipped;

mod kinds;

#[test]
fn each_check_of_the_shipped_pipeline_stands_once_and_behind_what_it_depends_on() {
    let pipeline = shipped();
    let mut before = HashSet::new();
    for check in plan(&pipeline) {
        assert!(before.insert(check.id.clone()), "{} twice", check.id);
    }
    // Dropped would be what comes later: a root that no failure could name.
    let lag = plan(&pipeline);
    let lag = lag.iter().find(|c| c.id == "groups.allocation-worker.lag");
    let lag = lag.expect("is planned");
    let expected = [
        "containers.allocation-worker.running",
        "groups.allocation-worker.assigned",
        "topics.purchase-created.exists",
        "topics.trainer-allocated.exists",
        "kafka.reachable",
        "services.admin-service.ready",
    ];
    let follows: Vec<_> = lag.follows.iter().map(|id| id.as_str()).collect();
    for id in expected {
        assert!(follows.contains(&id), "{id} in {follows:?}");
    }
}

/// What `up` would heal explains what a `restart` would not, in every check of a service.
#[test]
fn what_fails_of_a_service_may_be_for_its_drift() {
    let pipeline = shipped();
    let drift = "containers.allocation-worker.as-declared";
    let suspicious: Vec<_> = plan(&pipeline)
        .into_iter()
        .filter(|check| check.suspects.iter().any(|id| id == drift))
        .map(|check| check.id)
        .collect();
    let expected = [
        "containers.allocation-worker.health",
        "logs.allocation-worker.started",
        "logs.allocation-worker.clean",
        "logs.allocation-worker.errors",
        "groups.allocation-worker.exists",
        "groups.allocation-worker.stable",
        "groups.allocation-worker.assigned",
        "groups.allocation-worker.lag",
        "groups.allocation-worker.committed",
        "groups.allocation-worker.effects",
    ];
    assert_eq!(suspicious, expected);
}
