//! Writes files atomically, creates directories that only their owner can enter, and locks them.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use diagnostics::{Error, Kind, Result};

/// Appends a header and lines to a file: replaces the file atomically, with mode 0600.
pub(super) fn append(path: &Path, header: &str, lines: &str) -> Result<()> {
    try_append(path, header, lines).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })
}

fn try_append(path: &Path, header: &str, lines: &str) -> io::Result<()> {
    // Resolve a symbolic link: the rename must replace its target, not the link.
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

/// Writes a temporary file in the same directory, then renames it over `path`: after a crash `path` has
/// either its old or its new content.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    let mut file = tempfile::Builder::new()
        .prefix(name)
        .suffix(".tmp")
        .tempfile_in(path.parent().unwrap_or(path))?;
    // Set the mode explicitly: the umask does not apply.
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file_mut().write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_directory(path)
}

/// Syncs a file's directory, so that the rename is durable: `.env` has the only copy of the passwords.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// Waits for the lock of a directory and holds it until the returned file is dropped. Several projects may
/// share one `.env`, so reading it and appending to it must not interleave.
pub(super) fn lock_directory(directory: &Path) -> Result<File> {
    make_directory(directory)?;
    let held = File::open(directory).and_then(|file| file.lock().map(|()| file));
    held.map_err(|error| {
        let what = format!("cannot lock {}", directory.display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })
}

/// Creates a directory and its parents with mode 0700. An existing directory keeps its mode.
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
