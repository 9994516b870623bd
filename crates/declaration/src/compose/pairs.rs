//! Names and values, as a mapping or as a list of `NAME=VALUE`: environment, labels.

use std::collections::BTreeMap;

use crate::{
    context::Context,
    problem::Problem,
    source::dotenv::{self, Syntax},
    yaml::{Fields, View},
};

/// Names, each with its value if it has one.
#[derive(Default)]
pub(super) struct Pairs(BTreeMap<String, Option<String>>);

impl Pairs {
    pub(super) fn read(view: &View<'_>) -> Result<Self, Problem> {
        let mut pairs = BTreeMap::new();
        if view.is_mapping() {
            for (key, value) in view.entries()? {
                let value = if value.is_null() {
                    None
                } else {
                    Some(value.text()?)
                };
                pairs.insert(key.name.clone(), value);
            }
            return Ok(Self(pairs));
        }
        let mut files = BTreeMap::new();
        for item in view.items()? {
            let text = item.filled()?;
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text, None),
            };
            // A later file may override the value.
            let file = item.at().file;
            if files.insert(name.clone(), file) == Some(file) {
                return Err(item.problem(format!("`{name}` is set twice")));
            }
            pairs.insert(name, value);
        }
        Ok(Self(pairs))
    }

    /// The values; a name without a value gets an empty one.
    pub(super) fn or_empty(self) -> BTreeMap<String, String> {
        let filled = |(name, value): (_, Option<String>)| (name, value.unwrap_or_default());
        self.0.into_iter().map(filled).collect()
    }

    /// The values; a name without a value gets that of the variable of the same name, or is left out.
    pub(super) fn or_inherited(
        self,
        context: &Context<'_>,
    ) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().filter_map(|(name, value)| {
            let value = value.or_else(|| context.variables.get(&name).map(str::to_owned));
            value.map(|value| (name, value))
        })
    }
}

/// `env_file`, overridden by `environment`.
pub(super) fn environment(
    fields: &mut Fields<'_>,
    context: &Context<'_>,
) -> Result<BTreeMap<String, String>, Problem> {
    let mut environment = fields.read_or_default("env_file", |v| env_files(v, context))?;
    let own = fields.read_or_default("environment", Pairs::read)?;
    environment.extend(own.or_inherited(context));
    Ok(environment)
}

/// A path, or a list of paths or of `{path, required}`; later files override earlier ones.
pub(crate) fn env_files(
    view: &View<'_>,
    context: &Context<'_>,
) -> Result<BTreeMap<String, String>, Problem> {
    let entries = if view.is_sequence() {
        view.items()?
    } else {
        vec![view.clone()]
    };
    let mut values = BTreeMap::new();
    for entry in entries {
        let (path, required, syntax) = if entry.is_mapping() {
            let mut fields = entry.fields()?;
            let path = fields.require("path")?.filled()?;
            let required = fields.read("required", View::bool)?.unwrap_or(true);
            let syntax = fields.read("format", |v| v.word(&[("raw", Syntax::Raw)]))?;
            fields.finish_compose(&[])?;
            (path, required, syntax.unwrap_or(Syntax::DotEnv))
        } else {
            (entry.filled()?, true, Syntax::DotEnv)
        };
        let path_here = context.directory.join(&path);
        let found = dotenv::read(&path_here, syntax, context.variables.all())
            .map_err(|error| entry.problem(error.to_string()))?;
        match found {
            Some(found) => values.extend(found),
            None if required => return Err(entry.problem(format!("no such file: {path}"))),
            None => {}
        }
    }
    Ok(values)
}
