//! Metrics that are read at each scrape: health, memory, the connection pool, dropped log lines.

use std::{
    sync::{OnceLock, atomic::Ordering},
    time::{Duration, SystemTime},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use sqlx::PgPool;

use super::{
    DATABASE_CONNECTIONS, DATABASE_CONNECTIONS_MAX, LIVE, LOG_LINES_DROPPED, READY,
    RESIDENT_MEMORY, START_TIME, labels::Connections, register,
};
use crate::{Health, telemetry};

#[derive(Debug)]
pub(super) struct Process {
    health: Health,
    live: Gauge,
    ready: Gauge,
    log_lines_dropped: Counter,
    resident_memory: Gauge,
    pool: OnceLock<Pool>,
}

#[derive(Debug)]
struct Pool {
    pool: PgPool,
    connections: Family<Connections, Gauge>,
}

impl Process {
    pub(super) fn register(registry: &mut Registry, health: Health) -> Self {
        let process = Self {
            health,
            live: Gauge::default(),
            ready: Gauge::default(),
            log_lines_dropped: Counter::default(),
            resident_memory: Gauge::default(),
            pool: OnceLock::new(),
        };
        register(registry, LIVE, &process.live);
        register(registry, READY, &process.ready);
        register(registry, LOG_LINES_DROPPED, &process.log_lines_dropped);
        register(registry, RESIDENT_MEMORY, &process.resident_memory);
        let start_time: Gauge = Gauge::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        start_time.set(whole(now.unwrap_or(Duration::ZERO).as_secs()));
        register(registry, START_TIME, &start_time);
        process
    }

    pub(super) fn watch_pool(&self, registry: &mut Registry, pool: PgPool) {
        let max: Gauge = Gauge::default();
        max.set(i64::from(pool.options().get_max_connections()));
        let connections = Family::default();
        let watched = Pool {
            pool,
            connections: connections.clone(),
        };
        if self.pool.set(watched).is_ok() {
            register(registry, DATABASE_CONNECTIONS, &connections);
            register(registry, DATABASE_CONNECTIONS_MAX, &max);
        }
    }

    /// Updates all of them.
    pub(super) fn look(&self) {
        self.live.set(i64::from(self.health.is_live()));
        self.ready.set(i64::from(self.health.is_ready()));
        let dropped = u64::try_from(telemetry::dropped_lines()).unwrap_or(u64::MAX);
        self.log_lines_dropped
            .inner()
            .store(dropped, Ordering::Relaxed);
        // Without /proc the old value stays.
        if let Some(bytes) = resident_memory() {
            self.resident_memory.set(whole(bytes));
        }
        if let Some(Pool { pool, connections }) = self.pool.get() {
            let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
            let open = i64::from(pool.size());
            // The two numbers are read one after the other, so they may be inconsistent.
            let used = (open - idle).max(0);
            for (state, number) in [("idle", idle), ("used", used)] {
                let connections = connections.get_or_create(&Connections { state });
                connections.set(number);
            }
        }
    }
}

/// Bytes of the process' memory that are in RAM (Linux: `VmRSS` in /proc/self/status).
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
