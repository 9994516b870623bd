//! What a group has committed: something, where there was anything to take.

use super::{Groups, committed, consumed, lag::APART};
use crate::{
    checks::{broker::Broker, facts::Facts, finding::Outcome},
    clients::kafka::offsets::Offsets,
    pipeline::Service,
};

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
    let first = of(groups, service)?;
    let mut lacking = without(broker, groups, service, first)?;
    let all = with_messages(broker, groups, service)?.len();
    if lacking.len() == all {
        // The first events are committed a moment after they came.
        tokio::time::sleep_until((groups.at + APART).into()).await;
        let second = committed(broker, service).await?;
        lacking = without(broker, groups, service, &second)?;
    }
    Ok(match lacking.len() {
        _ if all == 0 => Outcome::pass("no messages"),
        n if n == all => Outcome::fail(format!("none, of {all} partitions")).evidence(lacking),
        n => Outcome::pass(format!("{} of {all}", all - n)),
    })
}

/// `topic/partition` of those that have messages, and no commit among `committed`.
fn without(
    broker: &Broker,
    groups: &Groups,
    service: &Service,
    committed: &Offsets,
) -> Result<Vec<String>, String> {
    let with_messages = with_messages(broker, groups, service)?;
    let lacking = with_messages
        .into_iter()
        .filter(|p| !committed.contains_key(p));
    Ok(lacking
        .map(|(topic, partition)| format!("{topic}/{partition}: nothing committed"))
        .collect())
}

fn with_messages(
    broker: &Broker,
    groups: &Groups,
    service: &Service,
) -> Result<Vec<(String, i32)>, String> {
    let (earliest, latest) = ends(groups)?;
    let has = |p: &(String, i32)| latest.get(p) > earliest.get(p);
    Ok(consumed(broker, service).into_iter().filter(has).collect())
}

fn ends(groups: &Groups) -> Result<(&Offsets, &Offsets), String> {
    let earliest = groups.earliest.as_ref().map_err(Clone::clone)?;
    let latest = groups.latest.as_ref().map_err(Clone::clone)?;
    Ok((earliest, latest))
}

fn of<'a>(groups: &'a Groups, service: &Service) -> Result<&'a Offsets, String> {
    match groups.committed.get(&service.name) {
        Some(committed) => committed.as_ref().map_err(Clone::clone),
        None => Err("its offsets were not asked for".to_owned()),
    }
}
