use std::time::Duration;

use super::*;
use declaration::{Group, Logging, Mount as DeclaredMount, Network, NetworkUse, Volume};
use platform::testing::{depending, pipeline};

fn image(id: &str) -> Image {
    Image {
        reference: "worker:1".to_owned(),
        id: id.to_owned(),
        config: std::sync::Arc::default(),
    }
}

/// A service that uses every declaration key.
fn full() -> (Pipeline, Service) {
    let mut service = depending("worker", &["db"]);
    service.environment.insert("A".to_owned(), "1".to_owned());
    service.group = Some(Group::Named("worker".to_owned()));
    service.ports = vec![Port {
        host_ip: "127.0.0.1".to_owned(),
        host_port: Some(8080),
        host_range: None,
        container_port: 80,
        protocol: "tcp".to_owned(),
    }];
    service.mounts = vec![
        DeclaredMount {
            source: MountSource::Volume("data".to_owned()),
            target: "/data".to_owned(),
            read_only: false,
            options: Vec::new(),
        },
        DeclaredMount {
            source: MountSource::Bind("/etc/conf".into()),
            target: "/conf".to_owned(),
            read_only: true,
            options: vec!["rslave".to_owned()],
        },
    ];
    service.networks = vec![
        NetworkUse {
            network: "default".to_owned(),
            aliases: vec!["w".to_owned()],
            ipv4_address: Some("10.1.0.2".to_owned()),
            ipv6_address: None,
        },
        NetworkUse {
            network: "back".to_owned(),
            aliases: vec![],
            ipv4_address: None,
            ipv6_address: None,
        },
    ];
    service.tmpfs = vec!["/tmp:size=1m".to_owned()];
    service.cap_drop = vec!["ALL".to_owned()];
    service.read_only = true;
    service.restart = Restart::OnFailure(Some(3));
    service.stop_grace_period = Some(Duration::from_millis(1500));
    service.mem_limit = Some(1 << 20);
    service.logging = Some(Logging {
        driver: "local".to_owned(),
        options: BTreeMap::new(),
    });
    service.healthcheck = Some(Healthcheck {
        test: vec!["CMD".to_owned(), "true".to_owned()],
        interval: Some(Duration::from_secs(10)),
        timeout: None,
        start_period: None,
        start_interval: None,
        retries: Some(3),
    });
    let mut pipeline = pipeline(vec![depending("db", &[]), service.clone()]);
    let network = |key: &str, name: &str| Network {
        key: key.to_owned(),
        name: name.to_owned(),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv6: false,
        subnets: Vec::new(),
        labels: BTreeMap::new(),
    };
    pipeline.networks = vec![
        network("default", "shop_default"),
        network("back", "shop_back"),
    ];
    pipeline.volumes = vec![Volume {
        key: "data".to_owned(),
        name: "shop_data".to_owned(),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        labels: BTreeMap::new(),
    }];
    (pipeline, service)
}

#[test]
fn every_declared_key_reaches_docker() {
    let (pipeline, service) = full();
    let spec = Spec::new(&pipeline, &service, 1, &image("sha256:1"));
    let body = serde_json::to_value(&spec.body).expect("serialises");
    assert_eq!(body["Env"], serde_json::json!(["A=1", "CARAVAN_REPLICA=1"]));
    assert_eq!(body["StopTimeout"], 2);
    assert_eq!(body["Healthcheck"]["Interval"], 10_000_000_000_i64);
    assert_eq!(body["ExposedPorts"], serde_json::json!({"80/tcp": {}}));
    let host = &body["HostConfig"];
    assert_eq!(host["PortBindings"]["80/tcp"][0]["HostPort"], "8080");
    assert_eq!(
        host["Binds"],
        serde_json::json!(["/etc/conf:/conf:ro,rslave"])
    );
    assert_eq!(host["Mounts"][0]["Source"], "shop_data");
    assert_eq!(host["Tmpfs"]["/tmp"], "size=1m");
    assert_eq!(host["RestartPolicy"]["Name"], "on-failure");
    assert_eq!(host["RestartPolicy"]["MaximumRetryCount"], 3);
    assert_eq!(host["NetworkMode"], "shop_default");
    assert_eq!(host["LogConfig"]["Type"], "local");
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
    assert_eq!(host["Memory"], 1 << 20);
    let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
    assert_eq!(
        endpoints["shop_default"]["Aliases"],
        serde_json::json!(["worker", "w"])
    );
    assert!(endpoints["shop_back"].is_object());
}

