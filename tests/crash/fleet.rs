//! The pipeline's parts as processes of this machine, so that their pids are the test's to kill.

use std::{
    cell::Cell,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use worker_runtime::kill::Point;

use crate::support::{eventually, free_port, pipeline::Pipeline};

/// What SIGTERM may take, to the exit.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// The parts that are started on the host, each the role's name for `caravan run`.
pub(crate) const PURCHASE: &str = "purchase-worker";
pub(crate) const ALLOCATION: &str = "allocation-worker";
pub(crate) const SESSION: &str = "session-worker";
pub(crate) const CACHE: &str = "cache-worker";
pub(crate) const WORKERS: [&str; 4] = [PURCHASE, ALLOCATION, SESSION, CACHE];
pub(crate) const ADMIN: &str = "admin-service";
pub(crate) const PAYMENT: &str = "payment-service";

/// Where a process is to end or to freeze.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    pub(crate) point: Point,
    /// The how manieth time that it is reached.
    pub(crate) nth: usize,
    pub(crate) with: With,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Kill,
    Stop,
}

/// Starts processes of one pipeline; their output goes to files of its own.
pub(crate) struct Fleet<'a> {
    pub(crate) pipeline: &'a Pipeline,
    logs: TempDir,
    started: Cell<usize>,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline) -> Self {
        Self {
            pipeline,
            logs: tempfile::tempdir().unwrap(),
            started: Cell::new(0),
        }
    }

    /// A service: one process, on its own port.
    pub(crate) fn service(&self, role: &'static str) -> Process {
        let (port, token) = match role {
            ADMIN => ("ADMIN_PORT", "ADMIN_TOKEN"),
            PAYMENT => ("PAYMENT_PORT", "PAYMENT_TOKEN"),
            other => panic!("{other} is no service"),
        };
        let mut command = self.command(role);
        command.env("HTTP_PORT", self.pipeline.port(port));
        command.env("API_TOKEN", self.pipeline.secret(token));
        self.spawn(role, command, None)
    }

    /// The worker's first replica, with the static membership that `up` gives it, perhaps with a
    /// trap.
    pub(crate) fn worker(&self, role: &'static str, trap: Option<Trap>) -> Process {
        let mut command = self.command(role);
        command.env("CARAVAN_REPLICA", "1");
        if let Some(Trap { point, nth, with }) = trap {
            command.env("CARAVAN_KILL_AT", format!("{}:{nth}", point.name()));
            let with = match with {
                With::Kill => "kill",
                With::Stop => "stop",
            };
            command.env("CARAVAN_KILL_WITH", with);
        }
        self.spawn(role, command, trap)
    }

    /// One more replica, which joins and leaves the group like any member without a number.
    pub(crate) fn another(&self, role: &'static str) -> Process {
        self.spawn(role, self.command(role), None)
    }

    fn command(&self, role: &str) -> Command {
        let pipeline = self.pipeline;
        let mut command = Command::new(env!("CARGO_BIN_EXE_caravan"));
        command.env_clear().args(["run", role]);
        command.env("KAFKA_BROKERS", pipeline.brokers());
        command.env("DATABASE_URL", pipeline.database_url());
        command.env("HTTP_PORT", free_port().to_string());
        let redis = format!(
            "redis://:{}@127.0.0.1:{}/0",
            pipeline.secret("REDIS_PASSWORD"),
            pipeline.port("REDIS_PORT")
        );
        command.env("REDIS_URL", redis);
        let admin = format!("http://127.0.0.1:{}", pipeline.port("ADMIN_PORT"));
        command.env("ADMIN_URL", admin);
        command.env("ADMIN_TOKEN", pipeline.secret("ADMIN_TOKEN"));
        command
    }

    fn spawn(&self, role: &'static str, mut command: Command, trap: Option<Trap>) -> Process {
        let number = self.started.replace(self.started.get() + 1);
        let log = |kind: &str| self.logs.path().join(format!("{number:04}-{role}.{kind}"));
        let (stdout, stderr) = (log("out"), log("err"));
        command.stdout(File::create(&stdout).unwrap());
        command.stderr(File::create(&stderr).unwrap());
        Process {
            role,
            trap,
            child: command.spawn().unwrap(),
            stdout,
            stderr,
        }
    }
}

/// A process of the pipeline; killed when it is dropped.
pub(crate) struct Process {
    pub(crate) role: &'static str,
    pub(crate) trap: Option<Trap>,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Waits for the startup line: a worker has joined its group, a service listens.
    pub(crate) fn wait_until_started(&mut self) {
        let what = format!("{} starts", self.role);
        eventually(&what, || {
            let ended = self.child.try_wait().unwrap();
            assert_eq!(ended, None, "{} ended:\n{}", self.role, self.tail());
            self.has_started().then_some(())
        });
    }

    pub(crate) fn has_started(&self) -> bool {
        let log = fs::read_to_string(&self.stdout).unwrap();
        log.lines().any(|line| line.ends_with("] Started"))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// It was at the point of its trap, and said so as its last act.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Whether it is frozen (`T` in /proc/PID/stat, after the name in parentheses).
    pub(crate) fn is_frozen(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let state = stat.rsplit(')').next().unwrap().trim_start();
        state.starts_with('T')
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success(), "kill {signal} {pid}: {status}");
    }

    /// SIGKILL from outside, wherever it may be.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: has to be gone in time, with exit code 0.
    pub(crate) fn end(self) {
        end_all(vec![self]);
    }

    /// Where it stood: the lines of its log that are of the process and no single event, and the
    /// last ones, whatever they are.
    pub(crate) fn tail(&self) -> String {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let log = read(&self.stdout);
        let lines: Vec<_> = log.lines().collect();
        let (before, last) = lines.split_at(lines.len().saturating_sub(15));
        let own: Vec<_> = before
            .iter()
            .filter(|line| !line.contains("Id="))
            .copied()
            .collect();
        let (own, last) = (own.join("\n"), last.join("\n"));
        format!("{}:\n{own}\n…\n{last}\n{}", self.role, read(&self.stderr))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        // Also a frozen one; both fail only for one that has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// SIGTERM to all of them at once: each has to be gone in time, with exit code 0.
pub(crate) fn end_all(mut processes: Vec<Process>) {
    for process in &processes {
        process.signal("-TERM");
    }
    let began = Instant::now();
    for process in &mut processes {
        let what = format!("{} ends on SIGTERM", process.role);
        let status = eventually(&what, || process.ended());
        assert!(began.elapsed() < ENDS_WITHIN, "{what}");
        assert!(status.success(), "{status}\n{}", process.tail());
    }
}
