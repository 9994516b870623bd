//! The syntax of `.env` files, as docker compose reads it: `NAME=value` or `NAME: value`, comments, `export`,
//! single quotes (literal), double quotes (escapes), both over several lines, variables except in single
//! quotes, and a name alone, which gets the environment's value.

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

/// Syntax of a file of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// That of `.env`.
    DotEnv,
    /// `format: raw`: values are literal.
    Raw,
}

/// Reads a file of variables. Values may refer to `outer`, the variables of the environment, which a name
/// without a value gets its value from. None: the file does not exist.
///
/// # Errors
/// The file is unreadable, or a line is not an assignment. The error has only the line's number, because
/// its text may be a secret.
pub(crate) fn read(
    path: &Path,
    syntax: Syntax,
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
    let parsed = match syntax {
        Syntax::DotEnv => parse(&text, outer),
        Syntax::Raw => parse_raw(&text, outer),
    };
    parsed.map(Some).map_err(|BadLine { line, why }| {
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
    let text = text.trim_start_matches('\u{feff}');
    let mut values = BTreeMap::new();
    let mut rest = text;
    while let Some(statement) = statement(rest) {
        let wrong = |why| BadLine {
            line: 1 + text[..text.len() - statement.len()].matches('\n').count(),
            why,
        };
        rest = match name(statement).map_err(wrong)? {
            (name, None, rest) => {
                if let Some(value) = outer.get(name) {
                    values.insert(name.to_owned(), value.clone());
                }
                rest
            }
            (name, Some(value), _) => {
                let (value, rest) = parse_value(value, outer, &values).map_err(wrong)?;
                values.insert(name.to_owned(), value);
                rest
            }
        };
    }
    Ok(values)
}

/// The text from the next statement on. None: there is none.
fn statement(text: &str) -> Option<&str> {
    let mut text = text.trim_start();
    while text.starts_with('#') {
        let (_, after) = text.split_once('\n')?;
        text = after.trim_start();
    }
    (!text.is_empty()).then_some(text)
}

/// A statement's name, the text from its value on, and the text from the next line on. A name alone has no
/// value.
fn name(statement: &str) -> Result<(&str, Option<&str>, &str), Invalid> {
    let statement = match statement.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => statement,
    };
    let end = statement.find(['=', ':', '\n']).unwrap_or(statement.len());
    let (name, after) = statement.split_at(end);
    let name = name.trim_end();
    if name.is_empty() {
        return Err("what is before the `=` is not a variable's name".into());
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    if !name.chars().all(plain) {
        return Err(match after.is_empty() || after.starts_with('\n') {
            true => "this is not an assignment".into(),
            false => "what is before the `=` is not a variable's name".into(),
        });
    }
    match after.strip_prefix(['=', ':']) {
        Some(value) => Ok((name, Some(value.trim_start_matches(is_blank)), "")),
        None => Ok((name, None, after)),
    }
}

/// White space within a line.
fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

/// The value at the beginning of `text`, and the text after it.
fn parse_value<'a>(
    text: &'a str,
    outer: &BTreeMap<String, String>,
    earlier: &BTreeMap<String, String>,
) -> Result<(String, &'a str), Invalid> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        let value = line.split(" #").next().unwrap_or_default().trim_end();
        return Ok((expand(value, outer, earlier)?, rest));
    };
    let (inside, rest) = quoted(&text[1..], quote)?;
    let (line, _) = rest.split_once('\n').unwrap_or((rest, ""));
    let line = line.trim_start();
    if !line.is_empty() && !line.starts_with('#') {
        return Err("something follows the closing quote".into());
    }
    match quote {
        '"' => Ok((expand(&unescape(&inside), outer, earlier)?, rest)),
        _ => Ok((inside, rest)),
    }
}

/// The text up to the closing quote, where a backslash before a quote keeps it, and the text after it.
fn quoted(text: &str, quote: char) -> Result<(String, &str), Invalid> {
    let mut inside = String::new();
    let mut is_escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            c if c == quote && !is_escaped => return Ok((inside, &text[index + 1..])),
            c if c == quote => inside.push(c),
            '\\' if !is_escaped => {
                is_escaped = true;
                continue;
            }
            c if is_escaped => inside.extend(['\\', c]),
            c => inside.push(c),
        }
        is_escaped = false;
    }
    Err("the quote is not closed".into())
}

