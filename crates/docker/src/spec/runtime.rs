//! Keys that are passed to Docker as declared.

use bollard::models::{ContainerCreateBody, DeviceMapping, HostConfig, ResourcesUlimits};

use super::{non_empty, non_empty_map};
use declaration::{Device, Runtime, Ulimit};

/// The keys of the container's configuration; the others are unset.
pub(super) fn body(runtime: &Runtime) -> ContainerCreateBody {
    ContainerCreateBody {
        domainname: runtime.domainname.clone(),
        tty: runtime.tty.then_some(true),
        open_stdin: runtime.stdin_open.then_some(true),
        ..ContainerCreateBody::default()
    }
}

/// The keys of the host configuration; the others are unset.
pub(super) fn host_config(runtime: &Runtime) -> HostConfig {
    HostConfig {
        nano_cpus: runtime.nano_cpus,
        cpu_shares: runtime.cpu_shares,
        cpuset_cpus: runtime.cpuset.clone(),
        memory_reservation: runtime.mem_reservation,
        memory_swap: runtime.memswap_limit,
        oom_score_adj: runtime.oom_score_adj,
        ulimits: non_empty(runtime.ulimits.iter().map(ulimit).collect()),
        sysctls: non_empty_map(runtime.sysctls.clone().into_iter().collect()),
        privileged: runtime.privileged.then_some(true),
        devices: non_empty(runtime.devices.iter().map(device).collect()),
        group_add: non_empty(runtime.group_add.clone()),
        dns: non_empty(runtime.dns.clone()),
        dns_options: non_empty(runtime.dns_opt.clone()),
        dns_search: non_empty(runtime.dns_search.clone()),
        ipc_mode: runtime.ipc.clone(),
        pid_mode: runtime.pid.clone(),
        runtime: runtime.runtime.clone(),
        ..HostConfig::default()
    }
}

fn ulimit(limit: &Ulimit) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    }
}

fn device(device: &Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}
