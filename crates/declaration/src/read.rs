//! The tree as a whole: variables replaced, every part read, every reference checked.

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

/// What the readers need besides the tree.
pub(super) struct Context<'a> {
    pub(super) project: &'a str,
    pub(super) origin: &'a Origin,
    pub(super) state: &'a StateFiles,
    /// What relative paths are relative to.
    pub(super) directory: &'a Path,
    pub(super) variables: &'a Variables,
    pub(super) secret_names: &'a [String],
    /// Active profiles; `*` is all.
    pub(super) profiles: &'a [String],
    /// Where `up` writes secrets and configs that are no files yet.
    pub(super) files_dir: &'a Path,
}

impl Context<'_> {
    /// Whether something with these profiles belongs to the pipeline.
    pub(super) fn activates(&self, profiles: &[String]) -> bool {
        let active = |profile: &String| *profile == "*" || profiles.contains(profile);
        profiles.is_empty() || self.profiles.iter().any(active)
    }
}

/// Faults gathered on the way, so that one run names more than the first.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// The value, or none and its fault kept.
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
        // What an anchor holds is read once for each alias.
        let again = |p: &Problem| p.at == problem.at && p.message == problem.message;
        if !self.0.iter().any(again) {
            self.0.push(problem);
        }
    }
}

/// Reads and checks a declaration.
///
/// # Errors
/// All faults that could be told apart, at least one.
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
    }
}
