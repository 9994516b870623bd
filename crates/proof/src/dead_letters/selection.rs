//! Which dead letters a command processes.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};

use super::{DeadLetter, RecordId};

/// A filter. A dead letter has to match every non-empty field, and one value within a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Dead letters of these source records, or that are these records; empty: any.
    pub places: Vec<RecordId>,
    /// Dead letters with one of these reasons; empty: any reason.
    pub reasons: Vec<String>,
    /// Dead letters whose source topic is one of these; empty: any topic.
    pub topics: Vec<String>,
    /// Dead letters of one of these consumer groups; empty: any group.
    pub groups: Vec<String>,
    /// Dead letters of at least this age.
    pub older_than: Option<Duration>,
    /// Dead letters younger than this.
    pub newer_than: Option<Duration>,
}

impl Selection {
    /// Whether no field is set: the selection matches all dead letters.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a dead letter matches. A header that is missing matches no filter.
    pub fn chooses(&self, dead_letter: &DeadLetter, now: DateTime<Utc>) -> bool {
        let named = |words: &[String], word: Option<&str>| {
            words.is_empty() || word.is_some_and(|word| words.iter().any(|w| w == word))
        };
        let placed = self.places.is_empty()
            || self
                .places
                .iter()
                .any(|p| *p == dead_letter.own || Some(p) == dead_letter.source.as_ref());
        let age = dead_letter.age(now);
        placed
            && named(&self.reasons, dead_letter.reason.as_deref())
            && named(&self.topics, dead_letter.source.as_ref().map(|s| &*s.topic))
            && named(&self.groups, dead_letter.group.as_deref())
            && self
                .older_than
                .is_none_or(|than| age.is_some_and(|age| age >= than))
            && self
                .newer_than
                .is_none_or(|than| age.is_some_and(|age| age < than))
    }

    /// The command-line arguments for this selection.
    pub fn flags(&self) -> String {
        let mut words: Vec<String> = self.places.iter().map(RecordId::to_string).collect();
        for (flag, values) in [
            ("--reason", &self.reasons),
            ("--topic", &self.topics),
            ("--group", &self.groups),
        ] {
            let quoted = values.iter().map(|v| diagnostics::quote(v));
            words.extend(quoted.map(|value| format!("{flag} {value}")));
        }
        for (flag, value) in [
            ("--older-than", self.older_than),
            ("--newer-than", self.newer_than),
        ] {
            if let Some(value) = value {
                words.push(format!("{flag} {}", declaration::units::exact(value)));
            }
        }
        if words.is_empty() {
            words.push("--all".to_owned());
        }
        words.join(" ")
    }
}

/// The reasons, topics and groups that exist, so that a misspelt filter is reported instead of an
/// empty result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    reasons: BTreeSet<String>,
    topics: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// The selected records that were found.
    places: BTreeSet<RecordId>,
}

/// Maximum number of distinct values that are kept.
const MAX_CHOICES: usize = 200;

impl Choices {
    pub(super) fn note(&mut self, dead_letter: &DeadLetter, selection: &Selection) {
        note(&mut self.reasons, dead_letter.reason.as_deref());
        note(
            &mut self.topics,
            dead_letter.source.as_ref().map(|s| &*s.topic),
        );
        note(&mut self.groups, dead_letter.group.as_deref());
        for place in &selection.places {
            if *place == dead_letter.own || Some(place) == dead_letter.source.as_ref() {
                self.places.insert(place.clone());
            }
        }
    }

    /// The first value of a selection that no dead letter has, and the values that exist.
    pub fn unknown(&self, selection: &Selection) -> Option<(String, String)> {
        if let Some(place) = selection.places.iter().find(|p| !self.places.contains(p)) {
            return Some((format!("no dead letter of {place}"), String::new()));
        }
        for (what, requested, existing) in [
            ("with reason", &selection.reasons, &self.reasons),
            ("of topic", &selection.topics, &self.topics),
            ("of group", &selection.groups, &self.groups),
        ] {
            let missing = requested.iter().find(|word| !existing.contains(*word));
            if let Some(word) = missing.filter(|_| existing.len() < MAX_CHOICES) {
                let existing: Vec<_> = existing.iter().map(String::as_str).collect();
                let existing = if existing.is_empty() {
                    "none says".to_owned()
                } else {
                    format!("there are: {}", existing.join(", "))
                };
                return Some((format!("no dead letter {what} {word:?}"), existing));
            }
        }
        None
    }
}

