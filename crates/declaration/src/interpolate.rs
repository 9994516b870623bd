//! Compose's variables: `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?message}`,
//! `${VAR?message}`, `${VAR:+other}`, `${VAR+other}`, nested, and `$$` for a dollar. With a colon
//! an empty value counts as unset. A dollar that begins no variable is literal.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Invalid,
    problem::Problem,
    yaml::{Node, Value, is_foreign_extension},
};

/// Deeper nesting of defaults is a mistake.
const MAX_DEPTH: usize = 16;

/// Values of variables.
#[derive(Clone, Default)]
pub struct Variables {
    values: BTreeMap<String, String>,
    secrets: BTreeSet<String>,
}

impl Variables {
    /// `values` by name; `secrets` are the names of variables that hold secrets.
    pub fn new(
        values: BTreeMap<String, String>,
        secrets: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            values,
            secrets: secrets.into_iter().collect(),
        }
    }

    /// The value of a variable; empty if it is set to the empty string.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All values by name.
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

/// What interpolation found in the texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Variables without a value and default; they were replaced by the empty string.
    pub unset: BTreeSet<String>,
    /// Variables that were replaced by their default, with that default; only defaults without variables.
    pub defaults: BTreeMap<String, String>,
    /// Whether a secret was used.
    pub secret: bool,
}

/// The tree with every scalar value interpolated; keys are not. Adds names without a value to `unset`.
pub fn tree(
    node: &Node,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
) -> Result<Node, Problem> {
    below(node, variables, unset, "")
}

/// The value of a top-level key that [`tree`] leaves out, interpolated.
pub(super) fn extension(key: &str, node: &Node, variables: &Variables) -> Result<Node, Problem> {
    below(node, variables, &mut BTreeSet::new(), key)
}

fn below(
    node: &Node,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
    path: &str,
) -> Result<Node, Problem> {
    let value = match &node.value {
        Value::Null => Value::Null,
        Value::Scalar(scalar) => {
            let mut seen = Seen::default();
            let text = text(&scalar.text, variables, &mut seen)
                .map_err(|why| Problem::new(node.at, path, why.to_string()))?;
            unset.append(&mut seen.unset);
            let mut scalar = scalar.clone();
            scalar.text = text;
            scalar.secret |= seen.secret;
            Value::Scalar(scalar)
        }
        Value::Sequence(items) => Value::Sequence(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| below(item, variables, unset, &format!("{path}[{index}]")))
                .collect::<Result<_, _>>()?,
        ),
        Value::Mapping(entries) => Value::Mapping(
            entries
                .iter()
                // Top-level `x-` keys are interpolated where an alias refers to them.
                .filter(|(key, _)| !(path.is_empty() && is_foreign_extension(&key.name)))
                .map(|(key, value)| {
                    let dot = if path.is_empty() { "" } else { "." };
                    let path = format!("{path}{dot}{}", key.name);
                    below(value, variables, unset, &path).map(|value| (key.clone(), value))
                })
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Node { value, at: node.at })
}

/// `text` with its variables replaced.
///
/// # Errors
/// The text is invalid, or a `${VAR:?message}` has no value.
pub fn text(text: &str, variables: &Variables, seen: &mut Seen) -> Result<String, Invalid> {
    expand(text, variables, seen, 0)
}

