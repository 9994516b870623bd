//! Quotes scalars for YAML, and escapes them for Compose's interpolation.

/// A plain scalar if YAML allows it, else in single quotes. Every `$` is doubled.
pub(super) fn word(text: &str) -> String {
    raw(&text.replace('$', "$$"))
}

/// As [`word`], for text whose variables are to be interpolated.
pub(super) fn raw(text: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_./: @+%=~${}()?".contains(c);
    let first = |c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '$');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(first)
        && text.chars().all(inner)
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !reserved.contains(&text.to_ascii_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

/// A scalar within `[…]` or `{…}`, where more characters have to be quoted.
pub(super) fn inline(text: &str) -> String {
    match text.contains(['{', '}', ',', ':', '?', '(']) {
        true => format!("'{}'", text.replace('$', "$$").replace('\'', "''")),
        false => word(text),
    }
}

/// `[a, b]`
pub(super) fn list(words: &[String]) -> String {
    let words: Vec<_> = words.iter().map(|text| inline(text)).collect();
    format!("[{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_a_meaning_in_yaml_is_quoted() {
        for (text, written) in [
            ("orders", "orders"),
            ("Started OrderApp in", "Started OrderApp in"),
            ("[Orders] Started", "'[Orders] Started'"),
            ("it's up: 1", "'it''s up: 1'"),
            ("8080", "'8080'"),
            ("yes", "'yes'"),
            ("costs $5", "costs $$5"),
            ("a # b", "'a # b'"),
        ] {
            assert_eq!(word(text), written);
        }
        assert_eq!(raw("redis://:${PW}@h:1/0"), "redis://:${PW}@h:1/0");
        assert_eq!(list(&["a".to_owned(), "b:1".to_owned()]), "[a, 'b:1']");
    }
}
