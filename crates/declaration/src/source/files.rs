//! Finds the files of the declaration: `-f`, `COMPOSE_FILE`, a Compose file in the directory with its override
//! file, or the shipped one.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use super::{
    Request,
    dotenv::{self, Syntax},
    model::Loader,
    variables::ReadFile,
};
use crate::{Origin, problem::File, yaml::Node};
use diagnostics::{Error, Kind, Result, instrument_blocking};

/// The pipeline that Caravan ships.
pub const EMBEDDED: &str = include_str!("../../../../compose/compose.yaml");
/// Its name in messages.
const EMBEDDED_NAME: &str = "embedded:compose.yaml";
/// Its name for `-f`, which selects it even if the directory has a Compose file.
pub(super) const EMBEDDED_FLAG: &str = "embedded";
/// Variable with the directory in which programs of a user keep their state.
pub(super) const STATE_HOME: &str = "XDG_STATE_HOME";
/// Compose's default file names, in its order.
const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];
/// Default names of the file that is laid over the one beside it, in Compose's order.
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];
/// Variable with the Compose files.
const COMPOSE_FILE: &str = "COMPOSE_FILE";
/// Variable with the separator of [`COMPOSE_FILE`].
const PATH_SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";
const EXTENSION: &str = "x-caravan";
/// Maximum size of a declaration's file in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// The files of a declaration, parsed and merged.
pub(super) struct Found {
    pub(super) origin: Origin,
    /// Directory of the first file. None: the embedded pipeline.
    pub(super) directory: Option<PathBuf>,
    pub(super) files: Vec<File>,
    pub(super) tree: Node,
    /// The file of variables, if it was read because it may name the files.
    pub(super) variables: Option<ReadFile>,
}

pub(super) fn find(request: &Request) -> Result<Found> {
    if request.files == [Path::new(EMBEDDED_FLAG)] {
        return embedded();
    }
    if !request.files.is_empty() {
        return named(request, &request.files);
    }
    // An invalid one is reported where its values are needed.
    let variables = ReadFile::read(env_path(request, &request.cwd), &request.env).ok();
    let files = composes_files(request, variables.as_ref());
    let found = match files.is_empty() {
        true => usual(request)?,
        false => named(request, &files)?,
    };
    Ok(Found { variables, ..found })
}

/// The Compose file with a usual name, if it has `x-caravan`; else the embedded pipeline.
fn usual(request: &Request) -> Result<Found> {
    for name in usual_names() {
        let Some(text) = read(&request.cwd.join(&name))? else {
            continue;
        };
        let (mut names, mut texts) = (vec![name], vec![text]);
        if let Some((name, text)) = override_beside(&request.cwd, &names[0])? {
            names.push(name);
            texts.push(text);
        }
        // Compose files without `x-caravan` are ignored, even if they are invalid.
        if !texts.iter().any(|text| text.contains(EXTENSION)) {
            continue;
        }
        let found = parsed(request, &names, texts)?;
        if found.tree.get(EXTENSION).is_some() {
            return Ok(found);
        }
    }
    embedded()
}

fn embedded() -> Result<Found> {
    let file = File {
        name: EMBEDDED_NAME.to_owned(),
        text: EMBEDDED.to_owned(),
    };
    let mut loader = Loader {
        files: Vec::new(),
        cwd: Path::new("/"),
        variables: &|| Ok(BTreeMap::new()),
    };
    let tree = loader.project(vec![(PathBuf::from(EMBEDDED_NAME), file)], Path::new("/"))?;
    let files = loader.files;
    Ok(Found {
        origin: Origin::Embedded,
        directory: None,
        files,
        tree,
        variables: None,
    })
}

/// Default paths of the Compose file, in search order.
fn usual_names() -> impl Iterator<Item = PathBuf> {
    let directories = ["", "compose"].into_iter();
    directories.flat_map(|directory| NAMES.map(|name| Path::new(directory).join(name)))
}

/// The first existing Compose file with a default name, with or without `x-caravan`.
pub fn compose_file(directory: &Path) -> Option<PathBuf> {
    usual_names().find(|name| directory.join(name).is_file())
}

/// Whether a file at this path is found without `-f`.
pub fn is_found(name: &Path) -> bool {
    usual_names().any(|usual| usual == name)
}

