//! `NAME:PARTITIONS:RETENTION`, the short form of a topic in `x-caravan.topics` and on the command line
//! of `caravan run kafka-init`.

use std::{collections::BTreeMap, time::Duration};

use super::{Invalid, Topic};

/// A larger number is probably a typing error.
const MAX_PARTITIONS: i32 = 10_000;
/// `retention.ms` is a Java long, but a longer retention is probably a typing error.
const MAX_RETENTION: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Reads one specification, for instance `purchase-confirmed:3:7d`.
///
/// # Errors
/// A message that quotes the specification and says what is wrong.
pub fn parse(spec: &str) -> Result<Topic, Invalid> {
    let wrong = |why: Invalid| -> Invalid {
        format!("topic {spec:?} is not NAME:PARTITIONS:RETENTION (orders:3:7d): {why}").into()
    };
    let parts: Vec<&str> = spec.split(':').collect();
    let [name, partitions, retention] = parts[..] else {
        return Err(wrong(format!("it has {} parts", parts.len()).into()));
    };
    Ok(Topic {
        name: parse_name(name).map_err(wrong)?,
        partitions: parse_partitions(partitions).map_err(wrong)?,
        retention: Some(parse_retention(retention).map_err(wrong)?),
        replication: None,
        min_insync: None,
        settings: BTreeMap::new(),
    })
}

/// Kafka's rules for a topic's name.
pub(super) fn parse_name(name: &str) -> Result<String, Invalid> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 {
        return Err("a name has 1 to 249 characters".into());
    }
    if let Some(odd) = name.chars().find(|c| !allowed(*c)) {
        return Err(
            format!("a name has ASCII letters, digits, '.', '_' and '-', not {odd:?}").into(),
        );
    }
    if name == "." || name == ".." {
        return Err(format!("{name:?} cannot be a name").into());
    }
    Ok(name.to_owned())
}

pub(super) fn parse_partitions(text: &str) -> Result<i32, Invalid> {
    match text.parse() {
        Ok(count @ 1..=MAX_PARTITIONS) => Ok(count),
        _ => {
            Err(format!("{text:?} is not a number of partitions from 1 to {MAX_PARTITIONS}").into())
        }
    }
}

/// The replication factor of a topic.
pub(super) fn parse_copies(text: &str) -> Result<i32, Invalid> {
    match text.parse::<i16>() {
        Ok(count @ 1..) => Ok(count.into()),
        _ => Err("it is not 1 or more".into()),
    }
}

pub(super) fn parse_retention(text: &str) -> Result<Duration, Invalid> {
    let retention = humantime::parse_duration(text)
        .map_err(|e| format!("{text:?} is not a duration such as 7d or 12h: {e}"))?;
    if retention < Duration::from_secs(1) || retention > MAX_RETENTION {
        return Err(format!("{text:?} is not between 1s and 100 years").into());
    }
    Ok(retention)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_name_partitions_and_retention() {
        let topic = parse("dead-letter-queue:3:30d").expect("a good specification");
        assert_eq!(
            topic,
            Topic {
                name: "dead-letter-queue".to_owned(),
                partitions: 3,
                retention: Some(Duration::from_secs(30 * 24 * 60 * 60)),
                replication: None,
                min_insync: None,
                settings: BTreeMap::new(),
            }
        );
        let compound = parse("a.b_C-9:1:1d 12h").expect("humantime's compound durations");
        assert_eq!(compound.retention, Some(Duration::from_secs(36 * 60 * 60)));
    }

    #[test]
    fn an_invalid_specification_is_rejected_with_a_reason() {
        for (spec, why) in [
            ("", "it has 1 parts"),
            ("orders", "it has 1 parts"),
            ("orders:3", "it has 2 parts"),
            ("orders:3:7d:x", "it has 4 parts"),
            (":3:7d", "1 to 249 characters"),
            ("..:3:7d", "cannot be a name"),
            ("or ders:3:7d", "not ' '"),
            ("orders:0:7d", "not a number of partitions"),
            ("orders:-1:7d", "not a number of partitions"),
            ("orders:many:7d", "not a number of partitions"),
            ("orders:3:7", "not a duration"),
            ("orders:3:forever", "not a duration"),
            ("orders:3:0s", "between 1s and 100 years"),
            ("orders:3:200years", "between 1s and 100 years"),
        ] {
            let refusal = parse(spec).expect_err(spec).to_string();
            assert!(refusal.contains(why), "{spec}: {refusal}");
            assert!(refusal.contains(&format!("{spec:?}")), "{refusal}");
        }
    }
}
