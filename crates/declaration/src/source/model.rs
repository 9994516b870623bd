//! Loads the model of a project: the documents of its files merged, `extends` and `include` resolved. Variables
//! are replaced later, except in paths that lead to other files and in paths relative to them.

mod paths;

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    dotenv::{self, Syntax},
    files::{clean_path, read},
};
use crate::{
    interpolate::{self, Seen, Variables},
    problem::{self, File, Problem},
    yaml::{self, Document, Key, Node, Value, View},
};
use diagnostics::{Error, Result};

/// Sections of an included model that are added to the including one.
const SECTIONS: [&str; 6] = [
    "services", "volumes", "networks", "secrets", "configs", "models",
];

/// Loads files.
pub(super) struct Loader<'a> {
    /// All files that were read, in the order of their positions.
    pub(super) files: Vec<File>,
    /// Working directory: files are named relative to it in messages.
    pub(super) cwd: &'a Path,
    /// Reads the variables of the project; only called for a file with `extends` or `include`.
    pub(super) variables: &'a dyn Fn() -> Result<BTreeMap<String, String>>,
}

/// The variables of a model, read when they are first needed.
struct Scope<'a> {
    known: OnceCell<Variables>,
    read: &'a dyn Fn() -> Result<BTreeMap<String, String>>,
}

impl Scope<'_> {
    fn variables(&self) -> Result<&Variables> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        let read = Variables::new((self.read)()?, []);
        Ok(self.known.get_or_init(|| read))
    }
}

/// A file that is being read because others name it.
#[derive(Clone, Copy)]
struct Chain<'a> {
    path: &'a Path,
    /// Service of the file, for `extends`.
    service: Option<&'a str>,
    from: Option<&'a Self>,
}

impl Chain<'_> {
    fn contains(&self, path: &Path, service: Option<&str>) -> bool {
        let is_same = self.path == path && self.service == service;
        is_same || self.from.is_some_and(|from| from.contains(path, service))
    }
}

