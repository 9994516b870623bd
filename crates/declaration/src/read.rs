//! Reads a tree: replaces variables, reads all parts and checks all references.

use std::{collections::BTreeSet, path::Path};

use super::{
    Origin, Pipeline, StateFiles,
    compose::Compose,
    extension::Extension,
    interpolate::{self, Variables},
    problem::Problem,
    references,
    yaml::{Node, View},
};

/// Context of the readers.
pub(super) struct Context<'a> {
    pub(super) project: &'a str,
    pub(super) origin: &'a Origin,
    pub(super) state: &'a StateFiles,
    /// Directory of relative paths.
    pub(super) directory: &'a Path,
    pub(super) variables: &'a Variables,
    pub(super) secret_names: &'a [String],
    /// Active profiles; `*` activates all.
    pub(super) profiles: &'a [String],
    /// Directory in which `up` generates secret and config files.
    pub(super) files_dir: &'a Path,
    /// Whether two services with one host port are a fault.
    pub(super) unique_ports: bool,
}

impl Context<'_> {
    /// Whether a service with these profiles is active.
    pub(super) fn activates(&self, profiles: &[String]) -> bool {
        let active = |profile: &String| *profile == "*" || profiles.contains(profile);
        profiles.is_empty() || self.profiles.iter().any(active)
    }
}

/// Collected faults, so that one run reports more than the first.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// The value, or None after adding the fault.
    pub(super) fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problem) => {
                self.add(problem);
                None
            }
        }
    }

    pub(super) fn add(&mut self, problem: Problem) {
        // An anchor's value is read once for each alias; its fault is reported once.
        let again = |p: &Problem| p.at == problem.at && p.message == problem.message;
        if !self.0.iter().any(again) {
            self.0.push(problem);
        }
    }
}

/// Reads and checks a declaration.
///
/// # Errors
/// All faults that were found, at least one.
pub(super) fn pipeline(tree: &Node, context: &Context<'_>) -> Result<Pipeline, Vec<Problem>> {
    let mut unset = BTreeSet::new();
    let tree = interpolate::tree(tree, context.variables, &mut unset).map_err(|p| vec![p])?;
    let mut problems = Problems::default();
    let parts = parts(&tree, context, &mut problems);
    let (Some((compose, extension)), []) = (parts, problems.0.as_slice()) else {
        return Err(problems.0);
    };
    let mut pipeline = assemble(compose, extension, context);
    pipeline.warnings.extend(
        unset
            .iter()
            .map(|name| format!("the variable {name} is not set: it stands for nothing")),
    );
    let faults = references::check(&pipeline, &tree, context.unique_ports);
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
    }
}
