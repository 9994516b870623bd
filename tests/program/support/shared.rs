//! Deployments that scenarios share, because bringing one up is dear.
//!
//! A scenario has a deployment to itself while it runs, and leaves it as it found it; the next
//! scenario that names the same key takes it over. There are never more of a key than scenarios
//! that run at the same time. A scenario that fails may have left anything: its deployment is taken
//! down, and the next one starts its own.
//!
//! An idle deployment is taken down when a test starts another one, and at the latest when the
//! process ends, by its [`Reaper`].

use std::{
    any::Any,
    io::Write,
    ops::{Deref, DerefMut},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
};

use super::*;

/// By key: deployments that no scenario uses now.
static IDLE: Mutex<Vec<(&'static str, Box<dyn Any + Send>)>> = Mutex::new(Vec::new());

/// A deployment that one scenario uses.
pub(crate) struct Lease<T: Send + 'static> {
    key: &'static str,
    deployment: Option<T>,
}

/// An idle deployment of `key`, or a new one. `start` is given the name for its project.
pub(crate) fn lease<T: Send>(key: &'static str, start: impl FnOnce(&str) -> T) -> Lease<T> {
    let mut idle = IDLE.lock().unwrap();
    let found = idle.iter().position(|(of, _)| *of == key);
    let found = found.map(|place| idle.swap_remove(place).1);
    drop(idle);
    match found {
        Some(deployment) => Lease {
            key,
            deployment: Some(*deployment.downcast().expect("one type for a key")),
        },
        None => lease_fresh(key, start),
    }
}

/// A new deployment of `key`, whatever is idle, for what only shows on one that nothing has been
/// done to. Others take it over afterwards.
pub(crate) fn lease_fresh<T: Send>(key: &'static str, start: impl FnOnce(&str) -> T) -> Lease<T> {
    static STARTED: AtomicU16 = AtomicU16::new(1);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    Lease {
        key,
        deployment: Some(start(&format!("{key}-{number}"))),
    }
}

/// Takes idle deployments down. Whoever starts one calls it: memory is for those in use.
pub(crate) fn end_idle() {
    let idle = std::mem::take(&mut *IDLE.lock().unwrap());
    drop(idle);
}

impl<T: Send> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.deployment.as_ref().expect("until it is dropped")
    }
}

impl<T: Send> DerefMut for Lease<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.deployment.as_mut().expect("until it is dropped")
    }
}

impl<T: Send> Drop for Lease<T> {
    fn drop(&mut self) {
        let deployment = self.deployment.take().expect("dropped once");
        if std::thread::panicking() {
            drop(deployment);
        } else {
            IDLE.lock().unwrap().push((self.key, Box::new(deployment)));
        }
    }
}

/// A process that outlives the test's and takes a deployment down where the test's process ended
/// without doing so: at its regular end, by Ctrl-C or by SIGKILL.
pub(crate) struct Reaper(Child);

impl Reaper {
    /// `down` is the command that takes the deployment down; `directory` is removed after it.
    pub(crate) fn start(down: &Command, directory: &Path) -> Self {
        // The end of the standard input is the end of the test's process.
        let script = r#"
            read -r _ && exit
            directory=$1; shift
            output=$("$@" 2>&1) || printf 'error: not taken down: %s\n%s\n' "$directory" "$output" >&2
            rm -rf "$directory"
        "#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "reaper"]).arg(directory);
        command.arg(down.get_program()).args(down.get_args());
        command.current_dir(directory).env_clear();
        let variables = down.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        // Ctrl-C is for the tests' process group.
        command.process_group(0).stdin(Stdio::piped());
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Reaper {
    /// The deployment has been taken down.
    fn drop(&mut self) {
        // It may have been killed; then there is nobody to tell.
        drop(self.0.stdin.take().map(|mut stdin| stdin.write_all(b"\n")));
        drop(self.0.wait());
    }
}

#[test]
fn what_a_process_leaves_is_taken_down() {
    let place = tempfile::tempdir().unwrap();
    let state = |name: &str| {
        let state = place.path().join(name);
        std::fs::create_dir(&state).unwrap();
        state
    };
    let mark = place.path().join("taken-down");
    let mut down = Command::new("touch");
    down.arg(&mark);

    let kept = state("kept");
    drop(Reaper::start(&down, &kept));
    assert!(!mark.exists(), "its own test has taken it down");
    assert!(kept.exists());

    let left = state("left");
    let mut reaper = Reaper::start(&down, &left);
    // As at the end of a process.
    drop(reaper.0.stdin.take());
    reaper.0.wait().unwrap();
    assert!(mark.exists());
    assert!(!left.exists());
}
