use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one message of the flow is called, for instance `payment` or `order`: the singular.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Noun(String);

impl Noun {
    /// Maximum number of characters.
    const LENGTH: usize = 32;

    /// The singular: `payment`.
    pub fn one(&self) -> &str {
        &self.0
    }

    /// The plural by the rules of English spelling: `payments`, `entries`, `boxes`. Irregular plurals
    /// are not supported.
    pub fn many(&self) -> String {
        let noun = &self.0;
        if let Some(stem) = noun.strip_suffix('y')
            && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
        {
            return format!("{stem}ies");
        }
        let sibilant = ["s", "x", "z", "ch", "sh"];
        match sibilant.iter().any(|ending| noun.ends_with(ending)) {
            true => format!("{noun}es"),
            false => format!("{noun}s"),
        }
    }
}

impl Default for Noun {
    fn default() -> Self {
        Self("flow".to_owned())
    }
}

impl FromStr for Noun {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        if text.len() > Self::LENGTH {
            Err("it is longer than 32 characters")
        } else if !text.split([' ', '-']).all(word) {
            Err("it contains something other than a to z, single hyphens and single spaces")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noun(text: &str) -> Noun {
        text.parse().expect("a noun")
    }

    #[test]
    fn plurals_are_spelled_as_in_english() {
        for (one, many) in [
            ("payment", "payments"),
            ("entry", "entries"),
            ("key", "keys"),
            ("business", "businesses"),
            ("batch", "batches"),
            ("box", "boxes"),
            ("sign-up", "sign-ups"),
            ("purchase order", "purchase orders"),
        ] {
            assert_eq!((noun(one).one(), noun(one).many()), (one, many.to_owned()));
        }
        let default = Noun::default();
        assert_eq!(
            (default.one(), default.many()),
            ("flow", "flows".to_owned())
        );
    }

    #[test]
    fn a_noun_is_a_short_lower_case_word() {
        for text in [
            "",
            "Order",
            "order ",
            "-order",
            "sign--up",
            "order2",
            "a\nb",
            "Überweisung",
            "abcdefghijklmnopqrstuvwxyzabcdefg",
        ] {
            assert!(text.parse::<Noun>().is_err(), "{text:?}");
        }
        assert!("abcdefghijklmnopqrstuvwxyzabcdef".parse::<Noun>().is_ok());
    }
}
