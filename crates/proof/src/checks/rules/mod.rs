//! The rules, a file per layer. Each declares its checks: a check waits for what it observes, and a pure
//! function judges that.

mod broker;
mod cache;
mod containers;
mod database;
mod dead_letters;
mod drift;
mod effects;
mod groups;
mod health;
mod invariants;
mod lag;
mod logs;
mod services;
mod topics;

use super::{check::Check, context::CheckContext, finding::Outcome, ids};
use declaration::Pipeline;

/// The checks of all layers. A check refers only to those that precede it.
pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let layers = [
        containers::checks,
        broker::checks,
        topics::checks,
        database::checks,
        cache::checks,
        services::checks,
        logs::checks,
        groups::checks,
        containers::health,
        invariants::checks,
        dead_letters::checks,
    ];
    let mut checks: Vec<_> = layers.iter().flat_map(|checks| checks(pipeline)).collect();
    if checks.is_empty() {
        checks.push(nothing_declared());
    }
    checks
}

/// A declaration without anything to check is an error.
fn nothing_declared<'a>() -> Check<'a> {
    let none = async |_: &CheckContext<'_>| {
        Outcome::fail("no checks declared").hint(
            "declare services and, under x-caravan, what they promise; see docs/declaration.md",
        )
    };
    Check::new(ids::DECLARATION.id(), "something to check", none)
}
