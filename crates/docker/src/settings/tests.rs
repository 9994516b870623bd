use bollard::models::{HealthConfig, HostConfig, NetworkingConfig};
use serde_json::json;

use super::*;

/// The request that Caravan sends.
fn body() -> ContainerCreateBody {
    let healthcheck = HealthConfig {
        test: Some(vec!["CMD".to_owned(), "check".to_owned()]),
        interval: Some(10_000_000_000),
        ..HealthConfig::default()
    };
    let host: HostConfig = serde_json::from_value(json!({
        "Memory": 268_435_456, "PidsLimit": 512, "ReadonlyRootfs": true, "CapDrop": ["ALL"],
        "Binds": ["/etc/shop:/etc/shop:ro"],
        "Mounts": [{"Type": "volume", "Source": "shop_data", "Target": "/data"}],
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "unless-stopped"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "50m"}},
        "Tmpfs": {"/tmp": ""},
    }))
    .expect("a host's configuration");
    let endpoint = EndpointSettings {
        aliases: Some(vec!["worker".to_owned()]),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        env: Some(vec!["A=1".to_owned(), "CARAVAN_REPLICA=1".to_owned()]),
        cmd: Some(vec!["run".to_owned(), "two words".to_owned()]),
        stop_timeout: Some(15),
        healthcheck: Some(healthcheck),
        labels: Some([("team".to_owned(), "night".to_owned())].into()),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([("shop_default".to_owned(), endpoint)].into()),
        }),
        ..ContainerCreateBody::default()
    }
}

fn image() -> ImageConfig {
    serde_json::from_value(json!({
        "Env": ["PATH=/bin", "A=of the image"], "Cmd": ["serve"], "Entrypoint": ["/entry"],
        "User": "65534", "StopSignal": "SIGINT", "Labels": {"vendor": "us"},
        "Healthcheck": {"Test": ["CMD", "old"], "Retries": 3},
    }))
    .expect("an image's configuration")
}

/// Docker 20.10's inspection of that container, created by `docker compose` 2.32.
fn inspected() -> ContainerInspectResponse {
    serde_json::from_value(json!({
        "Id": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "Name": "/shop-worker-1",
        "Config": {
            "Hostname": "0123456789ab", "User": "65534", "AttachStdout": true, "Tty": false,
            "Env": ["A=1", "PATH=/bin"], "Cmd": ["run", "two words"], "Entrypoint": ["/entry"],
            "StopSignal": "SIGINT", "StopTimeout": 15,
            "Healthcheck": {"Test": ["CMD", "check"], "Interval": 10_000_000_000_i64, "Retries": 3},
            "Labels": {
                "team": "night", "vendor": "us", "com.docker.compose.config-hash": "theirs",
                "com.docker.compose.service": "worker",
            },
        },
        "HostConfig": {
            "Memory": 268_435_456, "MemorySwap": 536_870_912, "PidsLimit": 512, "CapAdd": null,
            "ReadonlyRootfs": true, "CapDrop": ["ALL"], "ExtraHosts": [], "CgroupnsMode": "host",
            "IpcMode": "private", "Runtime": "runc", "ShmSize": 67_108_864,
            "NetworkMode": "shop_default", "MaskedPaths": ["/proc/acpi"], "ConsoleSize": [0, 0],
            "Binds": ["/etc/shop:/etc/shop:ro"], "Tmpfs": {"/tmp": ""},
            "Mounts": [{"Type": "volume", "Source": "shop_data", "Target": "/data",
                        "VolumeOptions": {}}],
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
            "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "50m"}},
        },
        "Mounts": [
            {"Type": "volume", "Name": "shop_data", "Source": "/var/lib/docker/volumes/shop_data",
             "Destination": "/data", "RW": true},
            {"Type": "bind", "Source": "/etc/shop", "Destination": "/etc/shop", "RW": false},
            {"Type": "volume", "Destination": "/cache", "RW": true,
             "Name": "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"},
        ],
        "NetworkSettings": {"Networks": {"shop_default": {
            "Aliases": ["shop-worker-1", "worker", "0123456789ab"],
        }}},
    }))
    .expect("an inspected container")
}

