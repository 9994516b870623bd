//! Postgres answers and can be written, is migrated, and has the declared tables, columns, indexes,
//! constraints and triggers.

use std::net::IpAddr;

use crate::{
    checks::{
        check::Check,
        context::CheckContext,
        finding::{Outcome, Status},
        ids,
        observe::ObservationError,
    },
    stores::{
        self,
        postgres::{
            session::{Blocker, Exhausted, Refused, SessionState},
            table_schema::{ByTable, Differences, Trigger},
        },
    },
};
use declaration::{Effect, Migrations, Pipeline, Service, Table};

/// A transaction that locks a table for so many seconds blocks the pipeline.
const BLOCKS_AFTER: i32 = 10;

pub(super) fn checks(pipeline: &Pipeline) -> Vec<Check<'_>> {
    let Some(id) = ids::database(pipeline) else {
        return Vec::new();
    };
    let endpoint = pipeline.postgres.as_ref();
    let reachable =
        async move |context: &CheckContext<'_>| match (context.observed.database().await, endpoint)
        {
            (Ok(_), _) => Outcome::pass("connected"),
            (Err(why), Some(postgres)) => {
                Outcome::fail(why).hint(context.remedy_of("postgres", postgres).await)
            }
            (Err(why), None) => Outcome::fail(why),
        };
    let service = endpoint.and_then(|postgres| postgres.service.as_deref());
    let reachable = Check::new(id, "accepts a connection", reachable)
        .explained_by(ids::deployed_of(pipeline, service))
        .possible_causes(ids::as_declared_of(pipeline, service));
    let tables = || pipeline.tables.iter();
    [reachable]
        .into_iter()
        .chain(writable(pipeline))
        .chain(unblocked(pipeline))
        .chain(migrations(pipeline))
        .chain(tables().filter_map(|table| exists(pipeline, table)))
        .chain(tables().flat_map(|table| schema(pipeline, table)))
        .collect()
}

fn writable(pipeline: &Pipeline) -> Option<Check<'_>> {
    let id = ids::writable(pipeline)?;
    let writable = async move |context: &CheckContext<'_>| {
        let outcome = async {
            let session = context.observed.session().await?;
            let state = context.observed.session_state().await?;
            let mut services = Vec::new();
            let uses = |s: &&Service| !(s.writes.is_empty() && s.reads.is_empty());
            for service in pipeline.services.iter().filter(uses) {
                let containers = context.observed.containers_of(service).await;
                let addresses = containers.iter().flat_map(|c| c.addresses.clone());
                let addresses: Vec<IpAddr> = addresses.collect();
                let urls: Vec<&str> = service.environment.values().map(String::as_str).collect();
                let logins = session.logins(&addresses, &urls).await?;
                let refused = session.refused(&logins, &service.writes, &service.reads);
                let refused = refused.await?;
                services.push(Client {
                    service: &service.name,
                    is_known: !logins.is_empty(),
                    refused,
                });
            }
            let tables: Vec<&str> = pipeline.tables.iter().map(|t| t.name.as_str()).collect();
            let exhausted = session.exhausted(&tables).await?;
            let judged = judge_writable(state, &services, &exhausted);
            if judged.status != Status::Pass {
                return Ok(judged);
            }
            let full = session.disk_full().await?;
            Ok::<_, ObservationError>(full.map_or(judged, |why| disk_full(context, &why)))
        };
        outcome.await.unwrap_or_else(Outcome::fail)
    };
    let check = Check::new(id, "writes are accepted", writable).needs(ids::database(pipeline));
    Some(check)
}

/// Deleted rows make no room before VACUUM, and a restart needs some itself.
fn disk_full(context: &CheckContext<'_>, why: &str) -> Outcome {
    let outcome =
        Outcome::fail("its disk is full: no row can be stored").evidence([why.to_owned()]);
    let postgres = context.pipeline.postgres.as_ref();
    match postgres.and_then(|postgres| postgres.service.as_deref()) {
        Some(service) => outcome.hint(format!("make room on the disk of {service}'s data")),
        None => outcome.hint("make room on the disk of its data"),
    }
}

/// A service with tables, and what its logins may not do.
struct Client<'a> {
    service: &'a str,
    /// Its environment names a login, or a session of one of its containers was seen.
    is_known: bool,
    refused: Vec<Refused>,
}

