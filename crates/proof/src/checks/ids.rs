//! Ids that one layer names in another: `layer.subject.aspect`, a contract.

use declaration::{Effect, Pipeline, Service};

/// Kafka answers.
pub(super) const KAFKA: &str = "kafka.reachable";
/// Postgres answers.
pub(super) const DATABASE: &str = "database.reachable";
/// Redis answers.
pub(super) const CACHE: &str = "cache.reachable";
/// The declared migration is applied.
pub(super) const MIGRATIONS: &str = "database.migrations";

/// A service is where it should be: running, or a one-shot that has completed.
pub(super) fn deployed(pipeline: &Pipeline, service: &Service) -> String {
    let aspect = match service.is_one_shot(pipeline) {
        true => "completed",
        false => "running",
    };
    format!("containers.{}.{aspect}", service.name)
}

/// As [`deployed`], of services by name; those that are not declared are left out.
pub(super) fn deployed_of<'a>(
    pipeline: &Pipeline,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let services = names.into_iter().filter_map(|name| pipeline.service(name));
    services
        .map(|service| deployed(pipeline, service))
        .collect()
}

/// A service's containers are what the declaration and its image say.
pub(super) fn as_declared(service: &str) -> String {
    format!("containers.{service}.as-declared")
}

/// The one-shots that leave `effect` behind.
pub(super) fn makers(pipeline: &Pipeline, effect: Effect) -> Vec<String> {
    let services = pipeline.services.iter();
    let makers = services.filter(|s| s.effect == Some(effect));
    makers.map(|service| deployed(pipeline, service)).collect()
}

/// A topic exists.
pub(super) fn topic(topic: &str) -> String {
    format!("topics.{topic}.exists")
}

/// A table exists.
pub(super) fn table(table: &str) -> String {
    format!("database.{table}.exists")
}

/// What a service works with, as far as it is declared: its container, and what that talks to.
pub(super) fn works(pipeline: &Pipeline, service: &Service) -> Vec<String> {
    let mut ids = vec![deployed(pipeline, service)];
    ids.extend(
        service
            .consumes
            .iter()
            .chain(&service.emits)
            .map(|t| topic(t)),
    );
    if !service.consumes.is_empty() || !service.emits.is_empty() {
        ids.push(KAFKA.to_owned());
    }
    if !service.writes.is_empty() {
        ids.push(DATABASE.to_owned());
    }
    ids.extend(service.writes.iter().map(|t| table(t)));
    let required = service.depends_on.iter().filter(|d| d.required);
    ids.extend(deployed_of(pipeline, required.map(|d| d.service.as_str())));
    let gone_keys = pipeline.flow.as_ref().and_then(|f| f.gone_keys.as_ref());
    if gone_keys.is_some_and(|keys| keys.service == service.name) {
        ids.push(CACHE.to_owned());
    }
    ids
}

/// As [`works`], and the services that it calls.
pub(super) fn works_on(pipeline: &Pipeline, service: &Service) -> Vec<String> {
    let mut ids = works(pipeline, service);
    ids.extend(service.calls.iter().map(|called| ready(called)));
    ids
}

/// An HTTP service is ready.
pub(super) fn ready(service: &str) -> String {
    format!("services.{service}.ready")
}
