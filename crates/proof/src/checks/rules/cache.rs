//! Redis answers, accepts writes and has free memory.

use crate::{
    checks::{
        check::Check,
        context::CheckContext,
        finding::{Outcome, Status},
        ids,
    },
    stores::redis::Memory,
};
use declaration::Pipeline;

/// A restart would make room by deleting what is only in memory, counters for instance, and only for a while.
const MORE_MEMORY: &str =
    "raise its maxmemory, or have less written to it: a restart loses its keys";

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let Some(id) = ids::cache(pipeline) else {
        return Vec::new();
    };
    let reachable = async |context: &CheckContext<'_>| {
        let outcome = match context.observed.ping_redis().await {
            Ok(()) => Outcome::pass("answers"),
            Err(why) => Outcome::fail(why),
        };
        remedied(context, outcome).await
    };
    let memory = async |context: &CheckContext<'_>| match context.observed.redis_memory().await {
        Ok(memory) => judge(memory).hint(MORE_MEMORY),
        // A hosted Redis may refuse INFO, which is not a failure of the pipeline.
        Err(why) => Outcome::warn(format!("unknown: {why}")),
    };
    let writable = async |context: &CheckContext<'_>| {
        let outcome = match context.observed.redis_refuses().await {
            Ok(None) => Outcome::pass("accepts writes"),
            Ok(Some(why)) => Outcome::fail(format!("refuses writes: {why}")),
            // This login may not write, or the key belongs to another node.
            Err(why) => Outcome::warn(format!("unknown: {why}")),
        };
        // A restart would lose what is only in memory.
        let redis = context.pipeline.redis.as_ref();
        match redis.and_then(|redis| redis.service.as_deref()) {
            Some(service) => outcome.hint(context.command(&format!("logs {service}"))),
            None => outcome,
        }
    };
    let service = pipeline.redis.as_ref().and_then(|r| r.service.as_deref());
    let expected = "memory left, no evictions";
    vec![
        Check::new(id.clone(), "answers PING", reachable)
            .explained_by(ids::deployed_of(pipeline, service))
            .possible_causes(ids::as_declared_of(pipeline, service)),
        Check::new(ids::MEMORY.id(), expected, memory).needs([id.clone()]),
    ]
    .into_iter()
    .chain(
        ids::cache_writable(pipeline)
            .map(|writes| Check::new(writes, "accepts writes", writable).needs([id])),
    )
    .collect()
}

/// Adds the remedy for Redis, unless the check passed.
async fn remedied(context: &CheckContext<'_>, outcome: Outcome) -> Outcome {
    match &context.pipeline.redis {
        Some(redis) if outcome.status != Status::Pass => {
            outcome.hint(context.remedy_of("redis", redis).await)
        }
        Some(_) | None => outcome,
    }
}

fn judge(memory: Memory) -> Outcome {
    let seen = match memory.limit {
        None => format!("{} used, no limit", size(memory.used)),
        Some(limit) => format!("{} of {}", size(memory.used), size(limit)),
    };
    let full = memory.limit.is_some_and(|limit| memory.used >= limit);
    // More than nine tenths are used.
    let nearly = memory
        .limit
        .is_some_and(|limit| memory.used / 9 >= limit / 10);
    match (memory.evicts, memory.evicted) {
        (false, _) if full => Outcome::fail(format!("{seen}: it refuses writes")),
        (false, _) if nearly => Outcome::warn(format!("{seen}: then it refuses writes")),
        (_, evicted) if evicted > 0 => Outcome::warn(format!("{seen}, {evicted} keys evicted")),
        _ => Outcome::pass(seen),
    }
}

fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size for a person")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    format!("{mebibytes:.1} MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(used: u64, limit: Option<u64>, evicts: bool, evicted: u64) -> Status {
        let memory = Memory {
            used,
            limit,
            evicts,
            evicted,
        };
        judge(memory).status
    }

    #[test]
    fn a_full_redis_refuses_writes_or_evicts() {
        assert_eq!(judged(1_000, None, true, 0), Status::Pass);
        assert_eq!(judged(500, Some(1_000), false, 0), Status::Pass);
        assert_eq!(judged(950, Some(1_000), false, 0), Status::Warn);
        assert_eq!(judged(1_000, Some(1_000), false, 0), Status::Fail);
        assert_eq!(judged(1_000, Some(1_000), true, 0), Status::Pass);
        assert_eq!(judged(1_000, Some(1_000), true, 7), Status::Warn);
    }
}
