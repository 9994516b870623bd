//! What `verify` found of the rules over the database and in logs, for its next run: beside the files that containers
//! are given, so that `down --volumes` removes it with the data that it is about.

use std::{fs, io::ErrorKind, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    file::{lock_directory, replace},
    files::make_files_directory,
};
use declaration::Source;
use diagnostics::{Error, Kind, Result};
use proof::checks::StoredResults;

const VERSION: u32 = 1;
/// A larger file was not written by Caravan.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    #[serde(flatten)]
    results: StoredResults,
}

/// The results that are stored. A file that cannot be read counts as none, with the reason.
pub(crate) fn read_results(source: &Source) -> (StoredResults, Option<String>) {
    let path = path(source);
    let read = || {
        if fs::metadata(&path)?.len() > MAX_BYTES {
            return Err(std::io::Error::other("too large"));
        }
        let document: Document = serde_json::from_slice(&fs::read(&path)?)?;
        match document.version {
            VERSION => Ok(document.results),
            other => Err(std::io::Error::other(format!("version {other}"))),
        }
    };
    match read() {
        Ok(results) => (results, None),
        Err(error) if error.kind() == ErrorKind::NotFound => (StoredResults::default(), None),
        Err(error) => {
            let what = format!(
                "{} is ignored, so violations that earlier runs found are not known: {error}",
                path.display()
            );
            (StoredResults::default(), Some(what))
        }
    }
}

/// Stores `results`, which began as `began`. What another process has stored meanwhile stays.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn store_results(
    source: &Source,
    began: &StoredResults,
    results: StoredResults,
) -> Result<()> {
    let path = path(source);
    make_files_directory(source)?;
    let _lock = lock_directory(&source.files_dir())?;
    let (meanwhile, _) = read_results(source);
    let document = Document {
        version: VERSION,
        results: results.over(began, meanwhile),
    };
    let written = serde_json::to_string(&document)
        .map_err(Into::into)
        .and_then(|text| replace(&path, &text, 0o600));
    written.map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })
}

fn path(source: &Source) -> PathBuf {
    source.files_dir().join("verify.json")
}