fn judge_writable(
    state: &SessionState,
    services: &[Client<'_>],
    exhausted: &[Exhausted],
) -> Outcome {
    if state.recovery {
        let remedy = "it becomes a primary with SELECT pg_promote()";
        return Outcome::fail("a standby: it refuses writes").evidence([remedy.to_owned()]);
    }
    if state.read_only {
        let source = &state.read_only_source;
        let by = format!("default_transaction_read_only is on, set by: {source}");
        return Outcome::fail("new sessions are read-only").evidence([by]);
    }
    if state.no_standby {
        let waits = "synchronous_standby_names is set, and no such standby is connected";
        return Outcome::fail("no commit returns").evidence([waits.to_owned()]);
    }
    if state.sessions >= state.session_limit {
        let seen = format!(
            "{} sessions of {}: no new one is accepted",
            state.sessions, state.session_limit
        );
        return Outcome::fail(seen).evidence(["see pg_stat_activity".to_owned()]);
    }
    let refused = services.iter().flat_map(|client| {
        let refused = client.refused.iter();
        refused.map(|refused| describe_refused(client.service, refused))
    });
    let exhausted = exhausted.iter().map(|Exhausted { sequence, table }| {
        format!("{sequence} is at its end: no row can be inserted into {table}")
    });
    let refused: Vec<_> = refused.chain(exhausted).collect();
    match refused.as_slice() {
        [] => {}
        [one] => return Outcome::fail(one),
        more => {
            let seen = format!("{} of what services do is refused", more.len());
            return Outcome::fail(seen).evidence(refused);
        }
    }
    let known = services.iter().filter(|client| client.is_known).count();
    Outcome::pass(match (known, services.len()) {
        (_, 0) => "new sessions can write".to_owned(),
        (0, _) => "new sessions can write; no login of a service is known".to_owned(),
        (known, all) => format!("new sessions can write; logins of {known} of {all} services may"),
    })
}

fn describe_refused(service: &str, refused: &Refused) -> String {
    let Refused { login, why } = refused;
    format!("{login}, the login of {service}, {why}")
}

fn unblocked(pipeline: &Pipeline) -> Option<Check<'_>> {
    let id = ids::unblocked(pipeline)?;
    let unblocked = async move |context: &CheckContext<'_>| {
        let blockers = async {
            let tables: Vec<&str> = pipeline.tables.iter().map(|t| t.name.as_str()).collect();
            let session = context.observed.session().await?;
            let containers = context.observed.all_containers().await.iter();
            let own: Vec<IpAddr> = containers.flat_map(|c| c.addresses.clone()).collect();
            let blockers = session.blockers(&tables, &own, BLOCKS_AFTER).await?;
            Ok::<_, ObservationError>(blockers)
        };
        match blockers.await {
            Ok(blockers) => judge_blockers(&blockers),
            Err(why) => Outcome::fail(why),
        }
    };
    let expected = "no transaction locks a table for long";
    Some(Check::new(id, expected, unblocked).needs(ids::database(pipeline)))
}

/// A statement that works may take its time, such as a migration or VACUUM FULL. A transaction that is
/// idle ends only if somebody ends it.
fn judge_blockers(blockers: &[Blocker]) -> Outcome {
    let Some(oldest) = blockers.first() else {
        return Outcome::pass("none");
    };
    let seen = match blockers.len() {
        1 => describe_blocker(oldest),
        n => format!("{n} transactions, the oldest: {}", describe_blocker(oldest)),
    };
    let lines = blockers.iter().map(|blocker| match blocker.pid {
        Some(pid) => format!(
            "{}: SELECT pg_terminate_backend({pid}) ends it",
            describe_blocker(blocker)
        ),
        None => format!(
            "{}: see pg_prepared_xacts, COMMIT PREPARED or ROLLBACK PREPARED ends it",
            describe_blocker(blocker)
        ),
    });
    let is_idle = |blocker: &Blocker| blocker.state != "active";
    match blockers.iter().any(is_idle) {
        true => Outcome::fail(seen).evidence(lines),
        false => Outcome::warn(seen).evidence(lines),
    }
}

