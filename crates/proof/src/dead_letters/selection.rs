//! Which dead letters a command is about.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};

use super::{DeadLetter, RecordId};

/// Places are alternatives to each other; everything else narrows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    pub places: Vec<RecordId>,
    pub reasons: Vec<String>,
    pub topics: Vec<String>,
    pub groups: Vec<String>,
    pub older_than: Option<Duration>,
    pub newer_than: Option<Duration>,
}

impl Selection {
    /// Whether it says anything; else it stands for all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A letter without what is asked for is not chosen.
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

    /// The flags that say the same, for a command line.
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
                let value = humantime::format_duration(value).to_string();
                words.push(format!("{flag} {}", value.replace(' ', "")));
            }
        }
        if words.is_empty() {
            words.push("--all".to_owned());
        }
        words.join(" ")
    }
}

/// What there is to choose from, so that a misspelt word can be told from one that matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    reasons: BTreeSet<String>,
    topics: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// Of the places asked for, those that were seen.
    places: BTreeSet<RecordId>,
}

/// More different words than this are not kept.
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

    /// What a selection asks for that is nowhere: what, and what there is instead.
    pub fn unknown(&self, selection: &Selection) -> Option<(String, String)> {
        if let Some(place) = selection.places.iter().find(|p| !self.places.contains(p)) {
            return Some((format!("no dead letter of {place}"), String::new()));
        }
        for (what, asked, there) in [
            ("with reason", &selection.reasons, &self.reasons),
            ("of topic", &selection.topics, &self.topics),
            ("of group", &selection.groups, &self.groups),
        ] {
            let missing = asked.iter().find(|word| !there.contains(*word));
            if let Some(word) = missing.filter(|_| there.len() < MAX_CHOICES) {
                let there: Vec<_> = there.iter().map(String::as_str).collect();
                let there = if there.is_empty() {
                    "none says".to_owned()
                } else {
                    format!("there are: {}", there.join(", "))
                };
                return Some((format!("no dead letter {what} {word:?}"), there));
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

    /// Chosen ten minutes after it was given up?
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
    fn flags_say_the_same() {
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
    fn what_is_nowhere_is_named_beside_what_there_is() {
        let mut choices = Choices::default();
        let asked = Selection {
            reasons: words("not-jsn"),
            ..Selection::default()
        };
        choices.note(&dead_letter(), &asked);
        let (what, there) = choices.unknown(&asked).expect("unknown");
        assert_eq!(what, "no dead letter with reason \"not-jsn\"");
        assert_eq!(there, "there are: not-json");
        let known = Selection {
            groups: words("billing"),
            ..Selection::default()
        };
        assert_eq!(choices.unknown(&known), None);
    }
}
