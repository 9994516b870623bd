//! A file that gets its name only once it is complete.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use diagnostics::{Error, Kind, Result};
use rustix::fs::OFlags;

/// A file under a temporary name until it is complete. If it never is, dropping this removes it. The temporary
/// name is always the same, so that the next attempt overwrites what a killed process left.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    part: PathBuf,
    /// Locked: only one process writes it.
    file: File,
    finished: bool,
}

impl Unfinished {
    /// Creates the temporary file beside `path`.
    ///
    /// # Errors
    /// It cannot be created there, or another process writes it.
    pub fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let what = format!("{} is a directory", path.display());
            let hint = format!("caravan images save {}", path.join("images.tar").display());
            return Err(Error::new(Kind::Usage, what).hint(hint));
        }
        // A link is followed, so that what it points to is replaced and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let part = part(&path);
        let file = open(&part).map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Unreachable,
                _ => Kind::Usage,
            };
            Error::new(kind, format!("cannot write {}", path.display())).because(e.to_string())
        })?;
        Ok(Self {
            path,
            part,
            file,
            finished: false,
        })
    }

    /// A handle for writing.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Renames the file to its final name.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.part, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What is left is overwritten by the next attempt.
            drop(fs::remove_file(&self.part));
        }
    }
}

/// `images.tar` -> `.images.tar.caravan-part`
fn part(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".caravan-part");
    path.with_file_name(name)
}

/// Opens, locks and empties the temporary file; a link is not followed.
fn open(part: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    loop {
        // As for any new file: the umask applies.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(flags)
            .open(part)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other("another process is writing it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let held = file.metadata()?;
        if !held.is_file() || held.nlink() > 1 {
            let part = part.display();
            return Err(io::Error::other(format!(
                "{part} is not a file of Caravan's"
            )));
        }
        // Another process may have renamed or removed it before this one had the lock.
        let named = fs::symlink_metadata(part);
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_once_it_is_complete() {
        let directory = tempfile::tempdir().expect("made");
        let path = directory.path().join("images.tar");
        drop(Unfinished::create(&path).expect("can be made"));
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 0);
        fs::write(&path, "old").expect("written");
        let unfinished = Unfinished::create(&path).expect("can be made");
        io::Write::write_all(&mut unfinished.file().expect("open"), b"new").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"old");
        unfinished.finish().expect("renamed");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_overwritten_and_two_writers_exclude_each_other() {
        let directory = tempfile::tempdir().expect("made");
        let path = directory.path().join("images.tar");
        fs::write(part(&path), "left by a killed process").expect("written");
        let unfinished = Unfinished::create(&path).expect("can be made");
        let error = Unfinished::create(&path).expect_err("the other one is writing");
        assert_eq!(error.evidence, ["another process is writing it"]);
        io::Write::write_all(&mut unfinished.file().expect("open"), b"new").expect("written");
        unfinished.finish().expect("renamed");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 1);
    }

    #[test]
    fn a_link_in_place_of_the_temporary_file_is_not_followed() {
        let directory = tempfile::tempdir().expect("made");
        let path = directory.path().join("images.tar");
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, part(&path)).expect("linked");
        Unfinished::create(&path).expect_err("a link");
        assert_eq!(fs::read(&victim).expect("there"), b"precious");
    }
}
