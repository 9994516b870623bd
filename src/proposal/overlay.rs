//! The text of the overlay.

use super::{Seen, Stack, infra, service, stack::Role};

/// A Compose file to lay over those that were looked at.
pub(crate) fn text(stack: &Stack<'_>, seen: &Seen, files: &[String]) -> String {
    let seen = &addressed(stack, seen);
    let mut lines = head(stack, seen, files);
    let mut promises = infra::lines(stack, seen);
    promises.extend(flow(stack, seen));
    let services = stack.pipeline.services.iter();
    let services: Vec<_> = services
        .flat_map(|s| service::lines(stack, seen, s))
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

/// Without what cannot be declared because nothing says where it is: a port that Docker chooses.
fn addressed(stack: &Stack<'_>, seen: &Seen) -> Seen {
    let (kafka, postgres) = infra::addressed(stack);
    let mut seen = seen.clone();
    for (known, found, what) in [
        (kafka, seen.kafka.is_some(), "Kafka"),
        (postgres, seen.postgres.is_some(), "Postgres"),
    ] {
        if found && !known {
            let why = "give it a port of the host's in the Compose file";
            seen.unseen
                .push(format!("where {what} is from one start to the next: {why}"));
        }
    }
    seen.kafka = seen.kafka.filter(|_| kafka);
    seen.postgres = seen.postgres.filter(|_| postgres);
    seen
}

fn head(stack: &Stack<'_>, seen: &Seen, files: &[String]) -> Vec<String> {
    let project = &stack.pipeline.project;
    let over = files.join(", ");
    let flags: String = files.iter().map(|file| format!(" -f {file}")).collect();
    let mut lines = vec![
        "# yaml-language-server: $schema=./caravan.schema.json".to_owned(),
        "# (caravan schema > caravan.schema.json)".to_owned(),
        "#".to_owned(),
        format!("# What the pipeline of {over} promises, to be laid over it:"),
        format!("#   caravan{flags} -f caravan.yaml verify"),
        format!(
            "# Proposed by `caravan init` from that and from what was seen of the project {project}."
        ),
        "# What is a comment could not be seen: fill it in, or take it out.".to_owned(),
    ];
    lines.extend(
        seen.unseen
            .iter()
            .map(|why| format!("# Not seen: {}", stack.shown(why))),
    );
    lines
}

/// A flow to be filled in. The topic is one that somebody consumes.
fn flow(stack: &Stack<'_>, seen: &Seen) -> Vec<String> {
    let mut groups = seen.kafka.iter().flat_map(|kafka| &kafka.groups);
    let consumed = groups.find_map(|group| group.topics.first());
    let topic = consumed.map_or("orders", String::as_str);
    let mut lines = vec![
        "  # A line of a service that has one of these is a failure.".to_owned(),
        "  # forbidden-logs: [FATAL, {regex: 'Unhandled\\w* (error|rejection)'}]".to_owned(),
        String::new(),
        "  # How one payment, order, signup … begins; then `caravan test-flow` follows one."
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
            "  #     correlation-id: '{{id}}'   # or a JSON pointer into the answer".to_owned(),
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
