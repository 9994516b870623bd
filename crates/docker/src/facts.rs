//! What the engine tells of itself.

use crate::connect::Engine;
use diagnostics::Result;

/// An engine's version and what it can do. What it does not tell is left empty.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub version: String,
    /// `linux/amd64`
    pub platform: String,
    pub storage_driver: String,
    /// What the storage driver tells: `Supports d_type` is `true`.
    pub storage: Vec<(String, String)>,
    /// `v2 (systemd)`
    pub cgroup: String,
    /// Whether limits of memory and of processes are kept to.
    pub limits_memory: bool,
    pub limits_pids: bool,
}

impl Engine {
    /// # Errors
    /// Docker does not answer.
    pub async fn facts(&self) -> Result<Facts> {
        let version = self.call("tell its version", self.docker.version()).await?;
        let info = self.call("tell about itself", self.docker.info()).await?;
        let word = |text: Option<String>| text.unwrap_or_default();
        let cgroup = info.cgroup_version.map(|v| v.to_string());
        let driver = info.cgroup_driver.map(|d| d.to_string());
        let details = info.driver_status.unwrap_or_default().into_iter();
        Ok(Facts {
            version: word(version.version),
            platform: format!("{}/{}", word(version.os), word(version.arch)),
            storage_driver: word(info.driver),
            storage: details
                .filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())))
                .collect(),
            cgroup: format!("v{} ({})", word(cgroup), word(driver)),
            limits_memory: info.memory_limit.unwrap_or(false),
            limits_pids: info.pids_limit.unwrap_or(false),
        })
    }
}
