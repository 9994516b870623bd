//! Small pipelines and containers for this module's tests.

use std::collections::BTreeMap;

use crate::{Container, State};
use declaration::{
    Condition, Dependency, ImageFrom, LetterHeaders, Origin, Pipeline, PullPolicy, Restart,
    Runtime, Service,
};

/// A pipeline called `shop`.
pub fn pipeline(services: Vec<Service>) -> Pipeline {
    Pipeline {
        project: "shop".to_owned(),
        origin: Origin::Embedded,
        services,
        inactive: Vec::new(),
        drivers: Default::default(),
        networks: Vec::new(),
        volumes: Vec::new(),
        kafka: None,
        postgres: None,
        redis: None,
        topics: Vec::new(),
        dead_letters: None,
        letter_headers: LetterHeaders::default(),
        migrations: None,
        tables: Vec::new(),
        stages: BTreeMap::new(),
        forbidden_logs: Vec::new(),
        allowed_logs: Vec::new(),
        error_logs: None,
        flow: None,
        invariants: Vec::new(),
        secrets: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A service that needs these others to be healthy.
pub fn depending(name: &str, on: &[&str]) -> Service {
    let dependency = |service: &&str| Dependency {
        service: (*service).to_owned(),
        condition: Condition::Healthy,
        required: true,
        restart: false,
    };
    Service {
        name: name.to_owned(),
        profiles: Vec::new(),
        image: format!("{name}:1"),
        build: None,
        pull_policy: PullPolicy::Missing,
        container_name: None,
        entrypoint: None,
        command: None,
        environment: BTreeMap::new(),
        ports: Vec::new(),
        mounts: Vec::new(),
        grants: Vec::new(),
        networks: Vec::new(),
        depends_on: on.iter().map(dependency).collect(),
        healthcheck: None,
        restart: Restart::No,
        replicas: 1,
        user: None,
        working_dir: None,
        hostname: None,
        read_only: false,
        init: false,
        tmpfs: Vec::new(),
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        security_opt: Vec::new(),
        labels: BTreeMap::new(),
        logging: None,
        stop_grace_period: None,
        stop_signal: None,
        mem_limit: None,
        pids_limit: None,
        shm_size: None,
        extra_hosts: Vec::new(),
        runtime: Runtime::default(),
        image_from: ImageFrom::Registry,
        ready: None,
        startup: None,
        effect: None,
        http: None,
        group: None,
        consumes: Vec::new(),
        emits: Vec::new(),
        writes: Vec::new(),
        calls: Vec::new(),
        stages: Vec::new(),
    }
}

/// A running container of a service of `shop`.
pub fn container(service: &str, replica: u32) -> Container {
    Container {
        id: format!("{service}-{replica}"),
        name: format!("shop-{service}"),
        service: service.to_owned(),
        replica,
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
        pid: 1,
    }
}
