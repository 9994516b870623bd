//! What a group has committed: something, where there was anything to take.

use super::{committed, consumed, lag::APART};
use crate::checks::{broker::Broker, facts::Facts, finding::Outcome};
use declaration::Service;
use kafka::{Partition, offsets::Offsets};

/// Offsets are committed: without any a consumer begins anew, at one end or the other, each time.
///
/// A single partition without one is no more than behind, as yet.
pub(super) async fn committed_where_needed(facts: &Facts<'_>, service: &Service) -> Outcome {
    let outcome = lacking(facts, service).await;
    outcome.unwrap_or_else(|why| Outcome::fail(format!("cannot be told: {why}")))
}

async fn lacking(facts: &Facts<'_>, service: &Service) -> Result<Outcome, String> {
    let broker = facts.broker().await.as_ref().map_err(Clone::clone)?;
    let groups = facts.groups().await;
    let (earliest, latest) = groups.ends()?;
    let has_messages = |p: &Partition| latest.get(p) > earliest.get(p);
    let mut partitions = consumed(broker, service);
    partitions.retain(has_messages);
    let all = partitions.len();
    if all == 0 {
        return Ok(Outcome::pass("no messages"));
    }
    let mut lacking = without(&partitions, groups.committed(service)?);
    if lacking.len() == all {
        // The first events are committed a moment after they came.
        tokio::time::sleep_until((groups.at + APART).into()).await;
        lacking = without(&partitions, &committed(broker, service).await?);
    }
    if lacking.len() == all && !any_message(broker, earliest, latest, &partitions).await {
        return Ok(Outcome::pass("no messages"));
    }
    Ok(match lacking.len() {
        n if n == all => Outcome::fail(format!("none, of {all} partitions")).evidence(lacking),
        n => Outcome::pass(format!("{} of {all}", all - n)),
    })
}

/// Whether a message stands in one of `partitions`, or it cannot be told.
async fn any_message(
    broker: &Broker,
    earliest: &Offsets,
    latest: &Offsets,
    partitions: &[Partition],
) -> bool {
    let of = |offsets: &Offsets| -> Offsets {
        let own = offsets.iter().filter(|(p, _)| partitions.contains(p));
        own.map(|(p, offset)| (p.clone(), *offset)).collect()
    };
    let (from, to) = (of(earliest), of(latest));
    let ends = broker.kafka.ends_of_messages(&from, &to).await;
    !ends.is_ok_and(|ends| ends == from)
}

/// Those of `partitions` that have no commit among `committed`, a line each.
fn without(partitions: &[Partition], committed: &Offsets) -> Vec<String> {
    let lacking = partitions.iter().filter(|p| !committed.contains_key(p));
    lacking
        .map(|(topic, partition)| format!("{topic}/{partition}: nothing committed"))
        .collect()
}
