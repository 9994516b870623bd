//! Files for secrets and configs whose content is a variable or is written in the declaration. Docker
//! mounts files, so `up` writes them, into a directory with mode 0700 that Git ignores.

use std::{fs, io, io::ErrorKind, os::unix::fs::PermissionsExt, path::Path};

use super::file::{failed, make_own_directory, replace};
use declaration::{Pipeline, Source};
use diagnostics::Result;

/// Every user of a container can read the file. On the host, the mode of the directory keeps other users
/// out.
const READABLE: u32 = 0o444;
const EXECUTABLE: u32 = 0o555;
/// Its content, `*`, keeps `git add .` from adding the secrets.
const GITIGNORE: &str = ".gitignore";

/// Writes the files for the secrets and configs of the pipeline's services. A file that has the right
/// content and mode is not written again.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(source: &Source, pipeline: &Pipeline) -> Result<()> {
    let mounts = pipeline
        .services
        .iter()
        .flat_map(|s| &s.secrets_and_configs);
    let files = mounts.filter_map(|m| Some((m.path.as_path(), m.generated.as_ref()?)));
    for (path, file) in files {
        make_files_directory(source)?;
        if let Some(directory) = path.parent() {
            make_own_directory(directory)?;
        }
        let mode = if file.executable {
            EXECUTABLE
        } else {
            READABLE
        };
        write_one(path, &file.content, mode)?;
    }
    Ok(())
}

/// Creates the directory of a project's files.
pub(super) fn make_files_directory(source: &Source) -> Result<()> {
    let own = source.files_dir();
    make_own_directory(&own)?;
    write_one(&own.join(GITIGNORE), "*\n", READABLE)
}

fn write_one(path: &Path, content: &str, mode: u32) -> Result<()> {
    // A link is no regular file: it is replaced.
    let is_right = |m: fs::Metadata| m.is_file() && m.permissions().mode() & 0o777 == mode;
    let up_to_date = fs::symlink_metadata(path).is_ok_and(is_right)
        && fs::read(path).is_ok_and(|found| found == content.as_bytes());
    if up_to_date {
        return Ok(());
    }
    replace(path, content, mode).map_err(|error| failed("write", path, &error))
}

/// Removes the files that [`write()`] wrote. `keep_named`: keeps those whose path is written in the
/// declaration, because `docker compose` needs them together with `.env`. They are the ones directly in the
/// directory.
///
/// # Errors
/// A file or directory cannot be removed.
pub(crate) fn remove(source: &Source, keep_named: bool) -> Result<()> {
    let own = source.files_dir();
    let Ok(there) = fs::symlink_metadata(&own) else {
        return Ok(());
    };
    if !there.is_dir() {
        let error = io::Error::other("it is a symbolic link");
        return Err(failed("remove", &own, &error));
    }
    if keep_named {
        for section in ["secrets", "configs"] {
            remove_directory(&own.join(section))?;
        }
        let Ok(entries) = fs::read_dir(&own) else {
            return Ok(());
        };
        if entries.flatten().any(|e| e.file_name() != GITIGNORE) {
            return Ok(());
        }
    }
    remove_directory(&own)
}

fn remove_directory(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path, &error)),
    }
}
