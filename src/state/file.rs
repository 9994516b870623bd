//! Files of variables, written: whole, for their owner alone, by one process at a time.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use diagnostics::{Error, Kind, Result};

/// Adds lines below a header to a file, which is replaced as a whole and readable by its owner
/// alone.
pub(super) fn append(path: &Path, header: &str, lines: &str) -> Result<()> {
    added(path, header, lines).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })
}

fn added(path: &Path, header: &str, lines: &str) -> io::Result<()> {
    // A link is followed, so that what it points to is replaced and not the link.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_path_buf(),
        Err(error) => return Err(error),
    };
    let mut text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    text.push_str(header);
    text.push_str(lines);
    let directory = path.parent().unwrap_or(&path);
    make_directory(directory).map_err(|error| io::Error::other(error.to_string()))?;
    replace(&path, &text, 0o600)
}

/// Writes beside the file, then renames over it: a crash leaves the old one or the new one.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    let mut file = tempfile::Builder::new()
        .prefix(name)
        .suffix(".tmp")
        .tempfile_in(path.parent().unwrap_or(path))?;
    // The mode is exact, whatever the umask.
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file_mut().write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_directory(path)
}

/// Makes a rename in a file's directory durable: `.env` has the only copy of the passwords.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// Keeps other processes from changing the files of a directory in this way, as long as it lives:
/// several projects may share one `.env`.
pub(super) fn exclusively(directory: &Path) -> Result<File> {
    make_directory(directory)?;
    let held = File::open(directory).and_then(|file| file.lock().map(|()| file));
    held.map_err(|error| {
        let what = format!("cannot lock {}", directory.display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })
}

/// Makes a directory of Caravan's own, for its owner alone; one that exists stays as it is.
pub(super) fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            Error::new(Kind::Unreachable, format!("cannot make {}", path.display()))
                .because(error.to_string())
        })
}