/// Replaces the escapes of a shell. An escaped dollar becomes `$$`, which interpolation turns into one
/// dollar.
fn unescape(text: &str) -> String {
    let mut value = String::new();
    let mut rest = text;
    while let Some(index) = rest.find('\\') {
        value.push_str(&rest[..index]);
        let after = &rest[index + 1..];
        let simple = match after.chars().next() {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some(c @ ('"' | '\\')) => Some(c),
            _ => None,
        };
        rest = match (simple, octal(after)) {
            (Some(c), _) => {
                value.push(c);
                &after[1..]
            }
            (None, Some(c)) => {
                value.push(c);
                &after[4..]
            }
            (None, None) if after.starts_with('$') => {
                value.push_str("$$");
                &after[1..]
            }
            (None, None) => {
                value.push('\\');
                after
            }
        };
    }
    value.push_str(rest);
    value
}

/// The character of `0ddd`, in octal digits.
fn octal(text: &str) -> Option<char> {
    let digits = text.strip_prefix('0')?.get(..3)?;
    let code = u32::from_str_radix(digits, 8).ok()?;
    char::from_u32(code).filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// The assignments of a file with `format: raw`: a value is the text after the `=`, as it is.
fn parse_raw(
    text: &str,
    outer: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, BadLine> {
    let mut values = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(BadLine {
                line: index + 1,
                why: "what is before the `=` is not a variable's name".into(),
            });
        }
        let value = value.or_else(|| outer.get(name).map(String::as_str));
        values.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    Ok(values)
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
        .map_err(|_| "a `${` here starts no variable; write `$${`, or quote with '…'".into())
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
            "OUTER\n",
            "NOT_SET\n",
            "A=2\r\n",
            "H: yaml # style\n",
            "I='it\\'s'\n",
            "J[0]=x\n",
            "K=\"-----BEGIN-----\nMIIB\n-----END-----\"\n",
            "GRÖSSE=1\n",
            "L=pa$$w0rd!$ $(date) 5$ ^[a-z]+$\n",
            "M={\"price\": \"5$\"}\n",
            "N='two\nlines' # and a comment\n",
            "O=\"\\0101\\c\\\\n\"\n",
            "LAST",
        ));
        let expected = [
            ("A", "2"),
            ("B", "two words"),
            ("C", "li$teral # \\n"),
            ("D", "a\tb \"c\" $x 1"),
            ("E", "o-1-d"),
            ("F", "a#b"),
            ("G", ""),
            ("OUTER", "o"),
            ("H", "yaml"),
            ("I", "it's"),
            ("J[0]", "x"),
            ("K", "-----BEGIN-----\nMIIB\n-----END-----"),
            ("GRÖSSE", "1"),
            ("L", "pa$w0rd!$ $(date) 5$ ^[a-z]+$"),
            ("M", "{\"price\": \"5$\"}"),
            ("N", "two\nlines"),
            ("O", "A\\c\\n"),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(values, BTreeMap::from(expected));
    }

    #[test]
    fn raw_values_are_literal() {
        let outer = BTreeMap::from([("OUTER".to_owned(), "o".to_owned())]);
        let text = "# a comment\nA='x' # y\nB=$A\\n\nOUTER\nNOT_SET\n";
        let values = parse_raw(text, &outer).expect("valid");
        let expected = [("A", "'x' # y"), ("B", "$A\\n"), ("OUTER", "o")];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(values, BTreeMap::from(expected));
        assert_eq!(
            parse_raw("A=1\nnot one\n", &outer).expect_err("bad").line,
            2
        );
    }

    #[test]
    fn a_bad_line_is_named_and_not_shown() {
        for (text, line) in [
            ("A=1\nnot an assignment\n", 2),
            ("=x\n", 1),
            ("A='open\n", 1),
            ("A=\"open\\\n", 1),
            ("A='x' y\n", 1),
            ("A=\"two\nlines\"\nB C=1\n", 3),
            ("\n\nPASSWORD=hunter2${!\n", 3),
        ] {
            let bad = parse(text, &BTreeMap::new()).expect_err(text);
            assert_eq!(bad.line, line, "{text}");
            let why = bad.why.to_string();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
