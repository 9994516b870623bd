//! The syntax of `.env` files: `NAME=value`, comments, `export`, single quotes (literal), double quotes
//! (escapes), and variables except in single quotes.

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Read},
    path::Path,
};

use crate::{
    Invalid,
    interpolate::{self, Seen, Variables},
};
use diagnostics::{Error, Kind, Result, instrument_blocking};

/// Reads a file of variables. Values may refer to `outer`, the variables of the environment. None: the
/// file does not exist.
///
/// # Errors
/// The file is unreadable, or a line is not an assignment. The error has only the line's number, because
/// its text may be a secret.
pub(crate) fn read(
    path: &Path,
    outer: &BTreeMap<String, String>,
) -> Result<Option<BTreeMap<String, String>>> {
    let text = fs::File::open(path).and_then(|mut file| {
        instrument_blocking("files", format!("read {}", path.display()), || {
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        })
    });
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format!("cannot read {}", path.display());
            return Err(Error::new(Kind::Usage, what).because(error.to_string()));
        }
    };
    parse(&text, outer)
        .map(Some)
        .map_err(|BadLine { line, why }| {
            Error::new(Kind::Usage, format!("{}:{line}: {why}", path.display()))
                .hint("a line is NAME=value, NAME='literal value' or NAME=\"value\"")
        })
}

/// A line that is no assignment, by its number.
#[derive(Debug)]
struct BadLine {
    line: usize,
    why: Invalid,
}

/// The assignments of a file; later ones override earlier ones.
fn parse(
    text: &str,
    outer: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, BadLine> {
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |why| BadLine {
            line: index + 1,
            why,
        };
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = match line.strip_prefix("export") {
            Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
            _ => line,
        };
        let Some((name, value)) = line.split_once('=') else {
            // A name alone means the environment's value, which overrides the file's anyway.
            if is_name(line) {
                continue;
            }
            return Err(wrong("this is not an assignment".into()));
        };
        let name = name.trim_end();
        if !is_name(name) {
            return Err(wrong(
                "what is before the `=` is not a variable's name".into(),
            ));
        }
        let value = parse_value(value.trim_start(), outer, &values).map_err(wrong)?;
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

fn is_name(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn parse_value(
    text: &str,
    outer: &BTreeMap<String, String>,
    earlier: &BTreeMap<String, String>,
) -> Result<String, Invalid> {
    let (value, rest) = match text.chars().next() {
        Some('\'') => {
            let (literal, rest) = text[1..]
                .split_once('\'')
                .ok_or("the single quote is not closed on its line")?;
            (literal.to_owned(), rest)
        }
        Some('"') => {
            let (value, rest) = unescape(&text[1..])?;
            (expand(&value, outer, earlier)?, rest)
        }
        _ => {
            let comment = text
                .match_indices('#')
                .find(|(i, _)| text[..*i].ends_with(char::is_whitespace) || *i == 0);
            let end = comment.map_or(text.len(), |(i, _)| i);
            (expand(text[..end].trim_end(), outer, earlier)?, "")
        }
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value)
    } else {
        Err("something follows the closing quote".into())
    }
}

/// The text up to the closing double quote, and the rest. An escaped dollar becomes `$$`, which
/// interpolation turns into one dollar.
fn unescape(text: &str) -> Result<(String, &str), Invalid> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[index + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, '$')) => value.push_str("$$"),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("the double quote is not closed on its line".into())
}

fn expand(
    text: &str,
    outer: &BTreeMap<String, String>,
    earlier: &BTreeMap<String, String>,
) -> Result<String, Invalid> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let mut values = earlier.clone();
    values.extend(outer.clone());
    // Errors do not quote the text, because it may be a secret.
    interpolate::text(text, &Variables::new(values, []), &mut Seen::default())
        .map_err(|_| "a `$` here starts no variable; write `$$`, or quote with '…'".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> BTreeMap<String, String> {
        let outer = BTreeMap::from([("OUTER".to_owned(), "o".to_owned())]);
        parse(text, &outer).expect("valid")
    }

    #[test]
    fn what_composes_users_write() {
        let values = parsed(concat!(
            "# a comment\n\n",
            "A=1\n",
            "export B = two words # and a comment\n",
            "C='li$teral # \\n'\n",
            "D=\"a\\tb \\\"c\\\" \\$x ${A}\" # after\n",
            "E=${OUTER}-$A-${NONE:-d}\n",
            "F=a#b\n",
            "G=\n",
            "H= # nothing\n",
            "OUTER\n",
            "A=2\r\n",
        ));
        let expected = [
            ("A", "2"),
            ("B", "two words"),
            ("C", "li$teral # \\n"),
            ("D", "a\tb \"c\" $x 1"),
            ("E", "o-1-d"),
            ("F", "a#b"),
            ("G", ""),
            ("H", ""),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(values, BTreeMap::from(expected));
    }

    #[test]
    fn a_bad_line_is_named_and_not_shown() {
        for (text, line) in [
            ("A=1\nnot an assignment\n", 2),
            ("=x\n", 1),
            ("A='open\n", 1),
            ("A=\"open\\\n", 1),
            ("A='x' y\n", 1),
            ("\n\nPASSWORD=hunter2$!\n", 3),
        ] {
            let bad = parse(text, &BTreeMap::new()).expect_err(text);
            assert_eq!(bad.line, line, "{text}");
            let why = bad.why.to_string();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
