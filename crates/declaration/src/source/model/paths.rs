//! Paths of a service or model from another directory, made absolute. Their variables are replaced, and the
//! dollars of the result doubled, because variables are replaced once more.

use std::{collections::BTreeSet, path::Path};

use crate::{
    clean_path,
    interpolate::{self, Seen, Variables},
    problem::Problem,
    yaml::{Key, Kind, Node, Scalar, Value},
};

type Done = Result<(), Problem>;

/// Makes the paths of a model absolute.
pub(super) fn of_model(model: &mut Node, directory: &Path, variables: &Variables) -> Done {
    let place = Place {
        directory,
        variables,
    };
    each(model, "services", |node, path| place.service(node, path))?;
    for section in ["secrets", "configs"] {
        each(model, section, |node, path| place.at(node, &["file"], path))?;
    }
    each(model, "volumes", |node, path| {
        let is = |key: &str, value: &str| {
            node.get("driver_opts")
                .and_then(|o| o.get(key))
                .and_then(Node::text)
                == Some(value)
        };
        match is("o", "bind") {
            true => place.at(node, &["driver_opts", "device"], path),
            false => Ok(()),
        }
    })
}

/// Makes the paths of a service absolute.
pub(super) fn of_service(
    service: &mut Node,
    directory: &Path,
    variables: &Variables,
    path: &str,
) -> Done {
    let place = Place {
        directory,
        variables,
    };
    place.service(service, path)
}

/// The model with its variables replaced.
pub(super) fn replaced(model: &Node, variables: &Variables) -> Result<Node, Problem> {
    let mut tree = interpolate::tree(model, variables, &mut BTreeSet::new())?;
    escape(&mut tree);
    Ok(tree)
}

fn escape(node: &mut Node) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(scalar) => scalar.text = scalar.text.replace('$', "$$"),
        Value::Sequence(items) => items.iter_mut().for_each(escape),
        Value::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| escape(value)),
    }
}

struct Place<'a> {
    directory: &'a Path,
    variables: &'a Variables,
}

impl Place<'_> {
    fn service(&self, service: &mut Node, path: &str) -> Done {
        if let Some(build) = child(service, "build") {
            match &build.value {
                Value::Scalar(_) => self.context(build, path)?,
                Value::Mapping(_) => self.context_of(build, path)?,
                Value::Null | Value::Sequence(_) => {}
            }
        }
        for key in ["env_file", "label_file"] {
            if let Some(files) = child(service, key) {
                self.files(files, path)?;
            }
        }
        for volume in child(service, "volumes").map(items).unwrap_or_default() {
            self.volume(volume, path)?;
        }
        let watch = child(service, "develop").and_then(|develop| child(develop, "watch"));
        for trigger in watch.map(items).unwrap_or_default() {
            self.at(trigger, &["path"], path)?;
        }
        Ok(())
    }

    /// A path, a list of paths or of `{path: …}`.
    fn files(&self, files: &mut Node, path: &str) -> Done {
        match &files.value {
            Value::Scalar(_) => self.absolute(files, path),
            Value::Mapping(_) => self.at(files, &["path"], path),
            Value::Null => Ok(()),
            Value::Sequence(_) => {
                let mut items = items(files).iter_mut();
                items.try_for_each(|item| self.files(item, path))
            }
        }
    }

    /// `[SOURCE:]TARGET[:OPTION,…]`, or the long form.
    fn volume(&self, volume: &mut Node, path: &str) -> Done {
        if matches!(volume.value, Value::Mapping(_)) {
            let kind = volume.get("type").and_then(Node::text);
            return match kind {
                Some("bind") => self.at(volume, &["source"], path),
                _ => Ok(()),
            };
        }
        self.change(volume, path, |text| match text.split_once(':') {
            Some((source, rest)) if source.starts_with('.') => {
                format!("{}:{rest}", self.joined(source))
            }
            _ => text,
        })
    }

    /// The context of a build; by default its directory.
    fn context_of(&self, build: &mut Node, path: &str) -> Done {
        if let Some(context) = child(build, "context") {
            return self.context(context, path);
        }
        let at = build.at;
        if let Value::Mapping(entries) = &mut build.value {
            let name = "context".to_owned();
            let text = self.directory.display().to_string().replace('$', "$$");
            let value = Value::Scalar(Scalar {
                text,
                kind: Kind::String,
                secret: false,
            });
            entries.push((Key { name, at }, Node { value, at }));
        }
        Ok(())
    }

    /// A directory, unless it is remote.
    fn context(&self, node: &mut Node, path: &str) -> Done {
        self.change(node, path, |text| {
            match text.contains("://") || text.starts_with("git@") {
                true => text,
                false => self.joined(&text),
            }
        })
    }

    fn at(&self, node: &mut Node, keys: &[&str], path: &str) -> Done {
        match keys {
            [] => self.absolute(node, path),
            [key, rest @ ..] => match child(node, key) {
                Some(node) => self.at(node, rest, path),
                None => Ok(()),
            },
        }
    }

    fn absolute(&self, node: &mut Node, path: &str) -> Done {
        self.change(node, path, |text| self.joined(&text))
    }

    fn joined(&self, text: &str) -> String {
        match text.starts_with('~') || text.is_empty() {
            true => text.to_owned(),
            false => clean_path(&self.directory.join(text)).display().to_string(),
        }
    }

    fn change(&self, node: &mut Node, path: &str, change: impl FnOnce(String) -> String) -> Done {
        let at = node.at;
        let Value::Scalar(scalar) = &mut node.value else {
            return Ok(());
        };
        let text = interpolate::text(&scalar.text, self.variables, &mut Seen::default())
            .map_err(|why| Problem::new(at, path, why.to_string()))?;
        scalar.text = change(text).replace('$', "$$");
        Ok(())
    }
}

fn each(model: &mut Node, section: &str, mut change: impl FnMut(&mut Node, &str) -> Done) -> Done {
    let Some(Value::Mapping(entries)) = child(model, section).map(|node| &mut node.value) else {
        return Ok(());
    };
    let mut entries = entries.iter_mut();
    entries.try_for_each(|(key, node)| change(node, &format!("{section}.{}", key.name)))
}

fn child<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Mapping(entries) = &mut node.value else {
        return None;
    };
    let (_, value) = entries.iter_mut().find(|(k, _)| k.name == key)?;
    Some(value)
}

fn items(node: &mut Node) -> &mut [Node] {
    match &mut node.value {
        Value::Sequence(items) => items,
        _ => &mut [],
    }
}
