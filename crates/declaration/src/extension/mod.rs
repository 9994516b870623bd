//! `x-caravan`. `service` reads the part of a service, `flow` the path of a message, `rules`
//! migrations, tables and invariants, `topics` the topics, `patterns` the patterns of log lines, `http`
//! the HTTP endpoint, `dead_letters` the dead letters. docs/declaration.md is the reference.

mod dead_letters;
mod flow;
mod http;
mod patterns;
mod rules;
mod service;
mod topics;

use std::collections::BTreeMap;

use super::{
    DeadLetterHeaders, Endpoint, Flow, Invalid, Invariant, Migrations, Pattern, Table, Topic,
    problem::Problem, units, yaml::View,
};

pub(super) use service::ServiceExtension;

/// `x-caravan` at the top level of the file.
#[derive(Default)]
pub(super) struct Extension {
    pub(super) kafka: Option<Endpoint>,
    pub(super) postgres: Option<Endpoint>,
    pub(super) redis: Option<Endpoint>,
    pub(super) topics: Vec<Topic>,
    pub(super) dead_letters: Option<String>,
    pub(super) dead_letter_headers: DeadLetterHeaders,
    pub(super) migrations: Option<Migrations>,
    pub(super) tables: Vec<Table>,
    pub(super) stages: BTreeMap<String, Pattern>,
    pub(super) forbidden_logs: Vec<Pattern>,
    pub(super) allowed_logs: Vec<Pattern>,
    pub(super) error_logs: Option<f64>,
    pub(super) flow: Option<Flow>,
    pub(super) invariants: Vec<Invariant>,
}

impl Extension {
    pub(super) fn read(view: &View<'_>) -> Result<Self, Problem> {
        let mut fields = view.fields()?;
        // `source` reads the names of secrets, before variables are replaced.
        fields.read("secrets", View::names)?;
        let dead_letters = fields.read_or_default("dead-letters", dead_letters::dead_letters)?;
        let extension = Self {
            kafka: fields.read("kafka", |v| endpoint(v, "bootstrap", bootstrap))?,
            postgres: fields.read("postgres", |v| {
                endpoint(v, "url", |t| url(t, &["postgres", "postgresql"]))
            })?,
            redis: fields.read("redis", |v| {
                endpoint(v, "url", |t| url(t, &["redis", "rediss"]))
            })?,
            topics: fields.read_or_default("topics", topics::topics)?,
            dead_letters: dead_letters.topic,
            dead_letter_headers: dead_letters.headers,
            migrations: fields.read("migrations", rules::migrations)?,
            tables: fields.read_or_default("tables", rules::tables)?,
            stages: fields.read_or_default("stages", patterns::named)?,
            forbidden_logs: fields.read_or_default("forbidden-logs", patterns::list)?,
            allowed_logs: fields.read_or_default("allowed-logs", patterns::list)?,
            error_logs: fields.read("error-logs", |v| {
                v.parse("a share such as 5%", units::percent)
            })?,
            flow: fields.read("flow", flow::flow)?,
            invariants: fields.read_or_default("invariants", rules::invariants)?,
        };
        fields.finish()?;
        Ok(extension)
    }
}

/// Kafka, Postgres or Redis: its service, if it is one of the pipeline, and its address under `key`.
fn endpoint(
    view: &View<'_>,
    key: &'static str,
    check: impl FnOnce(&str) -> Result<(), Invalid>,
) -> Result<Endpoint, Problem> {
    let mut fields = view.fields()?;
    let service = fields.read("service", View::filled)?;
    let address = fields
        .require(key)?
        .parse("an address", |text| check(text).map(|()| text.to_owned()))?;
    fields.finish()?;
    Ok(Endpoint { service, address })
}

/// `HOST:PORT`, or several separated by commas.
fn bootstrap(text: &str) -> Result<(), Invalid> {
    for broker in text.split(',') {
        let (host, port) = broker
            .rsplit_once(':')
            .ok_or_else(|| format!("{broker:?} is not HOST:PORT"))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{broker:?} is not HOST:PORT").into());
        }
    }
    Ok(())
}

fn url(text: &str, schemes: &[&str]) -> Result<(), Invalid> {
    let has = |scheme: &&str| {
        text.strip_prefix(*scheme)
            .is_some_and(|rest| rest.starts_with("://") && rest.len() > 3)
    };
    if schemes.iter().any(has) {
        Ok(())
    } else {
        Err(format!("it does not start with {}://", schemes[0]).into())
    }
}

/// A mapping from names to non-empty strings.
fn texts(view: &View<'_>) -> Result<BTreeMap<String, String>, Problem> {
    view.entries()?
        .into_iter()
        .map(|(key, view)| Ok((key.name.clone(), view.filled()?)))
        .collect()
}
