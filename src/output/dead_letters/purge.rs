use crate::output::listing;
use proof::dead_letters::{journal::Status, purge::PurgePlan};

/// Which dead letters a purge would delete, as a warning.
pub(crate) fn lost(plan: &PurgePlan) -> String {
    let dead_letters = usize::try_from(plan.dead_letters()).unwrap_or(usize::MAX);
    format!(
        "{} will be deleted permanently: {}",
        listing::count(dead_letters, "dead letter"),
        by_status(plan)
    )
}

fn by_status(plan: &PurgePlan) -> String {
    let replayed = plan.count(Status::Replayed);
    let in_flight = plan.count(Status::InFlight);
    let never = plan.count(Status::Waiting) + plan.count(Status::Interrupted);
    let mut text = format!("{replayed} replayed, {in_flight} in flight, {never} never processed");
    let dismissed = plan.count(Status::Dismissed);
    if dismissed > 0 {
        text.push_str(&format!(", {dismissed} from tests"));
    }
    text
}

/// What a purge deleted or would delete, as text.
pub(crate) fn purge_plan(plan: &PurgePlan, deleted: bool) -> String {
    let dead_letters = usize::try_from(plan.dead_letters()).unwrap_or(usize::MAX);
    let count = listing::count(dead_letters, "dead letter");
    match (dead_letters, deleted) {
        (0, _) => "nothing to delete".to_owned(),
        (_, true) => format!("deleted {count}: {}", by_status(plan)),
        (_, false) => format!("would delete {count}: {}", by_status(plan)),
    }
}
