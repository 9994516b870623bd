//! What holds for every plan.

use std::collections::HashSet;

use super::{
    check::Check,
    drop_dangling,
    finding::Outcome,
    ids::{self, CheckId},
    plan, rules, shown,
};
use declaration::{Pipeline, Service, testing::shipped};

mod kinds;

#[test]
fn each_check_of_the_shipped_pipeline_is_planned_once_and_explained_by_its_dependencies() {
    let pipeline = shipped();
    let mut before = HashSet::new();
    for check in plan(&pipeline) {
        assert!(before.insert(check.id.to_string()), "{} twice", check.id);
    }
    let lag = plan(&pipeline);
    let is_lag = |c: &&Check<'_>| c.id.to_string() == "groups.allocation-worker.lag";
    let lag = lag.iter().find(is_lag);
    let lag = lag.expect("is planned");
    let expected = [
        "containers.allocation-worker.running",
        "groups.allocation-worker.assigned",
        "topics.purchase-created.exists",
        "topics.trainer-allocated.exists",
        "kafka.reachable",
        "services.admin-service.ready",
    ];
    let explained_by: Vec<_> = lag.explained_by.iter().map(CheckId::to_string).collect();
    for id in expected {
        let explains = explained_by.iter().any(|explains| explains == id);
        assert!(explains, "{id} in {explained_by:?}");
    }
}

#[test]
fn drift_is_a_possible_cause_of_every_failure_of_a_service() {
    let pipeline = shipped();
    let drift = "containers.allocation-worker.as-declared";
    let is_drift = |id: &CheckId| id.to_string() == drift;
    let explained: Vec<_> = plan(&pipeline)
        .into_iter()
        .filter(|check| check.possible_causes.iter().any(is_drift))
        .map(|check| check.id.to_string())
        .collect();
    let expected = [
        "logs.allocation-worker.started",
        "logs.allocation-worker.clean",
        "logs.allocation-worker.errors",
        "groups.allocation-worker.exists",
        "groups.allocation-worker.stable",
        "groups.allocation-worker.assigned",
        "groups.allocation-worker.lost",
        "groups.allocation-worker.lag",
        "groups.allocation-worker.committed",
        "groups.allocation-worker.effects",
        "containers.allocation-worker.health",
    ];
    assert_eq!(explained, expected);
}

/// It is shown with the other checks of its layer all the same.
#[test]
fn a_worker_may_be_unhealthy_because_its_group_rebalances() {
    let pipeline = shipped();
    let plan = plan(&pipeline);
    let health = "containers.allocation-worker.health";
    let check = plan.iter().find(|check| check.id.to_string() == health);
    let check = check.expect("is planned");
    let stable = "groups.allocation-worker.stable";
    let explains = |ids: &[CheckId]| ids.iter().any(|id| id.to_string() == stable);
    assert!(explains(&check.explained_by) && explains(&check.possible_causes));
    let order = shown(plan.iter().map(|check| check.id.clone()).collect(), |id| id);
    let place = order.iter().position(|id| id.to_string() == health);
    let next_layer = order.iter().position(|id| id.layer() == "kafka");
    assert!(place < next_layer, "{order:?}");
}

/// A reference that resolves nowhere would be dropped in a release build, and a cause never named.
#[test]
fn each_reference_is_to_a_check_that_precedes() {
    for (name, pipeline) in kinds::declarations() {
        let dangling = drop_dangling(&mut rules::checks(&pipeline));
        assert!(dangling.is_empty(), "{name}: {dangling:#?}");
    }
}

/// What a declaration may leave out: nothing refers to a check that is then not declared.
#[test]
fn references_resolve_in_whatever_is_declared() {
    type LeaveOut<T> = (&'static str, fn(&mut T));
    let without: [LeaveOut<Pipeline>; 9] = [
        ("kafka", |p| p.kafka = None),
        ("postgres", |p| p.postgres = None),
        ("redis", |p| p.redis = None),
        ("topics", |p| p.topics.clear()),
        ("tables", |p| p.tables.clear()),
        ("migrations", |p| p.migrations = None),
        ("invariants", |p| p.invariants.clear()),
        ("flow", |p| p.flow = None),
        ("dead letters", |p| p.dead_letters = None),
    ];
    let of_services: [LeaveOut<Service>; 3] = [
        ("group", |s| s.group = None),
        ("http", |s| s.http = None),
        ("startup", |s| s.startup = None),
    ];
    for (name, declared) in kinds::declarations() {
        for (what, leave_out) in without {
            let mut pipeline = declared.clone();
            leave_out(&mut pipeline);
            let dangling = drop_dangling(&mut rules::checks(&pipeline));
            assert!(dangling.is_empty(), "{name} without {what}: {dangling:#?}");
        }
        for (what, leave_out) in of_services {
            let mut pipeline = declared.clone();
            pipeline.services.iter_mut().for_each(leave_out);
            let dangling = drop_dangling(&mut rules::checks(&pipeline));
            assert!(dangling.is_empty(), "{name} without {what}: {dangling:#?}");
        }
        for index in 0..declared.services.len() {
            let mut pipeline = declared.clone();
            let gone = pipeline.services.remove(index).name;
            let dangling = drop_dangling(&mut rules::checks(&pipeline));
            assert!(dangling.is_empty(), "{name} without {gone}: {dangling:#?}");
        }
    }
}

#[test]
fn a_reference_to_no_check_is_found() {
    let check = |id: CheckId| Check::new(id, "", async |_| Outcome::pass(""));
    let exists = || ids::GROUP.of("worker");
    let lag = || check(ids::LAG.of("worker"));
    let dangling = |plan: &mut [Check<'_>]| drop_dangling(plan);
    let follow = [exists()];
    assert!(dangling(&mut [check(exists()), lag().needs(follow.clone())]).is_empty());
    let later = dangling(&mut [lag().explained_by(follow), check(exists())]);
    assert_eq!(later, ["groups.worker.lag -> groups.worker.exists"]);
    let misspelt = [ids::GROUP.of("woker")];
    let misspelt = dangling(&mut [check(exists()), lag().possible_causes(misspelt)]);
    assert_eq!(misspelt, ["groups.worker.lag -> groups.woker.exists"]);
}

#[test]
fn an_id_is_written_as_layer_subject_aspect() {
    let written = |id: CheckId| id.to_string();
    assert_eq!(written(ids::RESTARTS.of("web")), "containers.web.restarts");
    let dotted = ids::PARTITIONS.of("orders.placed.v1");
    assert_eq!(written(dotted), "topics.orders.placed.v1.partitions");
    assert_eq!(written(ids::MEMORY.id()), "cache.memory");
    let port = CheckId::of_subject("ports", "web", "8080");
    assert_eq!(
        (port.layer(), written(port)),
        ("ports", "ports.web.8080".to_owned())
    );
}