impl Loader<'_> {
    /// The model of the project in `directory`, of files with their absolute paths.
    pub(super) fn project(
        &mut self,
        files: Vec<(PathBuf, File)>,
        directory: &Path,
    ) -> Result<Node> {
        let scope = Scope {
            known: OnceCell::new(),
            read: self.variables,
        };
        let mut indices = Vec::new();
        for (path, file) in files {
            indices.push((path, self.files.len()));
            self.files.push(file);
        }
        self.model(&indices, directory, &scope, None)
    }

    fn model(
        &mut self,
        files: &[(PathBuf, usize)],
        directory: &Path,
        scope: &Scope<'_>,
        from: Option<&Chain<'_>>,
    ) -> Result<Node> {
        let mut model: Option<Node> = None;
        for (path, index) in files {
            for document in self.documents(*index)? {
                let chain = Chain {
                    path,
                    service: None,
                    from,
                };
                let cleared = document.cleared.clone();
                let above = self.extended(document, directory, scope, &chain)?;
                let above = self.including(above, directory, scope, &chain)?;
                model = Some(match model {
                    None => above,
                    Some(mut below) => {
                        cleared
                            .iter()
                            .for_each(|path| yaml::clear(&mut below, path));
                        self.placed(yaml::overlay(below, above))?
                    }
                });
            }
        }
        let defect = || Error::new(diagnostics::Kind::Defect, "a declaration without a file");
        model.ok_or_else(defect)
    }

    fn documents(&self, index: usize) -> Result<Vec<Document>> {
        self.placed(yaml::documents(&self.files[index].text, index))
    }

    /// An error with its place.
    fn placed<T>(&self, result: std::result::Result<T, Problem>) -> Result<T> {
        result.map_err(|problem| problem::error(vec![problem], &self.files))
    }

    /// The document with the services that its services extend merged into them.
    fn extended(
        &mut self,
        document: Document,
        directory: &Path,
        scope: &Scope<'_>,
        chain: &Chain<'_>,
    ) -> Result<Node> {
        let Document { mut tree, cleared } = document;
        let Some(services) = tree.get("services") else {
            return Ok(tree);
        };
        let services = services.clone();
        let mut resolved = Vec::new();
        for (key, _) in mapping(&services) {
            let chain = Chain {
                service: Some(&key.name),
                from: Some(chain),
                ..*chain
            };
            let base = Base {
                services: &services,
                directory,
                cleared: &cleared,
            };
            resolved.push((key.clone(), self.service(&key.name, &base, scope, &chain)?));
        }
        if let Value::Mapping(entries) = &mut tree.value {
            for (_, value) in entries.iter_mut().filter(|(key, _)| key.name == "services") {
                if matches!(value.value, Value::Mapping(_)) {
                    value.value = Value::Mapping(std::mem::take(&mut resolved));
                }
            }
        }
        Ok(tree)
    }

    /// A service with the one that it extends merged into it, if there is one.
    fn service(
        &mut self,
        name: &str,
        base: &Base<'_>,
        scope: &Scope<'_>,
        chain: &Chain<'_>,
    ) -> Result<Node> {
        let Some(service) = base.services.get(name) else {
            return Err(Error::new(
                diagnostics::Kind::Defect,
                "a service that is not there",
            ));
        };
        let Some(extends) = service.get("extends") else {
            return Ok(service.clone());
        };
        let path = format!("services.{name}.extends");
        let (file, extended) = self.placed(reference(extends, &path))?;
        let mut below = match file {
            None => {
                if base.services.get(&extended).is_none() {
                    let message = format!("there is no service `{extended}` in this file");
                    return self.placed(Err(Problem::new(extends.at, path, message)));
                }
                let next = self.next(chain, chain.path, &extended, extends, &path)?;
                self.service(&extended, base, scope, &next)?
            }
            Some(file) => {
                self.service_of_file(file, &extended, base, scope, (chain, path.as_str()))?
            }
        };
        for path in base.cleared {
            if let [first, of, rest @ ..] = path.as_slice()
                && first == "services"
                && of == name
            {
                yaml::clear(&mut below, rest);
            }
        }
        let mut merged = self.placed(yaml::overlay_service(below, service.clone(), name))?;
        yaml::clear(&mut merged, &["extends".to_owned()]);
        Ok(merged)
    }

    /// The service of another file, with absolute paths.
    fn service_of_file(
        &mut self,
        file: &Node,
        name: &str,
        base: &Base<'_>,
        scope: &Scope<'_>,
        (chain, path): (&Chain<'_>, &str),
    ) -> Result<Node> {
        let variables = scope.variables()?;
        let text = self.placed(interpolated(file, variables, path))?;
        self.placed(is_local(&text, file, path))?;
        let absolute = clean_path(&base.directory.join(&text));
        let next = self.next(chain, &absolute, name, file, path)?;
        let index = self.read(&absolute, file, path)?;
        let mut all: Option<Node> = None;
        let mut cleared = Vec::new();
        for document in self.documents(index)? {
            cleared.extend(document.cleared);
            let above = document.tree;
            all = Some(match all {
                None => above,
                Some(below) => self.placed(yaml::overlay(below, above))?,
            });
        }
        let services = all.as_ref().and_then(|all| all.get("services"));
        let Some(services) = services.filter(|services| services.get(name).is_some()) else {
            let message = format!("there is no service `{name}` in {text}");
            return self.placed(Err(Problem::new(file.at, path, message)));
        };
        let directory = absolute.parent().unwrap_or_else(|| Path::new("/"));
        let of_file = Base {
            services,
            directory,
            cleared: &cleared,
        };
        let mut service = self.service(name, &of_file, scope, &next)?;
        let changed = paths::of_service(&mut service, directory, variables, path);
        self.placed(changed)?;
        Ok(service)
    }

    /// The chain with one more service, unless it is a cycle.
    fn next<'c>(
        &self,
        chain: &'c Chain<'c>,
        path: &'c Path,
        service: &'c str,
        at: &Node,
        key: &str,
    ) -> Result<Chain<'c>> {
        if chain.contains(path, Some(service)) {
            let message = format!("a cycle: `{service}` extends itself");
            return self.placed(Err(Problem::new(at.at, key, message)));
        }
        Ok(Chain {
            path,
            service: Some(service),
            from: Some(chain),
        })
    }

    /// The model with what it includes.
    fn including(
        &mut self,
        mut model: Node,
        directory: &Path,
        scope: &Scope<'_>,
        chain: &Chain<'_>,
    ) -> Result<Node> {
        let Some(include) = model.get("include").cloned() else {
            return Ok(model);
        };
        if !matches!(include.value, Value::Sequence(_) | Value::Null) {
            let message = format!("expected a list, found {}", include.value.describe());
            return self.placed(Err(Problem::new(include.at, "include", message)));
        }
        for (index, entry) in include.items().iter().enumerate() {
            let key = format!("include[{index}]");
            let included = self.included(entry, directory, scope, (chain, key.as_str()))?;
            let added = add(&mut model, included, entry, &key);
            self.placed(added)?;
        }
        yaml::clear(&mut model, &["include".to_owned()]);
        Ok(model)
    }

    /// The model of an entry of `include`, with absolute paths.
    fn included(
        &mut self,
        entry: &Node,
        directory: &Path,
        scope: &Scope<'_>,
        (chain, key): (&Chain<'_>, &str),
    ) -> Result<Node> {
        let outer = scope.variables()?;
        let include = self.placed(Include::read(entry, outer, key))?;
        let mut files = Vec::new();
        for (node, text) in &include.paths {
            self.placed(is_local(text, node, key))?;
            let path = clean_path(&directory.join(text));
            if chain.contains(&path, None) {
                let message = format!("a cycle: {text} includes itself");
                return self.placed(Err(Problem::new(node.at, key, message)));
            }
            let index = self.read(&path, node, key)?;
            files.push((path, index));
        }
        let Some((first, _)) = files.first() else {
            let message = "the key `path` is missing";
            return self.placed(Err(Problem::new(entry.at, key, message)));
        };
        let own_directory = match &include.project_directory {
            Some(text) => clean_path(&directory.join(text)),
            None => first.parent().unwrap_or(directory).to_path_buf(),
        };
        let mut env_files: Vec<_> = include
            .env_files
            .iter()
            .map(|(_, text)| clean_path(&directory.join(text)))
            .collect();
        let default = own_directory.join(".env");
        if env_files.is_empty() && own_directory != directory && default.is_file() {
            env_files.push(default);
        }
        let mut values = outer.all().clone();
        for (index, path) in env_files.iter().enumerate() {
            let found = dotenv::read(path, Syntax::DotEnv, &values)?;
            let Some(found) = found else {
                let at = include
                    .env_files
                    .get(index)
                    .map_or(entry.at, |(node, _)| node.at);
                let message = format!("no such file: {}", path.display());
                return self.placed(Err(Problem::new(at, key, message)));
            };
            let new = found
                .into_iter()
                .filter(|(name, _)| !outer.all().contains_key(name));
            values.extend(new.collect::<Vec<_>>());
        }
        let read = || -> Result<BTreeMap<String, String>> { Ok(values.clone()) };
        let inner = Scope {
            known: OnceCell::new(),
            read: &read,
        };
        let mut model = self.model(&files, &own_directory, &inner, Some(chain))?;
        let variables = inner.variables()?;
        if variables.all().len() > outer.all().len() {
            let replaced = paths::replaced(&model, variables);
            model = self.placed(replaced)?;
        }
        let changed = paths::of_model(&mut model, &own_directory, variables);
        self.placed(changed)?;
        Ok(model)
    }

    /// Reads a file that `at` names; its index.
    fn read(&mut self, path: &Path, at: &Node, key: &str) -> Result<usize> {
        let Some(text) = read(path)? else {
            let message = format!("no such file: {}", path.display());
            return self.placed(Err(Problem::new(at.at, key, message)));
        };
        let name = path.strip_prefix(self.cwd).unwrap_or(path);
        self.files.push(File {
            name: name.display().to_string(),
            text,
        });
        Ok(self.files.len() - 1)
    }
}

