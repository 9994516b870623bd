//! Ids of checks, `layer.subject.aspect`: a contract. All ids of checks of a pipeline are made here.
//!
//! A rule declares a check under a [`Kind`]. It refers to other checks by the functions below, which
//! return an id only if the pipeline declares that check. So each reference resolves, and one that
//! does not is a bug, which [`super::plan`] reports.

use std::{borrow::Cow, fmt};

use super::effect_tables::EffectTables;
use declaration::{Effect, Pipeline, Service};

/// The id of a check. Its text, `layer.subject.aspect` or `layer.aspect`, is stable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId {
    layer: &'static str,
    /// A service, a topic, a table or an invariant, named as declared; it may contain dots.
    subject: Option<String>,
    aspect: Cow<'static, str>,
}

impl CheckId {
    /// `layer.aspect`, for instance `kafka.reachable`.
    pub const fn of_layer(layer: &'static str, aspect: &'static str) -> Self {
        Self {
            layer,
            subject: None,
            aspect: Cow::Borrowed(aspect),
        }
    }

    /// `layer.subject.aspect`, for instance `groups.allocation-worker.lag`.
    pub fn of_subject(
        layer: &'static str,
        subject: impl Into<String>,
        aspect: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            layer,
            subject: Some(subject.into()),
            aspect: aspect.into(),
        }
    }

    /// The part before the first dot.
    pub fn layer(&self) -> &'static str {
        self.layer
    }

    /// A service, a topic, a table or a rule, named as declared; None: the check is about the whole layer.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The part after the last dot: what the check is about.
    pub fn aspect(&self) -> &str {
        &self.aspect
    }

    /// `layer.aspect`: what all checks of one kind share, whatever their subject.
    #[cfg(test)]
    pub(super) fn kind(&self) -> String {
        format!("{}.{}", self.layer, self.aspect)
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{}.{subject}.{}", self.layer, self.aspect),
            None => write!(f, "{}.{}", self.layer, self.aspect),
        }
    }
}

/// What a check is about, whatever its subject: a row of the table in [`super`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    layer: &'static str,
    aspect: &'static str,
}

impl Kind {
    const fn new(layer: &'static str, aspect: &'static str) -> Self {
        Self { layer, aspect }
    }

    /// The id of the check of this kind for `subject`.
    pub(super) fn of(self, subject: &str) -> CheckId {
        CheckId::of_subject(self.layer, subject, self.aspect)
    }

    /// The id of the check of this kind, where the pipeline has one such check.
    pub(super) fn id(self) -> CheckId {
        CheckId::of_layer(self.layer, self.aspect)
    }
}

pub(super) const DECLARATION: Kind = Kind::new("declaration", "checks");

const RUNNING: Kind = Kind::new("containers", "running");
const COMPLETED: Kind = Kind::new("containers", "completed");
const AS_DECLARED: Kind = Kind::new("containers", "as-declared");
pub(super) const HEALTH: Kind = Kind::new("containers", "health");
pub(super) const RESTARTS: Kind = Kind::new("containers", "restarts");

const KAFKA: Kind = Kind::new("kafka", "reachable");
const TOPIC: Kind = Kind::new("topics", "exists");
pub(super) const PARTITIONS: Kind = Kind::new("topics", "partitions");
pub(super) const REPLICATED: Kind = Kind::new("topics", "replicated");
pub(super) const RETENTION: Kind = Kind::new("topics", "retention");
pub(super) const MIN_INSYNC: Kind = Kind::new("topics", "min-insync");
pub(super) const SETTINGS: Kind = Kind::new("topics", "settings");
pub(super) const UNDECLARED_TOPICS: Kind = Kind::new("topics", "undeclared");

pub(super) const GROUP: Kind = Kind::new("groups", "exists");
pub(super) const STABLE: Kind = Kind::new("groups", "stable");
pub(super) const ASSIGNED: Kind = Kind::new("groups", "assigned");
pub(super) const COMMITTED: Kind = Kind::new("groups", "committed");
pub(super) const LOST: Kind = Kind::new("groups", "lost");
pub(super) const LAG: Kind = Kind::new("groups", "lag");
const EFFECTS: Kind = Kind::new("groups", "effects");

