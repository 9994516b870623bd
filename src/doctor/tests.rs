//! The finding of each check for an observation with a fault.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use super::*;
use crate::state::{Chosen, PortPlan};
use declaration::{Logging, VariablePort, VariableSource, testing as declared};
use diagnostics::Kind;
use docker::{
    engine_info::EngineInfo, leftovers::Leftovers, port_availability::PortAvailability,
    ports::Holder,
};
use platform::{HostInfo, State, testing};

/// Findings as far as they do not depend on the clock.
fn shown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let Finding {
            id,
            status,
            expected,
            seen,
            ..
        } = finding;
        writeln!(text, "{status:?} {id}: expected {expected}, seen {seen}").expect("written");
        for line in &finding.evidence {
            writeln!(text, "    {line}").expect("written");
        }
        if let Some(hint) = &finding.hint {
            writeln!(text, "  next: {hint}").expect("written");
        }
    }
    text
}

fn invocation() -> Invocation {
    Invocation {
        project: Some("shop".to_owned()),
        ..Invocation::default()
    }
}

/// What a container observed, without disk and memory.
fn host_info(resolved: Result<Vec<IpAddr>, String>) -> HostInfo {
    HostInfo {
        resolved,
        disk_free: None,
        memory_total: None,
        memory_available: None,
    }
}

fn good_info() -> EngineInfo {
    EngineInfo {
        version: "20.10.24".to_owned(),
        platform: format!("linux/{}", docker::images::architecture()),
        storage_driver: "overlay2".to_owned(),
        storage: vec![("Supports d_type".to_owned(), "true".to_owned())],
        cgroup: "v2 (systemd)".to_owned(),
        limits_memory: true,
        limits_pids: true,
    }
}

#[test]
fn an_unsuitable_engine() {
    let pipeline = declared::shipped();
    let judge = |info: &EngineInfo, api| engine::judge(Instant::now(), info, api, &pipeline);
    let good = judge(&good_info(), (1, 41));
    assert!(good.iter().all(|f| f.status == Status::Pass), "{good:?}");
    let bad = EngineInfo {
        version: "19.3".to_owned(),
        platform: "linux/riscv64".to_owned(),
        storage_driver: "vfs".to_owned(),
        limits_pids: false,
        ..good_info()
    };
    let mut text = shown(&judge(&bad, (1, 40)));
    let no_d_type = EngineInfo {
        storage: vec![("Supports d_type".to_owned(), "false".to_owned())],
        ..good_info()
    };
    let storage = judge(&no_d_type, (1, 41));
    text.push_str(&shown(&storage[2..3]));
    insta::assert_snapshot!(text);

    // Docker's driver of this name is abandoned, Podman's is overlay2.
    let overlay = |key: &str| EngineInfo {
        storage_driver: "overlay".to_owned(),
        storage: vec![(key.to_owned(), "true".to_owned())],
        ..good_info()
    };
    for (key, status) in [
        ("Supports d_type", Status::Warn),
        ("Native Overlay Diff", Status::Pass),
    ] {
        assert_eq!(judge(&overlay(key), (1, 41))[2].status, status, "{key}");
    }
}

#[test]
fn names_that_do_not_resolve() {
    let refused = Error::new(Kind::NotRight, "Docker could not create a network")
        .because("could not find an available address pool");
    let seen = [
        Ok(host_info(Ok(vec![[10, 0, 0, 2].into()]))),
        Ok(host_info(Err(
            "Temporary failure in name resolution".to_owned()
        ))),
        Ok(host_info(Ok(Vec::new()))),
        Err(refused),
    ];
    let judge = |seen: &_| network::judge(Instant::now(), seen, &invocation());
    let findings: Vec<_> = seen.iter().map(judge).collect();
    insta::assert_snapshot!(shown(&findings));
}