/// Where `extends` finds a service.
struct Base<'a> {
    services: &'a Node,
    /// Directory of relative paths.
    directory: &'a Path,
    cleared: &'a [Vec<String>],
}

/// An entry of `include`: paths with their nodes, variables replaced.
struct Include<'a> {
    paths: Vec<(&'a Node, String)>,
    project_directory: Option<String>,
    env_files: Vec<(&'a Node, String)>,
}

impl<'a> Include<'a> {
    fn read(
        entry: &'a Node,
        variables: &Variables,
        key: &str,
    ) -> std::result::Result<Self, Problem> {
        let several = |node| several(node, variables, key);
        if !matches!(entry.value, Value::Mapping(_)) {
            return Ok(Self {
                paths: several(Some(entry))?,
                project_directory: None,
                env_files: Vec::new(),
            });
        }
        let mut fields = View::below(entry, key.to_owned()).fields()?;
        let node = |view: View<'a>| view.node;
        let include = Self {
            paths: several(Some(fields.require("path")?.node))?,
            project_directory: fields
                .take("project_directory")
                .map(|view| interpolated(view.node, variables, key))
                .transpose()?,
            env_files: several(fields.take("env_file").map(node))?,
        };
        fields.finish()?;
        Ok(include)
    }
}

/// A path, or a list of paths, variables replaced; each with its node.
fn several<'a>(
    node: Option<&'a Node>,
    variables: &Variables,
    key: &str,
) -> std::result::Result<Vec<(&'a Node, String)>, Problem> {
    let items = match node {
        None => &[][..],
        Some(node) if matches!(node.value, Value::Sequence(_)) => node.items(),
        Some(node) => std::slice::from_ref(node),
    };
    let text = |node: &'a Node| Ok((node, interpolated(node, variables, key)?));
    items.iter().map(text).collect()
}