const STARTED: Kind = Kind::new("logs", "started");
pub(super) const CLEAN: Kind = Kind::new("logs", "clean");
pub(super) const ERRORS: Kind = Kind::new("logs", "errors");

const DATABASE: Kind = Kind::new("database", "reachable");
const WRITABLE: Kind = Kind::new("database", "writable");
const UNBLOCKED: Kind = Kind::new("database", "unblocked");
const MIGRATIONS: Kind = Kind::new("database", "migrations");
const TABLE: Kind = Kind::new("database", "exists");
pub(super) const COLUMNS: Kind = Kind::new("database", "columns");
pub(super) const INDEXES: Kind = Kind::new("database", "indexes");
pub(super) const CONSTRAINTS: Kind = Kind::new("database", "constraints");
pub(super) const TRIGGERS: Kind = Kind::new("database", "triggers");
pub(super) const INVARIANT: Kind = Kind::new("database", "holds");

const CACHE: Kind = Kind::new("cache", "reachable");
const CACHE_WRITABLE: Kind = Kind::new("cache", "writable");
pub(super) const MEMORY: Kind = Kind::new("cache", "memory");

pub(super) const NO_DEAD_LETTERS: Kind = Kind::new("dead-letters", "empty");
pub(super) const ROOM: Kind = Kind::new("dead-letters", "room");

const READY: Kind = Kind::new("services", "ready");
pub(super) const ANSWERS: Kind = Kind::new("services", "answers");

/// A service is deployed: its containers run, or the one-shot has completed.
pub(super) fn deployed(pipeline: &Pipeline, service: &Service) -> CheckId {
    match service.is_one_shot(pipeline) {
        true => COMPLETED.of(&service.name),
        false => RUNNING.of(&service.name),
    }
}

/// As [`deployed`], by name; without those that are no service of the pipeline.
pub(super) fn deployed_of<'a>(
    pipeline: &Pipeline,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<CheckId> {
    let services = names.into_iter().filter_map(|name| pipeline.service(name));
    services
        .map(|service| deployed(pipeline, service))
        .collect()
}

/// The containers of a service have not drifted from the declaration and their image.
pub(super) fn as_declared(service: &Service) -> CheckId {
    AS_DECLARED.of(&service.name)
}

/// As [`as_declared`], by name; None: no service of the pipeline.
pub(super) fn as_declared_of(pipeline: &Pipeline, name: Option<&str>) -> Option<CheckId> {
    pipeline.service(name?).map(as_declared)
}

/// The one-shots that have `effect`.
pub(super) fn makers(pipeline: &Pipeline, effect: Effect) -> Vec<CheckId> {
    let services = pipeline.services.iter();
    let makers = services.filter(|s| s.effect == Some(effect));
    makers.map(|service| deployed(pipeline, service)).collect()
}

/// Kafka answers; None: nothing that is declared needs Kafka.
pub(super) fn kafka(pipeline: &Pipeline) -> Option<CheckId> {
    let has_group = pipeline.services.iter().any(|s| s.group.is_some());
    let needed = pipeline.kafka.is_some() || !pipeline.topics.is_empty() || has_group;
    needed.then(|| KAFKA.id())
}

/// A topic exists; None: it is not declared.
pub(super) fn topic(pipeline: &Pipeline, name: &str) -> Option<CheckId> {
    pipeline.topic(name).map(|topic| TOPIC.of(&topic.name))
}

/// The declared ones among the topics that a service consumes exist.
pub(super) fn consumed_topics(pipeline: &Pipeline, service: &Service) -> Vec<CheckId> {
    let consumed = service.consumes.iter();
    consumed.filter_map(|name| topic(pipeline, name)).collect()
}

/// Postgres answers; None: nothing that is declared needs Postgres.
pub(super) fn database(pipeline: &Pipeline) -> Option<CheckId> {
    let Pipeline {
        postgres,
        migrations,
        tables,
        invariants,
        ..
    } = pipeline;
    let needed =
        postgres.is_some() || migrations.is_some() || !tables.is_empty() || !invariants.is_empty();
    needed.then(|| DATABASE.id())
}

