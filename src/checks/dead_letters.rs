//! Dead letters: there should be none.

use std::time::Instant;

use caravan_events::names::dlq;

use super::{
    Scene,
    broker::Broker,
    finding::{Check, Finding},
    topics,
};
use crate::{clients::kafka::scan::DeadLetters, error::Result};

pub(super) async fn check(scene: Scene<'_>, broker: &Broker) -> Result<()> {
    let Some(topic) = &scene.pipeline.dead_letters else {
        return Ok(());
    };
    let check = begin(Instant::now());
    let partitions = broker.partitions(topic);
    if partitions.is_empty() {
        let cause = topics::exists_id(topic);
        scene
            .report
            .send(check.skip("the topic does not exist", &cause));
        return Ok(());
    }
    scene.report.send(
        match broker
            .kafka
            .dead_letters(&partitions, dlq::ERROR_KIND)
            .await
        {
            Ok(letters) => judge(check, topic, &letters),
            Err(why) => check.fail(why),
        },
    );
    Ok(())
}

/// When Kafka did not answer.
pub(super) fn skip(scene: Scene<'_>, began: Instant, why: &str, cause: &str) {
    if scene.pipeline.dead_letters.is_some() {
        scene.report.send(begin(began).skip(why, cause));
    }
}

fn begin(began: Instant) -> Check {
    Check::new(began, "dead-letters.empty", "no dead letters")
}

fn judge(check: Check, topic: &str, letters: &DeadLetters) -> Finding {
    if letters.total == 0 {
        return check.pass("none");
    }
    let mut reasons: Vec<_> = letters
        .reasons
        .iter()
        .map(|(r, n)| format!("{n} {r}"))
        .collect();
    if letters.unknown > 0 {
        reasons.push(format!("{} of another or no reason", letters.unknown));
    }
    let seen = format!("{}: {}", letters.total, reasons.join(", "));
    check.warn(seen).hint(format!(
        "read topic {topic}: the headers dlq-topic, dlq-partition, dlq-offset and dlq-error of \
         each message say what was given up, and why"
    ))
}
