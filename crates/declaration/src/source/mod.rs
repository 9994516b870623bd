//! Locates the declaration: `files` finds its files, `project` its project name, `dotenv` reads `.env`.
//! `ports`: host ports that are set by variables; `origin`: whether a deployed project was started from
//! this declaration.

pub(super) mod dotenv;
mod files;
mod origin;
mod ports;
mod project;

pub(super) use files::clean_path;
pub use files::{EMBEDDED as SHIPPED, compose_file, is_found};
pub use origin::{OtherOrigin, RecordedOrigin};
pub use ports::{HostPorts, VariablePort, VariableSource};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use super::{
    Origin, Pipeline, StateFiles,
    interpolate::Variables,
    problem::{self, File, Problem},
    read::{self, Context},
    yaml::{Node, View},
};
use diagnostics::{Error, Invocation, Kind, Result};

/// Variable with the active profiles, separated by commas.
const PROFILES: &str = "COMPOSE_PROFILES";
/// Value of an unset secret in commands that do not need its value.
const PLACEHOLDER: &str = "unset";

/// What the command line and the environment say about the declaration.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `-f`: later files override earlier ones.
    pub files: Vec<PathBuf>,
    /// `-p`.
    pub project: Option<String>,
    /// `--env-file`.
    pub env_file: Option<PathBuf>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// `-H`, only for hints.
    pub host: Option<String>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// The environment's variables.
    pub env: BTreeMap<String, String>,
    /// `XDG_STATE_HOME`, if it differs from the environment's; only for hints.
    pub state_home: Option<String>,
}

impl Request {
    /// The options of a command line for the same declaration.
    pub fn invocation(&self) -> Invocation {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        Invocation {
            files: self.files.iter().map(text).collect(),
            project: self.project.clone(),
            env_file: self.env_file.as_ref().map(text),
            profiles: self.profiles.clone(),
            host: self.host.clone(),
            state_home: self.state_home.clone(),
        }
    }
}

/// A declaration that was located and parsed; its variables are not replaced yet. It has no `Debug`,
/// because it contains secrets.
pub struct Source {
    project: String,
    pub(super) origin: Origin,
    /// Directory of relative paths in the declaration.
    directory: PathBuf,
    state_dir: PathBuf,
    env_path: PathBuf,
    state: StateFiles,
    ports_path: PathBuf,
    claims_dir: PathBuf,
    env: BTreeMap<String, String>,
    /// Content at the last read.
    variable_files: RwLock<VariableFiles>,
    files: Vec<File>,
    tree: Node,
    secret_names: Vec<String>,
    /// Profiles of `--profile`. Empty: [`PROFILES`] applies.
    profiles: Vec<String>,
    /// Profiles of services that the command line names.
    activated: Vec<String>,
    invocation: Invocation,
}

/// The content of the two files of variables.
#[derive(PartialEq, Eq)]
struct VariableFiles {
    /// Variables of [`Source::env_path`].
    env: BTreeMap<String, String>,
    /// Variables of [`Source::ports_path`].
    ports: BTreeMap<String, String>,
}

impl VariableFiles {
    /// Reads both files. `env`: the content of the first one if it was already read.
    fn read(
        env_path: &Path,
        ports_path: &Path,
        outer: &BTreeMap<String, String>,
        env: Option<BTreeMap<String, String>>,
    ) -> Result<Self> {
        let read = |path| Ok(dotenv::read(path, outer)?.unwrap_or_default());
        let env = match env {
            Some(env) => env,
            None => read(env_path)?,
        };
        let ports = match ports_path == env_path {
            true => env.clone(),
            false => read(ports_path)?,
        };
        Ok(Self { env, ports })
    }
}

