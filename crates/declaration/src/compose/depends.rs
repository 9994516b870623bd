//! `depends_on`: a list, or a mapping with conditions.

use crate::{Condition, Dependency, problem::Problem, yaml::View};

const CONDITIONS: [(&str, Condition); 3] = [
    ("service_started", Condition::Started),
    ("service_healthy", Condition::Healthy),
    ("service_completed_successfully", Condition::Completed),
];

pub(super) fn on(view: &View<'_>) -> Result<Vec<Dependency>, Problem> {
    if view.is_sequence() {
        let started = |service| Dependency {
            service,
            condition: Condition::Started,
            required: true,
            restart: false,
        };
        return Ok(view.names()?.into_iter().map(started).collect());
    }
    let mut dependencies = Vec::new();
    for (key, view) in view.entries()? {
        let mut fields = view.fields()?;
        dependencies.push(Dependency {
            service: key.name.clone(),
            condition: fields.require("condition")?.word(&CONDITIONS)?,
            required: fields.read("required", View::bool)?.unwrap_or(true),
            restart: fields.read_or_default("restart", View::bool)?,
        });
        fields.finish_compose(&[])?;
    }
    Ok(dependencies)
}
