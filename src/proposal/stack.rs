//! The parts of a Compose file, recognised by image and environment.

use declaration::{Pipeline, Service, Source};

/// A Compose file: what it means, and how it is written where variables matter.
pub(crate) struct Stack<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(super) source: &'a Source,
    /// A value without the secrets that are known.
    mask: &'a (dyn Fn(&str) -> String + Sync),
}

/// What a service is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Kafka,
    Postgres,
    Redis,
    /// A tool of the above: a console, an exporter, a schema registry.
    Tool,
    /// Ends by itself.
    OneShot,
    /// What the pipeline is for.
    Own,
}

/// Words in an image's name of what only looks at the others, or comes beside them.
const TOOLS: [&str; 18] = [
    "exporter",
    "-ui",
    "kafdrop",
    "akhq",
    "console",
    "registry",
    "connect",
    "zookeeper",
    "pgadmin",
    "adminer",
    "backup",
    "insight",
    "commander",
    "prometheus",
    "grafana",
    "jaeger",
    "loki",
    "otel",
];
const POSTGRES: [&str; 4] = ["postgres", "postgis", "timescale", "pgvector"];
const REDIS: [&str; 4] = ["redis", "valkey", "keydb", "dragonfly"];

impl<'a> Stack<'a> {
    /// `mask` replaces the known secrets in a value.
    pub(crate) fn new(
        pipeline: &'a Pipeline,
        source: &'a Source,
        mask: &'a (dyn Fn(&str) -> String + Sync),
    ) -> Self {
        Self {
            pipeline,
            source,
            mask,
        }
    }

    /// A value as it is proposed: without secrets. Names, keys and variables are no values.
    pub(super) fn shown(&self, value: &str) -> String {
        (self.mask)(value)
    }

    pub(crate) fn role(&self, service: &Service) -> Role {
        // Its last part; what is built here has a name that says little.
        let image = match service.build {
            Some(_) => "",
            None => service.image.rsplit('/').next().unwrap_or_default(),
        };
        let name = image.split([':', '@']).next().unwrap_or_default();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let one_shot = service.is_one_shot(self.pipeline);
        let broker = [
            "KAFKA_ADVERTISED_LISTENERS",
            "KAFKA_PROCESS_ROLES",
            "KAFKA_LISTENERS",
        ];
        let is_broker = service.environment.keys().any(|key| {
            let key = key.replace("KAFKA_CFG_", "KAFKA_");
            broker.contains(&key.as_str())
        });
        if one_shot {
            Role::OneShot
        } else if has(&TOOLS) {
            Role::Tool
        } else if has(&["kafka", "redpanda"]) || name == "cp-server" || is_broker {
            Role::Kafka
        } else if has(&POSTGRES) {
            Role::Postgres
        } else if has(&REDIS) {
            Role::Redis
        } else {
            Role::Own
        }
    }

    /// The services of a role, in the file's order.
    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &'a Service> {
        let services = self.pipeline.services.iter();
        services.filter(move |service| self.role(service) == role)
    }

    /// Whether the host can reach any part of the infrastructure. Where it cannot, addresses are
    /// those within the project's network.
    pub(super) fn is_published(&self) -> bool {
        let infra = [Role::Kafka, Role::Postgres, Role::Redis];
        let mut services = infra.into_iter().flat_map(|role| self.of(role));
        services.any(|service| !service.ports.is_empty())
    }

    /// How an environment variable of a service is written, with its own variables; None where it
    /// comes from somewhere else.
    pub(super) fn written(&self, service: &Service, name: &str) -> Option<String> {
        let services = self.source.tree().get("services")?;
        let environment = services.get(&service.name)?.get("environment")?;
        if let Some(value) = environment.get(name) {
            return value.text().map(str::to_owned);
        }
        let prefix = format!("{name}=");
        let items = environment.items().iter();
        let mut texts = items.filter_map(|item| item.text());
        texts.find_map(|text| text.strip_prefix(&prefix).map(str::to_owned))
    }

    /// As [`Self::written`]; what a service gets from a file is left to a variable of that name.
    pub(super) fn written_or_variable(&self, service: &Service, name: &str) -> Option<String> {
        if !service.environment.contains_key(name) {
            return None;
        }
        Some(
            self.written(service, name)
                .unwrap_or_else(|| format!("${{{name}}}")),
        )
    }

    /// The variable behind a secret that a service reads from a file: the one at `target`, else the
    /// only one that it is granted. None where the file is the user's own.
    pub(super) fn granted(&self, service: &Service, target: Option<&str>) -> Option<String> {
        let tree = self.source.tree();
        let granted = tree.get("services")?.get(&service.name)?.get("secrets")?;
        let names = granted.items().iter().filter_map(|item| {
            let name = item.text().or_else(|| item.get("source")?.text())?;
            let at = item.get("target").and_then(|t| t.text()).unwrap_or(name);
            Some((name, at))
        });
        let names: Vec<_> = names.collect();
        let (name, _) = match (target, names.as_slice()) {
            (Some(target), names) => names.iter().find(|(_, at)| target.ends_with(*at))?,
            (None, [only]) => only,
            (None, _) => return None,
        };
        let defined = tree.get("secrets")?.get(name)?;
        let variable = defined.get("environment");
        let variable = variable.or_else(|| defined.get("x-caravan")?.get("from"))?;
        Some(format!("${{{}}}", variable.text()?))
    }

    /// The host's port of a container's, as it is written; None where it is not published, or
    /// where Docker chooses.
    pub(super) fn host_port(&self, service: &Service, container: u16) -> Option<String> {
        let declared = service
            .ports
            .iter()
            .find(|p| p.container_port == container)?;
        let number = declared.host_port?.to_string();
        let services = self.source.tree().get("services")?;
        let ports = services.get(&service.name)?.get("ports")?;
        let written = ports.items().iter().filter_map(|item| {
            let parts = match item.text() {
                Some(text) => parts(text.split('/').next().unwrap_or(text)),
                None => vec![item.get("published")?.text()?, item.get("target")?.text()?],
            };
            let [.., host, own] = parts.as_slice() else {
                return None;
            };
            (*own == container.to_string()).then(|| (*host).to_owned())
        });
        // A range, or a port that a variable decides on the container's side: the number will do.
        Some(
            written
                .into_iter()
                .next()
                .filter(|host| host.contains('$'))
                .unwrap_or(number),
        )
    }
}

/// Split at the colons that are not within `${…}`.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (index, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_port_is_split_outside_of_its_variables() {
        assert_eq!(
            parts("127.0.0.1:${P:-5432}:5432"),
            ["127.0.0.1", "${P:-5432}", "5432"]
        );
        assert_eq!(parts("80"), ["80"]);
    }
}