fn describe_blocker(blocker: &Blocker) -> String {
    let Blocker {
        client, state, age, ..
    } = blocker;
    let who = match blocker.pid {
        Some(pid) => format!("{client} (pid {pid}, {state})"),
        None => client.clone(),
    };
    let what = match (blocker.locked.as_slice(), blocker.waiting) {
        ([], 1) => "keeps 1 session waiting".to_owned(),
        ([], n) => format!("keeps {n} sessions waiting"),
        (tables, 0) => format!("locks {}", tables.join(", ")),
        (tables, n) => format!("locks {}, {n} waiting", tables.join(", ")),
    };
    format!("{who} {what} for {age}s")
}

fn migrations(pipeline: &Pipeline) -> Option<Check<'_>> {
    let id = ids::migrations(pipeline)?;
    let declared = pipeline.migrations.as_ref()?;
    let applied = async move |context: &CheckContext<'_>| match context
        .observed
        .applied_migration(declared)
        .await
    {
        Err(why) => Outcome::fail(why),
        Ok(applied) => judge_migration(declared, applied).hint(migrate(context)),
    };
    let check = Check::new(id, format!("version {}", declared.latest), applied)
        .needs(ids::database(pipeline))
        .explained_by(ids::makers(pipeline, Effect::Migrations));
    Some(check)
}

fn judge_migration(declared: &Migrations, applied: Option<i64>) -> Outcome {
    match stores::missing_migration(declared, applied) {
        None => Outcome::pass(applied.unwrap_or_default().to_string()),
        Some(missing) => Outcome::fail(missing),
    }
}

fn exists<'a>(pipeline: &'a Pipeline, table: &'a Table) -> Option<Check<'a>> {
    let id = ids::table(pipeline, &table.name)?;
    let exists =
        async move |context: &CheckContext<'_>| match context.observed.missing_tables().await {
            Err(why) => Outcome::fail(why),
            Ok(missing) if missing.contains(&table.name) => {
                repaired(context, Outcome::fail("missing")).await
            }
            Ok(_) => Outcome::pass("there"),
        };
    let check = Check::new(id, "exists", exists)
        .needs(ids::database(pipeline))
        .explained_by(ids::migrations(pipeline));
    Some(check)
}

/// `columns`, `indexes`, `constraints` and `triggers` of a table, as far as they are declared.
fn schema<'a>(pipeline: &'a Pipeline, table: &'a Table) -> Vec<Check<'a>> {
    let mut checks = Vec::new();
    if !table.columns.is_empty() {
        let columns = async move |context: &CheckContext<'_>| {
            let wrong = context.observed.wrong_columns(table).await;
            repaired(context, judge_schema(table.columns.len(), wrong)).await
        };
        let id = ids::COLUMNS.of(&table.name);
        checks.push(Check::new(id, "the declared columns", columns));
    }
    if !table.indexes.is_empty() {
        let indexes = async move |context: &CheckContext<'_>| {
            let wrong = of_table(context, table, |differences| &differences.indexes).await;
            repaired(context, judge_schema(table.indexes.len(), wrong)).await
        };
        let id = ids::INDEXES.of(&table.name);
        checks.push(Check::new(id, "the declared indexes", indexes));
    }
    if !table.constraints.is_empty() {
        let constraints = async move |context: &CheckContext<'_>| {
            let wrong = of_table(context, table, |differences| &differences.constraints).await;
            let outcome = judge_schema(table.constraints.len(), wrong);
            let outcome = match outcome.status {
                Status::Pass => {
                    let others = of_table(context, table, |differences| &differences.others);
                    judge_others(outcome, others.await)
                }
                Status::Warn | Status::Fail | Status::Skip => outcome,
            };
            repaired(context, outcome).await
        };
        let id = ids::CONSTRAINTS.of(&table.name);
        checks.push(Check::new(id, "the declared constraints", constraints));
    }
    if let Some(declared) = &table.triggers {
        let triggers = async move |context: &CheckContext<'_>| {
            let observed = async {
                let triggers = of_table(context, table, |differences| &differences.triggers);
                let state = context.observed.session_state().await?;
                Ok::<_, ObservationError>((triggers.await?, state))
            };
            match observed.await {
                Err(why) => Outcome::fail(why),
                Ok((triggers, state)) => {
                    let outcome = judge_triggers(declared, &triggers, state.without_triggers);
                    repaired(context, outcome).await
                }
            }
        };
        let id = ids::TRIGGERS.of(&table.name);
        checks.push(Check::new(id, "the declared triggers, enabled", triggers));
    }
    let checks = checks.into_iter();
    checks
        .map(|check| check.needs(ids::table(pipeline, &table.name)))
        .collect()
}

