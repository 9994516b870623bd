//! Recognises the services of a Compose file by image and environment.

use declaration::{Pipeline, Service, Source};

/// A Compose file: resolved, and before interpolation.
pub(crate) struct Stack<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(super) source: &'a Source,
    /// A value without the secrets that are known.
    mask: &'a (dyn Fn(&str) -> String + Sync),
}

/// What a service does in the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Kafka,
    Postgres,
    Redis,
    /// A tool for the infrastructure: a console, an exporter, a schema registry.
    Tool,
    /// Runs to completion.
    OneShot,
    /// A service of the application.
    Own,
}

/// Parts of the image names of tools.
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
        // The last component of the name. The name of a built image does not say what it contains.
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

    /// The services of a role, in declared order.
    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &'a Service> {
        let services = self.pipeline.services.iter();
        services.filter(move |service| self.role(service) == role)
    }

    /// Whether any service of the infrastructure publishes a port. If none does, the proposal has the
    /// addresses of the project's network.
    pub(super) fn is_published(&self) -> bool {
        let infra = [Role::Kafka, Role::Postgres, Role::Redis];
        let mut services = infra.into_iter().flat_map(|role| self.of(role));
        services.any(|service| !service.ports.is_empty())
    }

    /// The value of a service's environment variable before interpolation; None: the service's
    /// `environment` does not set it.
    pub(super) fn raw_value(&self, service: &Service, name: &str) -> Option<String> {
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

    /// As [`Self::raw_value`], or `${NAME}` if the value comes from an `env_file`; None: the service does not
    /// have the variable.
    pub(super) fn raw_value_or_variable(&self, service: &Service, name: &str) -> Option<String> {
        if !service.environment.contains_key(name) {
            return None;
        }
        Some(
            self.raw_value(service, name)
                .unwrap_or_else(|| format!("${{{name}}}")),
        )
    }

    /// `${VARIABLE}` that has the content of a secret: of the secret mounted at `target`, else of the
    /// service's only secret. None: there is no such secret, or its content is a file of the user.
    pub(super) fn secret_variable(
        &self,
        service: &Service,
        target: Option<&str>,
    ) -> Option<String> {
        let tree = self.source.tree();
        let mounted = tree.get("services")?.get(&service.name)?.get("secrets")?;
        let names = mounted.items().iter().filter_map(|item| {
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

    /// The host port of a container port, before interpolation; None: it is not published, or Docker
    /// chooses the host port.
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
        // Ranges and variables in the container port are not recognised: the resolved number is used.
        Some(
            written
                .into_iter()
                .next()
                .filter(|host| host.contains('$'))
                .unwrap_or(number),
        )
    }
}

/// Splits at the colons outside of `${…}`.
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
    fn a_port_is_split_at_colons_outside_of_variables() {
        assert_eq!(
            parts("127.0.0.1:${P:-5432}:5432"),
            ["127.0.0.1", "${P:-5432}", "5432"]
        );
        assert_eq!(parts("80"), ["80"]);
    }
}
