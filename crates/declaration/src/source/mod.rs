//! Locates the declaration: `files` finds its files, `model` loads what they contain, `project` its project name, `dotenv` reads `.env`,
//! `variables` holds what `.env` says. `origin`: whether a deployed project was started from this
//! declaration.

pub(super) mod dotenv;
mod files;
mod model;
mod origin;
mod project;
mod variables;

pub(super) use files::clean_path;
pub use files::{EMBEDDED as SHIPPED, compose_file, is_found};
pub use origin::{OtherOrigin, RecordedOrigin};

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Origin, Pipeline, StateFiles, VariableSource, config,
    context::Context,
    interpolate::{self, Seen, Variables},
    problem::{self, File, Problem},
    read,
    yaml::{Node, View},
};
use diagnostics::{Error, Invocation, Kind, Result, instrument_blocking};
use variables::{ReadFile, VariableFiles};

/// Variable with the active profiles, separated by commas.
const PROFILES: &str = "COMPOSE_PROFILES";
/// Value of an unset secret in commands that do not need its value.
pub const UNSET_SECRET: &str = "unset";

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
    /// Services that the command line names: if one is named in full, its profiles are active, as with
    /// Docker Compose.
    pub services: Vec<String>,
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

/// A declaration that was located and parsed once. Its variables are replaced when it is first resolved,
/// and again after one of them was set. It has no `Debug`, because it contains secrets.
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
    values: Mutex<Values>,
    files: Vec<File>,
    tree: Node,
    secret_names: Vec<String>,
    /// Profiles of `--profile`. Empty: [`PROFILES`] applies.
    profiles: Vec<String>,
    /// Services that the command line names.
    named: Vec<String>,
    invocation: Invocation,
}

/// The part of a [`Source`] that changes.
struct Values {
    files: VariableFiles,
    /// The pipeline with these values; None: not resolved since they changed.
    resolved: Option<Arc<Result<Pipeline>>>,
}

