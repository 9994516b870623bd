//! What else of a container Docker takes as Compose says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits, rights and names of a service's containers; what is empty is Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Billionths of a core.
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<i64>,
    /// `0-2,4`
    pub cpuset: Option<String>,
    /// Bytes.
    pub mem_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 is no limit.
    pub memswap_limit: Option<i64>,
    pub oom_score_adj: Option<i64>,
    pub ulimits: Vec<Ulimit>,
    pub sysctls: BTreeMap<String, String>,
    pub privileged: bool,
    pub devices: Vec<Device>,
    pub group_add: Vec<String>,
    pub tty: bool,
    pub stdin_open: bool,
    pub domainname: Option<String>,
    pub dns: Vec<String>,
    pub dns_opt: Vec<String>,
    pub dns_search: Vec<String>,
    /// `80/tcp` each.
    pub expose: Vec<String>,
    /// `host`, `none` or `bridge`: in place of the project's networks.
    pub network_mode: Option<String>,
    pub ipc: Option<String>,
    pub pid: Option<String>,
    /// The OCI runtime.
    pub runtime: Option<String>,
    /// `linux/arm64`
    pub platform: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub host: String,
    pub container: String,
    /// `rwm` or a part of it.
    pub permissions: String,
}
