//! What the layers' tests look at.

use crate::{
    engine::observed::{Container, State},
    pipeline::Pipeline,
    pipeline::tests::Place,
};

/// The shipped pipeline.
pub(super) fn pipeline() -> Pipeline {
    let mut place = Place::new();
    for name in [
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "PAYMENT_TOKEN",
        "ADMIN_TOKEN",
    ] {
        place.set(name, "x");
    }
    place
        .source()
        .resolve()
        .expect("the shipped declaration is valid")
}

/// A running container at 172.18.0.9.
pub(super) fn container(service: &str) -> Container {
    Container {
        id: "1".to_owned(),
        name: format!("shop-{service}"),
        service: service.to_owned(),
        replica: 1,
        state: State::Running,
        exit_code: None,
        oom_killed: false,
        error: None,
        started_at: None,
        finished_at: None,
        restart_count: 0,
        health: None,
        image_id: String::new(),
        addresses: vec![[172, 18, 0, 9].into()],
        ports: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        pid: 7,
    }
}
