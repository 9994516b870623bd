//! Where a project was brought up from, as its containers and volumes record it, beside where this
//! declaration is: another directory has other secrets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Request, Source, files, locate};
use crate::Origin;
use diagnostics::Invocation;

/// Where a project was brought up from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedOrigin {
    /// The declaration.
    pub origin: Origin,
    /// The directory with `.env`, chosen ports and written secrets.
    pub state_dir: PathBuf,
    /// What `--env-file` named.
    pub env_file: Option<PathBuf>,
}

/// A project that was brought up from another place than the one that a command was run for.
#[derive(Debug, Clone)]
pub struct OtherOrigin {
    /// The declaration that it was brought up from, in words.
    pub from: String,
    /// How that is named on a command line.
    pub invocation: Invocation,
    /// Its file of variables.
    pub env_path: PathBuf,
    /// Declared secrets that have another value here, or none. Empty: the declarations differ.
    pub secrets: Vec<String>,
}

impl Source {
    /// What a project was brought up from, if that still exists and would make another project of
    /// it. The same files at another place, a copy with the same secrets and other files over the
    /// same directory are the same project.
    pub fn compare(&self, recorded: &RecordedOrigin) -> Option<OtherOrigin> {
        let default_env = || recorded.state_dir.join(".env");
        let env_path = recorded.env_file.clone().unwrap_or_else(default_env);
        if is_same(&recorded.state_dir, &self.state_dir) && is_same(&env_path, &self.env_path) {
            return None;
        }
        let request = self.request_for(recorded)?;
        let theirs = locate(&request).ok()?;
        // Without `x-caravan` it was never Caravan's, and a directory that Compose was told of
        // cannot be named.
        if theirs.tree.get("x-caravan").is_none()
            || !is_same(&theirs.state_dir, &recorded.state_dir)
        {
            return None;
        }
        let (ours, values) = (self.variables(), theirs.variables());
        let names = theirs.secret_names.iter().filter(|name| {
            let value = values.get(*name).filter(|value| !value.is_empty());
            value.is_some() && value != ours.get(*name)
        });
        let secrets: Vec<String> = names.cloned().collect();
        let texts = |source: &Self| -> Vec<String> {
            let files = source.files.iter();
            files.map(|file| file.text.clone()).collect()
        };
        if secrets.is_empty() && texts(self) == texts(&theirs) {
            return None;
        }
        Some(OtherOrigin {
            from: in_words(recorded),
            invocation: theirs.invocation.clone(),
            env_path: theirs.env_path,
            secrets,
        })
    }

    /// The command line that means what a project was brought up from.
    fn request_for(&self, recorded: &RecordedOrigin) -> Option<Request> {
        let mut env = self.env.clone();
        let (files, state_home) = match &recorded.origin {
            Origin::Embedded => {
                let home = embedded_state_home(recorded, &self.project)?;
                let here = files::user_state(&self.env).ok();
                let is_here = here.is_some_and(|here| is_same(&here, &home.join("caravan")));
                if !is_here {
                    env.insert(files::STATE_HOME.to_owned(), home.display().to_string());
                }
                let state_home = (!is_here).then(|| home.display().to_string());
                (vec![PathBuf::from(files::EMBEDDED_FLAG)], state_home)
            }
            Origin::Files(files) if files.iter().all(|file| file.is_file()) => {
                (files.clone(), None)
            }
            Origin::Files(_) => return None,
        };
        Some(Request {
            files,
            project: Some(self.project.clone()),
            env_file: recorded.env_file.clone(),
            profiles: self.invocation.profiles.clone(),
            host: self.invocation.host.clone(),
            cwd: PathBuf::from("/"),
            env,
            state_home,
        })
    }
}

/// `XDG_STATE_HOME` of a shipped pipeline: its state is in `caravan/PROJECT` below.
fn embedded_state_home(recorded: &RecordedOrigin, project: &str) -> Option<PathBuf> {
    let state = &recorded.state_dir;
    if !state.is_dir() || state.file_name()? != project {
        return None;
    }
    let caravan = state.parent()?;
    let home = caravan.parent()?.to_path_buf();
    (caravan.file_name()? == "caravan").then_some(home)
}

fn in_words(recorded: &RecordedOrigin) -> String {
    match &recorded.origin {
        Origin::Embedded => format!(
            "the pipeline that Caravan ships, with its state in {}",
            recorded.state_dir.display()
        ),
        Origin::Files(files) => {
            let names: Vec<_> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            names.join(", ")
        }
    }
}

/// Whether two paths are one place, symbolic links followed.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}