#[test]
fn a_disk_that_is_too_small() {
    let mut pipeline = testing::pipeline(vec![testing::depending("db", &[])]);
    let options = [("max-size", "50m"), ("max-file", "4")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pipeline.services[0].replicas = 2;
    pipeline.services[0].logging = Some(Logging {
        driver: "json-file".to_owned(),
        options: BTreeMap::from(options),
    });
    let bounded = host::Logs::of(&pipeline);
    pipeline.services[0].logging = None;
    let unbounded = host::Logs::of(&pipeline);
    let judge = |free, logs| host::disk(Instant::now(), free, 600 << 20, logs, &invocation());
    insta::assert_snapshot!(shown(&[
        judge(Some(4 << 30), &bounded),
        judge(Some(1 << 30), &bounded),
        judge(Some(1 << 28), &bounded),
        judge(Some(4 << 30), &unbounded),
        judge(None, &bounded),
    ]));
}

#[test]
fn insufficient_memory() {
    let mut limited = testing::depending("db", &["migrate"]);
    limited.mem_limit = Some(1 << 30);
    limited.replicas = 2;
    let pipeline = testing::pipeline(vec![limited, testing::depending("web", &[])]);
    let paused = platform::Container {
        state: State::Paused,
        ..testing::container("db", 2)
    };
    let idle = host::Memory::of(&pipeline, &[]);
    let half = host::Memory::of(&pipeline, &[testing::container("db", 1), paused]);
    let judge = |memory: &host::Memory, total: u64, available: u64| {
        let seen = HostInfo {
            memory_total: Some(total << 30),
            memory_available: Some(available << 30),
            ..host_info(Ok(Vec::new()))
        };
        memory.judge(Instant::now(), &seen, &invocation())
    };
    let unknown = host_info(Ok(Vec::new()));
    insta::assert_snapshot!(shown(&[
        judge(&idle, 4, 3),
        judge(&half, 4, 1),
        judge(&idle, 4, 1),
        judge(&idle, 1, 1),
        idle.judge(Instant::now(), &unknown, &invocation()),
        judge(&host::Memory::default(), 4, 3),
    ]));
}

#[test]
fn ports_that_are_in_use() {
    let mut pipeline = declared::shipped();
    pipeline
        .services
        .retain(|s| ["kafka", "postgres", "redis"].contains(&s.name.as_str()));
    let taken = |port| {
        PortAvailability::Taken(Holder {
            port,
            who: "the process nc (pid 42)".to_owned(),
            look: None,
        })
    };
    let variable = |variable: &str, service: &str, number, set| VariablePort {
        variable: variable.to_owned(),
        service: service.to_owned(),
        port: pipeline.service(service).expect("declared").ports[0].clone(),
        number,
        set,
    };
    let chosen = Chosen {
        variable: "KAFKA_PORT".to_owned(),
        service: "kafka".to_owned(),
        number: 29093,
        instead_of: 29092,
        holder: "a process of this host".to_owned(),
    };
    let lost = Error::new(Kind::NotRight, "redis cannot use port 16379: it is in use")
        .hint("sed -i '/^REDIS_PORT=/d' .env.shop && caravan up");
    let seen = |variables, chosen, lost, availability| {
        let plan = PortPlan { chosen, lost };
        let observed = ports::Observed { availability, plan };
        let pipeline = Pipeline {
            variable_ports: variables,
            ..pipeline.clone()
        };
        shown(&ports::judge(Instant::now(), &pipeline, Ok(observed)))
    };
    let mut text = seen(
        vec![
            variable("KAFKA_PORT", "kafka", 29092, VariableSource::Unset),
            variable("POSTGRES_PORT", "postgres", 15432, VariableSource::User),
            variable("REDIS_PORT", "redis", 16379, VariableSource::PortsFile),
        ],
        vec![chosen],
        vec![("REDIS_PORT".to_owned(), lost)],
        vec![taken(29092), taken(15432), taken(16379)],
    );
    text.push_str("literal:\n");
    text.push_str(&seen(
        Vec::new(),
        Vec::new(),
        Vec::new(),
        vec![
            taken(29092),
            PortAvailability::Own("shop-postgres".to_owned()),
            PortAvailability::Unusable("cannot assign the address".to_owned()),
        ],
    ));
    insta::assert_snapshot!(text);
}

#[test]
fn leftovers_of_earlier_runs() {
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let left = Leftovers {
        containers: names(&["shop-old", "shop-older"]),
        networks: names(&["shop_old"]),
        volumes: names(&["shop_old-data"]),
        dead: names(&["other-web"]),
        doctor_containers: names(&["caravan-doctor-1"]),
        doctor_networks: names(&["caravan-doctor-1"]),
        network_containers: names(&["shop-caravan-01234567"]),
        images: names(&["caravan.local/caravan:0123456789ab"]),
        builds: names(&["0123456789ab"]),
    };
    let judge = |left: &Leftovers| leftovers::judge(Instant::now(), left, &invocation());
    let clean = judge(&Leftovers::default());
    assert!(clean.iter().all(|f| f.status == Status::Pass), "{clean:?}");
    insta::assert_snapshot!(shown(&judge(&left)));
}

#[tokio::test]
async fn data_without_its_secrets_and_a_lock_that_is_held() {
    let place = declared::TestDirectory::new();
    let source = place.source();
    let pipeline = declared::shipped();
    let invocation = invocation();
    let patient = Patient {
        source: &source,
        pipeline: &pipeline,
        invocation: &invocation,
    };
    let volume = vec!["shop_postgres-data".to_owned()];
    let judge =
        |volumes, missing| leftovers::secrets(Instant::now(), Ok((volumes, missing)), patient);
    let missing = vec!["POSTGRES_PASSWORD".to_owned()];
    assert_eq!(judge(Vec::new(), missing.clone()).status, Status::Pass);
    assert_eq!(judge(volume.clone(), Vec::new()).status, Status::Pass);
    let text = shown(&[
        judge(volume, missing),
        leftovers::lock(Instant::now(), Some("42".to_owned())),
    ]);
    let home = place.home().display().to_string();
    insta::assert_snapshot!(text.replace(&home, "~"));

    assert_eq!(crate::state::lock_holder(&source), None);
    let _lock = crate::state::lock(&source, None)
        .await
        .expect("nobody has it");
    let holder = std::process::id().to_string();
    assert_eq!(crate::state::lock_holder(&source), Some(holder));
}

#[test]
fn without_docker_nothing_passes() {
    let error = Error::new(Kind::Unreachable, "cannot reach Docker at unix:///nowhere")
        .because("No such file or directory")
        .hint("sudo systemctl start docker");
    let check = PendingFinding::new(Instant::now(), REACHABLE, "Docker answers");
    let findings = without_docker(failed(check, &error));
    assert!(is_unreachable(&findings));
    insta::assert_snapshot!(shown(&findings));
}
