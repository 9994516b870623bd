//! What has to change in a topic, from its declaration and its state in the cluster.

use std::{collections::BTreeMap, fmt, time::Duration};

use humantime::format_duration;

use declaration::Topic;

/// A topic as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Name, partitions and retention.
    pub topic: Topic,
    /// The minimum for `max.message.bytes`, in bytes; None: the broker's default is enough.
    pub message_bytes: Option<i64>,
}

/// A topic as the broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// How many partitions it has.
    pub partitions: i32,
    /// `retention.ms`; -1 keeps records for ever.
    pub retention_ms: i64,
    /// `max.message.bytes`, in bytes.
    pub message_bytes: i64,
    /// Settings that override the broker's defaults, name and value. `AlterConfigs` resets every setting
    /// that it does not contain, so a change sends these along.
    pub overrides: BTreeMap<String, String>,
}

/// What one topic needs to be as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The topic does not exist.
    Create(Wanted),
    /// The topic exists; the flags say which changes it needs, if any.
    Adjust {
        /// The topic as declared.
        wanted: Wanted,
        /// The topic as the broker has it.
        existing: Existing,
        /// Whether partitions have to be added.
        grow: bool,
        /// Whether `retention.ms` differs.
        set_retention: bool,
        /// Whether `max.message.bytes` is too low.
        raise_message_bytes: bool,
    },
}

impl Step {
    /// Compares a declared topic with the existing one; None: it does not exist.
    pub fn of(wanted: &Wanted, existing: Option<&Existing>) -> Self {
        let wanted = wanted.clone();
        let retention = wanted.topic.retention;
        match existing {
            None => Self::Create(wanted),
            Some(existing) => Self::Adjust {
                grow: existing.partitions < wanted.topic.partitions,
                set_retention: retention.is_some_and(|r| existing.retention_ms != millis(r)),
                raise_message_bytes: wanted.message_bytes > Some(existing.message_bytes),
                wanted,
                existing: existing.clone(),
            },
        }
    }

    /// The topic as declared.
    pub fn wanted(&self) -> &Wanted {
        match self {
            Self::Create(wanted) | Self::Adjust { wanted, .. } => wanted,
        }
    }

    /// Whether the topic needs no change.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Create(_) => false,
            Self::Adjust {
                grow,
                set_retention,
                raise_message_bytes,
                ..
            } => !grow && !set_retention && !raise_message_bytes,
        }
    }

    /// Whether the topic has more partitions than declared: Kafka cannot remove any.
    pub fn has_too_many(&self) -> bool {
        match self {
            Self::Create(_) => false,
            Self::Adjust {
                wanted, existing, ..
            } => existing.partitions > wanted.topic.partitions,
        }
    }
}

/// One line that reports what was done.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(wanted) => {
                let Topic {
                    name, partitions, ..
                } = &wanted.topic;
                write!(f, "{name}: created, {partitions} partitions")?;
                if let Some(retention) = wanted.topic.retention {
                    write!(f, ", retention {}", format_duration(retention))?;
                }
                write_message_bytes(f, wanted.message_bytes)
            }
            Self::Adjust {
                wanted,
                existing,
                grow,
                set_retention,
                raise_message_bytes,
            } => {
                write!(f, "{}: exists", wanted.topic.name)?;
                self.write_partitions(f, existing.partitions, wanted.topic.partitions, *grow)?;
                if let Some(retention) = wanted.topic.retention.map(format_duration) {
                    if *set_retention {
                        let before = retention_text(existing.retention_ms);
                        write!(f, ", retention set from {before} to {retention}")?;
                    } else {
                        write!(f, ", retention {retention}")?;
                    }
                }
                write_message_bytes(f, wanted.message_bytes.filter(|_| *raise_message_bytes))
            }
        }
    }
}

impl Step {
    fn write_partitions(
        &self,
        f: &mut fmt::Formatter<'_>,
        had: i32,
        wanted: i32,
        grow: bool,
    ) -> fmt::Result {
        if grow {
            return write!(f, ", grown from {had} to {wanted} partitions");
        }
        write!(f, ", {had} partitions")?;
        if self.has_too_many() {
            write!(f, " (declared are {wanted}; Kafka cannot remove any)")?;
        }
        Ok(())
    }
}

fn write_message_bytes(f: &mut fmt::Formatter<'_>, set: Option<i64>) -> fmt::Result {
    match set {
        Some(bytes) => write!(f, ", max.message.bytes set to {bytes}"),
        None => Ok(()),
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
    use declaration::topic_spec;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;

    fn wanted(message_bytes: Option<i64>) -> Wanted {
        Wanted {
            topic: topic_spec::parse("orders:3:7d").expect("a good specification"),
            message_bytes,
        }
    }

    fn existing(partitions: i32, retention_ms: i64) -> Existing {
        Existing {
            partitions,
            retention_ms,
            message_bytes: 1000,
            overrides: BTreeMap::new(),
        }
    }

    /// The existing topic, whether it needs no change, and the line.
    #[test]
    fn each_topic_gets_one_line() {
        for (existing, done, says) in [
            (
                None,
                false,
                "orders: created, 3 partitions, retention 7days",
            ),
            (
                Some(existing(3, 7 * DAY_MS)),
                true,
                "orders: exists, 3 partitions, retention 7days",
            ),
            (
                Some(existing(1, 7 * DAY_MS)),
                false,
                "orders: exists, grown from 1 to 3 partitions, retention 7days",
            ),
            (
                Some(existing(3, DAY_MS)),
                false,
                "orders: exists, 3 partitions, retention set from 1day to 7days",
            ),
            (
                Some(existing(2, -1)),
                false,
                "orders: exists, grown from 2 to 3 partitions, \
                 retention set from for ever to 7days",
            ),
            (
                Some(existing(6, 7 * DAY_MS)),
                true,
                "orders: exists, 6 partitions (declared are 3; Kafka cannot remove any), \
                 retention 7days",
            ),
        ] {
            let step = Step::of(&wanted(None), existing.as_ref());
            assert_eq!(step.to_string(), says);
            assert_eq!(step.is_done(), done, "{says}");
        }
    }

    #[test]
    fn a_topic_never_shrinks() {
        let step = Step::of(&wanted(None), Some(&existing(6, DAY_MS)));
        assert!(step.has_too_many());
        assert!(matches!(step, Step::Adjust { grow: false, .. }));
    }

    #[test]
    fn a_message_limit_is_raised_and_never_lowered() {
        let there = existing(3, 7 * DAY_MS);
        let raised = Step::of(&wanted(Some(1001)), Some(&there));
        assert!(!raised.is_done());
        assert!(
            raised
                .to_string()
                .ends_with("max.message.bytes set to 1001")
        );
        assert!(Step::of(&wanted(Some(999)), Some(&there)).is_done());
        let made = Step::of(&wanted(Some(1001)), None);
        assert!(made.to_string().ends_with("max.message.bytes set to 1001"));
    }
}
