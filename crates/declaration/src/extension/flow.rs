//! `flow`: how a message enters the pipeline, how it is correlated, and what it leaves.

use super::{patterns::regex, texts};
use crate::{
    Entry, FirstEvent, Flow, IdSource, Invalid, InvalidatedKeys, Noun, Poison,
    correlation::{Correlation, EventPart, ID, LogCorrelation},
    problem::Problem,
    yaml::{Kind, Node, Value, View},
};

const METHODS: [(&str, &str); 3] = [("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];

pub(super) fn flow(view: &View<'_>) -> Result<Flow, Problem> {
    let mut fields = view.fields()?;
    let flow = Flow {
        noun: fields.read_or_default("noun", noun)?,
        values: fields.read_or_default("values", texts)?,
        entry: fields.read("entry", entry)?,
        event: fields.read("event", event)?,
        correlation: fields.read_or_default("correlation", correlation)?,
        poison: fields.read("poison", poison)?,
        invalidated_keys: fields.read("gone-keys", invalidated_keys)?,
        excludes: fields.read_or_default("excludes", View::names)?,
    };
    if flow.entry.is_none() && flow.event.is_none() {
        let problem = fields.problem("neither `entry` nor `event` is declared");
        return Err(problem.hint("declare the request or the first event that begins the flow"));
    }
    fields.finish()?;
    placeholders(view, &flow)?;
    own_correlation_id(view, &flow)?;
    Ok(flow)
}

pub(super) fn slash(text: &str) -> Result<String, Invalid> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("it does not start with `/`".into())
    }
}

fn noun(view: &View<'_>) -> Result<Noun, Problem> {
    view.parse("a noun in the singular", str::parse)
        .map_err(|problem| problem.hint("write a lower-case word, for instance `order`"))
}

fn entry(view: &View<'_>) -> Result<Entry, Problem> {
    let mut fields = view.fields()?;
    let entry = Entry {
        service: fields.require("service")?.filled()?,
        method: fields
            .read("method", |v| v.word(&METHODS))?
            .unwrap_or("POST")
            .to_owned(),
        path: fields.require("path")?.parse("a path", slash)?,
        headers: fields.read_or_default("headers", texts)?,
        body: json(&fields.require("body")?)?,
        status: fields.require("status")?.parse("a status", status)?,
        correlation_id: id_source(&fields.require("correlation-id")?)?,
    };
    fields.finish()?;
    Ok(entry)
}

pub(super) fn status(text: &str) -> Result<u16, Invalid> {
    match text.parse() {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err("it is not one from 100 to 599".into()),
    }
}

/// A JSON pointer, or a text with a `{{name}}`.
fn id_source(view: &View<'_>) -> Result<IdSource, Problem> {
    if view.str()?.contains("{{") {
        return view.text().map(IdSource::Template);
    }
    view.parse("a JSON pointer", slash).map(IdSource::Pointer)
}

fn correlation(view: &View<'_>) -> Result<Correlation, Problem> {
    let mut fields = view.fields()?;
    let default = Correlation::default();
    let correlation = Correlation {
        event: fields.read("event", places)?.unwrap_or(default.event),
        log: fields.read("log", in_line)?.unwrap_or(default.log),
    };
    fields.finish()?;
    Ok(correlation)
}

fn places(view: &View<'_>) -> Result<Vec<EventPart>, Problem> {
    let place = |view: &View<'_>| {
        view.parse("`key`, `header:NAME` or a JSON pointer", |text| {
            match (text, text.strip_prefix("header:")) {
                ("key", _) => Ok(EventPart::Key),
                (_, Some("")) => Err("the header has no name".into()),
                (_, Some(name)) => Ok(EventPart::Header(name.to_owned())),
                (pointer, None) => slash(pointer).map(EventPart::Body),
            }
        })
    };
    let items = match view.is_sequence() {
        true => view.items()?,
        false => vec![view.clone()],
    };
    if items.is_empty() {
        return Err(view.problem("the list is empty: name at least one place of an event's id"));
    }
    items.iter().map(place).collect()
}

/// A text with `{{id}}`, or `{regex: "…"}` whose first group is the id.
fn in_line(view: &View<'_>) -> Result<LogCorrelation, Problem> {
    if !view.is_mapping() {
        let text = view.filled()?;
        return match text.contains(ID) {
            true => Ok(LogCorrelation::Text(text)),
            false => Err(view.problem(format!(
                "it has no {ID}, so it does not identify a \
                                               message"
            ))),
        };
    }
    let mut fields = view.fields()?;
    let view = fields.require("regex")?;
    let regex = regex(&view)?;
    fields.finish()?;
    match regex.captures_len() {
        1 => Err(view.problem("it has no capture group: put the id into parentheses")),
        _ => Ok(LogCorrelation::Captured(regex)),
    }
}

