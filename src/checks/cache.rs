//! Redis answers.

use std::time::Instant;

use super::{Containers, Scene, finding::Check};
use crate::{
    clients::{self, TIMEOUT},
    error::Result,
    pipeline::Ready,
};

pub(super) async fn check(scene: Scene<'_>, containers: impl Containers) -> Result<()> {
    let gone_keys = scene
        .pipeline
        .flow
        .as_ref()
        .and_then(|f| f.gone_keys.as_ref());
    let check = Check::new(Instant::now(), "cache.reachable", "answers PING");
    match (&scene.pipeline.redis, gone_keys) {
        (None, None) => {}
        (None, Some(_)) => {
            scene
                .report
                .send(check.fail("the declaration does not say where Redis is"));
        }
        (Some(redis), _) => {
            let answer = clients::ready(Ready::Redis, &redis.address, TIMEOUT).await;
            let finding = match answer {
                Ok(()) => check.pass("answers"),
                Err(why) => {
                    let failed = check.fail(why);
                    failed.hint(scene.remedy_of(&containers.await?, "redis", redis))
                }
            };
            scene.report.send(finding);
        }
    }
    Ok(())
}
