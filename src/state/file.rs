//! Writes files atomically, creates directories that only their owner can enter, and locks them.
//!
//! Other users may be able to write to the directory of a Compose file. A link that one of them placed there is
//! never followed: Caravan would write passwords to, or truncate, a file that the link's owner cannot reach.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};

use diagnostics::{Error, Kind, Result};

/// Opens a file that Caravan itself creates, such as a lock. Other than with plain `open`, a symbolic link, a
/// second hard link and what is not a regular file are errors.
pub(super) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // Without NONBLOCK, opening a FIFO would wait for its other end.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let opened = options.custom_flags(flags).mode(0o600).open(path);
    let file = opened.map_err(|error| match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => io::Error::other("it is a symbolic link"),
        Ok(_) | Err(_) => error,
    })?;
    let there = file.metadata()?;
    match there.is_file() && there.nlink() <= 1 {
        true => Ok(file),
        false if there.is_file() => {
            Err(io::Error::other("the file has a second name, a hard link"))
        }
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// The error of a state file.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(
        Kind::Unreachable,
        format!("cannot {what} {}", path.display()),
    )
    .because(error)
}

/// Whether only this user, root and the owner of the directory above could have created a link or a directory.
fn is_trusted(path: &Path, there: &Metadata) -> bool {
    let above = path.parent().map(|parent| match parent {
        parent if parent.as_os_str().is_empty() => Path::new("."),
        parent => parent,
    });
    let above = above.and_then(|parent| fs::metadata(parent).ok());
    let owners = [Some(geteuid().as_raw()), Some(0), above.map(|m| m.uid())];
    owners.contains(&Some(there.uid()))
}

/// The file to write for `path`: if it is a link, the target, because a rename must not replace the link. The user
/// may link `.env` to a file elsewhere.
///
/// # Errors
/// Another user created the link.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(path.to_path_buf()),
        there => there?,
    };
    if there.is_symlink() && !is_trusted(path, &there) {
        return Err(io::Error::other("it is a symbolic link of another user"));
    }
    match fs::canonicalize(path) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.to_path_buf()),
        Err(error) => Err(error),
    }
}

/// Appends a header and lines to a file: replaces the file atomically, with mode 0600.
pub(super) fn append(path: &Path, header: &str, lines: &str) -> Result<()> {
    try_append(path, header, lines).map_err(|error| failed("write", path, &error))
}

fn try_append(path: &Path, header: &str, lines: &str) -> io::Result<()> {
    let path = resolve(path)?;
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
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
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
    held.map_err(|error| failed("lock", directory, &error))
}

/// As [`make_directory`], for a directory that holds only what Caravan writes, secrets among it.
///
/// # Errors
/// It is a link, or another user's directory: that user could read or replace what is in it.
pub(super) fn make_own_directory(path: &Path) -> Result<()> {
    make_directory(path)?;
    let there = fs::symlink_metadata(path).map_err(|error| failed("use", path, &error))?;
    let refuse = |why: &str| Err(failed("use", path, &io::Error::other(why)));
    match there.is_dir() {
        true if is_trusted(path, &there) => Ok(()),
        true => refuse("it is a directory of another user"),
        false => refuse("it is a symbolic link"),
    }
}

/// Creates a directory and its parents with mode 0700. An existing directory keeps its mode.
pub(super) fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("make", path, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_not_opened_as_a_file_of_caravans_own() {
        let place = tempfile::tempdir().expect("made");
        let (victim, link) = (place.path().join("victim"), place.path().join("lock"));
        fs::write(&victim, "precious").expect("written");
        let open = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            open_own(path, &mut options).map(drop)
        };
        open(&victim).expect("a regular file");
        symlink(&victim, &link).expect("linked");
        let error = open(&link).expect_err("a symbolic link");
        assert_eq!(error.to_string(), "it is a symbolic link");
        let second = place.path().join("second");
        fs::hard_link(&victim, &second).expect("linked");
        let error = open(&second).expect_err("a hard link");
        assert!(error.to_string().contains("hard link"), "{error}");
        assert_eq!(fs::read(&victim).expect("there"), b"precious");
        assert!(open(place.path()).is_err(), "a directory");
    }

    #[test]
    fn an_own_directory_is_no_link() {
        let place = tempfile::tempdir().expect("made");
        let (elsewhere, link) = (place.path().join("elsewhere"), place.path().join("own"));
        make_own_directory(&elsewhere).expect("made");
        symlink(&elsewhere, &link).expect("linked");
        assert!(make_own_directory(&link).is_err());
        make_own_directory(&elsewhere).expect("still its own");
    }

    #[test]
    fn a_users_own_link_stays_and_its_target_is_written() {
        let place = tempfile::tempdir().expect("made");
        let (shared, link) = (place.path().join("shared.env"), place.path().join(".env"));
        fs::write(&shared, "A=1\n").expect("written");
        symlink(&shared, &link).expect("linked");
        append(&link, "# more\n", "B=2\n").expect("written");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        let text = fs::read_to_string(&shared).expect("there");
        assert!(text.ends_with("B=2\n"), "{text}");
    }
}