fn event(view: &View<'_>) -> Result<FirstEvent, Problem> {
    let mut fields = view.fields()?;
    let topic = fields.require("topic")?.filled()?;
    let key = fields.read("key", View::filled)?;
    let headers = fields.read_or_default("headers", texts)?;
    let body = json(&fields.require("body")?)?;
    let pointer = fields.require("correlation-id")?;
    let correlation_id = id_source(&pointer)?;
    let id = fields.read("id", |id| own_id(id, &body))?;
    fields.finish()?;
    if let IdSource::Pointer(at) = &correlation_id
        && body.pointer(at).is_none_or(|v| !v.is_string())
    {
        let what = format!("`body` has no string at {at}");
        return Err(pointer
            .problem(what)
            .hint("name the place of the event's correlation id, for instance /correlationId"));
    }
    Ok(FirstEvent {
        topic,
        key,
        headers,
        body,
        correlation_id,
        id,
    })
}

fn own_id(pointer: &View<'_>, body: &serde_json::Value) -> Result<String, Problem> {
    let id = pointer.parse("a JSON pointer", slash)?;
    if body.pointer(&id).is_some_and(serde_json::Value::is_string) {
        return Ok(id);
    }
    Err(pointer
        .problem(format!("`body` has no string at {id}"))
        .hint("name the place of the event's own id, for instance /eventId"))
}

fn poison(view: &View<'_>) -> Result<Poison, Problem> {
    let mut fields = view.fields()?;
    let poison = Poison {
        topic: fields.require("topic")?.filled()?,
        key: fields.read("key", View::filled)?,
        body: json(&fields.require("body")?)?,
        reason: fields.read("reason", View::filled)?,
    };
    fields.finish()?;
    Ok(poison)
}

fn invalidated_keys(view: &View<'_>) -> Result<InvalidatedKeys, Problem> {
    let mut fields = view.fields()?;
    let gone = InvalidatedKeys {
        service: fields.require("service")?.filled()?,
        keys: fields.require("keys")?.names()?,
    };
    fields.finish()?;
    Ok(gone)
}

/// A YAML value as JSON. Quoted scalars, and scalars with variables, are strings.
pub(super) fn json(view: &View<'_>) -> Result<serde_json::Value, Problem> {
    Ok(match &view.node.value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar(scalar) => match scalar.kind {
            Kind::String => scalar.text.clone().into(),
            Kind::Number => serde_json::Value::Number(view.number("a JSON number")?),
            Kind::Bool => view.bool()?.into(),
        },
        Value::Sequence(_) => {
            let items: Result<Vec<_>, _> = view.items()?.iter().map(json).collect();
            items?.into()
        }
        Value::Mapping(_) => {
            let entries = view.entries()?.into_iter();
            let entries: Result<serde_json::Map<_, _>, Problem> = entries
                .map(|(key, view)| Ok((key.name.clone(), json(&view)?)))
                .collect();
            entries?.into()
        }
    })
}

/// Checks that each `{{name}}` has a value; otherwise it would be sent literally. `correlation` is
/// skipped, because its `{{id}}` is not one of `values`.
fn placeholders(view: &View<'_>, flow: &Flow) -> Result<(), Problem> {
    let known = |name: &str| flow.values.contains_key(name);
    for (key, part) in view.entries()? {
        if key.name == "correlation" {
            continue;
        }
        if let Some((node, name)) = unknown_placeholder(part.node, &known) {
            return Err(Problem::new(
                node.at,
                view.path.clone(),
                format!("{{{{{name}}}}} has no value: `values` has no `{name}`"),
            ));
        }
    }
    Ok(())
}

/// Checks that each message gets a correlation id of its own.
fn own_correlation_id(view: &View<'_>, flow: &Flow) -> Result<(), Problem> {
    let entry = flow.entry.as_ref().map(|e| (&e.correlation_id, None));
    let event = flow.event.as_ref();
    let event = event.map(|e| (&e.correlation_id, Some(&e.body)));
    for (key, part) in [("entry", entry), ("event", event)] {
        let template = match part {
            Some((IdSource::Template(text), _)) => text,
            Some((IdSource::Pointer(at), Some(body))) => body
                .pointer(at)
                .and_then(|v| v.as_str())
                .unwrap_or_default(),
            // The response contains it.
            Some((IdSource::Pointer(_), None)) | None => continue,
        };
        let drawn = |name| flow.values.get(name).is_some_and(|v| v == "uuid");
        if !placeholders_of(template).any(drawn) {
            let part = view.fields()?.require(key)?;
            let place = part.fields()?.require("correlation-id")?;
            let problem = place.problem("every message would have the same correlation id");
            return Err(problem.hint("put a {{NAME}} there whose value in `values` is `uuid`"));
        }
    }
    Ok(())
}

/// The names between the braces in `text`.
fn placeholders_of(text: &str) -> impl Iterator<Item = &str> {
    let braced = text.split("{{").skip(1);
    braced.map(|rest| rest.split("}}").next().unwrap_or(rest).trim())
}

fn unknown_placeholder<'a>(
    node: &'a Node,
    known: &dyn Fn(&str) -> bool,
) -> Option<(&'a Node, &'a str)> {
    match &node.value {
        Value::Null => None,
        Value::Scalar(scalar) => placeholders_of(&scalar.text)
            .find(|name| !known(name))
            .map(|name| (node, name)),
        Value::Sequence(items) => items.iter().find_map(|n| unknown_placeholder(n, known)),
        Value::Mapping(entries) => entries
            .iter()
            .find_map(|(_, n)| unknown_placeholder(n, known)),
    }
}
