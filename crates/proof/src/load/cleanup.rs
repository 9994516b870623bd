//! Takes the payments' rows away again.

use tokio::sync::mpsc::UnboundedSender;

use super::{
    Progress,
    ledger::Payment,
    rows::{BATCH, Tables},
};
use crate::probe::Cleanup;

/// Deletes the rows of all payments as far as their tables are declared to be cleaned up, a batch a transaction, the last table first.
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
    let names = tables.deletions.iter().map(|(name, _)| (name.clone(), 0));
    let mut deleted: Vec<(String, u64)> = names.collect();
    for (batch, chunk) in payments.chunks(BATCH).enumerate() {
        let ids: Vec<&str> = chunk.iter().map(|p| &*p.id).collect();
        match postgres.delete_rows_each(&tables.deletions, &ids).await {
            Ok(rows) => deleted.iter_mut().zip(rows).for_each(|(sum, n)| sum.1 += n),
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
