//! Runs in the temporary container of `caravan doctor`: resolves a name on the container's network, and reads
//! how much disk space and memory the engine's host has.

use std::{net::IpAddr, time::Duration};

use platform::HostInfo;

/// Docker's DNS server responds within milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

/// Resolves `name` and reads the resources of the host.
pub(crate) async fn collect(name: &str) -> HostInfo {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let root = rustix::fs::statvfs("/").ok();
    HostInfo {
        resolved: resolve(name).await,
        disk_free: root.map(|root| root.f_bavail.saturating_mul(root.f_frsize)),
        memory_total: field(&meminfo, "MemTotal"),
        memory_available: field(&meminfo, "MemAvailable"),
    }
}

async fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let lookup = tokio::net::lookup_host((name, 0));
    match tokio::time::timeout(LIMIT, lookup).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!(
            "no answer within {}",
            humantime::format_duration(LIMIT)
        )),
    }
}

/// A field of `/proc/meminfo` (proc(5)), in bytes.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let lines = meminfo.lines();
    let rest = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = rest.into_iter().next()?.trim().strip_suffix("kB")?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_by_name() {
        let meminfo = "MemTotal:       24683524 kB\nMemFree: 1 kB\nMemAvailable:   2 kB\n";
        assert_eq!(field(meminfo, "MemTotal"), Some(24_683_524 * 1024));
        assert_eq!(field(meminfo, "MemAvailable"), Some(2048));
        assert_eq!(field(meminfo, "Mem"), None);
    }

    #[tokio::test]
    async fn host_info_of_this_machine_is_collected() {
        let found = collect("localhost").await;
        assert!(found.resolved.is_ok_and(|addresses| !addresses.is_empty()));
        assert!(found.disk_free.is_some() && found.memory_total > found.memory_available);
        let unknown = collect("name.invalid").await;
        assert!(unknown.resolved.is_err());
    }
}
