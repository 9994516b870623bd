//! Deletes the payments' rows.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::{
    Progress,
    ledger::Payment,
    rows::{BATCH, Tables},
};
use crate::{probe::Cleanup, stores::postgres::ownership::Deleted};

/// Time limit of one batch.
const LIMIT: Duration = Duration::from_secs(120);

/// Deletes the payments' own rows from the tables that are declared to be cleaned up: one
/// transaction for each batch, the last table first.
pub(super) async fn clean(
    tables: &Tables,
    payments: &[Payment],
    progress: &UnboundedSender<Progress>,
) -> Cleanup {
    let Some(postgres) = &tables.postgres else {
        return Cleanup::Nothing;
    };
    if tables.deletions.is_empty() {
        return Cleanup::Nothing;
    }
    let mut deleted = Deleted::default();
    for (batch, chunk) in payments.chunks(BATCH).enumerate() {
        let ids: Vec<&str> = chunk.iter().map(|p| &*p.id).collect();
        let before = tables.before.as_ref();
        let deleting = postgres.delete_own(&tables.deletions, &ids, before, LIMIT);
        match deleting.await {
            Ok(more) => deleted.add(more),
            Err(why) => {
                let left = payments.len() - batch * BATCH;
                return Cleanup::Failed(format!(
                    "{why}; the rows of {left} of {} payments are left",
                    payments.len()
                ));
            }
        }
        let done = batch * BATCH + chunk.len();
        let of = payments.len();
        let _unwatched = progress.send(Progress::Cleaning { done, of });
    }
    Cleanup::Deleted(deleted)
}
