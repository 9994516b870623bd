//! A file that gets its name only once it is complete.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use diagnostics::{Error, Kind, Result};
use tempfile::NamedTempFile;

/// A file under a temporary name until it is complete. If it never is, dropping this removes it.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    file: NamedTempFile,
}

impl Unfinished {
    /// Creates the temporary file beside `path`.
    ///
    /// # Errors
    /// It cannot be created there.
    pub fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let what = format!("{} is a directory", path.display());
            let hint = format!("caravan images save {}", path.join("images.tar").display());
            return Err(Error::new(Kind::Usage, what).hint(hint));
        }
        // A link is followed, so that what it points to is replaced and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let created = tempfile::Builder::new()
            .prefix(path.file_name().unwrap_or_default())
            .suffix(".tmp")
            // As for any new file: the umask applies.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(path.parent().unwrap_or(&path));
        let file = created.map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Unreachable,
                _ => Kind::Usage,
            };
            Error::new(kind, format!("cannot write {}", path.display())).because(e.to_string())
        })?;
        Ok(Self { path, file })
    }

    /// A handle for writing.
    pub fn file(&self) -> io::Result<fs::File> {
        self.file.as_file().try_clone()
    }

    /// Renames the file to its final name.
    pub fn finish(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(self.path)?;
        Ok(())
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
}