/// Finds the declaration of `request`, and parses it.
///
/// # Errors
/// A file is missing or not YAML, or the project name or `.env` is invalid.
pub fn locate(request: &Request) -> Result<Source> {
    let found = files::find(request)?;
    let env_file = request.env_file.as_ref().map(|path| request.cwd.join(path));
    // `.env` can set the project name only beside a Compose file: the path of the embedded
    // pipeline's `.env` contains the project name.
    let early = env_file
        .clone()
        .or_else(|| found.directory.as_ref().map(|d| d.join(".env")));
    let early = match &early {
        Some(path) => Some(dotenv::read(path, &request.env)?.unwrap_or_default()),
        None => None,
    };
    let mut variables = early.clone().unwrap_or_default();
    variables.extend(request.env.clone());
    let project = project::name(request, &variables, &found)?;
    let state_dir = match &found.directory {
        Some(directory) => directory.clone(),
        None => files::user_state(&request.env)?.join(&project),
    };
    if let Some(path) = env_file.as_ref().filter(|path| !path.exists()) {
        return Err(
            Error::new(Kind::Usage, format!("{} does not exist", path.display()))
                .because("--env-file names it")
                .hint("name a file that is there, or leave --env-file out"),
        );
    }
    let ports_path = match (&env_file, &found.directory) {
        (None, None) => state_dir.join(".env"),
        (Some(file), _) => ports::beside(file, &project),
        (None, Some(directory)) => ports::beside(&directory.join(".env"), &project),
    };
    let env_path = env_file.clone().unwrap_or_else(|| state_dir.join(".env"));
    let variable_files = VariableFiles::read(&env_path, &ports_path, &request.env, early)?;
    let user_state = files::user_state(&request.env);
    let secret_names =
        secret_names(&found.tree).map_err(|p| problem::error(vec![p], &found.files))?;
    Ok(Source {
        project,
        origin: found.origin,
        directory: found.directory.unwrap_or_else(|| state_dir.clone()),
        state: StateFiles {
            directory: state_dir.clone(),
            env_file: env_file.as_deref().map(clean_path),
        },
        env_path,
        ports_path,
        // No conflict with a project's directory: project names do not start with a dot.
        claims_dir: user_state
            .unwrap_or_else(|_| state_dir.clone())
            .join(".ports"),
        state_dir,
        env: request.env.clone(),
        variable_files: RwLock::new(variable_files),
        files: found.files,
        tree: found.tree,
        secret_names,
        profiles: named_profiles(request),
        activated: Vec::new(),
        invocation: request.invocation(),
    })
}

impl Source {
    /// The Compose project's name.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The declaration as written, without replaced variables.
    pub fn tree(&self) -> &Node {
        &self.tree
    }

    /// The directory of Caravan's files for the project; it may not exist yet.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The file of variables; it may not exist yet.
    pub fn env_path(&self) -> &Path {
        &self.env_path
    }

    /// The file with the host ports that were chosen for this project; it may not exist yet. The
    /// embedded pipeline uses [`Self::env_path`]; in other directories several projects may share that.
    pub fn ports_path(&self) -> &Path {
        &self.ports_path
    }

    /// The directory in which all projects of this user reserve host ports.
    pub fn claims_dir(&self) -> &Path {
        &self.claims_dir
    }

    /// Replaces the invocation in hints, if the project was started from another declaration.
    pub fn hint_at(&mut self, invocation: &Invocation) {
        self.invocation = invocation.clone();
    }

    /// The options of a command line for this declaration.
    pub fn invocation(&self) -> &Invocation {
        &self.invocation
    }

    /// The directory in which `up` generates secret and config files; it may not exist yet.
    pub fn files_dir(&self) -> PathBuf {
        self.state_dir.join(format!(".caravan-{}", self.project))
    }

