//! Redis answers, and has room.

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::stores::redis::{Memory, Redis};
use declaration::Pipeline;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let gone_keys = pipeline.flow.as_ref().and_then(|f| f.gone_keys.as_ref());
    if pipeline.redis.is_none() && gone_keys.is_none() {
        return Vec::new();
    }
    let redis = pipeline.redis.as_ref();
    let reachable = async |facts: &Facts<'_>| reachable(facts).await;
    let check = Check::new(ids::CACHE, "answers PING", reachable);
    let service = redis.and_then(|r| r.service.as_deref());
    let memory = async |facts: &Facts<'_>| memory(facts).await;
    let memory = Check::new("cache.memory", "room left, nothing evicted", memory);
    vec![
        check
            .follows(ids::deployed_of(pipeline, service))
            .suspects(service.map(ids::as_declared)),
        memory.needs([ids::CACHE]),
    ]
}

async fn memory(facts: &Facts<'_>) -> Outcome {
    let asked = async { Ok::<_, String>(connected(facts).await?.memory().await?) };
    match asked.await {
        Ok(memory) => remedied(facts, judge(memory)).await,
        // A hosted one may not tell; that is no failure of the pipeline.
        Err(why) => Outcome::warn(format!("cannot be told: {why}")),
    }
}

async fn reachable(facts: &Facts<'_>) -> Outcome {
    let asked = async { Ok::<_, String>(connected(facts).await?.ping().await?) };
    match asked.await {
        Ok(()) => Outcome::pass("answers"),
        Err(why) => remedied(facts, Outcome::fail(why)).await,
    }
}

async fn connected<'a>(facts: &'a Facts<'_>) -> Result<&'a Redis, String> {
    facts.redis().await.as_ref().map_err(Clone::clone)
}

/// With what brings Redis back, where it is declared.
async fn remedied(facts: &Facts<'_>, outcome: Outcome) -> Outcome {
    match &facts.pipeline.redis {
        Some(redis) => outcome.hint(facts.remedy_of("redis", redis).await),
        None => outcome,
    }
}

fn judge(memory: Memory) -> Outcome {
    let seen = match memory.limit {
        None => format!("{} used, no limit", size(memory.used)),
        Some(limit) => format!("{} of {}", size(memory.used), size(limit)),
    };
    let full = memory.limit.is_some_and(|limit| memory.used >= limit);
    // From nine tenths on.
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
    use crate::checks::finding::Status;

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
    fn a_full_redis_refuses_or_gives_up() {
        assert_eq!(judged(1_000, None, true, 0), Status::Pass);
        assert_eq!(judged(500, Some(1_000), false, 0), Status::Pass);
        assert_eq!(judged(950, Some(1_000), false, 0), Status::Warn);
        assert_eq!(judged(1_000, Some(1_000), false, 0), Status::Fail);
        assert_eq!(judged(1_000, Some(1_000), true, 0), Status::Pass);
        assert_eq!(judged(1_000, Some(1_000), true, 7), Status::Warn);
    }
}
