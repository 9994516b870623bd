//! `command` and `entrypoint`: a list, or a string that is split as a shell would split it.

use crate::{Invalid, problem::Problem, yaml::Fields};

/// None if the key is missing or empty (`command:`): the image's value applies.
pub(super) fn words(
    fields: &mut Fields<'_>,
    key: &'static str,
) -> Result<Option<Vec<String>>, Problem> {
    match fields.take(key) {
        Some(view) if view.is_null() => Ok(None),
        Some(view) if view.is_sequence() => view.texts().map(Some),
        Some(view) => view.parse("a command line or a list", split).map(Some),
        None => Ok(None),
    }
}

/// Splits POSIX words and quotes, without expansion.
pub(crate) fn split(line: &str) -> Result<Vec<String>, Invalid> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("it ends with a backslash".into()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Invalid> {
    for c in chars {
        match c {
            '\'' => return Ok(()),
            c => word.push(c),
        }
    }
    Err("a single quote is not closed".into())
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Invalid> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err("a double quote is not closed".into())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn as_a_shell_would() {
        for (line, words) in [
            ("", &[][..]),
            ("  run  worker ", &["run", "worker"]),
            (
                r#"sh -c "a 'b' \"c\" \n" 'd "e" \'"#,
                &["sh", "-c", r#"a 'b' "c" \n"#, r#"d "e" \"#],
            ),
            (r"a\ b ''", &["a b", ""]),
            (r#"x"y"'z'"#, &["xyz"]),
        ] {
            assert_eq!(split(line).expect(line), words, "{line}");
        }
        for line in ["'", "\"", "\"\\", "a\\"] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
