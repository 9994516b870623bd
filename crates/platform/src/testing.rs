//! Small pipelines and containers for tests.

use std::collections::BTreeMap;

pub use declaration::testing::{depending, pipeline};

use crate::{Container, State};

/// A running container of a service of the project `shop`.
pub fn container(service: &str, replica: u32) -> Container {
    Container {
        id: format!("{service}-{replica}"),
        name: format!("shop-{service}"),
        service: service.to_owned(),
        replica,
        by_caravan: false,
        scaled: false,
        declared_in: None,
        state: State::Running,
        exit_code: None,
        oom_killed: false,
        memory_limit: None,
        error: None,
        created_at: None,
        started_at: None,
        finished_at: None,
        restart_count: 0,
        health: None,
        image_id: "sha256:1".to_owned(),
        addresses: Vec::new(),
        ports: Vec::new(),
        labels: BTreeMap::new(),
        settings: BTreeMap::new(),
    }
}
