//! The two files of variables, each read once, and again only after it changed.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::dotenv::{self, Syntax};
use diagnostics::Result;

/// File systems store times in steps of a few milliseconds, so a file that was changed shortly before it
/// was read may change again without another time.
const TIME_STEP: Duration = Duration::from_millis(100);

/// The user's file of variables, and the one with the project's chosen ports.
pub(super) struct VariableFiles {
    pub(super) env: ReadFile,
    /// None: `env` has them.
    pub(super) ports: Option<ReadFile>,
}

impl VariableFiles {
    /// The variables of the file with the chosen ports.
    pub(super) fn ports(&self) -> &BTreeMap<String, String> {
        &self.ports.as_ref().unwrap_or(&self.env).values
    }

    /// Reads each file again that changed; true: a variable has another value.
    pub(super) fn reload(&mut self, outer: &BTreeMap<String, String>) -> Result<bool> {
        let mut changed = self.env.reload(outer)?;
        if let Some(ports) = &mut self.ports {
            changed |= ports.reload(outer)?;
        }
        Ok(changed)
    }

    pub(super) fn add_to_env(&mut self, added: &BTreeMap<String, String>) {
        self.env.add(added);
    }

    pub(super) fn add_to_ports(&mut self, added: &BTreeMap<String, String>) {
        self.ports.as_mut().unwrap_or(&mut self.env).add(added);
    }
}

/// A file of variables that was read; it may not exist.
pub(super) struct ReadFile {
    pub(super) path: PathBuf,
    pub(super) values: BTreeMap<String, String>,
    /// None: the file may have changed since.
    version: Option<Version>,
}

/// Differs after a file was changed, replaced, created or removed.
#[derive(PartialEq, Eq)]
enum Version {
    Absent,
    Present {
        inode: (u64, u64),
        size: u64,
        /// Seconds and nanoseconds.
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

impl Version {
    /// None: it cannot be told, or the file was changed just now.
    fn of(path: &PathBuf) -> Option<Self> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Some(Self::Absent),
            Err(_) => return None,
        };
        let age = SystemTime::now().duration_since(metadata.modified().ok()?);
        if age.unwrap_or_default() < TIME_STEP {
            return None;
        }
        Some(Self::Present {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl ReadFile {
    /// Values may refer to `outer`, the variables of the environment.
    pub(super) fn read(path: PathBuf, outer: &BTreeMap<String, String>) -> Result<Self> {
        // Before the content: a change in between makes the next reload read again.
        let version = Version::of(&path);
        let values = dotenv::read(&path, Syntax::DotEnv, outer)?.unwrap_or_default();
        Ok(Self {
            path,
            values,
            version,
        })
    }

    /// Adds values that the caller has added to the file.
    fn add(&mut self, added: &BTreeMap<String, String>) {
        self.values.extend(added.clone());
        self.version = None;
    }

    fn reload(&mut self, outer: &BTreeMap<String, String>) -> Result<bool> {
        if self.version.is_some() && self.version == Version::of(&self.path) {
            return Ok(false);
        }
        let now = Self::read(self.path.clone(), outer)?;
        let changed = now.values != self.values;
        *self = now;
        Ok(changed)
    }
}
