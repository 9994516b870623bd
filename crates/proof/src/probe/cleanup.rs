//! Takes a payment's rows and keys away again.

use super::{Cleanup, sources::Sources};
use crate::stores::{StoreError, postgres::Postgres};
use declaration::{Pipeline, Table};

/// Deletes the rows of the payment as far as its tables are declared to be cleaned up, last table
/// first (its `find` may look at rows of the tables before it), unless something is still `under way`: what is yet to be taken would
/// make rows for which those before them are gone.
pub(super) async fn clean(
    pipeline: &Pipeline,
    sources: &Sources,
    id: &str,
    settled: Result<(), String>,
) -> Cleanup {
    let failed = |why: StoreError| Cleanup::Failed(why.to_string());
    let keys = sources.delete_keys().await;
    if let Err(why) = settled {
        return Cleanup::Failed(format!(
            "{why}; its rows are left so that it can still go through (later: test-flow --collect)"
        ));
    }
    let Some(endpoint) = pipeline
        .postgres
        .as_ref()
        .filter(|_| sources.postgres.is_some())
    else {
        return keys.map_or_else(failed, |()| Cleanup::Nothing);
    };
    let tables: Vec<_> = pipeline
        .tables
        .iter()
        .rev()
        .filter_map(Table::deletion)
        .collect();
    if tables.is_empty() {
        return keys.map_or_else(failed, |()| Cleanup::Nothing);
    }
    // The connection that looked at the tables can only read.
    let deleted = match Postgres::connect_writable(&endpoint.address).await {
        Ok(postgres) => postgres.delete_rows(&tables, id).await,
        Err(why) => Err(why),
    };
    match (deleted, keys) {
        (Ok(deleted), Ok(())) => Cleanup::Deleted(deleted),
        (Ok(_), Err(why)) => Cleanup::Failed(format!("its rows are deleted, its keys not: {why}")),
        (Err(why), _) => failed(why),
    }
}
