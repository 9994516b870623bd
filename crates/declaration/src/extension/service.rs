//! `x-caravan` of a service: how its readiness is verified, and its part in the flow.

use std::time::Duration;

use crate::{
    Effect, Group, Http, ImageFrom, Pattern, Ready, TEMPLATES, problem::Problem, yaml::View,
};

use super::{http::http, patterns::pattern};

/// The fields of [`crate::Service`] of the same names.
#[derive(Default)]
pub(crate) struct ServiceExtension {
    pub image_from: ImageFrom,
    pub ready: Option<Ready>,
    pub startup: Option<Pattern>,
    pub effect: Option<Effect>,
    pub http: Option<Http>,
    pub group: Option<Group>,
    pub commit_interval: Option<Duration>,
    pub consumes: Vec<String>,
    pub emits: Vec<String>,
    pub writes: Vec<String>,
    pub reads: Vec<String>,
    pub calls: Vec<String>,
    pub stages: Vec<String>,
}

const READY: [(&str, Ready); 3] = [
    ("kafka", Ready::Kafka),
    ("postgres", Ready::Postgres),
    ("redis", Ready::Redis),
];

const EFFECTS: [(&str, Effect); 2] = [
    ("topics", Effect::Topics),
    ("migrations", Effect::Migrations),
];

impl ServiceExtension {
    pub(crate) fn read(view: &View<'_>) -> Result<Self, Problem> {
        let mut fields = view.fields()?;
        let extension = Self {
            image_from: fields
                .read("image-from", image_from)?
                .unwrap_or(ImageFrom::Registry),
            ready: fields.read("ready", |v| v.word(&READY))?,
            startup: fields.read("startup", pattern)?,
            effect: fields.read("effect", |v| v.word(&EFFECTS))?,
            http: fields.read("http", http)?,
            group: fields.read("group", group)?,
            commit_interval: fields.read("commit-interval", View::duration)?,
            consumes: fields.read_or_default("consumes", View::names)?,
            emits: fields.read_or_default("emits", View::names)?,
            writes: fields.read_or_default("writes", View::names)?,
            reads: fields.read_or_default("reads", View::names)?,
            calls: fields.read_or_default("calls", View::names)?,
            stages: fields.read_or_default("stages", View::names)?,
        };
        fields.finish()?;
        Ok(extension)
    }
}

fn image_from(view: &View<'_>) -> Result<ImageFrom, Problem> {
    let mut words = vec![
        ("registry", ImageFrom::Registry),
        ("self", ImageFrom::Caravan),
    ];
    words.extend(
        TEMPLATES
            .iter()
            .map(|name| (*name, ImageFrom::Template(name))),
    );
    view.word(&words)
}

/// A name, or `{prefix: "orders-"}`.
fn group(view: &View<'_>) -> Result<Group, Problem> {
    if !view.is_mapping() {
        return view.filled().map(Group::Named);
    }
    let mut fields = view.fields()?;
    let prefix = fields.require("prefix")?.filled()?;
    fields.finish()?;
    Ok(Group::Prefix(prefix))
}