/// The differences of the inspected container after a change of the request.
fn differences_after(change: impl FnOnce(&mut ContainerCreateBody)) -> Vec<String> {
    let mut body = body();
    change(&mut body);
    let differences = differences(&wanted(&body, &image()), &seen(&inspected()));
    let secrets = ["hunter2".to_owned()];
    differences.iter().map(|d| d.describe(&secrets)).collect()
}

#[test]
fn a_value_is_hidden_where_the_secret_in_it_is_not_set() {
    let differences = differences_after(|body| {
        body.env = Some(vec!["A=unset".to_owned(), "B=2".to_owned()]);
    });
    assert!(
        differences.contains(&"environment.A: changed".to_owned()),
        "{differences:?}"
    );
}

#[test]
fn defaults_of_engine_and_image_are_no_difference() {
    assert_eq!(differences_after(|_| {}), [""; 0]);
}

#[test]
fn keys_are_named_as_in_compose() {
    let host = |body: &mut ContainerCreateBody, change: serde_json::Value| {
        let host = body.host_config.take();
        let mut host = serde_json::to_value(host).expect("JSON");
        for (key, value) in change.as_object().expect("an object") {
            host[key] = value.clone();
        }
        body.host_config = serde_json::from_value(host).expect("a host's configuration");
    };
    assert_eq!(
        differences_after(|body| {
            body.env = Some(vec!["A=2".to_owned(), "B=".to_owned()]);
            body.cmd = None;
            body.user = Some("1000".to_owned());
            body.hostname = Some("worker".to_owned());
            body.stop_timeout = None;
            body.healthcheck.get_or_insert_default().retries = Some(6);
            body.labels = None;
            host(
                body,
                json!({
                    "Memory": 1_073_741_824, "PidsLimit": null, "CapAdd": ["CHOWN"],
                    "Binds": ["/etc/shop:/etc/shop:rw"], "RestartPolicy": null,
                    "Mounts": [{"Type": "volume", "Source": "shop_other", "Target": "/data"}],
                    "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9090"}]},
                    "ShmSize": 134_217_728, "Tmpfs": {"/tmp": "size=1m"},
                }),
            );
        }),
        [
            "cap_add: new, CHOWN",
            "command: run \"two words\" -> serve",
            "environment.A: 1 -> 2",
            "environment.B: new, nothing",
            "healthcheck.retries: 3 -> 6",
            "hostname: new, worker",
            "labels.team: not declared any more",
            "mem_limit: 268435456 -> 1073741824",
            "pids_limit: not declared any more",
            "ports: 127.0.0.1:8080->80/tcp -> 127.0.0.1:9090->80/tcp",
            "restart: not declared any more",
            "shm_size: 67108864 -> 134217728",
            "stop_grace_period: not declared any more",
            "tmpfs./tmp: nothing -> size=1m",
            "user: 65534 -> 1000",
            "volumes./data: volume shop_data -> volume shop_other",
            "volumes./etc/shop: bind /etc/shop, read-only -> bind /etc/shop",
        ]
    );
}

#[test]
fn a_declared_entrypoint_discards_the_images_command() {
    assert_eq!(
        differences_after(|body| {
            body.entrypoint = Some(vec!["/mine".to_owned()]);
            body.cmd = None;
        }),
        [
            "command: not declared any more",
            "entrypoint: /entry -> /mine",
        ]
    );
}

#[test]
fn networks_and_their_names_are_compared() {
    assert_eq!(
        differences_after(|body| {
            let networks = body.networking_config.get_or_insert_default();
            let networks = networks.endpoints_config.get_or_insert_default();
            networks.entry("shop_default".to_owned()).and_modify(|e| {
                e.aliases.get_or_insert_default().push("queue".to_owned());
            });
            networks.insert("edge".to_owned(), EndpointSettings::default());
        }),
        [
            "networks.edge: new, nothing",
            "networks.shop_default: worker -> queue, worker",
        ]
    );
}

#[test]
fn neither_the_new_nor_the_old_secret_is_shown() {
    let found = differences_after(|body| {
        body.env = Some(vec![
            "A=before hunter2 after".to_owned(),
            "API_TOKEN=abc".to_owned(),
            "DATABASE_URL=postgres://me:old@db/shop".to_owned(),
        ]);
    });
    assert_eq!(
        found,
        [
            "environment.A: changed",
            "environment.API_TOKEN: new",
            "environment.DATABASE_URL: new",
        ]
    );
}
