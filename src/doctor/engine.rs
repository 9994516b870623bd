//! The engine's API version, platform, storage driver and resource limits.

use std::time::Instant;

use super::{CheckId, Finding, PendingFinding};
use declaration::{ImageFrom, Pipeline};
use docker::{OLDEST_API, engine_info::EngineInfo, images::architecture};

pub(super) fn judge(
    began: Instant,
    info: &EngineInfo,
    api: (usize, usize),
    pipeline: &Pipeline,
) -> Vec<Finding> {
    let mut findings = vec![version(began, info, api)];
    let own = |from| from == ImageFrom::Caravan;
    if pipeline.services.iter().any(|s| own(s.image_from)) {
        findings.push(platform(began, info));
    }
    findings.push(storage(began, info));
    findings.push(cgroup(began, info, pipeline));
    findings
}

fn version(began: Instant, info: &EngineInfo, api: (usize, usize)) -> Finding {
    let (major, minor) = OLDEST_API;
    let expected = format!("{major}.{minor} or newer");
    let check = PendingFinding::new(began, CheckId::of_layer("engine", "api-version"), expected);
    let seen = format!("{}.{}", api.0, api.1);
    if api >= OLDEST_API {
        return check.pass(seen);
    }
    let finding = check.fail(format!("{seen} (Docker {})", info.version));
    finding.hint("install Docker 20.10 or newer: sudo apt-get install docker.io")
}

fn platform(began: Instant, info: &EngineInfo) -> Finding {
    let expected = format!("linux/{}", architecture());
    let check = PendingFinding::new(
        began,
        CheckId::of_layer("engine", "platform"),
        expected.clone(),
    );
    let seen = info.platform.clone();
    if seen == expected {
        return check.pass(seen);
    }
    let hint = "cargo build --release in Caravan's repository, on a machine of that platform";
    check.fail(seen).hint(hint)
}

/// Storage drivers that are copy-on-write and maintained.
const GOOD: [&str; 6] = [
    "overlay2",
    "overlayfs",
    "btrfs",
    "zfs",
    "fuse-overlayfs",
    "stargz",
];

/// A detail that Podman reports of its driver `overlay`.
const NATIVE_DIFF: &str = "Native Overlay Diff";

fn storage(began: Instant, info: &EngineInfo) -> Finding {
    const INSTEAD: &str = "set \"storage-driver\": \"overlay2\" in /etc/docker/daemon.json; it \
                           takes effect when Docker is restarted, which stops every container, \
                           and hides the images of the current driver";
    let check = PendingFinding::new(
        began,
        CheckId::of_layer("engine", "storage"),
        "overlay2 or an equivalent driver",
    );
    let driver = info.storage_driver.as_str();
    let reports = |key: &str, value: &str| {
        let mut details = info.storage.iter();
        details.any(|(k, v)| k == key && v == value)
    };
    let has = |key: &str| info.storage.iter().any(|(k, _)| k == key);
    if reports("Supports d_type", "false") {
        return check
            .fail(format!("{driver} on a file system without d_type"))
            .evidence(["files that an image layer removes would remain".to_owned()])
            .hint("move Docker's data to ext4, or to XFS made with ftype=1: \"data-root\" in /etc/docker/daemon.json");
    }
    match driver {
        "" => check.fail("unknown").hint("docker info"),
        // Podman calls overlay2 so. Docker's abandoned driver of this name reports no such detail.
        "overlay" if has(NATIVE_DIFF) => check.pass("overlay (Podman)"),
        _ if GOOD.contains(&driver) => check.pass(driver),
        "vfs" => check.warn("vfs: every layer is a full copy").hint(INSTEAD),
        _ => check
            .warn(format!("{driver}: abandoned or unknown"))
            .hint(INSTEAD),
    }
}

fn cgroup(began: Instant, info: &EngineInfo, pipeline: &Pipeline) -> Finding {
    let (mut expected, mut lacking) = (Vec::new(), Vec::new());
    let services = &pipeline.services;
    let limits = [
        (
            "memory",
            services.iter().any(|s| s.mem_limit.is_some()),
            info.limits_memory,
        ),
        (
            "pids",
            services.iter().any(|s| s.pids_limit.is_some()),
            info.limits_pids,
        ),
    ];
    for (what, declared, enforced) in limits {
        if declared {
            expected.push(what);
            if !enforced {
                lacking.push(what);
            }
        }
    }
    let expected = match expected.is_empty() {
        true => "no limits are declared".to_owned(),
        false => format!("limits: {}", expected.join(", ")),
    };
    let check = PendingFinding::new(began, CheckId::of_layer("engine", "cgroup"), expected);
    if lacking.is_empty() {
        return check.pass(info.cgroup.clone());
    }
    check
        .fail(format!("{} without {}", info.cgroup, lacking.join(", ")))
        .hint("add cgroup_enable=memory swapaccount=1 to the kernel's command line; it takes effect when the machine is booted again")
}
