//! A fault in the declaration. It is shown as file, line, column, key, the source line with the fault
//! underlined, and a hint.

use std::fmt;

use super::yaml::Position;
use diagnostics::{Error, Kind};

/// Maximum length of a shown source line; longer lines are cut around the fault.
const WIDTH: usize = 100;
/// Maximum number of faults that are listed after the first.
const FURTHER: usize = 9;

/// One fault.
#[derive(Debug, Clone)]
pub struct Problem {
    pub at: Position,
    /// The key's path, for instance `services.kafka.ports`; empty if there is none.
    pub path: String,
    /// What is wrong, without file and path.
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(at: Position, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            at,
            path: path.into(),
            message: message.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Collected faults, so that one run reports more than the first.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// The value, or None after adding the fault.
    pub(crate) fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problem) => {
                self.add(problem);
                None
            }
        }
    }

    pub(crate) fn add(&mut self, problem: Problem) {
        // An anchor's value is read once for each alias; its fault is reported once.
        let again = |p: &Problem| p.at == problem.at && p.message == problem.message;
        if !self.0.iter().any(again) {
            self.0.push(problem);
        }
    }
}

/// A file of the declaration: its name in messages, and its text.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub name: String,
    pub text: String,
}

/// The error for these faults, in the order of the files: the first with its source line and hint, the
/// others in one line each.
pub(crate) fn error(mut problems: Vec<Problem>, files: &[File]) -> Error {
    problems.sort_by_key(|p| (p.at.file, p.at.line, p.at.column));
    let Some(first) = problems.first() else {
        return Error::new(
            Kind::Defect,
            "an error about the declaration without a fault",
        );
    };
    let mut error = Error::new(Kind::Usage, sentence(first, files));
    for line in excerpt(first.at, files) {
        error = error.because(line);
    }
    for problem in problems.iter().skip(1).take(FURTHER) {
        error = error.because(format!("also {}", sentence(problem, files)));
    }
    if problems.len() > FURTHER + 1 {
        error = error.because(format!("and {} more", problems.len() - FURTHER - 1));
    }
    match &first.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// `compose.yaml:3:5: services.kafka.build: not supported`.
fn sentence(problem: &Problem, files: &[File]) -> String {
    let Problem {
        at, path, message, ..
    } = problem;
    let name = files.get(at.file).map_or("?", |file| file.name.as_str());
    let separator = if path.is_empty() { "" } else { ": " };
    format!(
        "{name}:{}:{}: {path}{separator}{message}",
        at.line, at.column
    )
}

/// The source line, with carets under the fault.
fn excerpt(at: Position, files: &[File]) -> Vec<String> {
    let Some(line) = files
        .get(at.file)
        .and_then(|file| file.text.lines().nth(at.line.saturating_sub(1)))
    else {
        return Vec::new();
    };
    let column = at.column.saturating_sub(1);
    let skipped = if column > WIDTH / 2 && line.chars().count() > WIDTH {
        column - WIDTH / 2
    } else {
        0
    };
    // A tab is one character of the source and must be one column of the excerpt.
    let shown: String = line
        .chars()
        .skip(skipped)
        .take(WIDTH)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let shown = shown.trim_end();
    let column = column - skipped;
    let length = at
        .length
        .clamp(1, shown.chars().count().saturating_sub(column).max(1));
    let number = at.line.to_string();
    let gutter = " ".repeat(number.len());
    vec![
        format!("{number} | {shown}"),
        format!("{gutter} | {}{}", " ".repeat(column), "^".repeat(length)),
    ]
}

/// The known word that is most similar to the given one. Displays as a question, or as nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nearest<'a>(Option<&'a str>);

impl Nearest<'_> {
    pub(crate) fn is_some(self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

pub(crate) fn did_you_mean<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Nearest<'a> {
    Nearest(nearest(given, known))
}

/// The word with the smallest edit distance to `given`, if that is at most a third of its length (or 1).
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(given, word), word))
        .filter(|(distance, word)| *distance <= (word.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
