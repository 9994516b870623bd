//! Host ports that are set by a variable with a default, as in `"127.0.0.1:${DB_PORT:-5432}:5432"`. If
//! the variable is not set, Caravan may choose the port.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Source, own_volumes};
use crate::{
    Pipeline, Port,
    interpolate::{self, Seen, Variables},
    yaml::{Node, Value},
};
use diagnostics::Result;

/// The host ports of a declaration.
pub struct HostPorts {
    /// Ports that are set by variables with a default.
    pub variable: Vec<VariablePort>,
    /// The declaration with each of these variables replaced by a unique port number, its mark.
    pub marked: Pipeline,
    /// All marks, including those of inactive services.
    marks: Vec<u16>,
}

impl HostPorts {
    /// Docker's names of the volumes that belong to the project. None: a name may contain one of the
    /// variables, so the marked declaration does not have the real name.
    pub fn volume_names(&self) -> Option<Vec<String>> {
        let names = own_volumes(&self.marked);
        let marked = |name: &String| {
            let mut marks = self.marks.iter();
            marks.any(|mark| name.contains(&mark.to_string()))
        };
        (!names.iter().any(marked)).then_some(names)
    }
}

/// A host port that is set by a variable with a default.
#[derive(Debug, Clone)]
pub struct VariablePort {
    /// Name of the variable.
    pub variable: String,
    /// Name of the service that publishes the port.
    pub service: String,
    /// The port in the marked declaration: its host port is the mark.
    pub port: Port,
    /// The variable's value, or else its default.
    pub number: u16,
    /// Where the variable is set.
    pub set: VariableSource,
}

/// Where a variable is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableSource {
    /// Not set: the default applies, and Caravan may choose another port.
    Unset,
    /// In [`Source::ports_path`].
    PortsFile,
    /// By the user: in the environment or the file of variables.
    User,
}

impl Source {
    /// The host ports that are set by variables. The declaration is read with each variable replaced by
    /// a unique number, its mark, so all forms of a port are supported.
    ///
    /// # Errors
    /// The declaration is invalid. Missing secrets, and two variables with the same default, are no
    /// error.
    pub fn host_ports(&self) -> Result<HostPorts> {
        let texts = port_texts(&self.tree);
        let mut marks = marks(&texts);
        let defaults = defaults(&texts);
        let mut variables = self.variables();
        let set = variables.clone();
        for name in self.missing_secrets() {
            variables.insert(name, super::PLACEHOLDER.to_owned());
        }
        let mut by_mark = BTreeMap::new();
        for ((variable, default), mark) in defaults.into_iter().zip(&mut marks) {
            variables.insert(variable.clone(), mark.to_string());
            by_mark.insert(mark, (variable, default));
        }
        // Errors are those of the unmarked declaration: marks would appear in the text.
        let marked = self
            .read(variables)
            .map_err(|error| self.resolve_without_secrets().err().unwrap_or(error))?;
        let mut found = Vec::new();
        for service in &marked.services {
            for port in &service.ports {
                let Some((variable, default)) = port.host_port.and_then(|p| by_mark.get(&p)) else {
                    continue;
                };
                let value = set.get(variable).filter(|value| !value.is_empty());
                found.push(VariablePort {
                    variable: variable.clone(),
                    service: service.name.clone(),
                    port: port.clone(),
                    // An invalid value is an error of `resolve`, not of this function.
                    number: value.and_then(|v| v.parse().ok()).unwrap_or(*default),
                    set: match set.contains_key(variable) {
                        false => VariableSource::Unset,
                        true if self.env.contains_key(variable) => VariableSource::User,
                        true if self.is_in_ports_file(variable) => VariableSource::PortsFile,
                        true => VariableSource::User,
                    },
                });
            }
        }
        Ok(HostPorts {
            variable: found,
            marked,
            marks: by_mark.into_keys().collect(),
        })
    }
}

impl Source {
    /// `variables`, and a mark for each variable that is not set and has a host port as its default. A
    /// default that two of them have is no conflict: `up` chooses another port for the second.
    pub(super) fn with_marked_defaults(
        &self,
        mut variables: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let texts = port_texts(&self.tree);
        let mut unset: Vec<_> = defaults(&texts).into_keys().collect();
        unset.retain(|name| !variables.contains_key(name));
        let marked = unset.into_iter().zip(marks(&texts));
        variables.extend(marked.map(|(name, mark)| (name, mark.to_string())));
        variables
    }
}

/// Numbers that are in none of the `texts`.
fn marks<'a>(texts: &'a [&str]) -> impl Iterator<Item = u16> + 'a {
    (1..=u16::MAX).rev().filter(|mark| {
        let mark = mark.to_string();
        !texts.iter().any(|text| text.contains(&mark))
    })
}

/// Texts of the services' published ports.
fn port_texts(tree: &Node) -> Vec<&str> {
    let Some(Value::Mapping(services)) = tree.get("services").map(|node| &node.value) else {
        return Vec::new();
    };
    let ports = services
        .iter()
        .filter_map(|(_, service)| match &service.get("ports")?.value {
            Value::Sequence(items) => Some(items),
            Value::Null | Value::Scalar(_) | Value::Mapping(_) => None,
        });
    ports
        .flatten()
        .filter_map(|item| item.get("published").unwrap_or(item).text())
        .collect()
}

/// Variables whose default is a port number, with that number.
fn defaults(texts: &[&str]) -> BTreeMap<String, u16> {
    let mut seen = Seen::default();
    for text in texts {
        // Errors are ignored here; `resolve` reports them.
        drop(interpolate::text(text, &Variables::default(), &mut seen));
    }
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
    let ports = seen.defaults.into_iter();
    ports
        .filter_map(|(name, default)| Some((name, port(&default)?)))
        .collect()
}

/// The file beside `.env` for one project.
pub(super) fn beside(env_file: &Path, project: &str) -> PathBuf {
    let mut name = env_file.as_os_str().to_owned();
    name.push(format!(".{project}"));
    PathBuf::from(name)
}
