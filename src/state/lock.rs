//! The project's lock: only one command at a time may change a project.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::PathBuf,
    process,
};

use super::file::make_directory;
use declaration::Source;
use diagnostics::{Error, Kind, Result};

/// Holds the lock until it is dropped. The lock file is not deleted: a process that has just opened it
/// would lock the deleted file, and another one a new file.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Closing the file releases the lock.
    _file: File,
}

/// Acquires the project's lock without waiting.
///
/// # Errors
/// `Kind::Unreachable`: another process holds the lock (the error names its id), or the file cannot be
/// locked.
pub(crate) fn lock(source: &Source) -> Result<Lock> {
    let path = path(source);
    let failed = |error: std::io::Error| {
        Error::new(Kind::Unreachable, format!("cannot lock {}", path.display()))
            .because(error.to_string())
    };
    make_directory(source.state_dir())?;
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(already_locked(source, file)),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", process::id()))
        .map_err(failed)?;
    Ok(Lock { _file: file })
}

/// The id of the process that holds the lock, empty if it cannot be read; None: the lock is free, or its
/// file cannot be opened.
pub(crate) fn lock_holder(source: &Source) -> Option<String> {
    let mut file = File::open(path(source)).ok()?;
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

fn already_locked(source: &Source, mut file: File) -> Error {
    let project = source.project();
    let mut holder = String::new();
    // Best effort: the error is correct without the id, too.
    let known = file.read_to_string(&mut holder).is_ok();
    let error = Error::new(
        Kind::Unreachable,
        format!("another `caravan` is changing the project {project}"),
    );
    match holder.trim() {
        pid if known && !pid.is_empty() => error
            .because(format!("process {pid} has the lock"))
            .hint(format!("wait for it, or look at it with `ps -fp {pid}`")),
        _ => error.hint("wait for it to end"),
    }
}
