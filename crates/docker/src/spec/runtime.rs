//! Keys that are passed to Docker as declared.

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest as Requested, HostConfig,
    HostConfigCgroupnsModeEnum, ResourcesUlimits,
};

use super::{non_empty, non_empty_map};
use declaration::{Device, DeviceRequest, Runtime, Ulimit};

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
        uts_mode: runtime.uts.clone(),
        userns_mode: runtime.userns_mode.clone(),
        cgroupns_mode: runtime.cgroup.as_deref().map(cgroup_namespace),
        cgroup_parent: runtime.cgroup_parent.clone(),
        cpu_period: runtime.cpu_period,
        cpu_quota: runtime.cpu_quota,
        cpu_realtime_period: runtime.cpu_rt_period,
        cpu_realtime_runtime: runtime.cpu_rt_runtime,
        memory_swappiness: runtime.mem_swappiness,
        oom_kill_disable: runtime.oom_kill_disable.then_some(true),
        device_cgroup_rules: non_empty(runtime.device_cgroup_rules.clone()),
        device_requests: non_empty(runtime.device_requests.iter().map(request).collect()),
        storage_opt: non_empty_map(runtime.storage_opt.clone().into_iter().collect()),
        runtime: runtime.runtime.clone(),
        ..HostConfig::default()
    }
}

fn cgroup_namespace(mode: &str) -> HostConfigCgroupnsModeEnum {
    match mode {
        "host" => HostConfigCgroupnsModeEnum::HOST,
        _ => HostConfigCgroupnsModeEnum::PRIVATE,
    }
}

fn request(request: &DeviceRequest) -> Requested {
    Requested {
        driver: request.driver.clone(),
        count: request.count,
        device_ids: non_empty(request.ids.clone()),
        capabilities: Some(vec![request.capabilities.clone()]),
        options: non_empty_map(request.options.clone().into_iter().collect()),
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
