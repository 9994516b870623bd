//! Redis answers.

use super::{check::Check, facts::Facts, finding::Outcome, ids};
use crate::{
    clients::{self, TIMEOUT},
    pipeline::{Endpoint, Pipeline, Ready},
};

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let gone_keys = pipeline.flow.as_ref().and_then(|f| f.gone_keys.as_ref());
    if pipeline.redis.is_none() && gone_keys.is_none() {
        return Vec::new();
    }
    let redis = pipeline.redis.as_ref();
    let reachable = async move |facts: &Facts<'_>| reachable(facts, redis).await;
    let check = Check::new(ids::CACHE, "answers PING", reachable);
    let service = redis.and_then(|r| r.service.as_deref());
    vec![check.follows(ids::deployed_of(pipeline, service))]
}

async fn reachable(facts: &Facts<'_>, redis: Option<&Endpoint>) -> Outcome {
    let Some(redis) = redis else {
        return Outcome::fail("the declaration does not say where Redis is");
    };
    match clients::ready(Ready::Redis, &redis.address, TIMEOUT).await {
        Ok(()) => Outcome::pass("answers"),
        Err(why) => Outcome::fail(why).hint(facts.remedy_of("redis", redis).await),
    }
}
