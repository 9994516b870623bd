//! The proposal for one service.

use super::{
    infra::kafka_port,
    observed::Observed,
    stack::{Role, Stack},
    yaml::{list, raw, word},
};
use declaration::Service;

/// The lines of one service below `services:`; none for tools and one-shots.
pub(super) fn lines(stack: &Stack<'_>, observed: &Observed, service: &Service) -> Vec<String> {
    let promises = match stack.role(service) {
        Role::Tool | Role::OneShot => return Vec::new(),
        Role::Kafka => ready(stack, service, "kafka", kafka_port(service)),
        Role::Postgres => ready(stack, service, "postgres", Some(5432)),
        Role::Redis => ready(stack, service, "redis", Some(6379)),
        Role::Own => own(stack, observed, service),
    };
    let mut lines = vec![format!("  {}:", service.name)];
    match promises.iter().all(|line| line.starts_with('#')) {
        true => lines.push("    x-caravan: {}".to_owned()),
        false => lines.push("    x-caravan:".to_owned()),
    }
    lines.extend(promises.into_iter().map(|line| format!("      {line}")));
    lines
}

/// `ready`, for the service whose address the proposal declares (the first one of its role), if its port is
/// published.
fn ready(stack: &Stack<'_>, service: &Service, word: &str, port: Option<u16>) -> Vec<String> {
    let first = stack.of(stack.role(service)).next();
    let declared = first.is_some_and(|first| first.name == service.name);
    match port.and_then(|port| stack.host_port(service, port)) {
        Some(_) if declared => vec![format!("ready: {word}")],
        Some(_) | None => Vec::new(),
    }
}

fn own(stack: &Stack<'_>, observed: &Observed, service: &Service) -> Vec<String> {
    let mut lines = vec![startup(stack, observed, service)];
    lines.extend(http(stack, observed, service));
    lines.extend(consumes(stack, observed, service));
    lines.push("# emits: [TOPIC]".to_owned());
    if stack.of(Role::Postgres).next().is_some() {
        lines.push("# writes: [TABLE]".to_owned());
    }
    lines
}

fn startup(stack: &Stack<'_>, observed: &Observed, service: &Service) -> String {
    let text = observed.startups.get(&service.name);
    // With a mask in it, no line would match.
    match text.filter(|text| stack.shown(text) == **text) {
        Some(text) => format!("startup: {}   # in its log", word(text)),
        None => "# startup: the log line that it writes when it is ready, or {regex: \
                 '…'}"
            .to_owned(),
    }
}

/// `http`, with the path that answered, else the path of the service's health check; None: the service has no
/// known HTTP port.
fn http(stack: &Stack<'_>, observed: &Observed, service: &Service) -> Option<String> {
    let probe = probe(service);
    let ready_path = observed.ready.get(&service.name);
    let published = service.ports.iter().find(|port| {
        let probed = probe.as_ref().and_then(|(port, _)| *port);
        port.protocol == "tcp" && probed.is_none_or(|probed| probed == port.container_port)
    });
    let url = match (published, &probe) {
        (Some(port), _) => {
            format!(
                "http://127.0.0.1:{}",
                stack.host_port(service, port.container_port)?
            )
        }
        (None, Some((port, _))) if !stack.is_published() => {
            format!("http://{}:{}", service.name, port.unwrap_or(80))
        }
        (None, _) => return None,
    };
    let path = ready_path.or_else(|| probe.as_ref().map(|(_, path)| path));
    Some(match path {
        Some(path) if path == "/ready" => format!("http: {}", raw(&url)),
        Some(path) => format!(
            "http: {{url: '{url}', ready: {}}}",
            word(&stack.shown(path))
        ),
        None => format!("# http: {{url: '{url}', ready: /health}}"),
    })
}

/// Port and path of the URL that the service's health check requests.
pub(super) fn probe(service: &Service) -> Option<(Option<u16>, String)> {
    let test = service.healthcheck.as_ref()?.test.join(" ");
    let (_, rest) = test.split_once("http://")?;
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '|' | ';' | ')');
    let url = rest.split(ends).next()?;
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let port = host.split_once(':').and_then(|(_, port)| port.parse().ok());
    Some((port, format!("/{path}")))
}

/// `group` and `consumes`, as observed in Kafka; else comments, with a guess from the service's environment.
fn consumes(stack: &Stack<'_>, observed: &Observed, service: &Service) -> Vec<String> {
    if let Some(group) = observed.group(&service.name) {
        return vec![
            format!("group: {}", word(&group.name)),
            format!("consumes: {}", list(&group.topics)),
        ];
    }
    let hinted = |word: &str| {
        let named = |key: &String| key.to_ascii_uppercase().contains(word);
        let mut variables = service.environment.iter();
        variables
            .find(|(key, _)| named(key))
            .map(|(_, value)| value)
    };
    let mentions = |broker: &Service| {
        let mut values = service.environment.values();
        values.any(|value| value.contains(&format!("{}:", broker.name)))
    };
    let uses = stack.of(Role::Kafka).any(mentions);
    match hinted("GROUP") {
        Some(group) => vec![
            format!(
                "# group: {}   # from its environment",
                word(&stack.shown(group))
            ),
            format!(
                "# consumes: [{}]",
                hinted("TOPIC").map_or_else(|| "TOPIC".to_owned(), |topic| stack.shown(topic))
            ),
        ],
        None if uses => vec![
            "# group: NAME   # or {prefix: NAME-}".to_owned(),
            "# consumes: [TOPIC]".to_owned(),
        ],
        None => Vec::new(),
    }
}
