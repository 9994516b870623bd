//! The project's lock: only one command at a time may change a project.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use super::file::{self, make_directory};
use declaration::{Source, units};
use diagnostics::{Error, Kind, Result};

/// Holds the lock until it is dropped. The lock file is not deleted: a process that has just opened it
/// would lock the deleted file, and another one a new file.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Closing the file releases the lock.
    _file: File,
}

/// Interval between two attempts to acquire a held lock.
const INTERVAL: Duration = Duration::from_millis(100);

/// Acquires the project's lock. `wait`: for how long, if another process holds it; None: not at all.
///
/// # Errors
/// `Kind::NotRight`: another process holds the lock (the error names its id); `Kind::Deadline`: it still does
/// after `wait`. `Kind::Unreachable`: the file cannot be locked.
pub(crate) async fn lock(source: &Source, wait: Option<Duration>) -> Result<Lock> {
    let path = path(source);
    let failed = |error: std::io::Error| file::failed("lock", &path, &error);
    make_directory(source.state_dir())?;
    let began = Instant::now();
    let mut file = loop {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = file::open_own(&path, &mut options).map_err(failed)?;
        match (file.try_lock(), wait) {
            (Ok(()), _) => break file,
            (Err(TryLockError::Error(error)), _) => return Err(failed(error)),
            (Err(TryLockError::WouldBlock), Some(wait)) if began.elapsed() < wait => {}
            (Err(TryLockError::WouldBlock), wait) => {
                return Err(already_locked(source, file, wait));
            }
        }
        tokio::time::sleep(INTERVAL).await;
    };
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", process::id()))
        .map_err(failed)?;
    Ok(Lock { _file: file })
}

/// The id of the process that holds the lock, empty if it cannot be read; None: the lock is free, or its
/// file cannot be opened.
pub(crate) fn lock_holder(source: &Source) -> Option<String> {
    let mut file = file::open_own(&path(source), File::options().read(true)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Best effort: the id is only shown.
            drop(file.read_to_string(&mut holder));
            Some(holder.trim().to_owned())
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn path(source: &Source) -> PathBuf {
    let name = format!(".caravan-{}.lock", source.project());
    source.state_dir().join(name)
}

fn already_locked(source: &Source, mut file: File, wait: Option<Duration>) -> Error {
    let project = source.project();
    let mut holder = String::new();
    // Best effort: the error is correct without the id, too.
    let known = file.read_to_string(&mut holder).is_ok();
    let kind = wait.map_or(Kind::NotRight, |_| Kind::Deadline);
    let mut error = Error::new(
        kind,
        format!("another `caravan` is changing the project {project}"),
    );
    if let Some(wait) = wait {
        let wait = units::exact(wait);
        error = error.because(format!("it did not end within {wait} (--wait-lock)"));
    }
    match holder.trim() {
        pid if known && !pid.is_empty() => error
            .because(format!("process {pid} has the lock"))
            .hint(format!("ps -fp {pid}")),
        _ => error,
    }
}
