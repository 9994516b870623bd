//! Judges the evidence hop by hop: seen, missing or unknown.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Answers, FoundEvent, Report, lines::Lines, topics::Topics};
use crate::{
    flow::{Found, Hop, HopPlace, Sighting, Step, steps},
    stores::{StoreError, postgres::lookup::Lookup},
};
use declaration::Pipeline;
use diagnostics::Error;

/// Everything that was read.
pub(super) struct Evidence<'a> {
    pub(super) steps: &'a [Step],
    pub(super) rows: Result<Answers, StoreError>,
    pub(super) topics: Result<Topics, StoreError>,
    pub(super) lines: Result<Lines, Error>,
    pub(super) since: Option<DateTime<Utc>>,
}

impl Evidence<'_> {
    /// The message's events on the topic of a step.
    pub(super) fn events(&self, step: usize) -> &[FoundEvent] {
        let looked = self.topics.iter().flat_map(|t| &t.looked);
        let mut own = looked.filter(|(index, _)| *index == step);
        own.find_map(|(_, looked)| looked.as_ref())
            .map_or(&[], |looked| &looked.found)
    }

    /// The step of the topic that the service of `step`, or one that calls it, consumes.
    pub(super) fn input(&self, pipeline: &Pipeline, step: usize) -> Option<usize> {
        steps::input(pipeline, self.steps, step)
    }

    /// Adds to `trace` what was read, what could not be read and what does not answer.
    pub(super) fn describe_sources(&self, trace: &mut Report) {
        match &self.topics {
            Err(why) => trace.unreachable.push(why.to_string()),
            Ok(topics) => {
                for (step, looked) in &topics.looked {
                    let HopPlace::Topic { topic } = &self.steps[*step].place else {
                        continue;
                    };
                    let Some(looked) = looked else {
                        trace.looked.push(format!("topic {topic}: does not exist"));
                        continue;
                    };
                    trace.note_read(topic, looked.read, looked.unread, looked.kept_since);
                }
            }
        }
        match &self.lines {
            Err(why) => trace.unreachable.push(why.to_string()),
            Ok(lines) => {
                for (service, since) in &lines.whole_since {
                    let since = time(lines.since.max(Some(*since)).unwrap_or(*since));
                    trace
                        .looked
                        .push(format!("logs of {service}: since {since}"));
                }
                if lines.late {
                    trace.unread.push("logs: not completely".to_owned());
                }
            }
        }
        match &self.rows {
            Err(why) => trace.unreachable.push(why.to_string()),
            Ok(rows) => {
                for (step, answer) in rows {
                    let HopPlace::Table { table, .. } = &self.steps[*step].place else {
                        continue;
                    };
                    trace.looked.push(match answer {
                        Lookup::Rows(_) => format!("table {table}"),
                        Lookup::NotAnId => format!("table {table}: not a valid id for it"),
                        Lookup::Refused(why) => format!("table {table}: {why}"),
                    });
                }
            }
        }
    }
}

impl Report {
    /// Adds how many records of a topic were read, and how many were not.
    pub(super) fn note_read(
        &mut self,
        topic: &str,
        read: u64,
        unread: i64,
        kept_since: Option<DateTime<Utc>>,
    ) {
        let since = kept_since.map(|since| format!(", since {}", time(since)));
        let since = since.unwrap_or_default();
        let records = if read == 1 { "record" } else { "records" };
        self.looked
            .push(format!("topic {topic}: {read} {records} read{since}"));
        if unread > 0 {
            self.unread
                .push(format!("topic {topic}: about {unread} records"));
        }
    }
}

/// Sets the hops of `trace`.
pub(super) fn judge(pipeline: &Pipeline, evidence: &Evidence<'_>, trace: &mut Report) {
    let steps = evidence.steps.iter().enumerate();
    let mut found: Vec<_> = steps.map(|(index, _)| seen(evidence, index)).collect();
    trace.began = found.iter().filter_map(first).min();
    let events = || (0..found.len()).flat_map(|step| evidence.events(step));
    trace.synthetic = events().count() > 0 && events().all(|event| event.synthetic);
    let deleted = trace.synthetic && no_rows(evidence, |_| true);
    // `test-flow --direct` produces the first event itself.
    let entry = entry(evidence).filter(|_| trace.synthetic);
    let skipped = entry.filter(|entry| no_rows(evidence, |service| service == *entry));
    for index in 0..found.len() {
        if !matches!(found[index], Found::Missing(_)) {
            continue;
        }
        let came = evidence
            .input(pipeline, index)
            .and_then(|input| first(&found[input]))
            .or(trace.began);
        if let Some(why) = forgotten(evidence, index, came) {
            found[index] = Found::Unknown(why);
        } else if let HopPlace::Table { .. } = evidence.steps[index].place {
            let service = &evidence.steps[index].service;
            if deleted {
                found[index] = Found::Unknown("deleted: a test".to_owned());
            } else if skipped.is_some_and(|entry| entry == service) {
                found[index] = Found::Unknown(format!("a test event that {service} did not emit"));
            }
        }
    }
    trace.hops = evidence
        .steps
        .iter()
        .zip(found)
        .map(|(step, found)| Hop {
            step: step.clone(),
            found: since(found, trace.began),
        })
        .collect();
}

