//! Dependencies between services.

use std::collections::BTreeSet;

use declaration::{Pipeline, Service};

/// The named services and all their dependencies, in the declaration's order. Without names: all
/// services.
pub fn with_dependencies<'a>(pipeline: &'a Pipeline, names: &[String]) -> Vec<&'a Service> {
    if names.is_empty() {
        return pipeline.services.iter().collect();
    }
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&str> = names.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if let Some(service) = pipeline.service(name)
            && wanted.insert(&service.name)
        {
            next.extend(service.depends_on.iter().map(|d| d.service.as_str()));
        }
    }
    let chosen = |s: &&Service| wanted.contains(s.name.as_str());
    pipeline.services.iter().filter(chosen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{depending, pipeline};

    #[test]
    fn a_service_comes_with_its_dependencies() {
        let pipeline = pipeline(vec![
            depending("db", &[]),
            depending("migrate", &["db"]),
            depending("worker", &["migrate"]),
            depending("other", &["db"]),
        ]);
        let names = |services: &[&str]| {
            let services: Vec<_> = services.iter().map(|s| (*s).to_owned()).collect();
            let found = with_dependencies(&pipeline, &services);
            found
                .into_iter()
                .map(|s| s.name.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&["worker"]), ["db", "migrate", "worker"]);
        assert_eq!(names(&[]), ["db", "migrate", "worker", "other"]);
    }
}
