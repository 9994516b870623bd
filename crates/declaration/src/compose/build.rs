//! `build`: a directory, or the long form. Unsupported options are rejected by name.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use super::{mounts::host_path, notes::Notes, pairs::Pairs, secrets_and_configs::Definitions};
use crate::{
    Build, Dockerfile, clean_path,
    context::Context,
    problem::Problem,
    yaml::{Fields, View},
};

/// Options of Compose that Caravan does not support.
#[rustfmt::skip]
const UNSUPPORTED: &[&str] = &[
    "additional_contexts", "cache_to", "entitlements", "extra_hosts", "isolation", "platforms",
    "privileged", "provenance", "sbom", "shm_size", "ssh", "tags", "ulimits",
];

/// `platform` is the value of the service's own key.
pub(super) fn build(
    view: &View<'_>,
    platform: Option<String>,
    definitions: &Definitions<'_>,
    context: &Context<'_>,
    notes: &mut Notes,
) -> Result<Build, Problem> {
    if !view.is_mapping() {
        let directory = directory(view, context)?;
        let dockerfile = Dockerfile::File(directory.join(DOCKERFILE));
        let build = plain(directory, dockerfile, platform);
        return checked(build, view);
    }
    let mut fields = view.fields()?;
    let place = fields.take("context");
    let directory = match &place {
        Some(view) => directory(view, context)?,
        None => context.directory.to_path_buf(),
    };
    let (dockerfile, written) = dockerfile(&mut fields, &directory)?;
    let named = written.or(place).unwrap_or_else(|| view.clone());
    let pairs = |v: &View<'_>| Pairs::read(v).map(Pairs::or_empty);
    let args = fields.read_or_default("args", Pairs::read)?;
    let build = Build {
        args: args.or_inherited(context).collect(),
        target: fields.read_set("target", View::filled)?,
        labels: fields.read_or_default("labels", pairs)?,
        network: fields.read_set("network", View::filled)?,
        cache_from: fields.read_or_default("cache_from", View::names)?,
        no_cache: fields.read_or_default("no_cache", View::bool)?,
        pull: fields.read_or_default("pull", View::bool)?,
        ca_bundle: fields.read_or_default("x-caravan", extension)?,
        secrets: match fields.take("secrets") {
            Some(view) => definitions.for_build(&view, context, notes)?,
            None => BTreeMap::new(),
        },
        ..plain(directory, dockerfile, platform)
    };
    fields.finish_compose(UNSUPPORTED)?;
    checked(build, &named)
}

const DOCKERFILE: &str = "Dockerfile";

fn plain(context: PathBuf, dockerfile: Dockerfile, platform: Option<String>) -> Build {
    Build {
        context,
        dockerfile,
        args: BTreeMap::new(),
        target: None,
        labels: BTreeMap::new(),
        network: None,
        cache_from: Vec::new(),
        no_cache: false,
        pull: false,
        platform,
        ca_bundle: None,
        secrets: BTreeMap::new(),
    }
}

/// `x-caravan` of a build: the file name of the certificate authorities.
fn extension(view: &View<'_>) -> Result<Option<String>, Problem> {
    let inside = |text: &str| {
        let mut parts = Path::new(text).components();
        if text.is_empty()
            || text.ends_with('/')
            || !parts.all(|p| matches!(p, Component::Normal(_)))
        {
            return Err("it is not a path inside the context");
        }
        Ok(text.to_owned())
    };
    let mut fields = view.fields()?;
    let name = fields.read("ca-bundle", |v| v.parse("a file's name", inside))?;
    fields.finish()?;
    Ok(name)
}

fn directory(view: &View<'_>, context: &Context<'_>) -> Result<PathBuf, Problem> {
    let text = view.filled()?;
    let remote = text.contains("://") || text.starts_with("git@");
    if remote {
        return Err(view
            .problem("a remote context is not supported yet")
            .hint("fetch it yourself, and name the directory"));
    }
    let path = view.parse("a directory", |path| host_path(path, context))?;
    if !path.is_dir() {
        return Err(view.problem(format!("there is no directory {text:?}")));
    }
    Ok(path)
}

/// The Dockerfile, and the node of the declaration that names it.
fn dockerfile<'a>(
    fields: &mut Fields<'a>,
    directory: &Path,
) -> Result<(Dockerfile, Option<View<'a>>), Problem> {
    match (
        fields.take_set("dockerfile"),
        fields.take_set("dockerfile_inline"),
    ) {
        (Some(view), None) => {
            let path = clean_path(&directory.join(view.filled()?));
            Ok((Dockerfile::File(path), Some(view)))
        }
        (None, Some(view)) => Ok((Dockerfile::Inline(view.filled()?), None)),
        (None, None) => Ok((Dockerfile::File(directory.join(DOCKERFILE)), None)),
        (Some(_), Some(view)) => Err(view.problem("`dockerfile` names a different file")),
    }
}

/// Checks that the Dockerfile exists.
fn checked(build: Build, view: &View<'_>) -> Result<Build, Problem> {
    match &build.dockerfile {
        Dockerfile::File(path) if !path.is_file() => {
            let name = path.strip_prefix(&build.context).unwrap_or(path);
            let message = format!("there is no file {:?} in the context", name.display());
            Err(view
                .problem(message)
                .hint("create it, or name another file with `dockerfile`"))
        }
        Dockerfile::File(_) | Dockerfile::Inline(_) => Ok(build),
    }
}
