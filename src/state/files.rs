//! Secrets and configs whose value is a variable or stands in the declaration: containers are given
//! them as files, so `up` writes them, into a directory that only its owner can enter, and that
//! Git does not look into.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, path::Path};

use super::file::{make_directory, replace};
use declaration::{Pipeline, Source};
use diagnostics::{Error, Kind, Result};

/// Whoever the container runs as can read it; the directory keeps the host's others out.
const READABLE: u32 = 0o444;
const EXECUTABLE: u32 = 0o555;
/// So that no `git add .` takes secrets along.
const UNSEEN_BY_GIT: &str = ".gitignore";

/// Writes what the pipeline's services are given, where it is not there already.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(source: &Source, pipeline: &Pipeline) -> Result<()> {
    let grants = pipeline
        .services
        .iter()
        .flat_map(|s| &s.secrets_and_configs);
    let written = grants.filter_map(|g| Some((g.path.as_path(), g.generated.as_ref()?)));
    for (path, written) in written {
        make_own_directory(source)?;
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
        }
        let mode = if written.executable {
            EXECUTABLE
        } else {
            READABLE
        };
        write_one(path, &written.content, mode)?;
    }
    Ok(())
}

/// Makes the directory of what is written here.
pub(super) fn make_own_directory(source: &Source) -> Result<()> {
    let own = source.files_dir();
    make_directory(&own)?;
    write_one(&own.join(UNSEEN_BY_GIT), "*\n", READABLE)
}

fn write_one(path: &Path, content: &str, mode: u32) -> Result<()> {
    let as_wanted = fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o777 == mode)
        && fs::read(path).is_ok_and(|there| there == content.as_bytes());
    if as_wanted {
        return Ok(());
    }
    replace(path, content, mode).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })
}

/// Removes what [`write()`] wrote; of what the declaration names by its path (directly in the
/// project's directory), only where nothing is kept: it is what `.env` says, and `docker compose`
/// needs both.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(source: &Source, keep_named: bool) -> Result<()> {
    let own = source.files_dir();
    if keep_named {
        for section in ["secrets", "configs"] {
            remove_directory(&own.join(section))?;
        }
        let Ok(entries) = fs::read_dir(&own) else {
            return Ok(());
        };
        if entries.flatten().any(|e| e.file_name() != UNSEEN_BY_GIT) {
            return Ok(());
        }
    }
    remove_directory(&own)
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let what = format!("cannot remove {}", path.display());
            Err(Error::new(Kind::Unreachable, what).because(error.to_string()))
        }
    }
}
