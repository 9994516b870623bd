//! `x-caravan`: what the pipeline promises. `service` reads a service's part, `flow` the way of a
//! payment, `rules` what must hold of the database; docs/declaration.md is the reference.

mod flow;
mod rules;
mod service;

use std::collections::BTreeMap;

use super::{
    Endpoint, Flow, Invariant, Migrations, Table, Topic, problem::Problem, topic_spec, yaml::View,
};

pub(super) use service::ServiceExtension;

/// The file's own `x-caravan`; without one, nothing is promised.
#[derive(Default)]
pub(super) struct Extension {
    pub(super) kafka: Option<Endpoint>,
    pub(super) postgres: Option<Endpoint>,
    pub(super) redis: Option<Endpoint>,
    pub(super) topics: Vec<Topic>,
    pub(super) dead_letters: Option<String>,
    pub(super) migrations: Option<Migrations>,
    pub(super) tables: Vec<Table>,
    pub(super) stages: BTreeMap<String, String>,
    pub(super) forbidden_logs: Vec<String>,
    pub(super) flow: Option<Flow>,
    pub(super) invariants: Vec<Invariant>,
}

impl Extension {
    pub(super) fn read(view: &View<'_>) -> Result<Self, Problem> {
        let mut fields = view.fields()?;
        // Their names were read before the variables were replaced.
        fields.read("secrets", View::names)?;
        let extension = Self {
            kafka: fields.read("kafka", |v| endpoint(v, "bootstrap", bootstrap))?,
            postgres: fields.read("postgres", |v| {
                endpoint(v, "url", |t| url(t, &["postgres", "postgresql"]))
            })?,
            redis: fields.read("redis", |v| {
                endpoint(v, "url", |t| url(t, &["redis", "rediss"]))
            })?,
            topics: fields.read_or_default("topics", topics)?,
            dead_letters: fields.read("dead-letters", View::filled)?,
            migrations: fields.read("migrations", rules::migrations)?,
            tables: fields.read_or_default("tables", rules::tables)?,
            stages: fields.read_or_default("stages", texts)?,
            forbidden_logs: fields.read_or_default("forbidden-logs", |v| {
                v.items()?.iter().map(View::filled).collect()
            })?,
            flow: fields.read("flow", flow::flow)?,
            invariants: fields.read_or_default("invariants", rules::invariants)?,
        };
        fields.finish()?;
        Ok(extension)
    }
}

/// A part of the infrastructure: its service, and its address under `key`.
fn endpoint(
    view: &View<'_>,
    key: &'static str,
    check: impl FnOnce(&str) -> Result<(), String>,
) -> Result<Endpoint, Problem> {
    let mut fields = view.fields()?;
    let service = fields.require("service")?.filled()?;
    let address = fields
        .require(key)?
        .parse("an address", |text| check(text).map(|()| text.to_owned()))?;
    fields.finish()?;
    Ok(Endpoint { service, address })
}

/// `HOST:PORT`, several with commas.
fn bootstrap(text: &str) -> Result<(), String> {
    for broker in text.split(',') {
        let (host, port) = broker
            .rsplit_once(':')
            .ok_or_else(|| format!("{broker:?} is not HOST:PORT"))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{broker:?} is not HOST:PORT"));
        }
    }
    Ok(())
}

fn url(text: &str, schemes: &[&str]) -> Result<(), String> {
    let has = |scheme: &&str| {
        text.strip_prefix(*scheme)
            .is_some_and(|rest| rest.starts_with("://") && rest.len() > 3)
    };
    if schemes.iter().any(has) {
        Ok(())
    } else {
        Err(format!("it does not start with {}://", schemes[0]))
    }
}

fn topics(view: &View<'_>) -> Result<Vec<Topic>, Problem> {
    let mut topics: Vec<Topic> = Vec::new();
    for item in view.items()? {
        let topic = topic_spec::parse(item.str()?).map_err(|why| item.problem(why))?;
        if topics.iter().any(|t| t.name == topic.name) {
            return Err(item.problem(format!("topic `{}` is declared twice", topic.name)));
        }
        topics.push(topic);
    }
    Ok(topics)
}

/// A mapping from names to strings that say something.
fn texts(view: &View<'_>) -> Result<BTreeMap<String, String>, Problem> {
    view.entries()?
        .into_iter()
        .map(|(key, view)| Ok((key.name.clone(), view.filled()?)))
        .collect()
}
