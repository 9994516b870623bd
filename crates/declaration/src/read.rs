//! Reads a tree: replaces variables, reads all parts and checks all references.

use std::collections::BTreeSet;

use super::{
    Pipeline,
    compose::Compose,
    context::Context,
    extension::Extension,
    interpolate,
    problem::{Problem, Problems},
    references, variable_ports,
    yaml::{Node, View},
};

/// Reads and checks a declaration.
///
/// # Errors
/// All faults that were found, at least one.
pub(super) fn pipeline(written: &Node, context: &Context<'_>) -> Result<Pipeline, Vec<Problem>> {
    let mut unset = BTreeSet::new();
    let tree = interpolate::tree(written, context.variables, &mut unset).map_err(|p| vec![p])?;
    let mut problems = Problems::default();
    let parts = parts(&tree, context, &mut problems);
    let (Some((compose, extension)), []) = (parts, problems.0.as_slice()) else {
        return Err(problems.0);
    };
    let mut pipeline = assemble(compose, extension, context);
    pipeline.warnings.extend(
        unset
            .iter()
            .map(|name| format!("the variable {name} is not set; an empty string is used")),
    );
    pipeline.variable_ports = variable_ports::find(written, context.variables, &pipeline.services);
    let faults = references::check(&pipeline, &tree);
    if faults.is_empty() {
        Ok(pipeline)
    } else {
        Err(faults)
    }
}

fn parts(
    tree: &Node,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<(Compose, Extension)> {
    let mut root = problems.keep(View::root(tree).fields())?;
    let extension = match root.take("x-caravan") {
        Some(view) => problems.keep(Extension::read(&view)),
        None => Some(Extension::default()),
    };
    let compose = Compose::read(root, context, problems);
    let compose = problems.keep(compose)?;
    Some((compose, extension?))
}

fn assemble(compose: Compose, extension: Extension, context: &Context<'_>) -> Pipeline {
    let secret = |name: &String| context.variables.get(name).map(str::to_owned);
    let mut secrets: Vec<_> = context.secret_names.iter().filter_map(secret).collect();
    for value in compose.secrets {
        if !secrets.contains(&value) {
            secrets.push(value);
        }
    }
    Pipeline {
        project: context.project.to_owned(),
        origin: context.origin.clone(),
        state: context.state.clone(),
        services: compose.services,
        inactive: compose.inactive,
        drivers: compose.drivers,
        networks: compose.networks,
        volumes: compose.volumes,
        kafka: extension.kafka,
        postgres: extension.postgres,
        redis: extension.redis,
        topics: extension.topics,
        dead_letters: extension.dead_letters,
        dead_letter_headers: extension.dead_letter_headers,
        migrations: extension.migrations,
        tables: extension.tables,
        stages: extension.stages,
        forbidden_logs: extension.forbidden_logs,
        allowed_logs: extension.allowed_logs,
        error_logs: extension.error_logs,
        flow: extension.flow,
        invariants: extension.invariants,
        secrets,
        warnings: compose.warnings,
        variable_ports: Vec::new(),
    }
}