/// What was observed of one table.
async fn of_table<T: Clone>(
    context: &CheckContext<'_>,
    table: &Table,
    of: fn(&Differences) -> &ByTable<T>,
) -> Result<Vec<T>, ObservationError> {
    let differences = of(context.observed.schema_differences().await?);
    Ok(differences.get(&table.name).cloned().unwrap_or_default())
}

/// Rows may be refused by constraints that nobody declared.
fn judge_others(declared: Outcome, others: Result<Vec<String>, ObservationError>) -> Outcome {
    match others {
        Err(why) => Outcome::fail(why),
        Ok(others) if others.is_empty() => declared,
        Ok(others) => Outcome::warn(format!("{} not declared", others.len())).evidence(others),
    }
}

/// Others than the declared ones may keep rows from being written: a warning.
fn judge_triggers(declared: &[String], is: &[Trigger], without_triggers: bool) -> Outcome {
    let wrong = declared.iter().filter_map(|name| {
        let trigger = is.iter().find(|t| t.name == *name && !t.is_rule);
        match trigger {
            None => Some(format!("{name} is missing")),
            Some(trigger) if !trigger.enabled => Some(format!("{name} is disabled")),
            Some(_) => None,
        }
    });
    let wrong: Vec<_> = wrong.collect();
    let all = declared.len();
    if !wrong.is_empty() {
        let seen = format!("{} of {all}", all - wrong.len());
        return Outcome::fail(seen).evidence(wrong);
    }
    if without_triggers && all > 0 {
        let set = "session_replication_role is replica for new sessions";
        return Outcome::fail("none of them fires").evidence([set.to_owned()]);
    }
    let others = is.iter().filter(|t| t.enabled);
    let others = others.filter(|t| t.is_rule || !declared.contains(&t.name));
    let others: Vec<_> = others
        .map(|t| match t.is_rule {
            true => format!("{} is a rule that is not declared", t.name),
            false => format!("{} is not declared", t.name),
        })
        .collect();
    match others.len() {
        0 if all == 0 => Outcome::pass("none"),
        0 => Outcome::pass(format!("{all} of {all}")),
        n => Outcome::warn(format!("{n} not declared")).evidence(others),
    }
}

fn judge_schema(declared: usize, wrong: Result<Vec<String>, ObservationError>) -> Outcome {
    match wrong {
        Err(why) => Outcome::fail(why),
        Ok(wrong) if wrong.is_empty() => Outcome::pass(format!("{declared} of {declared}")),
        Ok(wrong) => {
            Outcome::fail(format!("{} of {declared}", declared - wrong.len())).evidence(wrong)
        }
    }
}

/// Adds what helps, unless the check passed: the command that applies the migrations if one of them is not
/// applied. An applied one does not run again.
async fn repaired(context: &CheckContext<'_>, outcome: Outcome) -> Outcome {
    match outcome.status {
        Status::Pass | Status::Skip | Status::Warn => outcome,
        Status::Fail if migrations_wait(context).await => outcome.hint(migrate(context)),
        Status::Fail => outcome.hint("no migration waits: repair it in the database, with SQL"),
    }
}

/// Whether a migration is not applied; without a declared one, whether their one-shot has not completed.
async fn migrations_wait(context: &CheckContext<'_>) -> bool {
    let pipeline = context.pipeline;
    if let Some(declared) = &pipeline.migrations {
        let applied = context.observed.applied_migration(declared).await;
        return applied.is_ok_and(|applied| stores::missing_migration(declared, applied).is_some());
    }
    let Some(service) = migrator(pipeline) else {
        return false;
    };
    let own = context.observed.containers_of(service).await;
    !own.iter().any(|container| container.exit_code == Some(0))
}

/// The command that applies the migrations.
fn migrate(context: &CheckContext<'_>) -> String {
    context.command(&match migrator(context.pipeline) {
        Some(service) => format!("up {}", service.name),
        None => "up".to_owned(),
    })
}

