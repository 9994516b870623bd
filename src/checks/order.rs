//! The order in which findings are shown: layer, then declaration, then aspect.

use super::finding::Finding;
use crate::pipeline::Pipeline;

const LAYERS: [&str; 10] = [
    "declaration",
    "containers",
    "kafka",
    "topics",
    "groups",
    "logs",
    "database",
    "cache",
    "dead-letters",
    "services",
];

const ASPECTS: [&str; 20] = [
    "checks",
    "reachable",
    "migrations",
    "running",
    "completed",
    "health",
    "restarts",
    "exists",
    "columns",
    "indexes",
    "partitions",
    "stable",
    "assigned",
    "lag",
    "started",
    "clean",
    "holds",
    "empty",
    "room",
    "ready",
];

/// Puts findings into the order of the tables.
pub(crate) fn sort(pipeline: &Pipeline, findings: &mut [Finding]) {
    findings.sort_by_cached_key(|finding| key(pipeline, &finding.id));
}

/// Layer, subject and aspect as positions; what is unknown comes last, by name.
fn key(pipeline: &Pipeline, id: &str) -> (usize, usize, usize, String) {
    let (layer, rest) = id.split_once('.').unwrap_or((id, ""));
    // A subject may hold dots (topics do); an aspect does not.
    let (subject, aspect) = rest.rsplit_once('.').unwrap_or(("", rest));
    let position =
        |list: &[&str], word: &str| list.iter().position(|w| *w == word).unwrap_or(list.len());
    (
        position(&LAYERS, layer),
        subject_position(pipeline, layer, subject),
        position(&ASPECTS, aspect),
        id.to_owned(),
    )
}

fn subject_position(pipeline: &Pipeline, layer: &str, subject: &str) -> usize {
    let mut names: Vec<&str> = vec![""];
    match layer {
        "topics" => names.extend(pipeline.topics.iter().map(|t| t.name.as_str())),
        "database" => {
            names.extend(pipeline.tables.iter().map(|t| t.name.as_str()));
            names.extend(pipeline.invariants.iter().map(|i| i.name.as_str()));
        }
        _ => names.extend(pipeline.services.iter().map(|s| s.name.as_str())),
    }
    names
        .iter()
        .position(|n| *n == subject)
        .unwrap_or(names.len())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{super::finding::Check, *};

    #[test]
    fn findings_stand_by_layer_then_declaration_then_aspect() {
        let pipeline = crate::pipeline::tests::shipped();
        let expected = [
            "containers.kafka.running",
            "containers.kafka.health",
            "containers.migrate.completed",
            "containers.cache-worker.running",
            "kafka.reachable",
            "topics.purchase-created.exists",
            "topics.purchase-created.partitions",
            "topics.dead-letter-queue.exists",
            "groups.purchase-worker.assigned",
            "groups.purchase-worker.lag",
            "logs.purchase-worker.started",
            "database.reachable",
            "database.migrations",
            "database.payments.exists",
            "database.tutoring_sessions.exists",
            "database.purchase-has-allocation.holds",
            "cache.reachable",
            "dead-letters.empty",
            "dead-letters.room",
            "services.admin-service.ready",
            "unknown.layer",
        ];
        let finding = |id: &&str| Check::new(Instant::now(), *id, "").pass("");
        let mut findings: Vec<_> = expected.iter().rev().map(finding).collect();
        sort(&pipeline, &mut findings);
        let ids: Vec<_> = findings.iter().map(|f| f.id.as_str()).collect();
        assert_eq!(ids, expected);
    }
}
