//! Volumes and bind mounts of a service: `[SOURCE:]TARGET[:OPTION,…]`, or the long form.

use std::path::{Path, PathBuf};

use crate::{
    Invalid, Mount, MountSource, clean_path, context::Context, problem::Problem, yaml::View,
};

/// Prefixes by which a source is a path and not the name of a volume.
const PATHS: [char; 3] = ['/', '.', '~'];

/// Volumes and bind mounts. Entries with `type: tmpfs` are added to `tmpfs`, in the form of that key.
pub(super) fn mounts(
    view: &View<'_>,
    tmpfs: &mut Vec<String>,
    context: &Context<'_>,
) -> Result<Vec<Mount>, Problem> {
    let mut mounts: Vec<(usize, Mount)> = Vec::new();
    for item in view.items()? {
        if let Some(memory) = in_memory(&item)? {
            tmpfs.push(memory);
            continue;
        }
        let mount = if item.is_mapping() {
            long(&item, context)?
        } else {
            item.parse("[SOURCE:]TARGET[:OPTION,…]", |text| short(text, context))?
        };
        // A later file may replace the mount at the same target.
        let file = item.at().file;
        match mounts.iter().position(|(_, m)| m.target == mount.target) {
            Some(index) if mounts[index].0 != file => mounts[index] = (file, mount),
            Some(_) => {
                return Err(item.problem(format!("{} is mounted twice", mount.target)));
            }
            None => mounts.push((file, mount)),
        }
    }
    Ok(mounts.into_iter().map(|(_, mount)| mount).collect())
}

fn short(text: &str, context: &Context<'_>) -> Result<Mount, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, "rw"),
        [source, target] => (Some(source), target, "rw"),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(format!("it has {} parts", parts.len()).into()),
    };
    let source = match source {
        None => MountSource::Anonymous,
        Some("") => return Err("the source is empty".into()),
        Some(path) if path.starts_with(PATHS) => MountSource::Bind(host_path(path, context)?),
        Some(name) => MountSource::Volume(name.to_owned()),
    };
    let mut mount = Mount {
        source,
        target: absolute(target)?,
        read_only: false,
        options: Vec::new(),
    };
    for option in mode.split(',') {
        add_option(&mut mount, option)?;
    }
    Ok(mount)
}

/// One of the options after the second colon.
fn add_option(mount: &mut Mount, option: &str) -> Result<(), Invalid> {
    let is_path = matches!(mount.source, MountSource::Bind(_));
    match option {
        "rw" => mount.read_only = false,
        "ro" => mount.read_only = true,
        // Obsolete options of Docker Desktop; they have no effect on Linux.
        "cached" | "delegated" | "consistent" => {}
        "nocopy" if !is_path => mount.options.push(option.to_owned()),
        "z" | "Z" if is_path => mount.options.push(option.to_owned()),
        option if is_path && PROPAGATIONS.contains(&option) => {
            mount.options.push(option.to_owned());
        }
        _ => {
            let known = if is_path {
                "ro, rw, z, Z, rshared, rslave, rprivate"
            } else {
                "ro, rw, nocopy"
            };
            return Err(format!("{option:?} is not one of {known}").into());
        }
    }
    Ok(())
}

/// Mount propagation modes.
const PROPAGATIONS: [&str; 6] = [
    "shared", "rshared", "slave", "rslave", "private", "rprivate",
];

fn absolute(target: &str) -> Result<String, Invalid> {
    if Path::new(target).is_absolute() {
        Ok(target.to_owned())
    } else {
        Err(format!("the path in the container, {target:?}, is not absolute").into())
    }
}

/// An absolute path on the host. Relative paths start at the declaration's directory, `~` is the home.
pub(crate) fn host_path(path: &str, context: &Context<'_>) -> Result<PathBuf, Invalid> {
    let path = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = context.variables.get("HOME").ok_or("HOME is not set")?;
            PathBuf::from(format!("{home}{rest}"))
        }
        Some(_) => return Err("another user's home is not supported".into()),
        None => context.directory.join(path),
    };
    Ok(clean_path(&path))
}

