//! A file that has its name only once it is complete.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use diagnostics::{Error, Kind, Result};

/// A file under another name until it is complete; one that never is goes away with this.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    temporary: PathBuf,
    file: fs::File,
}

impl Unfinished {
    /// # Errors
    /// It cannot be made there.
    pub fn create(path: &Path) -> Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.tmp", process::id()));
        let temporary = PathBuf::from(temporary);
        if path.is_dir() {
            let what = format!("{} is a directory", path.display());
            let hint = format!("caravan images save {}", path.join("images.tar").display());
            return Err(Error::new(Kind::Usage, what).hint(hint));
        }
        let created = fs::File::create_new(&temporary);
        let file = created.map_err(|e| {
            Error::new(Kind::Usage, format!("cannot write {}", path.display()))
                .because(e.to_string())
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            temporary,
            file,
        })
    }

    /// What is to be written to.
    pub fn file(&self) -> io::Result<fs::File> {
        self.file.try_clone()
    }

    /// Gives it its name.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Under its own name by now, or of no use to anybody.
        drop(fs::remove_file(&self.temporary));
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
