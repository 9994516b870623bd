//! Deletes a payment's rows and keys.

use std::time::Duration;

use super::{Cleanup, sources::Sources};
use crate::stores::{
    StoreError,
    postgres::{
        Postgres,
        ownership::{Deletion, Proof, UndeletedRows},
    },
};
use declaration::{Pipeline, Removal, Table};

/// Time limit of the deletion.
const LIMIT: Duration = Duration::from_secs(10);

/// The tables whose rows are deleted, as declared: the last one first, because its `find` may look at
/// rows of the tables before it.
pub fn deletions(pipeline: &Pipeline) -> Vec<Deletion> {
    let tables = pipeline.tables.iter().rev().filter(|t| t.is_followed());
    let deletion = |table: &Table| {
        let proof = match table.cleanup {
            Removal::Synthetic => Proof::Marked,
            Removal::Find => Proof::New { rows: table.rows },
            Removal::Keep => return None,
        };
        Some(Deletion {
            table: table.name.clone(),
            find: table.find.clone(),
            proof,
        })
    };
    tables.filter_map(deletion).collect()
}

/// Whether a deletion needs to know what existed before the test.
pub fn needs_before(deletions: &[Deletion]) -> bool {
    let new = |deletion: &Deletion| matches!(deletion.proof, Proof::New { .. });
    deletions.iter().any(new)
}

/// The tables in which a later run cannot distinguish a test's rows from others.
pub fn unmarked(pipeline: &Pipeline) -> Vec<UndeletedRows> {
    let deletions = deletions(pipeline).into_iter();
    let unmarked = deletions.filter(|deletion| deletion.proof != Proof::Marked);
    unmarked
        .map(|d| UndeletedRows::unmarked(&d.table))
        .collect()
}

/// How remaining rows can be deleted later.
pub fn later(pipeline: &Pipeline) -> String {
    let deletions = deletions(pipeline);
    let unmarked: Vec<_> = unmarked(pipeline).into_iter().map(|l| l.table).collect();
    match unmarked[..] {
        [] => "later: test-flow --collect".to_owned(),
        _ if unmarked.len() == deletions.len() => {
            "later, by hand: nothing marks them as a test's".to_owned()
        }
        _ => format!(
            "later: test-flow --collect, and by hand in {}, where nothing marks them",
            unmarked.join(", ")
        ),
    }
}

/// Deletes the payment's own rows from the tables that are declared to be cleaned up. If `settled`
/// is an error, nothing is deleted: a worker that still has to consume an event would write rows
/// without the ones that they depend on.
pub(super) async fn clean(
    pipeline: &Pipeline,
    sources: &Sources,
    id: &str,
    settled: Result<(), String>,
) -> Cleanup {
    let failed = |why: StoreError| Cleanup::Failed(why.to_string());
    let keys = sources.delete_keys().await;
    if let Err(why) = settled {
        let later = later(pipeline);
        return Cleanup::Failed(format!(
            "{why}; its rows are left so that it can still go through ({later})"
        ));
    }
    let nothing = |keys: Result<(), StoreError>| keys.map_or_else(failed, |()| Cleanup::Nothing);
    let Some(endpoint) = pipeline
        .postgres
        .as_ref()
        .filter(|_| sources.tables.is_some())
    else {
        return nothing(keys);
    };
    let deletions = deletions(pipeline);
    if deletions.is_empty() {
        return nothing(keys);
    }
    let before = sources.tables.as_ref().and_then(|t| t.before.as_ref());
    // The connection that watches the tables is read-only.
    let deleted = match Postgres::connect_writable(&endpoint.address).await {
        Ok(postgres) => postgres.delete_own(&deletions, &[id], before, LIMIT).await,
        Err(why) => Err(why),
    };
    match (deleted, keys) {
        (Ok(deleted), Ok(())) => Cleanup::Deleted(deleted),
        (Ok(_), Err(why)) => Cleanup::Failed(format!("its rows are deleted, its keys not: {why}")),
        (Err(why), _) => failed(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::testing::{TestDirectory, shipped};

    const TABLES: &str = "
x-caravan:
  postgres: {url: 'postgres://a:b@localhost:5432/shop'}
  tables:
    orders: {find: id = $$1, rows: 1}
    lines: {find: order_id = $$1, rows: 2, cleanup: find}
    audit: {find: ref = $$1, rows: 1, cleanup: keep}
    prices: {columns: [sku], indexes: [prices_pkey]}
services:
  app: {image: app}
";

    #[test]
    fn a_table_is_cleaned_up_by_the_proof_that_it_declares() {
        let place = TestDirectory::new();
        place.write("compose.yaml", TABLES);
        let pipeline = place.pipeline();
        let deletion = |table: &str, find: &str, proof| Deletion {
            table: table.to_owned(),
            find: find.to_owned(),
            proof,
        };
        assert_eq!(
            deletions(&pipeline),
            [
                deletion("lines", "order_id = $1", Proof::New { rows: 2 }),
                deletion("orders", "id = $1", Proof::Marked),
            ]
        );
        let hint = "later: test-flow --collect, and by hand in lines, where nothing marks them";
        assert_eq!(later(&pipeline), hint);
        assert_eq!(later(&shipped()), "later: test-flow --collect");
    }
}
