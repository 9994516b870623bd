use super::*;
use crate::labels;
use declaration::{Effect, Pipeline};
use platform::testing;

const AS_DECLARED: &str = "h1";

fn wanted(replicas: usize) -> Vec<Wanted> {
    let one = Wanted {
        name: "shop-a".to_owned(),
        hash: AS_DECLARED.to_owned(),
        image_id: "sha256:1".to_owned(),
        settings: settings(&[("user", "1"), ("environment.LOG_FORMAT", "json")]),
    };
    vec![one; replicas]
}

fn pipeline(effect: Option<Effect>) -> Pipeline {
    let mut service = testing::depending("a", &[]);
    service.effect = effect;
    testing::pipeline(vec![service])
}

fn container(replica: u32, change: impl FnOnce(&mut Container)) -> Container {
    let mut container = testing::container("a", replica);
    container
        .labels
        .insert(labels::HASH.to_owned(), AS_DECLARED.to_owned());
    container.settings = wanted(1).remove(0).settings;
    change(&mut container);
    container
}

/// The action for a single replica.
fn action_on(effect: Option<Effect>, change: impl FnOnce(&mut Container)) -> Action {
    let pipeline = pipeline(effect);
    let observed = [container(1, change)];
    let mut steps = steps(&pipeline, &pipeline.services[0], &wanted(1), &observed);
    assert_eq!(steps.len(), 1);
    steps.remove(0).action
}

fn started(cause: &str) -> Action {
    Action::Start {
        cause: cause.to_owned(),
    }
}

