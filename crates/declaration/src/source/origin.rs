//! Compares the origin of a deployed project, as recorded in labels of its containers and volumes, with
//! this declaration. Another directory has other secrets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Request, Source, files, locate};
use crate::Origin;
use diagnostics::Invocation;

/// The declaration that a deployed project was started from, as recorded in labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedOrigin {
    /// The declaration.
    pub origin: Origin,
    /// The directory with `.env`, chosen ports and written secrets.
    pub state_dir: PathBuf,
    /// The file of `--env-file`.
    pub env_file: Option<PathBuf>,
}

/// The declaration of a deployed project, if it differs from the one that a command was run for.
#[derive(Debug, Clone)]
pub struct OtherOrigin {
    /// Description of the declaration.
    pub from: String,
    /// The options of a command line for it.
    pub invocation: Invocation,
    /// Its file of variables.
    pub env_path: PathBuf,
    /// Secrets whose values differ from those of this declaration. Empty: only the files differ.
    pub secrets: Vec<String>,
}

impl Source {
    /// The recorded declaration, if it still exists and differs from this one. Declarations with the
    /// same directory and file of variables, and copies with the same text and secrets, do not differ.
    pub fn compare(&self, recorded: &RecordedOrigin) -> Option<OtherOrigin> {
        let default_env = || recorded.state_dir.join(".env");
        let env_path = recorded.env_file.clone().unwrap_or_else(default_env);
        if is_same(&recorded.state_dir, &self.state_dir) && is_same(&env_path, &self.env_path) {
            return None;
        }
        let request = self.request_for(recorded)?;
        let theirs = locate(&request).ok()?;
        // Caravan did not start a declaration without `x-caravan`. A directory of Compose's
        // `--project-directory` has no option here.
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

    /// The request for the recorded declaration. None: it does not exist any more.
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
            services: Vec::new(),
        })
    }
}

/// `XDG_STATE_HOME` of a shipped pipeline: its state directory is `caravan/PROJECT` below it.
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

/// Whether two paths are the same file or directory; follows symbolic links.
fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}
