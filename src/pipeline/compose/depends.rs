//! `depends_on`: a list, or a mapping with conditions.

use crate::pipeline::{Condition, Dependency, problem::Problem, yaml::View};

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
        };
        return Ok(view.names()?.into_iter().map(started).collect());
    }
    let mut dependencies = Vec::new();
    for (key, view) in view.entries()? {
        let mut fields = view.fields()?;
        let condition = fields.require("condition")?.word(&CONDITIONS)?;
        only(fields.take("required"), true)?;
        only(fields.take("restart"), false)?;
        fields.finish_compose(&[])?;
        dependencies.push(Dependency {
            service: key.name.clone(),
            condition,
        });
    }
    Ok(dependencies)
}

/// A switch that stands where it stands by itself.
fn only(view: Option<View<'_>>, default: bool) -> Result<(), Problem> {
    match view {
        Some(view) if view.bool()? != default => {
            Err(view.problem(format!("`{}` is not supported yet", !default)))
        }
        Some(_) | None => Ok(()),
    }
}
