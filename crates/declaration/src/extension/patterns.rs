//! Patterns of log lines: a text, or `{regex: "…"}`.

use std::collections::BTreeMap;

use regex::Regex;

use crate::{Invalid, Pattern, problem::Problem, yaml::View};

pub(super) fn pattern(view: &View<'_>) -> Result<Pattern, Problem> {
    if !view.is_mapping() {
        return view.filled().map(Pattern::Literal);
    }
    let mut fields = view.fields()?;
    let regex = regex(&fields.require("regex")?)?;
    fields.finish()?;
    Ok(Pattern::Regex(regex))
}

/// A regular expression that is not empty.
pub(super) fn regex(view: &View<'_>) -> Result<Regex, Problem> {
    view.filled()?;
    view.parse("a regular expression", |text| {
        Regex::new(text).map_err(|error| reason(&error))
    })
}

/// The last line of the library's message: the lines before it draw the position.
fn reason(error: &regex::Error) -> Invalid {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or(&text);
    last.trim_start_matches("error: ").to_owned().into()
}

pub(super) fn list(view: &View<'_>) -> Result<Vec<Pattern>, Problem> {
    view.items()?.iter().map(pattern).collect()
}

pub(super) fn named(view: &View<'_>) -> Result<BTreeMap<String, Pattern>, Problem> {
    let named =
        |(key, view): (&crate::yaml::Key, View<'_>)| Ok((key.name.clone(), pattern(&view)?));
    view.entries()?.into_iter().map(named).collect()
}
