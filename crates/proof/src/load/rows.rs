//! Looks up every payment's rows, table by table, in batches.

use chrono::{DateTime, Utc};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{
    Progress,
    ledger::{Ledger, UNTIMED},
    unreachable,
};
use crate::{
    probe::{cleanup, hop::HopPlace},
    stores::{
        StoreError,
        postgres::{
            Postgres,
            batches::Rows,
            ownership::{Before, Deletion, Stamp},
        },
    },
};
use declaration::{Pipeline, Table};
use diagnostics::{Error, Kind, Result};

/// Payments in a statement.
pub(super) const BATCH: usize = 1_000;

/// The tables on the flow's way.
pub(super) struct Tables {
    pub(super) postgres: Option<Postgres>,
    /// From before the first payment.
    stamp: Option<Stamp>,
    /// Present if rows without a `synthetic` column may have to be deleted.
    pub(super) before: Option<Before>,
    /// Each with its step, in the order of the flow.
    tables: Vec<(usize, Table)>,
    /// How rows are deleted, the last declared table first.
    pub(super) deletions: Vec<Deletion>,
    timed: bool,
}

/// A payment whose rows are not as many as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongRowCount {
    pub(super) step: usize,
    /// Index among the payments.
    pub(super) payment: usize,
    pub(super) rows: i64,
    /// Rows that existed before the first payment and have not changed since.
    pub(super) unchanged: i64,
}

/// What the tables hold of the payments.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Too few or too many.
    pub(super) wrong_row_counts: Vec<WrongRowCount>,
    /// Commit of the first row of the first table, and of the last row of the last one.
    pub(super) first: Option<DateTime<Utc>>,
    pub(super) last: Option<DateTime<Utc>>,
}

impl Tables {
    /// # Errors
    /// `Usage`: no Postgres is declared. `Unreachable`: it does not answer.
    pub(super) async fn open(pipeline: &Pipeline, ledger: &Ledger, keep: bool) -> Result<Self> {
        let steps = ledger.steps.iter().enumerate();
        let tables: Vec<_> = steps
            .filter_map(|(index, step)| match &step.place {
                HopPlace::Table { table, .. } => Some((index, pipeline.table(table)?.clone())),
                HopPlace::Entry { .. }
                | HopPlace::Topic { .. }
                | HopPlace::Log { .. }
                | HopPlace::Cache { .. } => None,
            })
            .collect();
        let deletions = cleanup::deletions(pipeline);
        let (mut postgres, mut stamp, mut before) = (None, None, None);
        let mut timed = false;
        if !tables.is_empty() {
            let Some(endpoint) = &pipeline.postgres else {
                let what = "the declaration does not say where Postgres is";
                return Err(Error::new(Kind::Usage, what));
            };
            let connecting = Postgres::connect_for_batches(&endpoint.address);
            let connected = connecting.await.map_err(unreachable)?;
            timed = connected.keeps_commit_times().await.map_err(unreachable)?;
            if !keep && cleanup::needs_before(&deletions) {
                let opening = Before::open(&endpoint.address);
                before = Some(opening.await.map_err(unreachable)?);
            }
            stamp = Some(connected.stamp().await.map_err(unreachable)?);
            postgres = Some(connected);
        }
        Ok(Self {
            postgres,
            stamp,
            before,
            tables,
            deletions,
            timed,
        })
    }

    /// Their names, in the order of the flow.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|(_, table)| table.name.as_str())
    }

    /// The rows of one of them, as JSON and sorted, of each of `ids`.
    ///
    /// # Errors
    /// The query failed.
    pub(super) async fn rows(
        &self,
        name: &str,
        ids: &[&str],
    ) -> Result<Vec<Vec<String>>, StoreError> {
        let table = self.tables.iter().find(|(_, table)| table.name == name);
        match (&self.postgres, table) {
            (Some(postgres), Some((_, table))) => {
                postgres.rows_each(&table.name, &table.find, ids).await
            }
            _ => Ok(vec![Vec::new(); ids.len()]),
        }
    }

    /// Counts the rows of every payment, till `cancel`.
    ///
    /// # Errors
    /// The query failed.
    pub(super) async fn check(
        &self,
        ledger: &mut Ledger,
        cancel: &CancellationToken,
        progress: &UnboundedSender<Progress>,
    ) -> Result<Effects, StoreError> {
        let mut effects = Effects::default();
        let (Some(postgres), Some(stamp)) = (&self.postgres, &self.stamp) else {
            return Ok(effects);
        };
        let payments = std::sync::Arc::clone(&ledger.payments);
        let (opening, closing) = (self.tables.first(), self.tables.last());
        for (step, table) in &self.tables {
            let is = |t: Option<&(usize, Table)>| t.is_some_and(|(s, _)| s == step);
            for (batch, chunk) in payments.chunks(BATCH).enumerate() {
                if cancel.is_cancelled() {
                    return Ok(effects);
                }
                let ids: Vec<&str> = chunk.iter().map(|p| &*p.id).collect();
                let found = postgres.find_each(&table.name, &table.find, &ids, self.timed, stamp);
                for (n, (rows, written)) in found.await?.into_iter().enumerate() {
                    let payment = batch * BATCH + n;
                    effects.take(ledger, (*step, payment), table.rows, (rows, written));
                    if is(opening) {
                        effects.first = [effects.first, rows.first].into_iter().flatten().min();
                    }
                    if is(closing) {
                        effects.last = effects.last.max(rows.last);
                    }
                }
                let _unwatched = progress.send(Progress::Checking {
                    table: table.name.clone(),
                    done: (batch * BATCH + chunk.len()),
                    of: payments.len(),
                });
            }
        }
        Ok(effects)
    }
}

impl Effects {
    fn take(
        &mut self,
        ledger: &mut Ledger,
        (step, payment): (usize, usize),
        expected: i64,
        (rows, written): (Rows, i64),
    ) {
        // Rows that existed before and have not changed prove nothing.
        let unchanged = match rows.count == expected {
            true => rows.count - written,
            false => 0,
        };
        let proven = rows.count - unchanged;
        if proven != expected {
            self.wrong_row_counts.push(WrongRowCount {
                step,
                payment,
                rows: rows.count,
                unchanged,
            });
        }
        if proven >= expected {
            let at = rows.last.map_or(UNTIMED, |last| last.timestamp_micros());
            ledger.tracks[step].saw(payment, at);
        }
    }
}
