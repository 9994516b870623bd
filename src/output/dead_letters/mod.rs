//! The output of `dlq list`, `show`, `replay` and `purge`, a file each, as text and as JSON; `text` escapes
//! the content of dead letters.

mod list;
mod purge;
mod replay;
mod show;
mod text;

use proof::dead_letters::Progress;

pub(crate) use list::{summary, summary_value};
pub(crate) use purge::{lost, purge_plan, purge_plan_value};
pub(crate) use replay::{outcome, outcome_value, plan, plan_value, skipped_value, what};
pub(crate) use show::{dead_letter, dead_letter_value};

/// The progress of a long command.
pub(crate) fn progress(progress: &Progress) -> String {
    match progress {
        Progress::Reading { read, of } => format!("{read} of about {of} dead letters read"),
        Progress::AwaitingLease { by } => {
            format!("{by} may be changing these dead letters: waiting until that is certain")
        }
        Progress::Sent { sent, of } => format!("{sent} of {of} sent"),
        Progress::Passed { passed, of } => format!("{passed} of {of} succeeded"),
    }
}

/// Whether the progress is shown if the output cannot be redrawn.
pub(crate) fn is_milestone(progress: &Progress) -> bool {
    match progress {
        Progress::Reading { read, .. } => read % 50_000 == 0,
        Progress::AwaitingLease { .. } | Progress::Passed { .. } => true,
        Progress::Sent { .. } => false,
    }
}
