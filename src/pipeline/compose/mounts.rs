//! What a service mounts: `[SOURCE:]TARGET[:ro]`, or the long form.

use std::path::{Path, PathBuf};

use crate::pipeline::{
    Mount, MountSource, clean_path, problem::Problem, read::Context, yaml::View,
};

pub(super) fn mounts(view: &View<'_>, context: &Context<'_>) -> Result<Vec<Mount>, Problem> {
    let mut mounts: Vec<(usize, Mount)> = Vec::new();
    for item in view.items()? {
        let mount = if item.is_mapping() {
            long(&item, context)?
        } else {
            item.parse("[SOURCE:]TARGET[:ro]", |text| short(text, context))?
        };
        // A later file may mount something else there.
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

fn short(text: &str, context: &Context<'_>) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, "rw"),
        [source, target] => (Some(source), target, "rw"),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(format!("it has {} parts", parts.len())),
    };
    let source = match source {
        None => MountSource::Anonymous,
        Some("") => return Err("the source is empty".to_owned()),
        Some(path) if path.starts_with(['/', '.', '~']) => bind(path, context)?,
        Some(name) => MountSource::Volume(name.to_owned()),
    };
    let read_only = match mode {
        "rw" => false,
        "ro" => true,
        other => return Err(format!("the mode {other:?} is not supported yet (ro, rw)")),
    };
    Ok(Mount {
        source,
        target: absolute(target)?,
        read_only,
    })
}

fn absolute(target: &str) -> Result<String, String> {
    if Path::new(target).is_absolute() {
        Ok(target.to_owned())
    } else {
        Err(format!(
            "the path in the container, {target:?}, is not absolute"
        ))
    }
}

fn bind(path: &str, context: &Context<'_>) -> Result<MountSource, String> {
    let path = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let home = context.variables.get("HOME").ok_or("HOME is not set")?;
            PathBuf::from(format!("{home}{rest}"))
        }
        Some(_) => return Err("another user's home is not supported".to_owned()),
        None => context.directory.join(path),
    };
    Ok(MountSource::Bind(clean_path(&path)))
}

#[derive(Clone, Copy)]
enum Type {
    Volume,
    Bind,
}

fn long(view: &View<'_>, context: &Context<'_>) -> Result<Mount, Problem> {
    let mut fields = view.fields()?;
    let kind = fields.require("type")?;
    if kind.str().is_ok_and(|text| text == "tmpfs") {
        return Err(kind
            .problem("`tmpfs` is not supported here")
            .hint("write it as the service's `tmpfs: [/path]`"));
    }
    let kind = kind.word(&[("volume", Type::Volume), ("bind", Type::Bind)])?;
    let target = fields
        .require("target")?
        .parse("a path in the container", absolute)?;
    let source = match (kind, fields.take("source")) {
        (Type::Volume, None) => MountSource::Anonymous,
        (Type::Volume, Some(source)) => MountSource::Volume(source.filled()?),
        (Type::Bind, Some(source)) => source.parse("a path", |path| bind(path, context))?,
        (Type::Bind, None) => return Err(fields.problem("the key `source` is missing")),
    };
    let read_only = fields.read_or_default("read_only", View::bool)?;
    fields.finish_compose(&["bind", "consistency", "image", "tmpfs", "volume"])?;
    Ok(Mount {
        source,
        target,
        read_only,
    })
}