    /// Activates the profiles of services that are named in full, as Docker Compose does.
    ///
    /// # Errors
    /// The declaration is invalid. Missing secrets are no error.
    pub fn activate(&mut self, services: &[String]) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        let inactive = self.resolve_without_secrets()?.inactive;
        let named = inactive.into_iter().filter(|s| services.contains(&s.name));
        self.activated = named.flat_map(|service| service.profiles).collect();
        Ok(())
    }

    /// Docker's names of the volumes that belong to the project.
    ///
    /// # Errors
    /// The declaration is invalid. Missing secrets are no error.
    pub fn volume_names(&self) -> Result<Vec<String>> {
        Ok(own_volumes(&self.resolve_without_secrets()?))
    }

    /// Reads the files of variables again, after this or another process may have written one. Returns
    /// whether their content changed.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn reload(&self) -> Result<bool> {
        let read = VariableFiles::read(&self.env_path, &self.ports_path, &self.env, None)?;
        let files = self.variable_files.write();
        let mut files = files.unwrap_or_else(PoisonError::into_inner);
        let changed = *files != read;
        *files = read;
        Ok(changed)
    }

    /// The pipeline.
    ///
    /// # Errors
    /// The declaration is invalid, or a secret is not set.
    pub fn resolve(&self) -> Result<Pipeline> {
        let missing = self.missing_secrets();
        if !missing.is_empty() {
            return Err(self.lacking(&missing));
        }
        self.read(self.variables())
    }

    /// The pipeline for commands that do not need secrets, for instance `down`: unset secrets get a
    /// placeholder.
    ///
    /// # Errors
    /// The declaration is invalid.
    pub fn resolve_without_secrets(&self) -> Result<Pipeline> {
        let missing = self.missing_secrets();
        let mut variables = self.variables();
        for name in &missing {
            variables.insert(name.clone(), PLACEHOLDER.to_owned());
        }
        let mut pipeline = self.read(variables)?;
        if !missing.is_empty() {
            pipeline.secrets.retain(|value| value != PLACEHOLDER);
        }
        Ok(pipeline)
    }

    /// Declared secrets without a value.
    pub fn missing_secrets(&self) -> Vec<String> {
        let variables = self.variables();
        let unset = |name: &&String| variables.get(*name).is_none_or(String::is_empty);
        self.secret_names.iter().filter(unset).cloned().collect()
    }

    /// Whether the environment sets a variable, possibly to the empty string.
    pub fn is_set_outside(&self, name: &str) -> bool {
        self.env.contains_key(name)
    }

    /// All variables. The environment overrides the chosen ports, which override the file of variables.
    fn variables(&self) -> BTreeMap<String, String> {
        let files = self.variable_files.read();
        let files = files.unwrap_or_else(PoisonError::into_inner);
        let mut variables = files.env.clone();
        variables.extend(files.ports.clone());
        variables.extend(self.env.clone());
        variables.insert(project::VARIABLE.to_owned(), self.project.clone());
        variables
    }

    /// Whether [`Self::ports_path`] sets a variable.
    fn is_in_ports_file(&self, variable: &str) -> bool {
        let files = self.variable_files.read();
        let files = files.unwrap_or_else(PoisonError::into_inner);
        files.ports.contains_key(variable)
    }

    fn read(&self, variables: BTreeMap<String, String>) -> Result<Pipeline> {
        self.read_with(variables.clone(), true).or_else(|error| {
            let marked = self.with_marked_defaults(variables.clone());
            match self.read_with(marked, true) {
                // Only defaults of variables conflict.
                Ok(_) => self.read_with(variables, false),
                Err(_) => Err(error),
            }
        })
    }

    /// `unique_ports`: whether two services with one host port are a fault.
    fn read_with(
        &self,
        variables: BTreeMap<String, String>,
        unique_ports: bool,
    ) -> Result<Pipeline> {
        let profiles = self.active_profiles(&variables);
        let context = Context {
            project: &self.project,
            origin: &self.origin,
            state: &self.state,
            directory: &self.directory,
            variables: &Variables::new(variables, self.secret_names.iter().cloned()),
            secret_names: &self.secret_names,
            profiles: &profiles,
            files_dir: &self.files_dir(),
            unique_ports,
        };
        read::pipeline(&self.tree, &context)
            .map_err(|problems| problem::error(problems, &self.files))
    }

    fn active_profiles(&self, variables: &BTreeMap<String, String>) -> Vec<String> {
        let mut profiles = self.profiles.clone();
        if let (true, Some(names)) = (profiles.is_empty(), variables.get(PROFILES)) {
            profiles.extend(names.split(',').map(|name| name.trim().to_owned()));
        }
        profiles.extend_from_slice(&self.activated);
        profiles
    }

    fn lacking(&self, missing: &[String]) -> Error {
        let path = self.env_path.display();
        let note = if self.env_path.exists() {
            ""
        } else {
            " (there is no such file)"
        };
        let at = self.tree.find(&["x-caravan", "secrets", &missing[0]]);
        let declared = Problem::new(at, "x-caravan.secrets", "a secret by declaration");
        let mut error = Error::new(Kind::Usage, format!("{} is not set", missing.join(", ")))
            .because(format!("neither in the environment nor in {path}{note}"));
        let shown = problem::error(vec![declared], &self.files);
        for line in std::iter::once(shown.what).chain(shown.evidence) {
            error = error.because(line);
        }
        error.hint(self.invocation.command("up"))
    }
}

/// The profiles of `--profile`. Empty names are ignored: an unset variable in a script yields one.
fn named_profiles(request: &Request) -> Vec<String> {
    let named = request.profiles.iter().filter(|name| !name.is_empty());
    named.cloned().collect()
}

/// Docker's names of the volumes that belong to the project.
fn own_volumes(pipeline: &Pipeline) -> Vec<String> {
    let own = pipeline.volumes.iter().filter(|volume| !volume.external);
    own.map(|volume| volume.name.clone()).collect()
}

/// Names of `x-caravan.secrets`, which interpolation needs.
fn secret_names(tree: &Node) -> Result<Vec<String>, Problem> {
    let mut root = View::root(tree).fields()?;
    let Some(extension) = root.take("x-caravan").filter(View::is_mapping) else {
        return Ok(Vec::new());
    };
    extension.fields()?.read_or_default("secrets", View::names)
}
