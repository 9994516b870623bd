//! What else of a container Docker takes as Compose says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits, rights and names of a service's containers; what is empty is Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runtime {
    /// Billionths of a core.
    pub(crate) nano_cpus: Option<i64>,
    pub(crate) cpu_shares: Option<i64>,
    /// `0-2,4`
    pub(crate) cpuset: Option<String>,
    /// Bytes.
    pub(crate) mem_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 is no limit.
    pub(crate) memswap_limit: Option<i64>,
    pub(crate) oom_score_adj: Option<i64>,
    pub(crate) ulimits: Vec<Ulimit>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) privileged: bool,
    pub(crate) devices: Vec<Device>,
    pub(crate) group_add: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) stdin_open: bool,
    pub(crate) domainname: Option<String>,
    pub(crate) dns: Vec<String>,
    pub(crate) dns_opt: Vec<String>,
    pub(crate) dns_search: Vec<String>,
    /// `80/tcp` each.
    pub(crate) expose: Vec<String>,
    /// `host`, `none` or `bridge`: in place of the project's networks.
    pub(crate) network_mode: Option<String>,
    pub(crate) ipc: Option<String>,
    pub(crate) pid: Option<String>,
    /// The OCI runtime.
    pub(crate) runtime: Option<String>,
    /// `linux/arm64`
    pub(crate) platform: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ulimit {
    pub(crate) name: String,
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) host: String,
    pub(crate) container: String,
    /// `rwm` or a part of it.
    pub(crate) permissions: String,
}