/// Sets how long after `began` each sighting was.
fn since(found: Found, began: Option<DateTime<Utc>>) -> Found {
    let after = |sighting: Sighting| Sighting {
        // Clocks of several machines may differ.
        after: (sighting.at.zip(began))
            .map(|(at, began)| (at - began).to_std().unwrap_or_default()),
        ..sighting
    };
    match found {
        Found::Seen(sightings) => Found::Seen(sightings.into_iter().map(after).collect()),
        other => other,
    }
}

fn first(found: &Found) -> Option<DateTime<Utc>> {
    match found {
        Found::Seen(sightings) => sightings.iter().filter_map(|s| s.at).min(),
        Found::Missing(_) | Found::Unknown(_) => None,
    }
}

/// The service that emits the first event.
fn entry<'a>(evidence: &Evidence<'a>) -> Option<&'a str> {
    let topic = |step: &&Step| matches!(step.place, HopPlace::Topic { .. });
    let first = evidence.steps.iter().find(topic)?;
    Some(&first.service)
}

/// Whether the tables of the services selected by `of` have no rows.
fn no_rows(evidence: &Evidence<'_>, of: impl Fn(&str) -> bool) -> bool {
    let none = |(step, answer): &(usize, Lookup)| {
        !of(&evidence.steps[*step].service) || matches!(answer, Lookup::Rows(r) if r.count == 0)
    };
    evidence
        .rows
        .as_ref()
        .is_ok_and(|rows| rows.iter().all(none))
}

/// What was seen of a hop. A hop that was not seen is `Missing` here; [`forgotten`] decides whether
/// it is unknown.
fn seen(evidence: &Evidence<'_>, index: usize) -> Found {
    let step = &evidence.steps[index];
    match &step.place {
        HopPlace::Topic { .. } => {
            if let Err(why) = &evidence.topics {
                return Found::Unknown(why.to_string());
            }
            let sighting = |event: &FoundEvent| Sighting {
                at: event.at,
                after: None,
                detail: format!(
                    "partition {} offset {}",
                    event.place.partition, event.place.offset
                ),
            };
            let sightings: Vec<_> = evidence.events(index).iter().map(sighting).collect();
            any(sightings)
        }
        HopPlace::Log { .. } => match &evidence.lines {
            Err(why) => Found::Unknown(why.to_string()),
            Ok(lines) => any(lines.seen.get(&index).cloned().unwrap_or_default()),
        },
        HopPlace::Table { rows, .. } => match &evidence.rows {
            Err(why) => Found::Unknown(why.to_string()),
            Ok(answers) => {
                let answer = answers.iter().find(|(step, _)| *step == index);
                table(*rows, answer.map(|(_, answer)| answer))
            }
        },
        // `steps` removes these.
        HopPlace::Entry { .. } | HopPlace::Cache { .. } => {
            Found::Unknown("leaves no trace".to_owned())
        }
    }
}

fn any(sightings: Vec<Sighting>) -> Found {
    match sightings.is_empty() {
        true => Found::Missing(None),
        false => Found::Seen(sightings),
    }
}

fn table(expected: i64, answer: Option<&Lookup>) -> Found {
    match answer {
        Some(Lookup::Rows(rows)) if rows.count == expected => {
            let plural = if expected == 1 { "" } else { "s" };
            Found::Seen(vec![Sighting {
                at: rows.last,
                after: None,
                detail: format!("{expected} row{plural}"),
            }])
        }
        Some(Lookup::Rows(rows)) if rows.count > 0 => {
            Found::Missing(Some(format!("{} of {expected} rows", rows.count)))
        }
        Some(Lookup::Rows(_) | Lookup::NotAnId) | None => Found::Missing(None),
        Some(Lookup::Refused(why)) => Found::Unknown(why.clone()),
    }
}

/// Why it is unknown whether a missing hop happened. `came`: when the service received its input.
fn forgotten(evidence: &Evidence<'_>, index: usize, came: Option<DateTime<Utc>>) -> Option<String> {
    let before = |since: Option<DateTime<Utc>>| {
        let since = since?;
        came.is_none_or(|came| came < since).then_some(since)
    };
    match &evidence.steps[index].place {
        HopPlace::Topic { .. } => {
            let topics = evidence.topics.as_ref().ok()?;
            let (_, looked) = topics.looked.iter().find(|(step, _)| *step == index)?;
            let looked = looked.as_ref()?;
            if looked.unread > 0 {
                return Some("not read completely in time".to_owned());
            }
            let since = before(looked.kept_since.max(evidence.since))?;
            Some(format!("read since {}", time(since)))
        }
        HopPlace::Log { service, .. } => {
            let lines = evidence.lines.as_ref().ok()?;
            if lines.late {
                return Some("not read completely in time".to_owned());
            }
            let Some(whole) = lines.whole_since.get(service) else {
                return Some("no container, so no log".to_owned());
            };
            let since = before(lines.since.max(Some(*whole)))?;
            Some(match since == *whole {
                true => format!("its log begins at {}", time(since)),
                false => format!("read since {}", time(since)),
            })
        }
        HopPlace::Table { .. } | HopPlace::Entry { .. } | HopPlace::Cache { .. } => None,
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests;
