//! The engine's version and capabilities (`docker version`, `docker info`).

use crate::connect::Engine;
use diagnostics::Result;

/// An engine's version and capabilities. Fields that the engine does not report are empty.
#[derive(Debug, Clone, Default)]
pub struct EngineInfo {
    /// `28.0.1`
    pub version: String,
    /// `linux/amd64`
    pub platform: String,
    /// `overlay2`
    pub storage_driver: String,
    /// The storage driver's status, name and value: `Supports d_type` is `true`.
    pub storage: Vec<(String, String)>,
    /// `v2 (systemd)`
    pub cgroup: String,
    /// Whether the engine enforces memory limits.
    pub limits_memory: bool,
    /// Whether the engine enforces limits on the number of processes.
    pub limits_pids: bool,
}

impl Engine {
    /// The engine's version and capabilities.
    ///
    /// # Errors
    /// Docker does not respond.
    pub async fn info(&self) -> Result<EngineInfo> {
        let version = self
            .call("report its version", self.docker.version())
            .await?;
        let info = self
            .call("report its system information", self.docker.info())
            .await?;
        let word = |text: Option<String>| text.unwrap_or_default();
        let cgroup = info.cgroup_version.map(|v| v.to_string());
        let driver = info.cgroup_driver.map(|d| d.to_string());
        let details = info.driver_status.unwrap_or_default().into_iter();
        Ok(EngineInfo {
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
