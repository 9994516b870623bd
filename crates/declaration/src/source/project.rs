//! The Compose project's name: `-p`, `COMPOSE_PROJECT_NAME`, the file's `name`, the directory.

use std::collections::BTreeMap;

use super::{Request, files::Found};
use crate::{
    interpolate::{self, Seen, Variables},
    problem::{self, Problem},
};
use diagnostics::{Error, Kind, Result};

pub(super) const VARIABLE: &str = "COMPOSE_PROJECT_NAME";

/// The first source with a name applies. Only a directory's name is normalised.
pub(super) fn name(
    request: &Request,
    variables: &BTreeMap<String, String>,
    found: &Found,
) -> Result<String> {
    if let Some(name) = &request.project {
        return checked(name, "-p/--project");
    }
    if let Some(name) = variables.get(VARIABLE).filter(|name| !name.is_empty()) {
        return checked(name, VARIABLE);
    }
    if let Some(name) = from_file(variables, found)? {
        return Ok(name);
    }
    let directory = found
        .directory
        .as_ref()
        .and_then(|path| path.file_name())
        .map(|name| normalised(&name.to_string_lossy()))
        .unwrap_or_default();
    checked(&directory, "the directory's name").map_err(|error| error.hint("name it with -p NAME"))
}

fn checked(name: &str, source: &str) -> Result<String> {
    if is_valid(name) {
        return Ok(name.to_owned());
    }
    Err(
        Error::new(Kind::Usage, format!("{name:?} cannot be a project's name"))
            .because(format!("it comes from {source}"))
            .because(RULE),
    )
}

const RULE: &str = "a name has lower-case letters, digits, `-` and `_`, a letter or digit first";

fn is_valid(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '-' || c == '_')
}

/// The file's own `name`.
fn from_file(variables: &BTreeMap<String, String>, found: &Found) -> Result<Option<String>> {
    let Some(node) = found.tree.get("name") else {
        return Ok(None);
    };
    let known = Variables::new(variables.clone(), []);
    let name = match node.text() {
        Some(text) => interpolate::text(text, &known, &mut Seen::default()),
        None => Err(format!("expected a string, found {}", node.value.describe()).into()),
    };
    let name = name.and_then(|name| {
        if is_valid(&name) {
            Ok(name)
        } else {
            Err(format!("{name:?} cannot be a project's name: {RULE}").into())
        }
    });
    name.map(Some).map_err(|why| {
        let problem = Problem::new(node.at, "name", why.to_string());
        problem::error(vec![problem], &found.files)
    })
}

/// Normalises as Compose does: lower case, without invalid characters.
fn normalised(directory: &str) -> String {
    directory
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect::<String>()
        .trim_start_matches(['-', '_'])
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directorys_name_is_normalised() {
        assert_eq!(normalised("My Shop_2.0"), "myshop_20");
        assert_eq!(normalised("__x-Y"), "x-y");
        assert!(is_valid("a-b_1") && is_valid("1a"));
        assert!(!is_valid("") && !is_valid("-a") && !is_valid("Ab") && !is_valid("a.b"));
    }
}
