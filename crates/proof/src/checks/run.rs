//! Runs checks: all at once, as far as they do not need one another.

use std::{collections::HashMap, time::Instant};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::SetOnce;

use super::{
    check::Check,
    context::CheckContext,
    finding::{Finding, Outcome, Severity, Status},
    ids::CheckId,
};

/// How each check ended. A check waits here for those that it refers to.
type Board = HashMap<CheckId, SetOnce<Ended>>;

#[derive(Debug)]
struct Ended {
    status: Status,
    /// See [`Finding::cause`].
    cause: Option<CheckId>,
}

/// Runs `checks` and passes each finding to `report` as soon as its check ends, in any order.
///
/// A check may refer only to checks that precede it in `checks`, so none waits for itself.
pub(super) async fn run_all<'a>(
    checks: Vec<Check<'a>>,
    context: &'a CheckContext<'a>,
    mut report: impl FnMut(Finding),
) {
    let board: Board = checks
        .iter()
        .map(|check| (check.id.clone(), SetOnce::new()))
        .collect();
    let running: FuturesUnordered<_> = checks
        .into_iter()
        .map(|check| run(check, context, &board))
        .collect();
    let mut running = std::pin::pin!(running);
    while let Some(finding) = running.next().await {
        report(finding);
    }
}

async fn run<'a>(check: Check<'a>, context: &'a CheckContext<'a>, board: &Board) -> Finding {
    let Check {
        id,
        expected,
        severity,
        deadline,
        needs,
        explained_by,
        possible_causes,
        make,
    } = check;
    let mut began = Instant::now();
    let (outcome, cause) = match first_not_passed(board, &needs).await {
        Some((needed, cause)) => {
            let outcome = Outcome {
                status: Status::Skip,
                ..Outcome::fail(format!("skipped: {needed} did not pass"))
            };
            (outcome, Some(cause))
        }
        None => {
            began = Instant::now();
            let outcome = tokio::time::timeout(deadline, make(context)).await;
            let outcome = outcome.unwrap_or_else(|_| {
                Outcome::fail(format!("no answer within {} s", deadline.as_secs()))
            });
            let outcome = with_severity(outcome, severity);
            let failed = async || first_not_passed(board, &explained_by).await;
            let cause = match outcome.status {
                Status::Pass | Status::Skip => None,
                Status::Warn => failed().await.map(|(_, cause)| cause),
                Status::Fail => match failed().await {
                    Some((_, cause)) => Some(cause),
                    None => first_warned(board, &possible_causes).await,
                },
            };
            (outcome, cause)
        }
    };
    let finding = Finding {
        status: outcome.status,
        severity,
        expected,
        seen: outcome.seen,
        evidence: outcome.evidence,
        hint: outcome.hint,
        cause,
        took: began.elapsed(),
        id,
    };
    if let Some(ended) = board.get(&finding.id) {
        let cause = finding.cause.clone();
        // Set twice only if two checks had one id, which a test of `plan` rules out.
        let _already_set = ended.set(Ended {
            status: finding.status,
            cause,
        });
    }
    finding
}

/// Turns a failure of a check of severity `Warning` into a warning.
fn with_severity(mut outcome: Outcome, severity: Severity) -> Outcome {
    if outcome.status == Status::Fail && severity == Severity::Warning {
        outcome.status = Status::Warn;
    }
    outcome
}

/// The first of `ids` that failed or was skipped, and the root cause of that.
async fn first_not_passed(board: &Board, ids: &[CheckId]) -> Option<(CheckId, CheckId)> {
    for id in ids {
        // All are on the board: `plan` resolves references, and a selection includes what it refers to.
        let Some(ended) = board.get(id) else {
            continue;
        };
        let ended = ended.wait().await;
        if matches!(ended.status, Status::Fail | Status::Skip) {
            let cause = ended.cause.clone().unwrap_or_else(|| id.clone());
            return Some((id.clone(), cause));
        }
    }
    None
}

/// The first of `ids` that ended with a warning.
async fn first_warned(board: &Board, ids: &[CheckId]) -> Option<CheckId> {
    for id in ids {
        if let Some(ended) = board.get(id)
            && ended.wait().await.status == Status::Warn
        {
            return Some(id.clone());
        }
    }
    None
}
