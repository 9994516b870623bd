//! Makes checks: all at once, as far as they do not need one another.

use std::{collections::HashMap, time::Instant};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::SetOnce;

use super::{
    check::Check,
    facts::Facts,
    finding::{Finding, Outcome, Severity, Status},
};

/// How each check ended, by id; those that depend on it wait for that.
type Board = HashMap<String, SetOnce<Ended>>;

#[derive(Debug)]
struct Ended {
    status: Status,
    /// The check that this one's failure goes back to.
    root: Option<String>,
}

/// Makes `checks`, and tells of each as it ends, in no order.
///
/// What a check needs or follows has to come before it in `checks`: so none waits for itself.
pub(super) async fn make_all<'a>(
    checks: Vec<Check<'a>>,
    facts: &'a Facts<'a>,
    mut tell: impl FnMut(Finding),
) {
    let board: Board = checks
        .iter()
        .map(|check| (check.id.clone(), SetOnce::new()))
        .collect();
    let under_way: FuturesUnordered<_> = checks
        .into_iter()
        .map(|check| make(check, facts, &board))
        .collect();
    let mut under_way = std::pin::pin!(under_way);
    while let Some(finding) = under_way.next().await {
        tell(finding);
    }
}

async fn make<'a>(check: Check<'a>, facts: &'a Facts<'a>, board: &Board) -> Finding {
    let Check {
        id,
        expected,
        severity,
        deadline,
        needs,
        follows,
        suspects,
        make,
    } = check;
    let mut began = Instant::now();
    let (outcome, cause) = match lacking(board, &needs).await {
        Some((lacking, root)) => {
            let outcome = Outcome {
                status: Status::Skip,
                ..Outcome::fail(format!("skipped: {lacking} did not pass"))
            };
            (outcome, Some(root))
        }
        None => {
            began = Instant::now();
            let outcome = tokio::time::timeout(deadline, make(facts)).await;
            let outcome = outcome.unwrap_or_else(|_| {
                Outcome::fail(format!("no answer within {} s", deadline.as_secs()))
            });
            let outcome = weighed(outcome, severity);
            let cause = match outcome.status {
                Status::Pass | Status::Skip => None,
                Status::Warn => lacking(board, &follows).await.map(|(_, root)| root),
                Status::Fail => match lacking(board, &follows).await {
                    Some((_, root)) => Some(root),
                    None => warned(board, &suspects).await,
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
        let root = finding.cause.clone();
        // Set twice only if two checks had one id, which `plan` rules out.
        let _taken = ended.set(Ended {
            status: finding.status,
            root,
        });
    }
    finding
}

/// A failure that is no more than a warning.
fn weighed(mut outcome: Outcome, severity: Severity) -> Outcome {
    if outcome.status == Status::Fail && severity == Severity::Warning {
        outcome.status = Status::Warn;
    }
    outcome
}

/// The first of `ids` that did not pass, and the check that its failure goes back to.
async fn lacking(board: &Board, ids: &[String]) -> Option<(String, String)> {
    for id in ids {
        // Not part of this pipeline's plan: nothing is known of it.
        let Some(ended) = board.get(id) else {
            continue;
        };
        let ended = ended.wait().await;
        if matches!(ended.status, Status::Fail | Status::Skip) {
            let root = ended.root.clone().unwrap_or_else(|| id.clone());
            return Some((id.clone(), root));
        }
    }
    None
}

/// The first of `ids` that ended with a warning.
async fn warned(board: &Board, ids: &[String]) -> Option<String> {
    for id in ids {
        if let Some(ended) = board.get(id)
            && ended.wait().await.status == Status::Warn
        {
            return Some(id.clone());
        }
    }
    None
}
