//! What `caravan doctor` asks from inside a container: whether a name of the network resolves,
//! and how much disk and memory the engine's machine has.

use std::{net::IpAddr, time::Duration};

use platform::HostInfo;

/// Docker's own DNS answers in milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks around.
pub(crate) async fn run(name: &str) -> HostInfo {
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

/// A line of proc(5)'s `meminfo`, in bytes.
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
    async fn this_machine_can_be_looked_at() {
        let seen = run("localhost").await;
        assert!(seen.resolved.is_ok_and(|found| !found.is_empty()));
        assert!(seen.disk_free.is_some() && seen.memory_total > seen.memory_available);
        let unknown = run("name.invalid").await;
        assert!(unknown.resolved.is_err());
    }
}