/// `extends`: the file, if another one, and the service.
fn reference<'a>(
    extends: &'a Node,
    path: &str,
) -> std::result::Result<(Option<&'a Node>, String), Problem> {
    if let Some(service) = extends.text() {
        return Ok((None, service.to_owned()));
    }
    let mut fields = View::below(extends, path.to_owned()).fields()?;
    let service = fields.require("service")?.filled()?;
    let file = fields.take("file").map(|view| view.node);
    fields.finish()?;
    Ok((file, service))
}

/// Adds the resources of an included model.
fn add(
    model: &mut Node,
    included: Node,
    entry: &Node,
    key: &str,
) -> std::result::Result<(), Problem> {
    let Value::Mapping(sections) = included.value else {
        return Ok(());
    };
    let Value::Mapping(entries) = &mut model.value else {
        return Ok(());
    };
    for (section, resources) in sections {
        if !SECTIONS.contains(&section.name.as_str()) {
            continue;
        }
        let index = entries.iter().position(|(key, _)| key.name == section.name);
        let Some(index) = index else {
            entries.push((section, resources));
            continue;
        };
        let (Value::Mapping(new), Value::Mapping(own)) =
            (resources.value, &mut entries[index].1.value)
        else {
            continue;
        };
        for (name, resource) in new {
            match own.iter().find(|(key, _)| key.name == name.name) {
                None => own.push((name, resource)),
                Some((_, there)) if is_same(there, &resource) => {}
                Some(_) => {
                    let what = format!("{}.{}", section.name, name.name);
                    let message = format!("{what} of the included file is declared here, too");
                    return Err(Problem::new(entry.at, key, message));
                }
            }
        }
    }
    Ok(())
}

/// Whether two values are equal, wherever they are written.
fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Null, Value::Null) => true,
        (Value::Scalar(one), Value::Scalar(other)) => {
            one.text == other.text && one.kind == other.kind
        }
        (Value::Sequence(one), Value::Sequence(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_same(a, b))
        }
        (Value::Mapping(one), Value::Mapping(other)) => {
            let has = |(key, value): &(Key, Node)| {
                let there = other.iter().find(|(k, _)| k.name == key.name);
                there.is_some_and(|(_, there)| is_same(value, there))
            };
            one.len() == other.len() && one.iter().all(has)
        }
        _ => false,
    }
}

fn interpolated(
    node: &Node,
    variables: &Variables,
    key: &str,
) -> std::result::Result<String, Problem> {
    let Some(text) = node.text() else {
        let message = format!("expected a path, found {}", node.value.describe());
        return Err(Problem::new(node.at, key, message));
    };
    interpolate::text(text, variables, &mut Seen::default())
        .map_err(|why| Problem::new(node.at, key, why.to_string()))
}

fn is_local(text: &str, at: &Node, key: &str) -> std::result::Result<(), Problem> {
    let is_remote = text.contains("://") || text.starts_with("git@") || text.starts_with("oci:");
    match is_remote {
        true => Err(
            Problem::new(at.at, key, "a remote file is not supported yet")
                .hint("fetch it yourself, and name the file"),
        ),
        false => Ok(()),
    }
}

fn mapping(node: &Node) -> &[(Key, Node)] {
    match &node.value {
        Value::Mapping(entries) => entries,
        _ => &[],
    }
}
