//! Waits until every consumer group has consumed all of the payment's events.
//!
//! A worker emits before it commits its offset. So once every group has passed all events that were
//! seen, and no further event appears, no event is pending: rows that are deleted then are not
//! written again.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    ledger::{Ledger, Sighting},
    sources::{Group, Sources},
};

/// Time limit for the groups.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two reads of the offsets; also how long no further event may appear.
const PAUSE: Duration = Duration::from_millis(40);

/// Waits, and polls `watching` meanwhile.
///
/// # Errors
/// What is not consumed when the time limit ends.
pub(super) async fn settle<W: Future<Output = ()>>(
    sources: &Sources,
    ledger: &mut Ledger,
    watching: &mut Pin<Box<W>>,
    sightings: &mut UnboundedReceiver<Sighting>,
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let events = ledger.events().len();
        let under_way = under_way(sources, ledger).await;
        tokio::select! {
            () = watching.as_mut() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
        ledger.drain(sightings);
        match under_way {
            None if ledger.events().len() == events => return Ok(()),
            Some(why) if Instant::now() > deadline => return Err(why),
            None | Some(_) => {}
        }
    }
}

/// What has not been consumed yet.
async fn under_way(sources: &Sources, ledger: &Ledger) -> Option<String> {
    if let Some(topic) = ledger.unseen_topic_of(&sources.entry) {
        return Some(format!(
            "{} has yet to announce it on {topic}",
            sources.entry
        ));
    }
    let groups = join_all(sources.groups.iter().map(|group| behind(group, ledger))).await;
    groups.into_iter().flatten().next()
}

/// The first of the payment's events that a group has not committed yet.
async fn behind(group: &Group, ledger: &Ledger) -> Option<String> {
    let events = ledger
        .events()
        .iter()
        .filter(|e| group.topics.contains(&e.partition.0));
    let events: Vec<_> = events.collect();
    let partitions: Vec<_> = events.iter().map(|e| e.partition.clone()).collect();
    let committed = match group.offsets.lowest_committed(&partitions).await {
        Ok(committed) => committed,
        Err(why) => {
            return Some(format!(
                "how far {} has come cannot be told: {why}",
                group.service
            ));
        }
    };
    let behind = |e: &&&super::ledger::Event| {
        committed
            .get(&e.partition)
            .is_none_or(|committed| *committed <= e.offset)
    };
    events.iter().find(behind).map(|event| {
        let (topic, partition) = &event.partition;
        format!(
            "{} has yet to take its event {topic}/{partition}/{}",
            group.service, event.offset
        )
    })
}