fn expand(
    text: &str,
    variables: &Variables,
    seen: &mut Seen,
    depth: usize,
) -> Result<String, Invalid> {
    if depth > MAX_DEPTH {
        return Err(format!("defaults are nested more than {MAX_DEPTH} deep").into());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing_brace(inside)
                .ok_or_else(|| format!("`{}` is not closed by a `}}`", start(&rest[dollar..])))?;
            out.push_str(&braced(&inside[..end], variables, seen, depth)?);
            rest = &inside[end + 1..];
        } else {
            // A dollar that begins no variable is literal: `$(date)`, `5$`.
            let (name, after) = split_name(after);
            match name {
                "" => out.push('$'),
                name => out.push_str(&plain(name, variables, seen)),
            }
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Expands the text between `${` and `}`.
fn braced(
    inside: &str,
    variables: &Variables,
    seen: &mut Seen,
    depth: usize,
) -> Result<String, Invalid> {
    let (name, operation) = split_name(inside);
    if name.is_empty() {
        return Err(format!("`${{{inside}}}` has no variable name").into());
    }
    if operation.is_empty() {
        return Ok(plain(name, variables, seen));
    }
    let (colon, operation) = match operation.strip_prefix(':') {
        Some(operation) => (true, operation),
        None => (false, operation),
    };
    let value = variables.get(name).filter(|v| !(colon && v.is_empty()));
    let mut operator = operation.chars();
    match (operator.next(), value) {
        (Some('-' | '?'), Some(_)) => Ok(plain(name, variables, seen)),
        (Some('-'), None) => {
            let default = operator.as_str();
            if !default.contains('$') {
                seen.defaults.insert(name.to_owned(), default.to_owned());
            }
            expand(default, variables, seen, depth + 1)
        }
        (Some('+'), Some(_)) => expand(operator.as_str(), variables, seen, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => {
            let message = expand(operator.as_str(), variables, seen, depth + 1)?;
            Err(match message.as_str() {
                "" => format!("the required variable {name} is not set").into(),
                message => format!("the required variable {name} is not set: {message}").into(),
            })
        }
        _ => Err(format!(
            "`${{{inside}}}` is not one of ${{NAME}}, ${{NAME:-default}}, ${{NAME:?message}}, ${{NAME:+other}}"
        ).into()),
    }
}

/// The variable's value. If it has none: the empty string, and its name is added to `seen.unset`.
fn plain(name: &str, variables: &Variables, seen: &mut Seen) -> String {
    seen.secret |= variables.secrets.contains(name);
    match variables.get(name) {
        Some(value) => value.to_owned(),
        None => {
            seen.unset.insert(name.to_owned());
            String::new()
        }
    }
}

/// Index of the brace that closes the one before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 1;
    let mut index = 0;
    while index < bytes.len() {
        match (bytes[index], bytes.get(index + 1)) {
            (b'$', Some(b'$')) => index += 1,
            (b'$', Some(b'{')) => {
                open += 1;
                index += 1;
            }
            (b'}', _) => {
                open -= 1;
                if open == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
        index += 1;
    }
    None
}

fn split_name(text: &str) -> (&str, &str) {
    let end = text
        .char_indices()
        .find(|(i, c)| !(c.is_ascii_alphabetic() || *c == '_' || *i > 0 && c.is_ascii_digit()))
        .map_or(text.len(), |(i, _)| i);
    text.split_at(end)
}

/// The first characters of a text, for messages.
fn start(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let values = [("SET", "value"), ("EMPTY", ""), ("TOKEN", "s3cret")];
        Variables::new(
            values
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            ["TOKEN".to_owned()],
        )
    }

    fn expanded(template: &str) -> Result<String, Invalid> {
        text(template, &variables(), &mut Seen::default())
    }

    #[test]
    fn every_form_of_compose() {
        for (template, expected) in [
            ("plain", "plain"),
            ("$SET/${SET}.", "value/value."),
            ("$$SET $$1 $$$$", "$SET $1 $$"),
            ("$(date) $1 5$ ^[a-z]+$ a$!", "$(date) $1 5$ ^[a-z]+$ a$!"),
            ("${SET:-d}|${EMPTY:-d}|${UNSET:-d}", "value|d|d"),
            ("${SET-d}|${EMPTY-d}|${UNSET-d}", "value||d"),
            ("${SET:+x}|${EMPTY:+x}|${UNSET:+x}", "x||"),
            ("${SET+x}|${EMPTY+x}|${UNSET+x}", "x|x|"),
            ("${SET:?m}|${EMPTY?m}", "value|"),
            ("${UNSET:-${ALSO:-a ${SET} b}}", "a value b"),
            ("${UNSET:-}", ""),
            ("${UNSET:--Xms256m -Xmx512m}", "-Xms256m -Xmx512m"),
            ("${UNSET:-http://h:80/$$}", "http://h:80/$"),
            ("${SET:-${NEVER:?not evaluated}}", "value"),
            ("{{name}}", "{{name}}"),
        ] {
            assert_eq!(expanded(template), Ok(expected.to_owned()), "{template}");
        }
    }

    #[test]
    fn bad_forms_say_why() {
        for (template, part) in [
            ("${SET", "not closed"),
            ("${}", "no variable name"),
            ("${SET!x}", "is not one of"),
            (
                "${UNSET:?set it in .env}",
                "UNSET is not set: set it in .env",
            ),
            ("${EMPTY:?}", "EMPTY is not set"),
        ] {
            let error = expanded(template).expect_err(template).to_string();
            assert!(error.contains(part), "{template}: {error}");
        }
        let deep = format!("{}x{}", "${U:-".repeat(40), "}".repeat(40));
        let error = expanded(&deep).expect_err("too deep").to_string();
        assert!(error.contains("nested"), "{error}");
    }

    #[test]
    fn unset_variables_defaults_and_secrets_are_reported() {
        let mut seen = Seen::default();
        text(
            "$UNSET ${ALSO} ${DEFAULTED:-x} ${OTHERS:-$SET} $TOKEN",
            &variables(),
            &mut seen,
        )
        .expect("fine");
        assert_eq!(seen.unset.iter().collect::<Vec<_>>(), ["ALSO", "UNSET"]);
        let default = ("DEFAULTED".to_owned(), "x".to_owned());
        assert_eq!(seen.defaults, BTreeMap::from([default]));
        assert!(seen.secret);
    }
}
