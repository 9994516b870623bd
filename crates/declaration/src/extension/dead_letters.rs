//! `dead-letters`: the topic and the names of the headers.

use crate::{DeadLetterHeaders, problem::Problem, yaml::View};

/// Topic and headers of dead letters.
#[derive(Default)]
pub(super) struct DeadLetters {
    pub(super) topic: Option<String>,
    pub(super) headers: DeadLetterHeaders,
}

pub(super) fn dead_letters(view: &View<'_>) -> Result<DeadLetters, Problem> {
    if !view.is_mapping() {
        return Ok(DeadLetters {
            topic: Some(view.filled()?),
            headers: DeadLetterHeaders::default(),
        });
    }
    let mut fields = view.fields()?;
    let dead_letters = DeadLetters {
        topic: Some(fields.require("topic")?.filled()?),
        headers: fields.read_or_default("headers", headers)?,
    };
    fields.finish()?;
    Ok(dead_letters)
}

fn headers(view: &View<'_>) -> Result<DeadLetterHeaders, Problem> {
    let usual = DeadLetterHeaders::default();
    let mut fields = view.fields()?;
    let source = fields.read("source", View::filled)?;
    let mut name = |key, usual| Ok(fields.read(key, View::filled)?.unwrap_or(usual));
    let headers = DeadLetterHeaders {
        source,
        topic: name("topic", usual.topic)?,
        partition: name("partition", usual.partition)?,
        offset: name("offset", usual.offset)?,
        group: name("group", usual.group)?,
        reason: name("reason", usual.reason)?,
        error: name("error", usual.error)?,
        attempts: name("attempts", usual.attempts)?,
        failed_at: name("failed-at", usual.failed_at)?,
    };
    fields.finish()?;
    Ok(headers)
}
