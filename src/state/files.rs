//! Secrets and configs whose value is a variable or stands in the declaration: containers are given
//! them as files, so `up` writes them, into a directory that only its owner can enter.

use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt, path::Path};

use super::file::{make_directory, replace};
use crate::{
    error::{Error, Kind, Result},
    pipeline::{Pipeline, Source, Written},
};

/// Whoever the container runs as can read it; the directory keeps the host's others out.
const READABLE: u32 = 0o444;
const EXECUTABLE: u32 = 0o555;

/// Writes what the pipeline's services are given, where it is not there already.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(source: &Source, pipeline: &Pipeline) -> Result<()> {
    let grants = pipeline.services.iter().flat_map(|s| &s.grants);
    let written = grants.filter_map(|g| Some((g.path.as_path(), g.written.as_ref()?)));
    for (path, written) in written {
        make_directory(&source.files_dir())?;
        if let Some(directory) = path.parent() {
            make_directory(directory)?;
        }
        write_one(path, written).map_err(|error| {
            Error::new(
                Kind::Unreachable,
                format!("cannot write {}", path.display()),
            )
            .because(error.to_string())
        })?;
    }
    Ok(())
}

fn write_one(path: &Path, written: &Written) -> std::io::Result<()> {
    let mode = if written.executable {
        EXECUTABLE
    } else {
        READABLE
    };
    let as_wanted = fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o777 == mode)
        && fs::read(path).is_ok_and(|content| content == written.content.as_bytes());
    if as_wanted {
        return Ok(());
    }
    replace(path, &written.content, mode)
}

/// Removes all that [`write`] wrote.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(source: &Source) -> Result<()> {
    let directory = source.files_dir();
    match fs::remove_dir_all(&directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let what = format!("cannot remove {}", directory.display());
            Err(Error::new(Kind::Unreachable, what).because(error.to_string()))
        }
    }
}
