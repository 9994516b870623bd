//! `x-caravan` of a service: how it proves that it works, and its part in the flow.

use crate::{
    engine::images::TEMPLATES,
    pipeline::{Effect, ImageFrom, Ready, problem::Problem, yaml::View},
};

/// The fields of [`crate::pipeline::Service`] of the same names.
#[derive(Default)]
pub(in crate::pipeline) struct ServiceExtension {
    pub(in crate::pipeline) image_from: ImageFrom,
    pub(in crate::pipeline) ready: Option<Ready>,
    pub(in crate::pipeline) startup: Option<String>,
    pub(in crate::pipeline) effect: Option<Effect>,
    pub(in crate::pipeline) http: Option<String>,
    pub(in crate::pipeline) group: Option<String>,
    pub(in crate::pipeline) consumes: Vec<String>,
    pub(in crate::pipeline) emits: Vec<String>,
    pub(in crate::pipeline) writes: Vec<String>,
    pub(in crate::pipeline) calls: Vec<String>,
    pub(in crate::pipeline) stages: Vec<String>,
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
    pub(in crate::pipeline) fn read(view: &View<'_>) -> Result<Self, Problem> {
        let mut fields = view.fields()?;
        let extension = Self {
            image_from: fields
                .read("image-from", image_from)?
                .unwrap_or(ImageFrom::Registry),
            ready: fields.read("ready", |v| v.word(&READY))?,
            startup: fields.read("startup", View::filled)?,
            effect: fields.read("effect", |v| v.word(&EFFECTS))?,
            http: fields.read("http", |v| v.parse("a base URL", base_url))?,
            group: fields.read("group", View::filled)?,
            consumes: fields.read_or_default("consumes", View::names)?,
            emits: fields.read_or_default("emits", View::names)?,
            writes: fields.read_or_default("writes", View::names)?,
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

/// Without a slash at its end, so that a path can follow.
fn base_url(text: &str) -> Result<String, &'static str> {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .ok_or("it does not start with http://")?;
    if host.is_empty() || host.contains(['?', '#']) {
        return Err("it is more, or less, than scheme, host, port and path");
    }
    Ok(text.trim_end_matches('/').to_owned())
}
