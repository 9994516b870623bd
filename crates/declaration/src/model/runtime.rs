//! Compose options that are passed to Docker unchanged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Namespace;

/// Limits, privileges and network options of a service's containers. None and empty: Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// `cpus`, in billionths of a core.
    pub nano_cpus: Option<i64>,
    /// Relative CPU weight; Docker's default is 1024.
    pub cpu_shares: Option<i64>,
    /// Allowed cores, for instance `0-2,4`.
    pub cpuset: Option<String>,
    /// Bytes.
    pub mem_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 is no limit.
    pub memswap_limit: Option<i64>,
    /// OOM killer preference, -1000 to 1000.
    pub oom_score_adj: Option<i64>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters by name.
    pub sysctls: BTreeMap<String, String>,
    /// Whether the container has all capabilities and devices.
    pub privileged: bool,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Supplementary groups of the user, by name or id.
    pub group_add: Vec<String>,
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Whether stdin stays open.
    pub stdin_open: bool,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Addresses of DNS servers.
    pub dns: Vec<String>,
    /// Options of the DNS resolver.
    pub dns_opt: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Exposed ports, each as `80/tcp`.
    pub expose: Vec<String>,
    /// Network namespace: `host`, `none`, `bridge` or another container's. None: the networks of the project.
    pub network_mode: Option<Namespace>,
    /// IPC namespace.
    pub ipc: Option<Namespace>,
    /// PID namespace.
    pub pid: Option<Namespace>,
    /// UTS namespace: `host`.
    pub uts: Option<String>,
    /// User namespace: `host`.
    pub userns_mode: Option<String>,
    /// cgroup namespace: `host` or `private`.
    pub cgroup: Option<String>,
    /// Parent cgroup.
    pub cgroup_parent: Option<String>,
    /// Microseconds of a CPU period.
    pub cpu_period: Option<i64>,
    /// Microseconds of CPU time in a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds of a period for real-time tasks.
    pub cpu_rt_period: Option<i64>,
    /// Microseconds for real-time tasks in a period.
    pub cpu_rt_runtime: Option<i64>,
    /// How readily the kernel swaps, 0 to 100.
    pub mem_swappiness: Option<i64>,
    /// Whether the kernel does not kill it when memory is short.
    pub oom_kill_disable: bool,
    /// Rules for devices, for instance `c 1:3 mr`.
    pub device_cgroup_rules: Vec<String>,
    /// Devices that a driver provides, for instance GPUs.
    pub device_requests: Vec<DeviceRequest>,
    /// Options of the storage driver by name.
    pub storage_opt: BTreeMap<String, String>,
    /// OCI runtime, for instance `runc`.
    pub runtime: Option<String>,
    /// Platform of the image, for instance `linux/arm64`.
    pub platform: Option<String>,
}

/// A resource limit (`setrlimit`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name as in Docker's `--ulimit`, for instance `nofile`.
    pub name: String,
    /// Soft limit; -1: unlimited.
    pub soft: i64,
    /// Hard limit; -1: unlimited.
    pub hard: i64,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub host: String,
    /// Path in the container.
    pub container: String,
    /// cgroup permissions: `rwm` or a part of it.
    pub permissions: String,
}

/// Devices that a driver provides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// Name of the driver. None: the one that has the capabilities.
    pub driver: Option<String>,
    /// How many; -1: all. None: those of `ids`.
    pub count: Option<i64>,
    /// Ids of the devices.
    pub ids: Vec<String>,
    /// What the devices must be able to do, for instance `gpu`.
    pub capabilities: Vec<String>,
    /// Options of the driver by name.
    pub options: BTreeMap<String, String>,
}
