//! What has happened, and whether it is what was promised.
//!
//! `declared` reads the promises out of compose/compose.yaml: the tables with their rows for one
//! payment, the invariants, the topics. They are those that `caravan verify` and `caravan
//! test-flow` go by; here every payment is looked at, and nothing has a grace. `topics` reads
//! what was emitted; `doctored` proves that a wrong history is found out; `commits`
//! compares a stopped worker's offsets with its inbox.

mod commits;
mod declared;
mod doctored;
mod topics;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::{kafka::lag, pipeline::Pipeline};
pub(crate) use commits::disagreements;
pub(crate) use declared::Declared;
pub(crate) use doctored::wrong_rows_are_found;
pub(crate) use topics::{Emitted, Topics};

/// How many counterexamples of a kind are shown.
const SHOWN: usize = 5;

/// What was found of some payments, and of the pipeline as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    payments: BTreeSet<Uuid>,
    /// By table: the rows that one payment leads to, and those that each payment has.
    rows: BTreeMap<String, (i64, BTreeMap<Uuid, i64>)>,
    /// By table: all its rows, and how many all payments that were ever made lead to.
    totals: BTreeMap<String, (i64, i64)>,
    /// By what an invariant says: the ids that break it.
    counterexamples: BTreeMap<String, Vec<String>>,
    /// By topic: the event ids of each payment.
    outputs: BTreeMap<String, BTreeMap<Uuid, BTreeSet<Uuid>>>,
    dead_letters: usize,
    /// By group: messages before it.
    lags: BTreeMap<String, i64>,
}

impl History {
    /// Looks at the rows and events of `payments`; `ever` is how many were made since the
    /// database was new.
    pub(crate) async fn gather(
        pipeline: &Pipeline,
        declared: &Declared,
        topics: &mut Topics,
        database: &mut PgConnection,
        payments: &BTreeSet<Uuid>,
        ever: usize,
    ) -> Self {
        let mut history = Self {
            payments: payments.clone(),
            rows: BTreeMap::new(),
            totals: BTreeMap::new(),
            counterexamples: BTreeMap::new(),
            outputs: BTreeMap::new(),
            dead_letters: topics.read(&declared.dead_letters).len(),
            lags: lags(pipeline, declared),
        };
        for topic in declared.emitted() {
            let mut ids: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
            for event in topics.read(topic) {
                ids.entry(event.payment).or_default().insert(event.event_id);
            }
            history.outputs.insert(topic.to_owned(), ids);
        }
        history.gather_rows(declared, database, ever).await;
        history
    }

    async fn gather_rows(&mut self, declared: &Declared, database: &mut PgConnection, ever: usize) {
        let payments: Vec<Uuid> = self.payments.iter().copied().collect();
        for (table, promise) in &declared.tables {
            // The declared condition on one payment, for each payment.
            let find = promise.find("payment.id::text");
            let sql = format!(
                "SELECT payment.id, (SELECT count(*) FROM {table} WHERE {find})
                 FROM unnest($1::uuid[]) payment(id)"
            );
            let counted: Vec<(Uuid, i64)> = sqlx::query_as(AssertSqlSafe(sql))
                .bind(&payments)
                .fetch_all(&mut *database)
                .await
                .unwrap();
            let rows = (promise.rows, counted.into_iter().collect());
            self.rows.insert(table.clone(), rows);
            let sql = format!("SELECT count(*) FROM {table}");
            let all: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(&mut *database)
                .await
                .unwrap();
            let expected = promise.rows * i64::try_from(ever).unwrap();
            self.totals.insert(table.clone(), (all, expected));
        }
        for rule in declared.invariants.values() {
            let sql = format!("SELECT id FROM ({}) counterexamples", rule.sql());
            let ids = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(&mut *database)
                .await
                .unwrap();
            self.counterexamples.insert(rule.says.clone(), ids);
        }
    }

    /// Everything that is not as promised, in words; empty where all is right.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut report = |what: String, ids: Vec<String>| {
            if !ids.is_empty() {
                let shown = ids.iter().take(SHOWN).cloned().collect::<Vec<_>>();
                found.push(format!("{what}: {} ({})", ids.len(), shown.join(", ")));
            }
        };
        for (table, (rows, counted)) in &self.rows {
            let wrong = counted.iter().filter(|(_, seen)| *seen != rows);
            let wrong = wrong.map(|(payment, seen)| format!("{payment} has {seen}"));
            report(
                format!("payments without exactly {rows} in {table}"),
                wrong.collect(),
            );
        }
        for (table, (all, expected)) in &self.totals {
            let wrong = (all != expected).then(|| format!("{all} instead of {expected}"));
            report(format!("rows of {table}"), wrong.into_iter().collect());
        }
        for (says, ids) in &self.counterexamples {
            report(format!("not so: {says}"), ids.clone());
        }
        for (topic, ids) in &self.outputs {
            let number = |payment: &Uuid| ids.get(payment).map_or(0, BTreeSet::len);
            let wrong = self.payments.iter().filter(|payment| number(payment) != 1);
            let wrong = wrong.map(|payment| format!("{payment} has {}", number(payment)));
            report(
                format!("payments without exactly one event id on {topic}"),
                wrong.collect(),
            );
        }
        let dead = (self.dead_letters > 0).then(|| self.dead_letters.to_string());
        report("dead letters".to_owned(), dead.into_iter().collect());
        let behind = self.lags.iter().filter(|(_, lag)| **lag != 0);
        let behind = behind.map(|(group, lag)| format!("{group} by {lag}"));
        report("groups behind".to_owned(), behind.collect());
        found
    }
}

/// Messages before each worker's group.
pub(crate) fn lags(pipeline: &Pipeline, declared: &Declared) -> BTreeMap<String, i64> {
    declared
        .consumers()
        .map(|(group, topic)| (group.to_owned(), lag(pipeline, group, topic)))
        .collect()
}