#[derive(Clone, Copy)]
enum Type {
    Volume,
    Bind,
}

fn long(view: &View<'_>, context: &Context<'_>) -> Result<Mount, Problem> {
    let mut fields = view.fields()?;
    let kind = fields
        .require("type")?
        .word(&[("volume", Type::Volume), ("bind", Type::Bind)])?;
    let target = fields
        .require("target")?
        .parse("a path in the container", absolute)?;
    let source = match (kind, fields.take("source")) {
        (Type::Volume, None) => MountSource::Anonymous,
        (Type::Volume, Some(source)) => MountSource::Volume(source.filled()?),
        (Type::Bind, Some(source)) => {
            MountSource::Bind(source.parse("a path", |path| host_path(path, context))?)
        }
        (Type::Bind, None) => return Err(fields.problem("the key `source` is missing")),
    };
    let mut mount = Mount {
        source,
        target,
        read_only: fields.read_or_default("read_only", View::bool)?,
        options: Vec::new(),
    };
    fields.read("consistency", View::text)?;
    match kind {
        Type::Bind => mount.options = fields.read_or_default("bind", bind_options)?,
        Type::Volume => mount.options = fields.read_or_default("volume", volume_options)?,
    }
    fields.finish_compose(&["bind", "image", "tmpfs", "volume"])?;
    Ok(mount)
}

/// The type of mounts in memory.
const TMPFS: &str = "tmpfs";

/// `/path:size=64m,mode=1777` for a long-form entry with `type: tmpfs`; None for other types.
fn in_memory(view: &View<'_>) -> Result<Option<String>, Problem> {
    let kind = view.node.get("type").and_then(|kind| kind.text());
    if kind != Some(TMPFS) {
        return Ok(None);
    }
    let mut fields = view.fields()?;
    fields.require("type")?.word(&[(TMPFS, ())])?;
    let target = fields
        .require("target")?
        .parse("a path in the container", absolute)?;
    let read_only = fields.read_or_default("read_only", View::bool)?;
    let mut options: Vec<String> = read_only.then(|| "ro".to_owned()).into_iter().collect();
    if let Some(view) = fields.take("tmpfs") {
        let mut fields = view.fields()?;
        let size = fields.read("size", View::bytes)?;
        let mode = fields.read_set("mode", View::mode)?;
        options.extend(size.map(|size| format!("size={size}")));
        options.extend(mode.map(|mode| format!("mode={mode:o}")));
        fields.finish_compose(&[])?;
    }
    fields.finish_compose(&["consistency"])?;
    let colon = if options.is_empty() { "" } else { ":" };
    Ok(Some(format!("{target}{colon}{}", options.join(","))))
}

fn bind_options(view: &View<'_>) -> Result<Vec<String>, Problem> {
    let mut fields = view.fields()?;
    let propagations = PROPAGATIONS.map(|word| (word, word));
    let propagation = fields.read("propagation", |v| v.word(&propagations))?;
    let relabel = fields.read("selinux", |v| v.word(&[("z", "z"), ("Z", "Z")]))?;
    if let Some(create) = fields.take("create_host_path")
        && !create.bool()?
    {
        return Err(create.problem("`false` is not supported yet"));
    }
    fields.finish_compose(&["recursive"])?;
    let options = propagation.into_iter().chain(relabel);
    Ok(options.map(str::to_owned).collect())
}

fn volume_options(view: &View<'_>) -> Result<Vec<String>, Problem> {
    let mut fields = view.fields()?;
    let nocopy = fields.read_or_default("nocopy", View::bool)?;
    fields.finish_compose(&["labels", "subpath"])?;
    Ok(nocopy.then(|| "nocopy".to_owned()).into_iter().collect())
}
