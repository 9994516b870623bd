//! `flow`: how a payment enters, and what it leaves behind.

use super::texts;
use crate::pipeline::{
    Entry, FirstEvent, Flow, GoneKeys, Poison,
    problem::Problem,
    yaml::{Kind, Node, Value, View},
};

const METHODS: [(&str, &str); 3] = [("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];

pub(super) fn flow(view: &View<'_>) -> Result<Flow, Problem> {
    let mut fields = view.fields()?;
    let flow = Flow {
        values: fields.read_or_default("values", texts)?,
        entry: entry(&fields.require("entry")?)?,
        event: fields.read("event", event)?,
        poison: fields.read("poison", poison)?,
        gone_keys: fields.read("gone-keys", gone_keys)?,
    };
    fields.finish()?;
    placeholders(view, &flow)?;
    own_correlation_id(view, &flow)?;
    Ok(flow)
}

fn slash(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("it does not start with `/`")
    }
}

fn entry(view: &View<'_>) -> Result<Entry, Problem> {
    let mut fields = view.fields()?;
    let status = |text: &str| match text.parse() {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err("it is not one from 100 to 599"),
    };
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
        correlation_id: fields
            .require("correlation-id")?
            .parse("a JSON pointer", slash)?,
    };
    fields.finish()?;
    Ok(entry)
}

fn event(view: &View<'_>) -> Result<FirstEvent, Problem> {
    let mut fields = view.fields()?;
    let topic = fields.require("topic")?.filled()?;
    let key = fields.require("key")?.filled()?;
    let headers = fields.read_or_default("headers", texts)?;
    let body = json(&fields.require("body")?)?;
    let pointer = fields.require("correlation-id")?;
    let correlation_id = pointer.parse("a JSON pointer", slash)?;
    let id = fields.read("id", |id| own_id(id, &body))?;
    fields.finish()?;
    if body.pointer(&correlation_id).is_none_or(|v| !v.is_string()) {
        let what = format!("`body` has no string at {correlation_id}");
        return Err(pointer
            .problem(what)
            .hint("name where the event's correlation id stands, for instance /correlationId"));
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
        .hint("name where the event's own id stands, for instance /eventId"))
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

fn gone_keys(view: &View<'_>) -> Result<GoneKeys, Problem> {
    let mut fields = view.fields()?;
    let gone = GoneKeys {
        service: fields.require("service")?.filled()?,
        keys: fields.require("keys")?.names()?,
    };
    fields.finish()?;
    Ok(gone)
}

/// As YAML means it: what is quoted, and what has variables, is a string.
fn json(view: &View<'_>) -> Result<serde_json::Value, Problem> {
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

/// A `{{name}}` without its value would be sent as it is.
fn placeholders(view: &View<'_>, flow: &Flow) -> Result<(), Problem> {
    let known = |name: &str| flow.values.contains_key(name);
    match unknown_placeholder(view.node, &known) {
        Some((node, name)) => Err(Problem::new(
            node.at,
            view.path.clone(),
            format!("{{{{{name}}}}} stands for nothing: `values` has no `{name}`"),
        )),
        None => Ok(()),
    }
}

/// Payments that share a correlation id could not be told apart.
fn own_correlation_id(view: &View<'_>, flow: &Flow) -> Result<(), Problem> {
    let Some(event) = &flow.event else {
        return Ok(());
    };
    let template = event.body.pointer(&event.correlation_id);
    let mut names = placeholders_of(template.and_then(|v| v.as_str()).unwrap_or_default());
    if names.any(|name| flow.values.get(name).is_some_and(|v| v == "uuid")) {
        return Ok(());
    }
    let event = view.fields()?.require("event")?;
    let pointer = event.fields()?.require("correlation-id")?;
    let problem = pointer.problem("every payment would have the same correlation id");
    Err(problem.hint("put a {{NAME}} there whose value in `values` is `uuid`"))
}

/// The names in `text`, as they stand between the braces.
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
