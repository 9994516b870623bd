//! What is to be done to a topic, from what is declared and what is there.

use std::{collections::BTreeMap, fmt, time::Duration};

use humantime::format_duration;

use crate::pipeline::Topic;

/// A topic as the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Existing {
    pub(super) partitions: i32,
    /// `retention.ms`; -1 keeps for ever.
    pub(super) retention_ms: i64,
    /// Settings of the topic's own, `retention.ms` among them where it has one. Kafka's
    /// `AlterConfigs` resets whatever it is not handed, so that they are handed back.
    pub(super) overrides: BTreeMap<String, String>,
}

/// The way from what is there to what is declared, for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Create(Topic),
    /// Already there; each change that it needs, if any.
    Adjust {
        declared: Topic,
        existing: Existing,
        grow: bool,
        set_retention: bool,
    },
}

impl Step {
    pub(super) fn of(declared: &Topic, existing: Option<&Existing>) -> Self {
        match existing {
            None => Self::Create(declared.clone()),
            Some(existing) => Self::Adjust {
                grow: existing.partitions < declared.partitions,
                set_retention: existing.retention_ms != millis(declared.retention),
                declared: declared.clone(),
                existing: existing.clone(),
            },
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Create(_) => false,
            Self::Adjust {
                grow,
                set_retention,
                ..
            } => !grow && !set_retention,
        }
    }

    /// Whether there is more than declared: Kafka cannot take partitions away.
    pub(super) fn has_too_many(&self) -> bool {
        match self {
            Self::Create(_) => false,
            Self::Adjust {
                declared, existing, ..
            } => existing.partitions > declared.partitions,
        }
    }
}

/// What was done, in a line.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(Topic {
                name,
                partitions,
                retention,
            }) => write!(
                f,
                "{name}: made, {partitions} partitions, retention {}",
                format_duration(*retention)
            ),
            Self::Adjust {
                declared,
                existing,
                grow,
                set_retention,
            } => {
                write!(f, "{}: was there", declared.name)?;
                let (had, wanted) = (existing.partitions, declared.partitions);
                if *grow {
                    write!(f, ", grown from {had} to {wanted} partitions")?;
                } else {
                    write!(f, ", {had} partitions")?;
                }
                if self.has_too_many() {
                    write!(f, " (declared are {wanted}, and Kafka takes none away)")?;
                }
                let retention = format_duration(declared.retention);
                if *set_retention {
                    let before = retention_text(existing.retention_ms);
                    write!(f, ", retention set from {before} to {retention}")
                } else {
                    write!(f, ", retention {retention}")
                }
            }
        }
    }
}

/// Never saturates: a topic's retention is bounded where it is parsed.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn retention_text(ms: i64) -> String {
    u64::try_from(ms).map_or_else(
        |_| "for ever".to_owned(),
        |ms| format_duration(Duration::from_millis(ms)).to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    fn declared() -> Topic {
        crate::pipeline::topic_spec::parse("orders:3:7d").expect("a good specification")
    }

    fn existing(partitions: i32, retention_ms: i64) -> Existing {
        Existing {
            partitions,
            retention_ms,
            overrides: BTreeMap::new(),
        }
    }

    /// What is there, whether anything is to be done, and what is said.
    #[test]
    fn each_topic_gets_one_line() {
        for (existing, done, says) in [
            (None, false, "orders: made, 3 partitions, retention 7days"),
            (
                Some(existing(3, 7 * DAY_MS)),
                true,
                "orders: was there, 3 partitions, retention 7days",
            ),
            (
                Some(existing(1, 7 * DAY_MS)),
                false,
                "orders: was there, grown from 1 to 3 partitions, retention 7days",
            ),
            (
                Some(existing(3, DAY_MS)),
                false,
                "orders: was there, 3 partitions, retention set from 1day to 7days",
            ),
            (
                Some(existing(2, -1)),
                false,
                "orders: was there, grown from 2 to 3 partitions, \
                 retention set from for ever to 7days",
            ),
            (
                Some(existing(6, 7 * DAY_MS)),
                true,
                "orders: was there, 6 partitions (declared are 3, and Kafka takes none away), \
                 retention 7days",
            ),
        ] {
            let step = Step::of(&declared(), existing.as_ref());
            assert_eq!(step.to_string(), says);
            assert_eq!(step.is_done(), done, "{says}");
        }
    }

    #[test]
    fn a_topic_never_shrinks() {
        let step = Step::of(&declared(), Some(&existing(6, DAY_MS)));
        assert!(step.has_too_many());
        assert!(matches!(step, Step::Adjust { grow: false, .. }));
    }
}
