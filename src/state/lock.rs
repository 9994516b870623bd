//! One `caravan up` of a project at a time.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::PathBuf,
    process,
};

use super::file::make_directory;
use declaration::Source;
use diagnostics::{Error, Kind, Result};

/// Held as long as it lives. The file stays: removing it would let a third process lock a new
/// one while a second still waits for the old.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Closing it is what unlocks.
    _file: File,
}

/// Takes the project's lock.
///
/// # Errors
/// At once, when another process has it: `Kind::Unreachable`, with that process' id.
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
        Err(TryLockError::WouldBlock) => return Err(held(source, file)),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", process::id()))
        .map_err(failed)?;
    Ok(Lock { _file: file })
}

/// Who has the project's lock, if anybody has: the id of the process, as far as it is known.
pub(crate) fn lock_holder(source: &Source) -> Option<String> {
    let mut file = File::open(path(source)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who it is is a courtesy.
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

fn held(source: &Source, mut file: File) -> Error {
    let project = source.project();
    let mut holder = String::new();
    // Who holds it is a courtesy: without it the error still stands.
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
