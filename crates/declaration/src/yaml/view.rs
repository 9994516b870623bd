//! Typed reading of a tree. Readers take keys from a mapping; remaining keys are unknown and an
//! error, so no key is silently ignored. Every fault has its position and path.

use std::{fmt::Display, str::FromStr, time::Duration};

use super::{Key, Kind, Node, Position, Scalar, Value};
use crate::{
    problem::{Problem, did_you_mean},
    units,
};

/// A node and its path.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub node: &'a Node,
    /// For instance `services.kafka.ports[0]`.
    pub path: String,
    /// An empty value is shown at its key.
    key: Option<Position>,
}

impl<'a> View<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self::below(node, String::new())
    }

    /// The node at `path`.
    pub(crate) fn below(node: &'a Node, path: String) -> Self {
        Self {
            node,
            path,
            key: None,
        }
    }

    pub(crate) fn at(&self) -> Position {
        match (&self.node.value, self.key) {
            (Value::Null, Some(key)) => key,
            _ => self.node.at,
        }
    }

    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(self.at(), self.path.clone(), message)
    }

    fn expected(&self, what: &str) -> Problem {
        self.problem(format!(
            "expected {what}, found {}",
            self.node.value.describe()
        ))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Mapping(_))
    }

    pub(crate) fn is_sequence(&self) -> bool {
        matches!(self.node.value, Value::Sequence(_))
    }

    fn scalar(&self, what: &str) -> Result<&'a Scalar, Problem> {
        match &self.node.value {
            Value::Scalar(scalar) => Ok(scalar),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => Err(self.expected(what)),
        }
    }

    pub(crate) fn str(&self) -> Result<&'a str, Problem> {
        self.scalar("a string").map(|s| s.text.as_str())
    }

    pub(crate) fn text(&self) -> Result<String, Problem> {
        self.str().map(str::to_owned)
    }

    /// A non-empty string.
    pub(crate) fn filled(&self) -> Result<String, Problem> {
        match self.str()? {
            "" => Err(self.problem("must not be empty")),
            text => Ok(text.to_owned()),
        }
    }

    /// Reads a scalar by `parse`, whose error says why it is not `what`.
    pub(crate) fn parse<T, E: Display>(
        &self,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        let scalar = self.scalar(what)?;
        parse(&scalar.text).map_err(|why| {
            // The reason may quote the value.
            if scalar.secret {
                self.problem(format!(
                    "expected {what}; its value comes from a secret and is not \
                                      shown"
                ))
            } else {
                self.problem(format!("expected {what}, found {:?}: {why}", scalar.text))
            }
        })
    }

    pub(crate) fn number<T: FromStr<Err: Display>>(&self, what: &str) -> Result<T, Problem> {
        self.parse(what, |text| text.trim().parse())
    }

    pub(crate) fn bool(&self) -> Result<bool, Problem> {
        self.parse("true or false", |text| match text {
            "true" | "True" | "TRUE" | "yes" | "on" => Ok(true),
            "false" | "False" | "FALSE" | "no" | "off" => Ok(false),
            _ => Err("neither"),
        })
    }

    pub(crate) fn duration(&self) -> Result<Duration, Problem> {
        self.parse("a duration such as 10s or 1m30s", units::duration)
    }

    pub(crate) fn bytes(&self) -> Result<i64, Problem> {
        self.parse("a size such as 256m or 1g", units::bytes)
    }

    /// Permissions of a file: a number (`0444` without quotes is octal for YAML), or a text of octal digits.
    pub(crate) fn mode(&self) -> Result<u32, Problem> {
        let scalar = self.scalar("a mode such as 0444")?;
        self.parse("a mode such as 0444", |text| match scalar.kind {
            Kind::Number => text.parse(),
            Kind::String | Kind::Bool => u32::from_str_radix(text.trim_start_matches("0o"), 8),
        })
    }

    /// Whether it is an empty text, which docker compose does not tell from a missing key.
    fn is_unset(&self) -> bool {
        self.node.text() == Some("")
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Problem> {
        let names = || words.iter().map(|(name, _)| *name);
        #[cfg(test)]
        super::accepted::words(&self.path, names());
        let list = names().collect::<Vec<_>>().join(", ");
        let scalar = self.scalar(&format!("one of {list}"))?;
        if let Some((_, value)) = words.iter().find(|(name, _)| *name == scalar.text) {
            return Ok(*value);
        }
        let given = if scalar.secret { "***" } else { &scalar.text };
        let near = did_you_mean(given, names());
        Err(self.problem(format!("expected one of {list}, found {given:?}{near}")))
    }

    pub(crate) fn items(&self) -> Result<Vec<Self>, Problem> {
        let Value::Sequence(items) = &self.node.value else {
            return Err(self.expected("a list"));
        };
        Ok(items
            .iter()
            .enumerate()
            .map(|(index, node)| View {
                node,
                path: format!("{}[{index}]", self.path),
                key: None,
            })
            .collect())
    }

    /// A list of strings.
    pub(crate) fn texts(&self) -> Result<Vec<String>, Problem> {
        self.items()?.iter().map(View::text).collect()
    }

    /// One string, or a list of them.
    pub(crate) fn text_or_texts(&self) -> Result<Vec<String>, Problem> {
        if self.is_sequence() {
            self.texts()
        } else {
            self.filled().map(|text| vec![text])
        }
    }

    /// A list of names, none twice.
    pub(crate) fn names(&self) -> Result<Vec<String>, Problem> {
        let mut names: Vec<String> = Vec::new();
        for item in self.items()? {
            let name = item.filled()?;
            if names.contains(&name) {
                return Err(item.problem(format!("`{name}` is named twice")));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// The entries of a mapping whose keys are chosen by the user.
    pub(crate) fn entries(&self) -> Result<Vec<(&'a Key, Self)>, Problem> {
        let Value::Mapping(entries) = &self.node.value else {
            return Err(self.expected("a mapping"));
        };
        Ok(entries.iter().map(|(k, v)| (k, self.child(k, v))).collect())
    }

    fn child(&self, key: &Key, node: &'a Node) -> Self {
        let path = if self.path.is_empty() {
            key.name.clone()
        } else {
            format!("{}.{}", self.path, key.name)
        };
        View {
            node,
            path,
            key: Some(key.at),
        }
    }

    /// The fields of a mapping with specified keys.
    pub(crate) fn fields(&self) -> Result<Fields<'a>, Problem> {
        Ok(Fields {
            view: self.clone(),
            rest: self.entries()?,
            known: Vec::new(),
        })
    }
}

/// Whether `key` is an extension field (`x-…`) of another tool. Misspellings of `x-caravan` are not.
pub(crate) fn is_foreign_extension(key: &str) -> bool {
    key.starts_with("x-") && strsim::levenshtein(key, "x-caravan") > 2
}

/// A mapping whose keys are specified.
pub(crate) struct Fields<'a> {
    view: View<'a>,
    rest: Vec<(&'a Key, View<'a>)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, key: &'static str) -> Option<View<'a>> {
        self.known.push(key);
        let index = self.rest.iter().position(|(k, _)| k.name == key)?;
        Some(self.rest.remove(index).1)
    }

    pub(crate) fn require(&mut self, key: &'static str) -> Result<View<'a>, Problem> {
        self.take(key)
            .ok_or_else(|| self.problem(format!("the key `{key}` is missing")))
    }

    /// Takes a key and reads its value.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&View<'a>) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        self.take(key).map(|view| read(&view)).transpose()
    }

    /// As [`Self::read`]; an empty text, for instance of a variable that is not set, is a missing key.
    pub(crate) fn read_set<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&View<'a>) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        self.take_set(key).map(|view| read(&view)).transpose()
    }

    /// As [`Self::take`]; an empty text is a missing key.
    pub(crate) fn take_set(&mut self, key: &'static str) -> Option<View<'a>> {
        self.take(key).filter(|view| !view.is_unset())
    }

    /// As [`Self::read`], with the type's default where the key is missing.
    pub(crate) fn read_or_default<T: Default>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&View<'a>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.read(key, read).map(Option::unwrap_or_default)
    }

    /// A fault of the mapping as a whole, shown at its key.
    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        let at = self.view.key.unwrap_or(self.view.node.at);
        Problem::new(at, self.view.path.clone(), message)
    }

    /// Rejects keys that were not taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        #[cfg(test)]
        super::accepted::keys(&self.view.path, &self.known);
        match self.rest.first() {
            Some((key, view)) => Err(self.unknown(key, view)),
            None => Ok(()),
        }
    }

    /// Rejects keys that were not taken, except extension fields (`x-…`) of other tools. `unsupported`
    /// are keys of Compose that Caravan does not support.
    pub(crate) fn finish_compose(self, unsupported: &[&str]) -> Result<(), Problem> {
        #[cfg(test)]
        super::accepted::keys(&self.view.path, &self.known);
        let ours = |key: &Key| !is_foreign_extension(&key.name);
        match self.rest.iter().find(|(key, _)| ours(key)) {
            Some((key, view)) if unsupported.contains(&key.name.as_str()) => {
                let message = format!("`{}` is not supported yet", key.name);
                Err(Problem::new(key.at, view.path.clone(), message)
                    .hint("remove it; docs/declaration.md lists the supported keys"))
            }
            Some((key, view)) => Err(self.unknown(key, view)),
            None => Ok(()),
        }
    }

    fn unknown(&self, key: &Key, view: &View<'_>) -> Problem {
        let near = did_you_mean(&key.name, self.known.iter().copied());
        let message = format!("unknown key{near}");
        let problem = Problem::new(key.at, view.path.clone(), message);
        if near.is_some() {
            problem
        } else if self.known.len() > MANY {
            problem.hint("remove it; docs/declaration.md lists the supported keys")
        } else {
            problem.hint(format!(
                "remove it; the known keys are {}",
                self.known.join(", ")
            ))
        }
    }
}

/// Maximum number of keys that an error lists.
const MANY: usize = 12;
