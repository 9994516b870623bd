//! Checks of references between parts of a declaration: every name exists, dependencies have no cycle,
//! names and ports are unique.

use std::collections::BTreeMap;

use super::{
    AddressScope, Condition, DeclaredAddress, Effect, MountSource, Pipeline, Ready, Service,
    VariableSource,
    compose::dependency_key,
    problem::{Problem, did_you_mean},
    yaml::Node,
};

/// All faults; `tree` has their positions.
pub(super) fn check(pipeline: &Pipeline, tree: &Node) -> Vec<Problem> {
    let mut check = Check {
        pipeline,
        tree,
        problems: Vec::new(),
    };
    check.promises();
    for service in &pipeline.services {
        check.compose(service);
        check.extension(service);
    }
    check.cycle();
    check.container_names();
    check.builds();
    check.host_ports();
    check.address_scopes();
    check.problems
}

struct Check<'a> {
    pipeline: &'a Pipeline,
    tree: &'a Node,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn fault(&mut self, path: &[&str], message: String, hint: Option<String>) {
        let mut problem = Problem::new(self.tree.find(path), path.join("."), message);
        problem.hint = hint;
        self.problems.push(problem);
    }

    /// `name`, at `path`, must be one of the `known`.
    fn exists<'k>(
        &mut self,
        what: &str,
        name: &str,
        path: &[&str],
        known: impl Iterator<Item = &'k str> + Clone,
    ) {
        if known.clone().any(|k| k == name) {
            return;
        }
        let near = did_you_mean(name, known.clone());
        let names: Vec<_> = known.collect();
        let hint = match names[..] {
            _ if near.is_some() => None,
            [] => Some(format!("declare it: no {what} is declared")),
            _ => Some(format!("declare it, or name one of {}", names.join(", "))),
        };
        self.fault(path, format!("there is no {what} `{name}`{near}"), hint);
    }

    fn service(&mut self, name: &str, path: &[&str]) {
        let mut inactive = self.pipeline.inactive.iter();
        if let Some(service) = inactive.find(|s| s.name == name) {
            let profiles = service.profiles.join("` or `");
            let message = format!("`{name}` is only active with the profile `{profiles}`");
            let hint = format!("activate it with --profile {}", service.profiles[0]);
            self.fault(path, message, Some(hint));
            return;
        }
        let known = self.pipeline.services.iter().map(|s| s.name.as_str());
        self.exists("service", name, path, known);
    }

    fn topic(&mut self, name: &str, path: &[&str]) {
        let known = self.pipeline.topics.iter().map(|t| t.name.as_str());
        self.exists("topic", name, path, known);
    }

    /// `x-caravan` at the top level of the file.
    fn promises(&mut self) {
        let pipeline = self.pipeline;
        let endpoints = [
            ("kafka", &pipeline.kafka),
            ("postgres", &pipeline.postgres),
            ("redis", &pipeline.redis),
        ];
        for (key, endpoint) in endpoints {
            if let Some(service) = endpoint.as_ref().and_then(|e| e.service.as_ref()) {
                self.service(service, &["x-caravan", key, "service"]);
            }
        }
        if let Some(topic) = &pipeline.dead_letters {
            self.topic(topic, &["x-caravan", "dead-letters"]);
        }
        for invariant in &pipeline.invariants {
            if let Some(replay) = &invariant.replay {
                let path = ["x-caravan", "invariants", &invariant.name, "topic"];
                self.topic(&replay.topic, &path);
            }
        }
        self.flow();
        let needs_postgres = [
            ("tables", !pipeline.tables.is_empty()),
            ("invariants", !pipeline.invariants.is_empty()),
            ("migrations", pipeline.migrations.is_some()),
        ];
        for (key, needed) in needs_postgres {
            self.needs(
                needed && pipeline.postgres.is_none(),
                &["x-caravan", key],
                "postgres",
            );
        }
        let needed = !pipeline.topics.is_empty() && pipeline.kafka.is_none();
        self.needs(needed, &["x-caravan", "topics"], "kafka");
    }

    fn needs(&mut self, missing: bool, path: &[&str], endpoint: &str) {
        if missing {
            let message = format!("needs `x-caravan.{endpoint}`, its address");
            self.fault(path, message, None);
        }
    }

    fn flow(&mut self) {
        let Some(flow) = &self.pipeline.flow else {
            return;
        };
        if let Some(entry) = &flow.entry {
            let path = ["x-caravan", "flow", "entry", "service"];
            self.service(&entry.service, &path);
            let service = self.pipeline.service(&entry.service);
            if service.is_some_and(|service| service.http.is_none()) {
                let message = format!("`{}` has no `x-caravan.http`", entry.service);
                self.fault(&path, message, None);
            }
        }
        if let Some(event) = &flow.event {
            self.consumed(&event.topic, &["x-caravan", "flow", "event", "topic"]);
        }
        if let Some(poison) = &flow.poison {
            self.consumed(&poison.topic, &["x-caravan", "flow", "poison", "topic"]);
        }
        if let Some(gone) = &flow.invalidated_keys {
            let path = ["x-caravan", "flow", "gone-keys", "service"];
            self.service(&gone.service, &path);
            let missing = self.pipeline.redis.is_none();
            self.needs(missing, &["x-caravan", "flow", "gone-keys"], "redis");
        }
        for topic in &flow.excludes {
            self.topic(topic, &["x-caravan", "flow", "excludes", topic]);
        }
    }

    /// Checks that a service consumes `topic`.
    fn consumed(&mut self, topic: &str, path: &[&str]) {
        let pipeline = self.pipeline;
        self.topic(topic, path);
        let is_consumed = |t: &str| {
            let mut services = pipeline.services.iter();
            services.any(|s| s.consumes.iter().any(|c| c == t))
        };
        if pipeline.topic(topic).is_some() && !is_consumed(topic) {
            let names: Vec<_> = pipeline.topics.iter().map(|t| t.name.as_str()).collect();
            let consumed: Vec<_> = names.into_iter().filter(|t| is_consumed(t)).collect();
            let hint = match consumed[..] {
                [] => "declare which service `consumes` it".to_owned(),
                _ => format!("name one that is consumed: {}", consumed.join(", ")),
            };
            let message = format!("no service consumes `{topic}`");
            self.fault(path, message, Some(hint));
        }
    }

    /// A service's Compose half.
    fn compose(&mut self, service: &Service) {
        let pipeline = self.pipeline;
        let name = service.name.as_str();
        for mount in &service.mounts {
            if let MountSource::Volume(volume) = &mount.source {
                let known = pipeline.volumes.iter().map(|v| v.key.as_str());
                let path = ["services", name, "volumes", volume];
                self.exists("volume", volume, &path, known);
            }
        }
        for used in &service.networks {
            let known = pipeline.networks.iter().map(|n| n.key.as_str());
            let path = ["services", name, "networks", &used.network];
            self.exists("network", &used.network, &path, known);
        }
        for dependency in &service.depends_on {
            let node = self
                .tree
                .get("services")
                .and_then(|services| services.get(name));
            let key = dependency_key(node, &dependency.service);
            let path = ["services", name, key, &dependency.service];
            self.service(&dependency.service, &path);
            let awaited = pipeline.service(&dependency.service);
            if dependency.condition == Condition::Healthy && awaited.is_some_and(never_healthy) {
                let message = format!(
                    "`{}` cannot become healthy: it has no `healthcheck`, and no `ready` or \
                     `startup` in `x-caravan`",
                    dependency.service
                );
                self.fault(&path, message, None);
            }
        }
        if service.replicas > 1 {
            self.replicas(service);
        }
    }

    fn replicas(&mut self, service: &Service) {
        let name = service.name.as_str();
        if service.container_name.is_some() {
            let path = ["services", name, "container_name"];
            let message = format!("{} replicas cannot share one name", service.replicas);
            self.fault(&path, message, None);
        }
        if service.ports.iter().any(|port| port.host_port.is_some()) {
            let message = format!("{} replicas cannot share a host's port", service.replicas);
            self.fault(&["services", name, "ports"], message, None);
        }
    }

    /// A service's `x-caravan`.
    fn extension(&mut self, service: &Service) {
        let pipeline = self.pipeline;
        let name = service.name.as_str();
        let at = |key: &'static str| ["services", name, "x-caravan", key];
        for (key, topics) in [("consumes", &service.consumes), ("emits", &service.emits)] {
            for topic in topics {
                self.topic(topic, &["services", name, "x-caravan", key, topic]);
            }
        }
        for (key, tables) in [("writes", &service.writes), ("reads", &service.reads)] {
            for table in tables {
                let known = pipeline.tables.iter().map(|t| t.name.as_str());
                let path = ["services", name, "x-caravan", key, table];
                self.exists("table", table, &path, known);
            }
        }
        for called in &service.calls {
            self.service(called, &["services", name, "x-caravan", "calls", called]);
        }
        for stage in &service.stages {
            let known = pipeline.stages.keys().map(String::as_str);
            let path = ["services", name, "x-caravan", "stages", stage];
            self.exists("stage", stage, &path, known);
        }
        if !service.consumes.is_empty() && service.group.is_none() {
            let message = "a consumer needs its `group`".to_owned();
            self.fault(
                &at("consumes"),
                message,
                Some(format!("add `group: {name}`")),
            );
        }
        if service.commit_interval.is_some() && service.group.is_none() {
            let message = "`commit-interval` needs `group`".to_owned();
            self.fault(&at("commit-interval"), message, None);
        }
        if service.group.is_some() && service.consumes.is_empty() {
            let message = "a group needs `consumes`".to_owned();
            self.fault(&at("group"), message, None);
        }
        self.means(service);
    }

    /// Checks what `ready` and `effect` require.
    fn means(&mut self, service: &Service) {
        let pipeline = self.pipeline;
        let path = |key: &'static str| ["services", &service.name, "x-caravan", key];
        if let Some(ready) = service.ready {
            let (endpoint, known) = match ready {
                Ready::Kafka => ("kafka", &pipeline.kafka),
                Ready::Postgres => ("postgres", &pipeline.postgres),
                Ready::Redis => ("redis", &pipeline.redis),
            };
            self.needs(known.is_none(), &path("ready"), endpoint);
        }
        let (key, missing) = match service.effect {
            Some(Effect::Topics) => ("topics", pipeline.topics.is_empty()),
            Some(Effect::Migrations) => ("migrations", pipeline.migrations.is_none()),
            None => return,
        };
        if missing {
            let message = format!(
                "`x-caravan.{key}` is not declared, so there is nothing to \
                                   create"
            );
            self.fault(&path("effect"), message, None);
        }
    }

    /// Dependency cycles.
    fn cycle(&mut self) {
        let mut visited = BTreeMap::new();
        for service in &self.pipeline.services {
            let mut trail = Vec::new();
            if let Some(cycle) = walk(self.pipeline, &service.name, &mut visited, &mut trail) {
                let path = ["services", cycle[0], "depends_on", cycle[1]];
                let message = format!("a dependency cycle: {}", cycle.join(" -> "));
                self.fault(&path, message, None);
                return;
            }
        }
    }

    fn container_names(&mut self) {
        let mut used: BTreeMap<String, &str> = BTreeMap::new();
        for service in &self.pipeline.services {
            let container = match &service.container_name {
                Some(name) => name.clone(),
                None => format!("{}-{}", self.pipeline.project, service.name),
            };
            if let Some(other) = used.insert(container.clone(), &service.name) {
                let path = ["services", service.name.as_str(), "container_name"];
                let message = format!("`{other}` has the name {container} already");
                self.fault(&path, message, None);
            }
        }
    }

    /// Checks that two builds do not have the same image name.
    fn builds(&mut self) {
        let pipeline = self.pipeline;
        let mut built: BTreeMap<&str, &Service> = BTreeMap::new();
        for service in pipeline.services.iter().filter(|s| s.build.is_some()) {
            let other = *built.entry(&service.image).or_insert(service);
            if other.build != service.build {
                let (image, other) = (&service.image, &other.name);
                let path = ["services", service.name.as_str(), "build"];
                let message = format!("`{other}` builds {image} in another way");
                self.fault(&path, message, None);
            }
        }
    }

    /// `by_variable`: whether at least one of two clashing ports is set by a variable.
    fn host_ports(&mut self) {
        let pipeline = self.pipeline;
        // `up` chooses another port for a variable that is not set.
        let may_change = |service: &Service, port: &super::Port| {
            let mut variables = pipeline.variable_ports.iter();
            variables.any(|v| {
                v.service == service.name && v.port == *port && v.set == VariableSource::Unset
            })
        };
        let published = pipeline
            .services
            .iter()
            .flat_map(|service| service.ports.iter().map(move |port| (service, port)));
        let mut used: Vec<(&Service, &super::Port)> = Vec::new();
        for (service, port) in published {
            let clash = used.iter().find(|(owner, other)| {
                port.host_port.is_some()
                    && port.host_port == other.host_port
                    && port.protocol == other.protocol
                    && overlap(&port.host_ip, &other.host_ip)
                    && !may_change(service, port)
                    && !may_change(owner, other)
            });
            if let (Some((other, _)), Some(number)) = (clash, port.host_port) {
                let number = number.to_string();
                let path = ["services", service.name.as_str(), "ports", &number];
                let message = format!("`{}` publishes port {number} already", other.name);
                self.fault(&path, message, None);
            }
            used.push((service, port));
        }
    }
}

