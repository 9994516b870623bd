//! Dead letters, shown: a file for each of `dlq list`, `show`, `replay` and `purge`, every one for a
//! person and for a machine; `text` makes what stands in a letter fit to be seen.

mod list;
mod purge;
mod replay;
mod show;
mod text;

use proof::dead_letters::Event;

pub(crate) use list::{survey, survey_value};
pub(crate) use purge::{cuts, cuts_value, lost};
pub(crate) use replay::{left_out_value, outcome, outcome_value, plan, plan_value, what};
pub(crate) use show::{letter, letter_value};

/// What a long command is at.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Reading { read, of } => format!("{read} of about {of} dead letters read"),
        Event::AwaitingLease { by } => {
            format!("{by} may be changing these dead letters: waiting till it is known")
        }
        Event::Sent { sent, of } => format!("{sent} of {of} sent"),
        Event::Passed { passed, of } => format!("{passed} of {of} went through"),
    }
}

/// Whether it is worth a line where no line can be rewritten.
pub(crate) fn is_milestone(event: &Event) -> bool {
    match event {
        Event::Reading { read, .. } => read % 50_000 == 0,
        Event::AwaitingLease { .. } | Event::Passed { .. } => true,
        Event::Sent { .. } => false,
    }
}