/// Finds the declaration of `request`, and parses it.
///
/// # Errors
/// A file is missing or not YAML, or the project name or `.env` is invalid.
pub fn locate(request: &Request) -> Result<Source> {
    let mut found = files::find(request)?;
    let env_file = request.env_file.as_ref().map(|path| request.cwd.join(path));
    // `.env` can set the project name only beside a Compose file: the path of the embedded
    // pipeline's `.env` contains the project name.
    let early = env_file
        .clone()
        .or_else(|| found.directory.as_ref().map(|d| d.join(".env")));
    let early = early.map(|path| match found.variables.take() {
        Some(file) if file.path == path => Ok(file),
        _ => ReadFile::read(path, &request.env),
    });
    let early = early.transpose()?;
    let mut variables = early
        .as_ref()
        .map_or_else(BTreeMap::new, |file| file.values.clone());
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
                .hint("name an existing file, or omit --env-file"),
        );
    }
    let ports_path = match (&env_file, &found.directory) {
        (None, None) => state_dir.join(".env"),
        (Some(file), _) => beside(file, &project),
        (None, Some(directory)) => beside(&directory.join(".env"), &project),
    };
    let env_path = env_file.clone().unwrap_or_else(|| state_dir.join(".env"));
    let env = match early {
        Some(env) => env,
        None => ReadFile::read(env_path.clone(), &request.env)?,
    };
    let ports = match ports_path == env_path {
        true => None,
        false => Some(ReadFile::read(ports_path.clone(), &request.env)?),
    };
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
        values: Mutex::new(Values {
            files: VariableFiles { env, ports },
            resolved: None,
        }),
        files: found.files,
        tree: found.tree,
        secret_names,
        profiles: named_profiles(request),
        named: request.services.clone(),
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

    /// Docker's names of the volumes that belong to the project.
    ///
    /// # Errors
    /// The declaration is invalid. Missing secrets are no error.
    pub fn volume_names(&self) -> Result<Vec<String>> {
        Ok(own_volumes(&self.resolve_without_secrets()?))
    }

    /// Reads the files of variables again if they changed since they were read: this or another process
    /// may have written one. Returns whether their content changed.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn reload(&self) -> Result<bool> {
        let mut values = self.values();
        let changed = values.files.reload(&self.env)?;
        if changed {
            values.resolved = None;
        }
        Ok(changed)
    }

    /// Sets variables to values that the caller has added to [`Self::env_path`].
    pub fn set_in_env_file(&self, added: &BTreeMap<String, String>) {
        let mut values = self.values();
        values.files.add_to_env(added);
        values.resolved = None;
    }

    /// Sets variables to values that the caller has added to [`Self::ports_path`].
    pub fn set_in_ports_file(&self, added: &BTreeMap<String, String>) {
        let mut values = self.values();
        values.files.add_to_ports(added);
        values.resolved = None;
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
        self.resolve_without_secrets()
    }

    /// The pipeline for commands that do not need secrets, for instance `down`: unset secrets get a
    /// placeholder.
    ///
    /// # Errors
    /// The declaration is invalid.
    pub fn resolve_without_secrets(&self) -> Result<Pipeline> {
        self.resolved().as_ref().clone()
    }

    /// The resolved project in the form of `docker compose config`. Unset secrets get a placeholder.
    ///
    /// # Errors
    /// The declaration is invalid.
    pub fn config(&self) -> Result<serde_json::Value> {
        self.resolve_without_secrets()?;
        let values = self.values();
        self.in_context(&values.files, |context| {
            let mut unset = BTreeSet::new();
            let tree = interpolate::tree(&self.tree, context.variables, &mut unset)?;
            Ok(config::project(&self.tree, &tree, context))
        })
        .map_err(|problem: Problem| problem::error(vec![problem], &self.files))
    }

    /// Declared secrets without a value.
    pub fn missing_secrets(&self) -> Vec<String> {
        self.unset_secrets(&self.variables())
    }

    fn unset_secrets(&self, variables: &BTreeMap<String, String>) -> Vec<String> {
        let unset = |name: &&String| variables.get(*name).is_none_or(String::is_empty);
        self.secret_names.iter().filter(unset).cloned().collect()
    }

    /// Whether the environment sets a variable, possibly to the empty string.
    pub fn is_set_outside(&self, name: &str) -> bool {
        self.env.contains_key(name)
    }

    fn values(&self) -> std::sync::MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn variables(&self) -> BTreeMap<String, String> {
        self.all_variables(&self.values().files)
    }

    /// All variables. The environment overrides the chosen ports, which override the file of variables.
    fn all_variables(&self, files: &VariableFiles) -> BTreeMap<String, String> {
        let mut variables = files.env.values.clone();
        variables.extend(files.ports().clone());
        variables.extend(self.env.clone());
        variables.insert(project::VARIABLE.to_owned(), self.project.clone());
        variables
    }

    fn resolved(&self) -> Arc<Result<Pipeline>> {
        let mut values = self.values();
        let Values { files, resolved } = &mut *values;
        let resolved = resolved.get_or_insert_with(|| {
            let what = format!("resolve the declaration of {}", self.project);
            Arc::new(instrument_blocking("files", what, || self.read(files)))
        });
        Arc::clone(resolved)
    }

    /// Calls `read` with the context of the readers.
    fn in_context<T>(&self, files: &VariableFiles, read: impl FnOnce(&Context<'_>) -> T) -> T {
        let mut variables = self.all_variables(files);
        for name in self.unset_secrets(&variables) {
            variables.insert(name, UNSET_SECRET.to_owned());
        }
        let variables = Variables::new(variables, self.secret_names.iter().cloned());
        let profiles = self.active_profiles(&variables);
        read(&Context {
            project: &self.project,
            origin: &self.origin,
            state: &self.state,
            directory: &self.directory,
            variables: &variables,
            secret_names: &self.secret_names,
            profiles: &profiles,
            files_dir: &self.files_dir(),
        })
    }

    fn read(&self, files: &VariableFiles) -> Result<Pipeline> {
        let missing = self.unset_secrets(&self.all_variables(files));
        let mut pipeline = self
            .in_context(files, |context| read::pipeline(&self.tree, context))
            .map_err(|problems| problem::error(problems, &self.files))?;
        if !missing.is_empty() {
            pipeline.secrets.retain(|value| value != UNSET_SECRET);
        }
        let in_ports_file = |variable: &String| {
            files.ports().contains_key(variable) && !self.env.contains_key(variable)
        };
        for port in &mut pipeline.variable_ports {
            if in_ports_file(&port.variable) {
                port.set = VariableSource::PortsFile;
            }
        }
        Ok(pipeline)
    }

    fn active_profiles(&self, variables: &Variables) -> Vec<String> {
        let mut profiles = self.profiles.clone();
        if let (true, Some(names)) = (profiles.is_empty(), variables.get(PROFILES)) {
            profiles.extend(names.split(',').map(|name| name.trim().to_owned()));
        }
        let active = |own: &[String]| {
            let is_active = |profile: &String| *profile == "*" || own.contains(profile);
            own.is_empty() || profiles.iter().any(is_active)
        };
        let named = self
            .named
            .iter()
            .map(|name| self.profiles_of(name, variables));
        let inactive: Vec<String> = named.filter(|own| !active(own)).flatten().collect();
        profiles.extend(inactive);
        profiles
    }

    /// The profiles of a service; none if they are invalid, which the reader reports.
    fn profiles_of(&self, service: &str, variables: &Variables) -> Vec<String> {
        let service = self.tree.get("services").and_then(|s| s.get(service));
        let profiles = service.and_then(|s| s.get("profiles"));
        let profiles = profiles.map_or(&[][..], Node::items).iter();
        let names = profiles.filter_map(|profile| {
            interpolate::text(profile.text()?, variables, &mut Seen::default()).ok()
        });
        names.collect()
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

/// The file beside `.env` for one project.
fn beside(env_file: &Path, project: &str) -> PathBuf {
    let mut name = env_file.as_os_str().to_owned();
    name.push(format!(".{project}"));
    PathBuf::from(name)
}