fn recreated(causes: &[&str]) -> Action {
    Action::Recreate {
        causes: causes.iter().map(|&cause| cause.to_owned()).collect(),
    }
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn leaving_a_network_recreates_a_container_and_joining_another_does_not() {
    let wanted = Wanted {
        settings: settings(&[
            ("networks.shop", "a, queue"),
            ("networks.edge", "a, shop-a"),
        ]),
        ..wanted(1).remove(0)
    };
    let drift = |networks: &[(&str, &str)]| {
        let container = container(1, |c| c.settings = settings(networks));
        super::drift(&wanted, &container, &[])
    };
    let extra = ("networks.debug", "");
    // Docker resolves a container's own name in every network.
    let edge = ("networks.edge", "a");
    let none: [String; 0] = [];
    assert_eq!(drift(&[("networks.shop", "a, queue"), edge, extra]), none);
    assert_eq!(drift(&[edge]), ["it left the network shop"]);
    assert_eq!(
        drift(&[("networks.shop", "a"), edge]),
        ["it lost its name queue in shop"]
    );
}

#[test]
fn what_was_changed_on_a_container_is_drift_although_its_label_is_right() {
    let wanted = Wanted {
        settings: settings(&[
            ("restart", "unless-stopped"),
            ("mem_limit", "1"),
            ("cap_add", "ALL"),
            ("environment.TOKEN", "one"),
            ("volumes./data", "bind /data"),
        ]),
        ..wanted(1).remove(0)
    };
    let drift = |changes: &[(&str, Option<&str>)]| {
        let container = container(1, |c| {
            c.settings = wanted.settings.clone();
            for (key, value) in changes {
                match value {
                    Some(value) => c.settings.insert((*key).to_owned(), (*value).to_owned()),
                    None => c.settings.remove(*key),
                };
            }
        });
        super::drift(&wanted, &container, &[])
    };
    assert_eq!(
        drift(&[
            ("restart", None),
            ("cpus", Some("10000000")),
            ("mem_limit", Some("2")),
            ("environment.TOKEN", Some("two")),
        ]),
        [
            "cpus: 10000000 -> nothing",
            "environment.TOKEN: changed",
            "mem_limit: 2 -> 1",
            "restart: nothing -> unless-stopped",
        ]
    );
    // What engines do by themselves.
    let none: [String; 0] = [];
    let engines = [
        ("mem_limit", None),
        ("cap_add", Some("CAP_CHOWN, CAP_KILL")),
        ("pids_limit", Some("2048")),
        ("environment.HOME", Some("/root")),
        ("volumes./data", Some("bind /host_mnt/data")),
        ("volumes./old", Some("volume shop_old")),
    ];
    assert_eq!(drift(&engines), none);
}

#[test]
fn a_container_as_declared_is_kept() {
    assert_eq!(action_on(None, |_| {}), Action::Keep);
    assert_eq!(
        action_on(None, |c| c.state = State::Restarting),
        Action::Keep
    );
}

#[test]
fn drift_recreates_and_is_named() {
    let hash = |c: &mut Container, hash: &str| {
        c.labels.insert(labels::HASH.to_owned(), hash.to_owned());
    };
    let changed = |c: &mut Container| {
        hash(c, "h0");
        c.settings = settings(&[("user", "1"), ("environment.LOG_FORMAT", "human")]);
    };
    assert_eq!(
        action_on(None, changed),
        recreated(&["environment.LOG_FORMAT: human -> json"])
    );
    let in_what_is_not_compared = |c: &mut Container| {
        hash(c, "h0");
        c.settings = wanted(1).remove(0).settings;
    };
    assert_eq!(
        action_on(None, in_what_is_not_compared),
        recreated(&["its declaration changed"])
    );
    let image = |c: &mut Container| c.image_id = "sha256:0".to_owned();
    assert_eq!(action_on(None, image), recreated(&["its image changed"]));
    let dead = |c: &mut Container| c.state = State::Dead;
    assert_eq!(action_on(None, dead), recreated(&["its container is dead"]));
}

#[test]
fn a_container_of_docker_compose_as_declared_is_kept() {
    let as_declared = |c: &mut Container| {
        c.labels.clear();
        c.settings = wanted(1).remove(0).settings;
    };
    assert_eq!(action_on(None, as_declared), Action::Keep);
    let otherwise = |c: &mut Container| {
        as_declared(c);
        c.settings.remove("user");
    };
    assert_eq!(action_on(None, otherwise), recreated(&["user: new, 1"]));
}

#[test]
fn a_stopped_or_paused_container_is_started() {
    let ended = |c: &mut Container| {
        c.state = State::Exited;
        c.exit_code = Some(0);
    };
    assert_eq!(
        action_on(None, ended),
        started("it had ended with exit code 0")
    );
    assert_eq!(
        action_on(None, |c| c.state = State::Created),
        started("it was never started")
    );
    assert_eq!(
        action_on(None, |c| c.state = State::Paused),
        Action::Unpause
    );
}

#[test]
fn a_one_shot_that_exited_with_0_is_kept() {
    let ended = |code| {
        move |c: &mut Container| {
            c.state = State::Exited;
            c.exit_code = Some(code);
        }
    };
    assert_eq!(action_on(Some(Effect::Topics), ended(0)), Action::Keep);
    let again = started("it had ended with exit code 1");
    assert_eq!(action_on(Some(Effect::Topics), ended(1)), again);
}

#[test]
fn missing_replicas_are_created_and_surplus_ones_removed() {
    let pipeline = pipeline(None);
    let observed = [
        container(1, |_| {}),
        container(4, |_| {}),
        testing::container("b", 1),
    ];
    let steps = steps(&pipeline, &pipeline.services[0], &wanted(2), &observed);
    let actions: Vec<_> = steps
        .iter()
        .map(|s| (s.replica, s.action.clone()))
        .collect();
    assert_eq!(
        actions,
        [(1, Action::Keep), (2, Action::Create), (4, Action::Remove)]
    );
    assert_eq!(steps[2].container.as_deref(), Some("a-4"));
}

#[test]
fn of_two_containers_of_a_replica_the_replaced_one_is_removed() {
    let pipeline = pipeline(None);
    let replaced = container(1, |c| {
        c.id = "old".to_owned();
        c.name = "shop-a-replaced-old".to_owned();
    });
    let observed = [replaced.clone(), container(1, |_| {})];
    let steps = |observed: &[Container]| {
        let steps = steps(&pipeline, &pipeline.services[0], &wanted(1), observed);
        let steps = steps.into_iter();
        let steps: Vec<_> = steps
            .map(|s| (s.container.unwrap_or_default(), s.action))
            .collect();
        steps
    };
    assert_eq!(
        steps(&observed),
        [
            ("a-1".to_owned(), Action::Keep),
            ("old".to_owned(), Action::Remove)
        ]
    );
    // The other one was never created: this one has the volumes, and the wrong name.
    let alone = steps(&[replaced]);
    let causes = vec!["a command ended while it replaced it".to_owned()];
    assert_eq!(alone, [("old".to_owned(), Action::Recreate { causes })]);
}

#[test]
fn containers_of_no_declared_service_are_orphans() {
    let pipeline = pipeline(None);
    let observed = [container(1, |_| {}), testing::container("gone", 1)];
    let orphans = orphans(&pipeline, &observed);
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].name, "shop-gone");
}