#[test]
fn what_is_shared_with_other_containers_names_them() {
    let (mut pipeline, mut service) = full();
    pipeline.services[0].replicas = 2;
    let of = |name: &str| Other::Service(name.to_owned());
    let link = |of, alias: &str| declaration::Link {
        of,
        alias: alias.to_owned(),
    };
    service.links = vec![
        link(of("db"), "database"),
        link(Other::Container("else".to_owned()), "e"),
    ];
    service.volumes_from = vec![declaration::VolumesFrom {
        of: of("db"),
        read_only: true,
    }];
    service.runtime.pid = Some(Namespace::Of(of("db")));
    service.runtime.ipc = Some(Namespace::Mode("host".to_owned()));
    service.ports[0].host_port = None;
    service.ports[0].host_range = Some("8080-8090".to_owned());
    let spec = Spec::new(&pipeline, &service, 1, &image("sha256:1"));
    let body = serde_json::to_value(&spec.body).expect("serialises");
    let host = &body["HostConfig"];
    assert_eq!(host["VolumesFrom"], serde_json::json!(["shop-db:ro"]));
    assert_eq!(host["PidMode"], "container:shop-db");
    assert_eq!(host["IpcMode"], "host");
    assert_eq!(host["PortBindings"]["80/tcp"][0]["HostPort"], "8080-8090");
    let links = ["shop-db:database", "shop-db-2:database", "else:e"];
    let endpoints = &body["NetworkingConfig"]["EndpointsConfig"];
    assert_eq!(endpoints["shop_back"]["Links"], serde_json::json!(links));
    service.runtime.network_mode = Some(Namespace::Of(of("db")));
    service.networks.clear();
    let spec = Spec::new(&pipeline, &service, 1, &image("sha256:1"));
    let host = spec.body.host_config.expect("has a host configuration");
    assert_eq!(host.network_mode.as_deref(), Some("container:shop-db"));
}

#[test]
fn a_container_has_composes_labels() {
    let (pipeline, service) = full();
    let spec = Spec::new(&pipeline, &service, 2, &image("sha256:1"));
    let labels = spec.body.labels.expect("has labels");
    assert_eq!(labels[labels::PROJECT], "shop");
    assert_eq!(labels[labels::NUMBER], "2");
    assert_eq!(labels[labels::DEPENDS_ON], "db:service_healthy:false");
    assert_eq!(labels[labels::HASH], spec.hash);
    assert_eq!(spec.name, "shop-worker-2");
}

#[test]
fn the_hash_is_of_the_request() {
    let (pipeline, service) = full();
    let hash = |service: &Service, id: &str| Spec::new(&pipeline, service, 1, &image(id)).hash;
    let before = hash(&service, "sha256:1");
    assert_eq!(
        before,
        hash(&service, "sha256:2"),
        "the image is compared by its id"
    );
    let mut informed = service.clone();
    informed.depends_on.clear();
    assert_eq!(
        before,
        hash(&informed, "sha256:1"),
        "labels that only inform do not count"
    );
    let mut changed = service;
    changed.environment.insert("A".to_owned(), "2".to_owned());
    assert_ne!(before, hash(&changed, "sha256:1"));
}

#[test]
fn old_engines_create_on_one_network_and_connect_the_others() {
    let (pipeline, service) = full();
    let mut spec = Spec::new(&pipeline, &service, 1, &image("sha256:1"));
    let rest = spec.split_networks();
    let names: Vec<_> = rest.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["shop_back"]);
    let endpoints = spec.body.networking_config.and_then(|c| c.endpoints_config);
    assert_eq!(
        endpoints.map(|e| e.into_keys().collect::<Vec<_>>()),
        Some(vec!["shop_default".to_owned()])
    );
}

#[test]
fn anonymous_volumes_of_the_old_container_are_mounted() {
    let (pipeline, service) = full();
    let mut spec = Spec::new(&pipeline, &service, 1, &image("sha256:1"));
    let old = [("/data", "shop_data"), ("/cache", "0a1b")];
    spec.carry_over(
        old.map(|(path, name)| (path.to_owned(), name.to_owned()))
            .to_vec(),
    );
    let mounts = spec
        .body
        .host_config
        .and_then(|c| c.mounts)
        .expect("has mounts");
    let sources: Vec<_> = mounts.iter().filter_map(|m| m.source.as_deref()).collect();
    assert_eq!(sources, ["shop_data", "0a1b"]);
}

#[test]
fn object_keys_are_hashed_in_order() {
    let mut text = String::new();
    canonical(&serde_json::json!({"b": [1, "x"], "a": null}), &mut text);
    assert_eq!(text, r#"{"a":null,"b":[1,"x",],}"#);
}
