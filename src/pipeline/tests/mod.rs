//! Whole declarations: the shipped one, a corpus of wrong ones, and where they are found. What people
//! publish is in `engine::spec::corpus`.

mod embedded;
mod examples;
mod files;
mod forms;
mod names;
mod places;
mod profiles;
mod promises;
mod wrong;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Pipeline, Request, Source, locate};
use crate::error::{Error, Result};

/// The shipped pipeline; nothing but its secrets is set.
pub(crate) fn shipped() -> Pipeline {
    let mut place = Place::new();
    for name in [
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "PAYMENT_TOKEN",
        "ADMIN_TOKEN",
    ] {
        place.set(name, &format!("the-{name}"));
    }
    place.pipeline()
}

/// A directory with files, a home, and an environment that has nothing else.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) request: Request,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let cwd = directory.path().join("Shop 2");
        fs::create_dir(&cwd).expect("a working directory");
        let home = directory.path().join("home").display().to_string();
        let request = Request {
            cwd,
            env: BTreeMap::from([("HOME".to_owned(), home)]),
            ..Request::default()
        };
        Self { directory, request }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.request.cwd.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.request.env.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn source(&self) -> Source {
        self.locate()
            .unwrap_or_else(|error| panic!("{}", shown(&error)))
    }

    fn locate(&self) -> Result<Source> {
        locate(&self.request)
    }

    pub(crate) fn pipeline(&self) -> Pipeline {
        let pipeline = self.source().resolve();
        pipeline.unwrap_or_else(|error| panic!("{}", shown(&error)))
    }

    /// An error without the directory that only this test has.
    pub(crate) fn shown(&self, error: &Error) -> String {
        let directory = self.directory.path().display().to_string();
        shown(error).replace(&directory, "")
    }

    fn error(&self) -> Error {
        let resolved = self.locate().and_then(|source| source.resolve());
        resolved.expect_err("something wrong")
    }
}

/// An error as a person reads it.
fn shown(error: &Error) -> String {
    let mut text = format!("error: {}\n", error.what);
    for line in &error.evidence {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("next: {hint}\n"));
    }
    text
}

/// What `tests/declarations` holds.
pub(crate) fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/declarations")
}