fn note(words: &mut BTreeSet<String>, word: Option<&str>) {
    if let Some(word) = word
        && words.len() < MAX_CHOICES
        && !words.contains(word)
    {
        words.insert(word.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn dead_letter() -> DeadLetter {
        DeadLetter {
            own: RecordId::new("dead", 1, 5),
            source: Some(RecordId::new("orders", 2, 17)),
            group: Some("billing".to_owned()),
            reason: Some("not-json".to_owned()),
            error: None,
            attempts: None,
            at: DateTime::from_timestamp(0, 0),
        }
    }

    fn words(word: &str) -> Vec<String> {
        vec![word.to_owned()]
    }

    /// Whether a dead letter of this age (ten minutes) is selected.
    fn chooses(selection: &Selection) -> bool {
        let now = DateTime::from_timestamp(600, 0).expect("a time");
        selection.chooses(&dead_letter(), now)
    }

    #[test]
    fn each_part_narrows() {
        let all = Selection::default();
        assert!(all.is_empty() && chooses(&all));
        for (selection, chosen) in [
            (
                Selection {
                    reasons: words("not-json"),
                    ..all.clone()
                },
                true,
            ),
            (
                Selection {
                    reasons: words("empty"),
                    ..all.clone()
                },
                false,
            ),
            (
                Selection {
                    topics: words("orders"),
                    ..all.clone()
                },
                true,
            ),
            (
                Selection {
                    topics: words("bills"),
                    ..all.clone()
                },
                false,
            ),
            (
                Selection {
                    groups: words("billing"),
                    ..all.clone()
                },
                true,
            ),
            (
                Selection {
                    groups: words("shipping"),
                    ..all.clone()
                },
                false,
            ),
            (
                Selection {
                    older_than: Some(10 * MINUTE),
                    ..all.clone()
                },
                true,
            ),
            (
                Selection {
                    newer_than: Some(10 * MINUTE),
                    ..all.clone()
                },
                false,
            ),
            (
                Selection {
                    places: vec![RecordId::new("orders", 2, 17)],
                    ..all.clone()
                },
                true,
            ),
            (
                Selection {
                    places: vec![RecordId::new("dead", 1, 5)],
                    ..all.clone()
                },
                true,
            ),
            (
                Selection {
                    places: vec![RecordId::new("orders", 2, 18)],
                    ..all.clone()
                },
                false,
            ),
            (
                Selection {
                    reasons: words("not-json"),
                    groups: words("shipping"),
                    ..all
                },
                false,
            ),
        ] {
            assert_eq!(chooses(&selection), chosen, "{selection:?}");
        }
    }

    #[test]
    fn flags_express_the_selection() {
        let selection = Selection {
            places: vec![RecordId::new("orders", 2, 17)],
            reasons: words("it's odd"),
            older_than: Some(90 * MINUTE),
            ..Selection::default()
        };
        assert_eq!(
            selection.flags(),
            r"orders/2/17 --reason 'it'\''s odd' --older-than 1h30m"
        );
        assert_eq!(Selection::default().flags(), "--all");
    }

    #[test]
    fn an_unknown_value_is_reported_with_the_existing_ones() {
        let mut choices = Choices::default();
        let requested = Selection {
            reasons: words("not-jsn"),
            ..Selection::default()
        };
        choices.note(&dead_letter(), &requested);
        let (what, existing) = choices.unknown(&requested).expect("unknown");
        assert_eq!(what, "no dead letter with reason \"not-jsn\"");
        assert_eq!(existing, "there are: not-json");
        let known = Selection {
            groups: words("billing"),
            ..Selection::default()
        };
        assert_eq!(choices.unknown(&known), None);
    }
}
