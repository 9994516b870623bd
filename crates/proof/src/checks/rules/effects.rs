//! What a group has committed has left rows: at least one of the last records is found in the tables that
//! its service writes, or has written by a service that it calls. A worker that reads, logs and commits but
//! writes nothing passes all other checks (docs/decisions/0039).

use crate::checks::{
    check::Check,
    context::CheckContext,
    effect_tables::EffectTables,
    finding::Outcome,
    ids,
    observe::effects::{self, Committed, ENOUGH, Effects},
};
use declaration::{Pipeline, Service};

/// None: the declaration does not say where the rows are.
pub(super) fn check<'a>(pipeline: &'a Pipeline, service: &'a Service) -> Option<Check<'a>> {
    let id = ids::effects(pipeline, service)?;
    let tables = EffectTables::of(pipeline, service)?;
    let named: Vec<_> = tables
        .names()
        .filter_map(|name| ids::table(pipeline, name))
        .collect();
    let have_rows = async move |context: &CheckContext<'_>| match effects::observe(
        &context.observed,
        service,
        &tables,
    )
    .await
    {
        Ok(effects) => {
            let outcome = judge(context, &tables, &effects);
            let errors = context.errors_of(service, &outcome).await;
            outcome.evidence(errors)
        }
        Err(why) => Outcome::fail(format!("unknown: {why}")),
    };
    let check = Check::new(id, "rows for committed events", have_rows)
        .needs(ids::kafka(pipeline))
        .needs(ids::database(pipeline))
        .needs(ids::group(service, ids::GROUP))
        .needs(ids::consumed_topics(pipeline, service))
        .needs(named)
        .explained_by([ids::deployed(pipeline, service)])
        .explained_by(ids::dependencies_and_calls(pipeline, service));
    Some(check)
}

fn judge(context: &CheckContext<'_>, tables: &EffectTables<'_>, effects: &Effects) -> Outcome {
    let outcome = without_rows(&tables.own_names().join(", "), effects);
    let id = effects
        .without
        .first()
        .and_then(|record| record.ids.first());
    match id {
        Some(id) => outcome.hint(context.command(&format!("trace {id}"))),
        None => outcome,
    }
}

/// A row may have been deleted by hand; [`ENOUGH`] records in a row without one are no accident.
fn without_rows(tables: &str, effects: &Effects) -> Outcome {
    let without = &effects.without;
    let describe = |record: &Committed| {
        let age = (effects.at - record.at).num_seconds();
        let Committed { place, ids, .. } = record;
        let ids = ids.join(", ");
        format!("{place} ({ids}), {age}s old: nothing written to {tables}")
    };
    match &effects.shared {
        Some(table) if without.is_empty() => {
            let seen = format!("inconclusive: events share a row of {table}");
            let told = "with track_commit_timestamp = on, Postgres knows when it was written";
            return Outcome::pass(seen).evidence([told.to_owned()]);
        }
        // A worker may find that it has nothing to change.
        Some(table) => {
            let seen = format!(
                "the last {} events share a row of {table}, which was written before them",
                without.len()
            );
            return Outcome::warn(seen).evidence(without.iter().map(describe));
        }
        None => {}
    }
    let seen = match (without.len(), effects.found) {
        (0, true) => return Outcome::pass("rows of the last event exist"),
        (0, false) => return Outcome::pass("no conclusive event in the last 24h"),
        (1, true) => return Outcome::pass("rows exist, except for the last event"),
        (n, true) => return Outcome::pass(format!("rows exist, except for the last {n} events")),
        (1, false) => "none for the only event of the last 24h".to_owned(),
        (n, false) => format!("none for the last {n} events"),
    };
    let outcome = match without.len() {
        ENOUGH.. => Outcome::fail(seen),
        _ => Outcome::warn(seen),
    };
    outcome.evidence(without.iter().map(describe))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::*;
    use crate::{checks::finding::Status, dead_letters::RecordId};

    #[test]
    fn a_row_of_several_events_proves_none_of_them() {
        let at = Utc::now();
        let record = |id: &str| {
            let written = at - TimeDelta::seconds(40);
            Committed::new(RecordId::new("t", 0, 7), written, vec![id.to_owned()])
        };
        let judged = |ids: &[&str]| {
            let effects = Effects {
                without: ids.iter().map(|id| record(id)).collect(),
                found: false,
                shared: Some("customer_stats".to_owned()),
                at,
            };
            let outcome = without_rows("customer_stats", &effects);
            (outcome.status, outcome.seen)
        };
        let unknown = "inconclusive: events share a row of customer_stats".to_owned();
        assert_eq!(judged(&[]), (Status::Pass, unknown));
        let old = "the last 3 events share a row of customer_stats, which was written before them";
        assert_eq!(judged(&["a", "b", "c"]), (Status::Warn, old.to_owned()));
    }

    #[test]
    fn one_without_a_row_may_have_been_deleted_three_in_a_row_were_never_written() {
        let at = Utc::now();
        let record = |id: &str| {
            let written = at - TimeDelta::seconds(40);
            Committed::new(RecordId::new("t", 0, 7), written, vec![id.to_owned()])
        };
        let judged = |n: usize, found| {
            let without = ["a", "b", "c"].into_iter().take(n).map(record).collect();
            let effects = Effects {
                without,
                found,
                shared: None,
                at,
            };
            without_rows("tutoring_sessions", &effects)
        };
        let status = |n, found| judged(n, found).status;
        assert_eq!(status(0, true), Status::Pass);
        assert_eq!(status(0, false), Status::Pass);
        assert_eq!(status(2, true), Status::Pass);
        assert_eq!(status(2, false), Status::Warn);
        let failed = judged(3, false);
        assert_eq!(failed.status, Status::Fail);
        assert_eq!(failed.seen, "none for the last 3 events");
        assert_eq!(
            failed.evidence[0],
            "t/0/7 (a), 40s old: nothing written to tutoring_sessions"
        );
    }
}
