//! Writes the overlay.

use super::{Observed, Stack, infra, service, stack::Role};

/// The overlay, a Compose file that is passed with `-f` after `files`.
pub(crate) fn text(stack: &Stack<'_>, observed: &Observed, files: &[String]) -> String {
    let observed = &without_unaddressed(stack, observed);
    let mut lines = head(stack, observed, files);
    let mut promises = infra::lines(stack, observed);
    promises.extend(flow(stack, observed));
    let services = stack.pipeline.services.iter();
    let services: Vec<_> = services
        .flat_map(|s| service::lines(stack, observed, s))
        .collect();
    for (key, below) in [("x-caravan", promises), ("services", services)] {
        let says = |line: &String| !line.is_empty() && !line.trim_start().starts_with('#');
        let empty = if below.iter().any(says) { "" } else { " {}" };
        lines.push(format!("{key}:{empty}"));
        lines.extend(below);
        lines.push(String::new());
    }
    lines.pop();
    lines.join("\n")
}

/// Removes what was observed of Kafka or Postgres if the proposal has no address for it, because Docker
/// chooses its host port at each start: topics and tables need a declared address.
fn without_unaddressed(stack: &Stack<'_>, observed: &Observed) -> Observed {
    let (kafka, postgres) = infra::has_addresses(stack);
    let mut observed = observed.clone();
    for (known, found, what) in [
        (kafka, observed.kafka.is_some(), "Kafka"),
        (postgres, observed.postgres.is_some(), "Postgres"),
    ] {
        if found && !known {
            let why = "publish it on a fixed host port in the Compose file";
            observed.not_observed.push(format!(
                "the port of {what}, which Docker chooses at each start: {why}"
            ));
        }
    }
    observed.kafka = observed.kafka.filter(|_| kafka);
    observed.postgres = observed.postgres.filter(|_| postgres);
    observed
}

fn head(stack: &Stack<'_>, observed: &Observed, files: &[String]) -> Vec<String> {
    let project = &stack.pipeline.project;
    let over = files.join(", ");
    let flags: String = files.iter().map(|file| format!(" -f {file}")).collect();
    let mut lines = vec![
        "# yaml-language-server: $schema=./caravan.schema.json".to_owned(),
        "# (caravan schema > caravan.schema.json)".to_owned(),
        "#".to_owned(),
        format!("# The x-caravan of the pipeline in {over}, an additional file:"),
        format!("#   caravan{flags} -f caravan.yaml verify"),
        format!("# Proposed by `caravan init` from that file and the running project {project}."),
        "# Comments stand for what could not be observed: fill them in, or delete them.".to_owned(),
    ];
    lines.extend(
        observed
            .not_observed
            .iter()
            .map(|why| format!("# Not seen: {}", stack.shown(why))),
    );
    lines
}

/// A flow, as comments to fill in. Its topic is one that an observed group consumes, else `orders`.
fn flow(stack: &Stack<'_>, observed: &Observed) -> Vec<String> {
    let mut groups = observed.kafka.iter().flat_map(|kafka| &kafka.groups);
    let consumed = groups.find_map(|group| group.topics.first());
    let topic = consumed.map_or("orders", String::as_str);
    let mut lines = vec![
        "  # A log line of a service that contains one of these is a failure.".to_owned(),
        "  # forbidden-logs: [FATAL, {regex: 'Unhandled\\w* (error|rejection)'}]".to_owned(),
        String::new(),
        "  # How a message of the flow, such as an order, begins: `caravan test-flow` follows one."
            .to_owned(),
        "  # flow:".to_owned(),
        "  #   values: {id: uuid, moment: now}".to_owned(),
    ];
    let has_port = |service: &&declaration::Service| !service.ports.is_empty();
    if let Some(entry) = stack.of(Role::Own).find(has_port) {
        lines.extend([
            "  #   entry:".to_owned(),
            format!("  #     service: {}", entry.name),
            format!("  #     path: /{topic}"),
            "  #     body: {id: '{{id}}'}".to_owned(),
            "  #     status: 201".to_owned(),
            "  #     correlation-id: '{{id}}'   # or a JSON pointer into the response".to_owned(),
        ]);
    }
    lines.extend([
        "  #   event:".to_owned(),
        format!("  #     topic: {topic}"),
        "  #     key: '{{id}}'".to_owned(),
        "  #     body: {id: '{{id}}', at: '{{moment}}'}".to_owned(),
        "  #     correlation-id: /id".to_owned(),
        "  #   correlation:".to_owned(),
        "  #     event: [key, /id]".to_owned(),
        "  #     log: '{{id}}'".to_owned(),
    ]);
    lines
}