impl Check<'_> {
    /// Checks that no address is a service's name while another is a loopback address: no single
    /// process reaches both.
    fn address_scopes(&mut self) {
        let addresses = self.pipeline.addresses();
        let inside = addresses.iter().find_map(|at| match at.scope {
            AddressScope::Inside(service) => Some((at, service)),
            AddressScope::Host | AddressScope::Anywhere => None,
        });
        let Some((inside, service)) = inside else {
            return;
        };
        let on_host = |at: &&DeclaredAddress<'_>| matches!(at.scope, AddressScope::Host);
        let on_host: Vec<_> = addresses.iter().filter(on_host).collect();
        if on_host.is_empty() {
            return;
        }
        let message = format!(
            "`{}` resolves only inside the pipeline's network (the service `{}`), and other \
             addresses are this host's: no place reaches both",
            inside.host, service.name
        );
        let hint = "name services with their containers' ports everywhere; or publish the ports \
                    and give addresses on the host everywhere";
        self.fault(&inside.path, message, Some(hint.to_owned()));
        for at in on_host {
            let message = format!(
                "`{}` is this host, and `{}` resolves only inside the pipeline's network",
                at.host, inside.host
            );
            self.fault(&at.path, message, Some(hint.to_owned()));
        }
    }
}

/// Whether a service has no health check, protocol probe and startup line, so it never becomes healthy.
fn never_healthy(service: &Service) -> bool {
    let probed = service
        .healthcheck
        .as_ref()
        .is_some_and(|check| check.test.first().is_none_or(|first| first != "NONE"));
    !probed && service.ready.is_none() && service.startup.is_none()
}

/// Whether two host addresses overlap.
fn overlap(a: &str, b: &str) -> bool {
    let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
    a == b || any(a) || any(b)
}

/// Depth-first search for the first cycle through `trail`. `visited` has the services that are part of
/// no cycle.
fn walk<'a>(
    pipeline: &'a Pipeline,
    name: &'a str,
    visited: &mut BTreeMap<&'a str, ()>,
    trail: &mut Vec<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(start) = trail.iter().position(|step| *step == name) {
        let mut cycle = trail[start..].to_vec();
        cycle.push(name);
        return Some(cycle);
    }
    if visited.contains_key(name) {
        return None;
    }
    trail.push(name);
    let service = pipeline.service(name)?;
    for dependency in &service.depends_on {
        if let Some(cycle) = walk(pipeline, &dependency.service, visited, trail) {
            return Some(cycle);
        }
    }
    trail.pop();
    visited.insert(name, ());
    None
}
