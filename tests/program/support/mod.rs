//! What the whole-program tests share: the program with a clean environment, and a deployment of
//! the shipped pipeline under a project name, ports and state directory of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) mod fault_records;
pub(crate) mod kafka;
pub(crate) mod payments;
pub(crate) mod pipeline;
pub(crate) mod proxy;
pub(crate) mod role;
mod schemas;
pub(crate) mod shared;
pub(crate) mod small;
pub(crate) mod terminal;

/// `caravan` with nothing of the caller's environment but what finding Docker needs.
pub(crate) fn caravan() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caravan"));
    command.env_clear();
    for name in ["PATH", "DOCKER_HOST", "LANG"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    command
}

/// What a program wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let ran = Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        schemas::check(&ran.stdout, ran.code);
        ran
    }

    /// Fails the test, showing everything, unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// stdout as the one JSON document that it must be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("not one JSON document: {e}\n{}", self.stdout))
    }
}

/// When a wait of a test fails: long, since it says nothing about speed, and a busy machine is no
/// fault. Only what a test asserts about a time of its own is shorter.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);

/// The `--timeout` of a `test-flow` that is to fail for one reason: by then all else is done, on a
/// busy machine too.
pub(crate) const SETTLED: &str = "15s";

/// Waits until `condition` gives a value; fails the test at [`DEADLINE`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// As [`eventually`], of a condition that says what it saw in its place.
#[track_caller]
pub(crate) fn eventually_ok<T>(mut condition: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) => assert!(
                began.elapsed() < DEADLINE,
                "not within {DEADLINE:?}: {seen}"
            ),
        }
        std::thread::park_timeout(Duration::from_millis(500));
    }
}

/// As [`eventually`], asynchronously.
pub(crate) async fn eventually_async<T, F>(what: &str, mut condition: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let began = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A port of the loopback that is free now, below those that outgoing connections are given: one
/// of thousands of payments' connections might take it before its service does.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let spread = u16::try_from(std::process::id() % 11_000).unwrap();
    loop {
        let port = 20_000 + (spread + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
