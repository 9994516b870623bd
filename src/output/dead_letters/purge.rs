use serde_json::{Value, json};

use crate::output::listing;
use proof::dead_letters::{journal::Status, purge::Cuts};

/// What a purge loses.
pub(crate) fn lost(cuts: &Cuts) -> String {
    let letters = usize::try_from(cuts.letters()).unwrap_or(usize::MAX);
    format!(
        "{} will be lost for ever: {}",
        listing::count(letters, "dead letter"),
        by_status(cuts)
    )
}

fn by_status(cuts: &Cuts) -> String {
    let replayed = cuts.count(Status::Replayed);
    let in_flight = cuts.count(Status::InFlight);
    let never = cuts.count(Status::Waiting) + cuts.count(Status::Interrupted);
    let mut text = format!("{replayed} replayed, {in_flight} in flight, {never} never processed");
    let dismissed = cuts.count(Status::Dismissed);
    if dismissed > 0 {
        text.push_str(&format!(", {dismissed} of tests"));
    }
    text
}

/// What a purge did, or would do, for a person.
pub(crate) fn cuts(cuts: &Cuts, deleted: bool) -> String {
    let letters = usize::try_from(cuts.letters()).unwrap_or(usize::MAX);
    let count = listing::count(letters, "dead letter");
    match (letters, deleted) {
        (0, _) => "nothing to delete".to_owned(),
        (_, true) => format!("deleted {count}: {}", by_status(cuts)),
        (_, false) => format!("would delete {count}: {}", by_status(cuts)),
    }
}

/// What a purge did, or would do, for a machine.
pub(crate) fn cuts_value(project: &str, topic: &str, cuts: &Cuts, deleted: bool) -> Value {
    let partitions = cuts.partitions.iter().map(|(partition, cut)| {
        json!({
            "partition": partition,
            "deleteBefore": cut.before,
            "letters": cut.letters.values().sum::<u64>(),
        })
    });
    json!({
        "project": project,
        "topic": topic,
        "deleted": deleted,
        "letters": cuts.letters(),
        "replayed": cuts.count(Status::Replayed),
        "inFlight": cuts.count(Status::InFlight),
        "dismissed": cuts.count(Status::Dismissed),
        "neverProcessed": cuts.count(Status::Waiting) + cuts.count(Status::Interrupted),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}