/// The files of `COMPOSE_FILE`, in the environment or in the file of variables.
fn composes_files(request: &Request, variables: Option<&ReadFile>) -> Vec<PathBuf> {
    let of_file = |name: &str| variables.and_then(|file| file.values.get(name));
    let variable = |name: &str| {
        let value = request.env.get(name).or_else(|| of_file(name));
        value.filter(|value| !value.is_empty())
    };
    let separator = variable(PATH_SEPARATOR).map_or(":", String::as_str);
    let files = variable(COMPOSE_FILE).map_or("", String::as_str);
    let files = files.split(separator).filter(|file| !file.is_empty());
    files.map(PathBuf::from).collect()
}

/// The file of variables: the one that is named, else that of `directory`.
fn env_path(request: &Request, directory: &Path) -> PathBuf {
    let named = request.env_file.as_ref();
    named.map_or_else(|| directory.join(".env"), |path| request.cwd.join(path))
}

/// The environment over the file of variables of `directory`.
fn env_file(request: &Request, directory: &Path) -> Result<BTreeMap<String, String>> {
    let path = env_path(request, directory);
    let found = dotenv::read(&path, Syntax::DotEnv, &request.env)?;
    let mut variables = found.unwrap_or_default();
    variables.extend(request.env.clone());
    Ok(variables)
}

/// The first override file beside a Compose file with a default name, and its text.
fn override_beside(cwd: &Path, file: &Path) -> Result<Option<(PathBuf, String)>> {
    for name in OVERRIDES {
        let name = file.with_file_name(name);
        if let Some(text) = read(&cwd.join(&name))? {
            return Ok(Some((name, text)));
        }
    }
    Ok(None)
}

fn named(request: &Request, files: &[PathBuf]) -> Result<Found> {
    let mut texts = Vec::new();
    for path in files {
        let text = read(&request.cwd.join(path))?.ok_or_else(|| {
            Error::new(
                Kind::Usage,
                format!("no such Compose file: {}", path.display()),
            )
        })?;
        texts.push(text);
    }
    parsed(request, files, texts)
}

fn parsed(request: &Request, paths: &[PathBuf], texts: Vec<String>) -> Result<Found> {
    let absolute: Vec<PathBuf> = paths
        .iter()
        .map(|p| clean_path(&request.cwd.join(p)))
        .collect();
    let directory = absolute.first().and_then(|path| path.parent());
    let directory = directory.unwrap_or(&request.cwd).to_path_buf();
    let names = paths.iter().map(|path| path.display().to_string());
    let named = names.zip(texts).map(|(name, text)| File { name, text });
    let files = absolute.iter().cloned().zip(named).collect();
    let variables = || env_file(request, &directory);
    let mut loader = Loader {
        files: Vec::new(),
        cwd: &request.cwd,
        variables: &variables,
    };
    let tree = loader.project(files, &directory)?;
    let files = loader.files;
    Ok(Found {
        directory: Some(directory),
        origin: Origin::Files(absolute),
        files,
        tree,
        variables: None,
    })
}

/// A file's text. None: the file does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    let failed = |why: String| {
        Error::new(Kind::Usage, format!("cannot read {}", path.display())).because(why)
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    let mut text = String::new();
    let mut file = file.take(MAX_SIZE + 1);
    instrument_blocking("files", format!("read {}", path.display()), || {
        file.read_to_string(&mut text)
    })
    .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_SIZE {
        return Err(failed("it is larger than 4 MiB".to_owned()));
    }
    // A byte order mark is not part of the first line.
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text);
    Ok(Some(text))
}

/// The path without `.` and `..`, as Compose writes it into labels.
pub(crate) fn clean_path(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                clean.push(component);
            }
        }
    }
    clean
}

/// Caravan's state directory of this user (XDG Base Directory Specification).
pub(super) fn user_state(env: &BTreeMap<String, String>) -> Result<PathBuf> {
    let absolute = |name: &str| {
        env.get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute(STATE_HOME)
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            Error::new(
                Kind::Usage,
                "there is no directory for the pipeline's secrets",
            )
            .because("neither XDG_STATE_HOME nor HOME is an absolute path")
            .hint("export XDG_STATE_HOME=/var/lib")
        })?;
    Ok(state.join("caravan"))
}
