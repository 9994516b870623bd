//! The secrets that `up` draws: each declared one that is set nowhere, once, into `.env`.

use std::{
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
};

use uuid::Uuid;

use crate::{
    error::{Error, Kind, Result},
    pipeline::Source,
};

const HEADER: &str = "\
# Written by `caravan up`: the secrets of this pipeline, drawn at random. Whoever can read them can
# read its data, and a data volume cannot be opened without those that it was made with.
";

/// Draws a value for every declared secret that is set nowhere and keeps it in the source's `.env`,
/// mode 0600. Returns the names of those that were drawn.
///
/// # Errors
/// As [`secrets_to_draw`]; also when the file cannot be written.
pub(crate) fn ensure_secrets(source: &Source, existing_volumes: &[String]) -> Result<Vec<String>> {
    let missing = secrets_to_draw(source, existing_volumes)?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let lines: String = missing
        .iter()
        .map(|name| format!("{name}={}\n", Uuid::new_v4().simple()))
        .collect();
    append(source.env_path(), &lines).map_err(|error| {
        let what = format!("cannot write {}", source.env_path().display());
        Error::new(Kind::Unreachable, what).because(error.to_string())
    })?;
    Ok(missing)
}

/// The declared secrets that are set nowhere.
///
/// # Errors
/// When there is a data volume already (`existing_volumes`, Docker's names): it was made with
/// secrets that are lost, and a new password would not open it.
pub(crate) fn secrets_to_draw(source: &Source, existing_volumes: &[String]) -> Result<Vec<String>> {
    let missing = source.missing_secrets()?;
    if let Some(name) = missing.iter().find(|name| source.is_set_outside(name)) {
        let what = format!("{name} is set to nothing in the environment");
        return Err(Error::new(Kind::Usage, what).hint(format!(
            "unset {name}, or give it a value; it goes before what {} says",
            source.env_path().display()
        )));
    }
    if !(missing.is_empty() || existing_volumes.is_empty()) {
        return Err(orphaned_volume(source, existing_volumes, &missing));
    }
    Ok(missing)
}

/// A data volume without its secret.
fn orphaned_volume(source: &Source, volumes: &[String], missing: &[String]) -> Error {
    let path = source.env_path().display();
    let names = missing.join(", ");
    let found = if source.env_path().exists() {
        "does not set it"
    } else {
        "does not exist"
    };
    Error::new(
        Kind::Usage,
        format!("a data volume without its secret: {names} is set nowhere"),
    )
    .because(format!("volume {} exists", volumes.join(", ")))
    .because(format!("{path} {found}"))
    .because("a new password would not open the data that the old one protects")
    .hint(format!(
        "restore {path}, or give up the data with `{}`",
        source.invocation().command("down --volumes")
    ))
}

/// Adds lines to a file, which is replaced as a whole and readable by its owner alone.
fn append(path: &Path, lines: &str) -> io::Result<()> {
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
    text.push_str(HEADER);
    text.push_str(lines);
    let directory = path.parent().unwrap_or(&path);
    make_directory(directory).map_err(|error| io::Error::other(error.to_string()))?;
    replace(&path, &text, 0o600)
}

/// Writes beside the file, then renames over it: a crash leaves the old one or the new one.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", process::id()));
    let temporary = PathBuf::from(temporary);
    let written = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What could not be written is of no use; the first error is the one to tell.
        drop(fs::remove_file(&temporary));
    }
    written
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
