//! Secrets that `up` generates: every declared secret that is not set, once, into `.env`.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::file;
use declaration::Source;
use diagnostics::{Error, Kind, Result};

const HEADER: &str = "\
# Written by `caravan up`: the randomly generated secrets of this pipeline. Anyone who can read them
# can read its data. A data volume cannot be opened without the secrets with which it was created.
";

/// Generates a value for every declared secret that is not set and appends it to the source's `.env`, with
/// mode 0600. Returns the names of the generated secrets.
///
/// # Errors
/// As [`secrets_to_generate`]; or the file cannot be written.
pub(crate) fn ensure_secrets(source: &Source, existing_volumes: &[String]) -> Result<Vec<String>> {
    if source.missing_secrets().is_empty() {
        return Ok(Vec::new());
    }
    // Another project that shares this file may generate the same secrets at this moment.
    let directory = source
        .env_path()
        .parent()
        .unwrap_or_else(|| source.state_dir());
    let _lock = file::lock_directory(directory)?;
    source.reload()?;
    let missing = secrets_to_generate(source, existing_volumes)?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let draw = |name: &String| (name.clone(), Uuid::new_v4().simple().to_string());
    let drawn: BTreeMap<_, _> = missing.iter().map(draw).collect();
    let lines = missing
        .iter()
        .map(|name| format!("{name}={}\n", drawn[name]));
    file::append(source.env_path(), HEADER, &lines.collect::<String>())?;
    source.set_in_env_file(&drawn);
    Ok(missing)
}

/// The declared secrets that are not set.
///
/// # Errors
/// The environment sets one to an empty value. Or one is missing although a data volume exists
/// (`existing_volumes`: Docker's names): the volume was created with a secret that is lost, and a new
/// password would not open it.
pub(crate) fn secrets_to_generate(
    source: &Source,
    existing_volumes: &[String],
) -> Result<Vec<String>> {
    let missing = source.missing_secrets();
    if let Some(name) = missing.iter().find(|name| source.is_set_outside(name)) {
        let what = format!("{name} is set to an empty value in the environment");
        return Err(Error::new(Kind::Usage, what).hint(format!(
            "unset {name}, or give it a value; the environment overrides {}",
            source.env_path().display()
        )));
    }
    if !(missing.is_empty() || existing_volumes.is_empty()) {
        return Err(orphaned_volume(source, existing_volumes, &missing));
    }
    Ok(missing)
}

/// The error for an existing data volume whose secret is missing.
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
        format!("a data volume without its secret: {names} is not set"),
    )
    .because(format!("volume {} exists", volumes.join(", ")))
    .because(format!("{path} {found}"))
    .because("a new password would not open the data that the old one protects")
    .hint(format!(
        "restore {path}, or delete the data with `{}`",
        source.invocation().command("down --volumes")
    ))
}