/// New sessions of Postgres can write; None: nothing that is declared needs Postgres.
pub(super) fn writable(pipeline: &Pipeline) -> Option<CheckId> {
    database(pipeline).map(|_| WRITABLE.id())
}

/// No transaction keeps others from the declared tables; None: none are declared.
pub(super) fn unblocked(pipeline: &Pipeline) -> Option<CheckId> {
    let declared = !pipeline.tables.is_empty();
    database(pipeline)
        .filter(|_| declared)
        .map(|_| UNBLOCKED.id())
}

/// The declared migration is applied; None: none is declared.
pub(super) fn migrations(pipeline: &Pipeline) -> Option<CheckId> {
    pipeline.migrations.is_some().then(|| MIGRATIONS.id())
}

/// A table exists; None: it is not declared.
pub(super) fn table(pipeline: &Pipeline, name: &str) -> Option<CheckId> {
    pipeline.table(name).map(|table| TABLE.of(&table.name))
}

/// Redis answers; None: nothing that is declared needs Redis.
pub(super) fn cache(pipeline: &Pipeline) -> Option<CheckId> {
    let has_keys = pipeline
        .flow
        .as_ref()
        .is_some_and(|f| f.invalidated_keys.is_some());
    (pipeline.redis.is_some() || has_keys).then(|| CACHE.id())
}

/// Redis accepts commands that write; None: nothing that is declared needs Redis.
pub(super) fn cache_writable(pipeline: &Pipeline) -> Option<CheckId> {
    cache(pipeline).map(|_| CACHE_WRITABLE.id())
}

/// An HTTP service is ready; None: it serves no HTTP.
pub(super) fn ready(service: &Service) -> Option<CheckId> {
    service.http.as_ref().map(|_| READY.of(&service.name))
}

/// A service printed its startup line; None: none is declared.
pub(super) fn started(service: &Service) -> Option<CheckId> {
    service.startup.as_ref().map(|_| STARTED.of(&service.name))
}

/// A check of a service's consumer group; None: it has no group.
pub(super) fn group(service: &Service, kind: Kind) -> Option<CheckId> {
    service.group.as_ref().map(|_| kind.of(&service.name))
}

/// What a service's group has committed has rows; None: the declaration does not say where.
pub(super) fn effects(pipeline: &Pipeline, service: &Service) -> Option<CheckId> {
    EffectTables::of(pipeline, service)?;
    group(service, EFFECTS)
}

/// What a service works with, as far as it is declared: its containers, topics, tables and the
/// services that it depends on.
pub(super) fn dependencies(pipeline: &Pipeline, service: &Service) -> Vec<CheckId> {
    let mut ids = vec![deployed(pipeline, service)];
    let topics = || service.consumes.iter().chain(&service.emits);
    ids.extend(topics().filter_map(|name| topic(pipeline, name)));
    if topics().next().is_some() {
        ids.extend(kafka(pipeline));
    }
    let tables = || service.writes.iter().chain(&service.reads);
    if tables().next().is_some() {
        ids.extend(database(pipeline));
        ids.extend(writable(pipeline));
        ids.extend(unblocked(pipeline));
    }
    let tables = tables();
    ids.extend(tables.filter_map(|name| table(pipeline, name)));
    let required = service.depends_on.iter().filter(|d| d.required);
    ids.extend(deployed_of(pipeline, required.map(|d| d.service.as_str())));
    let invalidated_keys = pipeline
        .flow
        .as_ref()
        .and_then(|f| f.invalidated_keys.as_ref());
    if invalidated_keys.is_some_and(|keys| keys.service == service.name) {
        ids.extend(cache(pipeline));
        ids.extend(cache_writable(pipeline));
    }
    ids
}

/// As [`dependencies`], and the HTTP services that it calls.
pub(super) fn dependencies_and_calls(pipeline: &Pipeline, service: &Service) -> Vec<CheckId> {
    let mut ids = dependencies(pipeline, service);
    let called = service.calls.iter();
    let called = called.filter_map(|name| pipeline.service(name));
    ids.extend(called.filter_map(ready));
    ids
}