fn migrator(pipeline: &Pipeline) -> Option<&Service> {
    let mut services = pipeline.services.iter();
    services.find(|service| service.effect == Some(Effect::Migrations))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able() -> SessionState {
        SessionState {
            sessions: 3,
            session_limit: 97,
            ..SessionState::default()
        }
    }

    #[test]
    fn what_makes_writes_impossible_fails() {
        assert_eq!(judge_writable(&able(), &[], &[]).status, Status::Pass);
        let states = [
            SessionState {
                recovery: true,
                read_only: true,
                ..able()
            },
            SessionState {
                read_only: true,
                ..able()
            },
            SessionState {
                no_standby: true,
                ..able()
            },
            SessionState {
                sessions: 97,
                ..able()
            },
        ];
        let seen = states.map(|state| {
            let outcome = judge_writable(&state, &[], &[]);
            assert_eq!(outcome.status, Status::Fail);
            outcome.seen
        });
        assert_eq!(
            seen,
            [
                "a standby: it refuses writes",
                "new sessions are read-only",
                "no commit returns",
                "97 sessions of 97: no new one is accepted",
            ]
        );
    }

    #[test]
    fn a_login_without_insert_is_named_and_an_unknown_one_is_not_claimed() {
        let writer = |is_known, table: Option<&str>| Client {
            service: "billing",
            is_known,
            refused: (table.into_iter())
                .map(|table| Refused {
                    login: "app".to_owned(),
                    why: format!("may not insert into {table}"),
                })
                .collect(),
        };
        let refused = judge_writable(&able(), &[writer(true, Some("invoices"))], &[]);
        assert_eq!(refused.status, Status::Fail);
        assert_eq!(
            refused.seen,
            "app, the login of billing, may not insert into invoices"
        );
        let seen = |is_known| judge_writable(&able(), &[writer(is_known, None)], &[]).seen;
        assert_eq!(
            seen(true),
            "new sessions can write; logins of 1 of 1 services may"
        );
        assert_eq!(
            seen(false),
            "new sessions can write; no login of a service is known"
        );
        let exhausted = Exhausted {
            sequence: "invoices_id_seq".to_owned(),
            table: "invoices".to_owned(),
        };
        let full = judge_writable(&able(), &[], &[exhausted]);
        assert_eq!(full.status, Status::Fail);
        assert_eq!(
            full.seen,
            "invoices_id_seq is at its end: no row can be inserted into invoices"
        );
    }

    #[test]
    fn an_idle_transaction_that_blocks_fails_and_a_working_one_warns() {
        let blocker = |state: &str| Blocker {
            pid: Some(7),
            client: "psql".to_owned(),
            state: state.to_owned(),
            age: 30,
            locked: vec!["orders (AccessExclusiveLock)".to_owned()],
            waiting: 2,
        };
        assert_eq!(judge_blockers(&[]).status, Status::Pass);
        assert_eq!(judge_blockers(&[blocker("active")]).status, Status::Warn);
        let idle = judge_blockers(&[blocker("idle in transaction")]);
        assert_eq!(idle.status, Status::Fail);
        assert_eq!(
            idle.seen,
            "psql (pid 7, idle in transaction) locks orders (AccessExclusiveLock), 2 waiting for 30s"
        );
    }

    #[test]
    fn triggers_are_enabled_and_others_are_worth_a_warning() {
        let trigger = |name: &str, enabled, is_rule| Trigger {
            name: name.to_owned(),
            enabled,
            is_rule,
        };
        let declared = ["count".to_owned()];
        let judged = |is: &[Trigger]| judge_triggers(&declared, is, false).status;
        let count = trigger("count", true, false);
        assert_eq!(judged(std::slice::from_ref(&count)), Status::Pass);
        assert_eq!(judged(&[]), Status::Fail);
        assert_eq!(judged(&[trigger("count", false, false)]), Status::Fail);
        assert_eq!(
            judged(&[trigger("count", true, true)]),
            Status::Fail,
            "a rule is none"
        );
        let swallows = trigger("swallow", true, false);
        assert_eq!(judged(&[count.clone(), swallows]), Status::Warn);
        let rule = trigger("instead", true, true);
        assert_eq!(judged(&[count.clone(), rule]), Status::Warn);
        let off = trigger("off", false, false);
        assert_eq!(judged(&[count.clone(), off]), Status::Pass);
        let replica = judge_triggers(&declared, &[count], true);
        assert_eq!(replica.status, Status::Fail);
    }
}
