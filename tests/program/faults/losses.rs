//! Faults with which everything runs and answers: the database, the cache or a topic refuses or loses what
//! is written, rows are not what they should be, or one partition stands still.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::{deployed, record};
use crate::support::{
    DEADLINE, Ran, eventually, eventually_async, eventually_ok,
    kafka::{Message, lag, read_all, send},
    payments::{self, count},
    pipeline::Pipeline,
};

/// Waits until each of `ids` has this status, whatever else follows from the fault.
#[track_caller]
pub(super) fn expect(pipeline: &Pipeline, status: &str, ids: &[&str]) -> Ran {
    eventually_ok(|| {
        let (ran, not_passing) = pipeline.not_passing();
        let has = |id: &&str| Pipeline::finding(&ran, id)["status"] == status;
        if ids.iter().all(has) {
            return Ok(ran);
        }
        Err(format!(
            "expected: {status} of {ids:#?}\nbut these do not pass: {not_passing:#?}"
        ))
    })
}

#[track_caller]
fn expect_cause(ran: &Ran, id: &str, cause: &str) {
    let finding = Pipeline::finding(ran, id);
    assert_eq!(finding["cause"], cause, "{finding:#}");
}

async fn sql(database: &PgPool, statements: &str) {
    let ran = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
    ran.execute(database).await.unwrap();
}

/// Ends all other sessions, so that each service opens new ones.
async fn end_sessions(database: &PgPool) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    sql(database, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_new_sessions_are_read_only() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    sql(
        database,
        "ALTER DATABASE kodingcaravan SET default_transaction_read_only = on",
    )
    .await;
    end_sessions(database).await;
    let ready = [
        "services.payment-service.ready",
        "services.admin-service.ready",
    ];
    let ran = expect(pipeline, "fail", &["database.writable", ready[0], ready[1]]);
    for ready in ready {
        expect_cause(&ran, ready, "database.writable");
    }
    let finding = Pipeline::finding(&ran, "database.writable");
    assert_eq!(finding["seen"], "new sessions are read-only");
    assert!(
        finding["evidence"].to_string().contains("set by: database"),
        "{finding}"
    );
    record(
        pipeline,
        "new sessions of the database are read-only",
        &ran,
        &["database.writable"],
    );
    sql(
        database,
        "SET TRANSACTION READ WRITE; ALTER DATABASE kodingcaravan RESET default_transaction_read_only",
    )
    .await;
    end_sessions(database).await;
    pipeline.expect_green();
}

/// It answers, and takes no row.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_a_standby() {
    let pipeline = &deployed().await;
    let postgres = pipeline.container("postgres");
    let data = "/var/lib/postgresql/data";
    pipeline.docker(&[
        "exec",
        &postgres,
        "touch",
        &format!("{data}/standby.signal"),
    ]);
    pipeline.docker(&["restart", &postgres]);
    let ready = "services.payment-service.ready";
    let ran = expect(pipeline, "fail", &["database.writable", ready]);
    expect_cause(&ran, ready, "database.writable");
    let finding = Pipeline::finding(&ran, "database.writable");
    assert_eq!(finding["seen"], "a standby: it refuses writes");
    // As the finding says.
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("SELECT pg_promote()"), "{finding:#}");
    sql(&pipeline.database().await, "SELECT pg_promote()").await;
    pipeline.caravan(&["restart", "postgres"]).expect(0);
    pipeline.expect_green();
}

/// The services' role, as it is: of a superuser nothing can be revoked.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_not_insert() {
    let pipeline = &deployed().await;
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = pipeline.inspect("purchase-worker", template);
    let owner = &pipeline.database().await;
    let role: String = eventually_async("the worker has a session", async || {
        let sql =
            "SELECT usename::text FROM pg_stat_activity WHERE client_addr = $1::text::inet LIMIT 1";
        let role = sqlx::query_scalar(sql).bind(&address);
        role.fetch_optional(owner).await.unwrap()
    })
    .await;
    sql(
        owner,
        "CREATE ROLE rescue SUPERUSER LOGIN PASSWORD 'rescue'",
    )
    .await;
    let own = pipeline.database_url();
    let place = own.split_once('@').unwrap().1;
    let url = format!("postgres://rescue:rescue@{place}");
    let rescue = &PgPool::connect(&url).await.unwrap();
    let is_superuser: bool = sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = $1")
        .bind(&role)
        .fetch_one(rescue)
        .await
        .unwrap();
    if is_superuser {
        sql(rescue, &format!("ALTER ROLE {role} NOSUPERUSER")).await;
    }
    sql(
        rescue,
        &format!("REVOKE INSERT ON student_course_purchases FROM {role}"),
    )
    .await;
    let ran = expect(pipeline, "fail", &["database.writable"]);
    let finding = Pipeline::finding(&ran, "database.writable");
    let expected = format!(
        "{role}, the login of purchase-worker, may not insert into student_course_purchases"
    );
    assert_eq!(finding["seen"], expected.as_str());
    let undo = match is_superuser {
        true => format!("ALTER ROLE {role} SUPERUSER;"),
        false => String::new(),
    };
    sql(
        rescue,
        &format!("{undo} GRANT INSERT ON student_course_purchases TO {role}"),
    )
    .await;
    rescue.close().await;
    sql(owner, "DROP ROLE rescue").await;
    pipeline.expect_green();
}

/// While its worker has nothing to do, nothing else shows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_gets_no_session_or_no_row_in() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let states = [
        (
            "ALTER ROLE purchase_worker NOLOGIN",
            "ALTER ROLE purchase_worker LOGIN",
            "may not log in",
        ),
        (
            "ALTER ROLE purchase_worker CONNECTION LIMIT 0",
            "ALTER ROLE purchase_worker CONNECTION LIMIT -1",
            "may open 0 sessions",
        ),
        (
            "ALTER ROLE purchase_worker VALID UNTIL '2001-01-01'",
            "ALTER ROLE purchase_worker VALID UNTIL 'infinity'",
            "has a password that is expired",
        ),
        (
            "ALTER ROLE purchase_worker SET default_transaction_read_only = on",
            "ALTER ROLE purchase_worker RESET default_transaction_read_only",
            "gets sessions that are read-only",
        ),
        (
            "ALTER TABLE student_course_purchases ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE student_course_purchases DISABLE ROW LEVEL SECURITY",
            "has no policy to insert into student_course_purchases, which has row-level security",
        ),
        (
            "REVOKE SELECT ON student_course_purchases FROM purchase_worker",
            "GRANT SELECT ON student_course_purchases TO purchase_worker",
            "may not select from student_course_purchases",
        ),
        (
            "REVOKE INSERT ON processed_events FROM purchase_worker",
            "GRANT INSERT ON processed_events TO purchase_worker",
            "may not insert into processed_events",
        ),
    ];
    for (state, healed, why) in states {
        sql(database, state).await;
        end_sessions(database).await;
        let ran = expect(pipeline, "fail", &["database.writable"]);
        let finding = Pipeline::finding(&ran, "database.writable");
        let expected = format!("purchase_worker, the login of purchase-worker, {why}");
        let said = format!("{} {}", finding["seen"], finding["evidence"]);
        assert!(said.contains(&expected), "{expected} in {finding:#}");
        sql(database, healed).await;
    }
    sql(
        database,
        "ALTER TABLE student_course_purchases ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON student_course_purchases TO purchase_worker USING (true) WITH CHECK (true)",
    )
    .await;
    expect(pipeline, "pass", &["database.writable"]);
    sql(
        database,
        "DROP POLICY own ON student_course_purchases;
         ALTER TABLE student_course_purchases DISABLE ROW LEVEL SECURITY",
    )
    .await;
    end_sessions(database).await;
    pipeline.expect_green();
}

/// What each login needs besides rights on its tables.
#[tokio::test(flavor = "multi_thread")]
async fn logins_that_may_not_use_what_their_tables_need() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    sql(database, "REVOKE USAGE ON SCHEMA public FROM PUBLIC").await;
    let ran = expect(pipeline, "fail", &["database.writable"]);
    let finding = Pipeline::finding(&ran, "database.writable");
    let evidence = finding["evidence"].to_string();
    for expected in [
        "purchase_worker, the login of purchase-worker, may not use the schema of student_course_purchases",
        "admin_service, the login of admin-service, may not use the schema of trainers",
    ] {
        assert!(evidence.contains(expected), "{expected} in {finding:#}");
    }
    sql(database, "GRANT USAGE ON SCHEMA public TO PUBLIC").await;
    // A column that takes its value from a sequence, as SERIAL makes it.
    sql(
        database,
        "CREATE SEQUENCE numbers; ALTER TABLE payments ADD COLUMN number bigint DEFAULT nextval('numbers')",
    )
    .await;
    let ran = expect(pipeline, "fail", &["database.writable"]);
    let finding = Pipeline::finding(&ran, "database.writable");
    let seen = "payment_service, the login of payment-service, may not use numbers of payments";
    assert_eq!(finding["seen"], seen);
    sql(
        database,
        "ALTER TABLE payments DROP COLUMN number; DROP SEQUENCE numbers",
    )
    .await;
    pipeline.expect_green();
}

/// Nobody declared them, no row violates them, and the next one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn constraints_that_nobody_declared() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let states = [
        (
            "payments",
            "ALTER TABLE payments ADD CONSTRAINT none CHECK (amount_cents < 0) NOT VALID",
            "ALTER TABLE payments DROP CONSTRAINT none",
            "none is not declared: CHECK ((amount_cents < 0)) NOT VALID",
        ),
        (
            "student_course_purchases",
            "CREATE UNIQUE INDEX one ON student_course_purchases (course_id, id)",
            "DROP INDEX one",
            "one is a unique index that is not declared",
        ),
        (
            "trainer_allocations",
            "ALTER TABLE trainer_allocations ADD COLUMN room integer NOT NULL DEFAULT 1;
             ALTER TABLE trainer_allocations ALTER COLUMN room DROP DEFAULT",
            "ALTER TABLE trainer_allocations DROP COLUMN room",
            "room is not declared, NOT NULL and without a default",
        ),
    ];
    for (_, state, ..) in states {
        sql(database, state).await;
    }
    let ids = states.map(|(table, ..)| format!("database.{table}.constraints"));
    let ran = expect(pipeline, "warn", &ids.each_ref().map(String::as_str));
    for ((.., evidence), id) in states.iter().zip(&ids) {
        let finding = Pipeline::finding(&ran, id);
        assert_eq!(finding["evidence"][0], *evidence, "{finding:#}");
    }
    for (_, _, healed, _) in states {
        sql(database, healed).await;
    }
    pipeline.expect_green();
}

/// The services take turns by advisory locks. Somebody else took one and sits on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_nobody_that_keeps_an_advisory_lock() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let mut session = database.acquire().await.unwrap();
    let taken = "SELECT pg_advisory_lock(hashtextextended('payment-service/outbox', 0))";
    sqlx::query(taken).execute(&mut *session).await.unwrap();
    let ran = expect(pipeline, "fail", &["database.unblocked"]);
    let finding = Pipeline::finding(&ran, "database.unblocked");
    let evidence = finding["evidence"].to_string();
    for part in ["locks an advisory key, 1 waiting", "pg_terminate_backend"] {
        assert!(evidence.contains(part), "{part} in {finding:#}");
    }
    session.close().await.unwrap();
    pipeline.expect_green();
}

/// The worker waits, and what it says of that stands beside the lag.
#[tokio::test(flavor = "multi_thread")]
async fn a_lag_says_what_its_worker_complains_of() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let table = "student_course_purchases";
    sql(
        database,
        &format!("REVOKE SELECT ON {table} FROM purchase_worker"),
    )
    .await;
    payments::post_many(pipeline, &Uuid::new_v4().to_string(), 1).await;
    let lag = "groups.purchase-worker.lag";
    eventually("the reason", || {
        let ran = pipeline.caravan(&["verify", "--only", lag, "-o", "json"]);
        let finding = Pipeline::finding(&ran, lag);
        let says = finding["evidence"].to_string();
        let says = says.contains(&format!("permission denied for table {table}"));
        (finding["status"] == "fail" && says).then_some(())
    });
    sql(
        database,
        &format!("GRANT SELECT ON {table} TO purchase_worker"),
    )
    .await;
    pipeline.expect_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_accepts_no_session() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    sql(database, "ALTER DATABASE kodingcaravan CONNECTION LIMIT 0").await;
    end_sessions(database).await;
    let ready = "services.payment-service.ready";
    let ran = expect(pipeline, "fail", &["database.writable", ready]);
    expect_cause(&ran, ready, "database.writable");
    let finding = Pipeline::finding(&ran, "database.writable");
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("the database accepts 0"), "{finding:#}");
    sql(database, "ALTER DATABASE kodingcaravan CONNECTION LIMIT -1").await;
    end_sessions(database).await;
    pipeline.expect_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_at_its_end() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let last = count(database, "SELECT last_value FROM outbox_id_seq").await;
    let set = |value: i64| format!("SELECT setval('outbox_id_seq', {value})");
    sql(database, &set(i64::MAX)).await;
    let ran = expect(pipeline, "fail", &["database.writable"]);
    let finding = Pipeline::finding(&ran, "database.writable");
    let seen = "outbox_id_seq is at its end: no row can be inserted into outbox";
    assert_eq!(finding["seen"], seen);
    sql(database, &set(last)).await;
    pipeline.expect_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_transaction_that_locks_a_table() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let mut transaction = database.begin().await.unwrap();
    // One to which nobody writes without an event.
    sqlx::raw_sql("LOCK TABLE student_course_purchases IN EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let ran = expect(pipeline, "fail", &["database.unblocked"]);
    let finding = Pipeline::finding(&ran, "database.unblocked");
    let evidence = finding["evidence"].to_string();
    for part in [
        "idle in transaction",
        "locks student_course_purchases (ExclusiveLock)",
        "pg_terminate_backend",
    ] {
        assert!(evidence.contains(part), "{part} in {finding:#}");
    }
    record(
        pipeline,
        "an idle transaction locks a table",
        &ran,
        &["database.unblocked"],
    );
    transaction.rollback().await.unwrap();
    pipeline.expect_green();
}

/// Whatever else is red because nobody can read a table says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_against_readers_is_the_one_root() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let mut transaction = database.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE tutoring_sessions IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let blocked = "database.unblocked";
    let degraded = "containers.session-worker.health";
    expect(pipeline, "fail", &[blocked]);
    let ran = expect(pipeline, "warn", &[degraded]);
    let all = ran.json();
    let others = all["findings"].as_array().unwrap().iter();
    let others = others.filter(|f| f["status"] != "pass" && f["id"] != blocked);
    let not_caused: Vec<_> = others.filter(|f| f["cause"] != blocked).collect();
    assert!(not_caused.is_empty(), "{not_caused:#?}");
    transaction.rollback().await.unwrap();
    pipeline.expect_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_without_what_the_services_rely_on() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    sql(
        database,
        "ALTER TABLE student_course_purchases DROP CONSTRAINT student_course_purchases_payment_id_key;
         DROP INDEX outbox_correlation_id;
         ALTER TABLE payments RENAME COLUMN status TO state;
         ALTER TABLE trainer_allocations DISABLE TRIGGER count_changed;
         CREATE RULE swallow AS ON DELETE TO courses DO INSTEAD NOTHING",
    )
    .await;
    let red = [
        "database.outbox.indexes",
        "database.payments.columns",
        "database.student_course_purchases.constraints",
        "database.trainer_allocations.triggers",
    ];
    let ran = expect(pipeline, "fail", &red);
    let evidence = |id: &str| Pipeline::finding(&ran, id)["evidence"].to_string();
    assert!(evidence(red[2]).contains("payment_id_key is missing"));
    assert!(evidence(red[3]).contains("count_changed is disabled"));
    let others = Pipeline::finding(&ran, "database.courses.triggers");
    assert_eq!(others["status"], "warn", "{others:#}");
    // The migration is applied: to run it again changes nothing.
    for id in red {
        let hint = &Pipeline::finding(&ran, id)["hint"];
        assert_eq!(
            hint,
            "no migration waits: repair it in the database, with SQL"
        );
    }
    record(pipeline, "a table lacks a UNIQUE", &ran, &[red[2]]);
    record(pipeline, "a trigger is disabled", &ran, &[red[3]]);
    sql(
        database,
        "ALTER TABLE student_course_purchases
             ADD CONSTRAINT student_course_purchases_payment_id_key UNIQUE (payment_id);
         CREATE INDEX outbox_correlation_id ON outbox (correlation_id);
         ALTER TABLE payments RENAME COLUMN state TO status;
         ALTER TABLE trainer_allocations ENABLE TRIGGER count_changed;
         DROP RULE swallow ON courses",
    )
    .await;
    pipeline.expect_green();
}

/// They are there by name, and do not hold.
#[tokio::test(flavor = "multi_thread")]
async fn constraints_that_are_not_enforced() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    // What a CREATE UNIQUE INDEX CONCURRENTLY that failed leaves.
    let valid = |is: bool| {
        format!(
            "UPDATE pg_index SET indisvalid = {is}
             WHERE indexrelid = 'student_course_purchases_payment_id_key'::regclass"
        )
    };
    sql(database, &valid(false)).await;
    sql(database, "ALTER TABLE trainer_courses DISABLE TRIGGER ALL").await;
    let red = [
        "database.student_course_purchases.constraints",
        "database.trainer_courses.constraints",
    ];
    let ran = expect(pipeline, "fail", &red);
    let evidence = |id: &str| Pipeline::finding(&ran, id)["evidence"].to_string();
    assert!(evidence(red[0]).contains("payment_id_key has an index that is not valid"));
    assert!(evidence(red[1]).contains("trainer_courses_trainer_id_fkey has disabled triggers"));
    sql(database, &valid(true)).await;
    sql(database, "ALTER TABLE trainer_courses ENABLE TRIGGER ALL").await;
    pipeline.expect_green();
}

/// The rule is violated because of a dead letter, which says what helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_a_dead_letter_violates() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let payment = Uuid::new_v4();
    sql(
        database,
        &format!(
            "INSERT INTO payments SELECT (jsonb_populate_record(NULL::payments,
             to_jsonb(p) || jsonb_build_object('id', '{payment}',
             'idempotency_key', '{payment}', 'created_at', now() - interval '2 minutes'))).*
             FROM payments p LIMIT 1"
        ),
    )
    .await;
    let topic = "purchase-confirmed";
    let key = payment.to_string();
    let event = Message::to(topic, 0).key(key.as_bytes()).value(b"not JSON");
    send(pipeline, &[event]).await;
    let rule = "database.payment-has-purchase.holds";
    expect(pipeline, "warn", &["dead-letters.empty"]);
    let ran = expect(pipeline, "fail", &[rule]);
    let finding = Pipeline::finding(&ran, rule);
    let hint = finding["hint"].as_str().unwrap();
    assert!(
        hint.contains(&format!("dlq show {topic}/0/")),
        "{finding:#}"
    );
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains("is a dead letter: "), "{finding:#}");
    let shown = pipeline.shell(hint).expect(0).stdout;
    assert!(shown.contains(&key), "{shown}");
    sql(
        database,
        &format!("DELETE FROM payments WHERE id = '{payment}'"),
    )
    .await;
    pipeline
        .caravan(&["dlq", "purge", "--all", "--yes"])
        .expect(0);
    pipeline.expect_green();
}

/// Everything is there, once, and wrong.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_what_they_should_be() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    payments::post_many(pipeline, &Uuid::new_v4().to_string(), 4).await;
    let allocated = "SELECT count(*) FROM payments p WHERE NOT EXISTS (
        SELECT 1 FROM student_course_purchases s JOIN trainer_allocations a ON a.purchase_id = s.id
        JOIN tutoring_sessions l ON l.allocation_id = a.id WHERE s.payment_id = p.id)";
    eventually_async("all have lessons", async || {
        (count(database, allocated).await == 0).then_some(())
    })
    .await;
    let wrong = [
        (
            "purchase-equals-payment",
            "UPDATE student_course_purchases SET amount_cents = amount_cents + 1 WHERE id =
             (SELECT id FROM student_course_purchases ORDER BY created_at DESC LIMIT 1)",
            "UPDATE student_course_purchases s SET amount_cents = p.amount_cents
             FROM payments p WHERE p.id = s.payment_id",
        ),
        (
            "allocation-equals-purchase",
            "UPDATE trainer_allocations SET student_id = gen_random_uuid() WHERE id =
             (SELECT id FROM trainer_allocations ORDER BY created_at DESC LIMIT 1)",
            "UPDATE trainer_allocations a SET student_id = s.student_id
             FROM student_course_purchases s WHERE s.id = a.purchase_id",
        ),
        (
            "session-in-window",
            "UPDATE tutoring_sessions SET starts_at = starts_at + interval '70 years' WHERE ctid =
             (SELECT ctid FROM tutoring_sessions ORDER BY created_at DESC, seq DESC LIMIT 1)",
            "UPDATE tutoring_sessions SET starts_at = starts_at - interval '70 years'
             WHERE starts_at > now() + interval '60 years'",
        ),
        (
            "sessions-at-most-seven",
            "INSERT INTO tutoring_sessions (allocation_id, seq, starts_at) SELECT allocation_id, 1000,
             max(starts_at) FROM tutoring_sessions
             WHERE starts_at < now() + interval '1 year' AND created_at > now() - interval '1 hour'
             GROUP BY allocation_id LIMIT 1",
            "DELETE FROM tutoring_sessions WHERE seq = 1000",
        ),
        (
            "course-has-trainer",
            "CREATE TABLE were AS SELECT id, active FROM trainers; UPDATE trainers SET active = false",
            "UPDATE trainers t SET active = w.active FROM were w WHERE w.id = t.id; DROP TABLE were",
        ),
        (
            "purchase-has-payment",
            "INSERT INTO student_course_purchases (id, payment_id, student_id, course_id, amount_cents,
             currency, created_at) SELECT '00000000-0000-4000-8000-0000000000ff', gen_random_uuid(),
             student_id, course_id, 1, 'EUR', now() - interval '2 minutes' FROM payments LIMIT 1",
            "DELETE FROM student_course_purchases WHERE id = '00000000-0000-4000-8000-0000000000ff'",
        ),
        (
            "outbox-is-sent",
            // A copy that the relay does not reach: it takes the oldest first, and skips no lock.
            "INSERT INTO outbox (event_id, correlation_id, topic, event, created_at)
             SELECT gen_random_uuid(), gen_random_uuid(), 'no-such-topic', event,
             now() - interval '2 minutes' FROM outbox LIMIT 1",
            "DELETE FROM outbox WHERE topic = 'no-such-topic'",
        ),
    ];
    for (_, break_it, _) in wrong {
        sql(database, break_it).await;
    }
    let ids = wrong.map(|(rule, _, _)| format!("database.{rule}.holds"));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    expect(pipeline, "fail", &ids);
    for (_, _, heal) in wrong {
        sql(database, heal).await;
    }
    pipeline.expect_green();
}

async fn set_topic(pipeline: &Pipeline, topic: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", pipeline.brokers())
        .create()
        .unwrap();
    let alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let alter = settings
        .iter()
        .fold(alter, |a, (name, value)| a.set(name, value));
    let altered = admin.alter_configs([&alter], &AdminOptions::new()).await;
    assert!(altered.unwrap().iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_lose_or_refuse_events() {
    let pipeline = &deployed().await;
    let week = ("retention.ms", "604800000");
    let month = ("retention.ms", "2592000000");
    set_topic(
        pipeline,
        "purchase-created",
        &[week, ("retention.bytes", "1000000")],
    )
    .await;
    set_topic(
        pipeline,
        "trainer-allocated",
        &[week, ("max.message.bytes", "100")],
    )
    .await;
    let ran = expect(
        pipeline,
        "fail",
        &[
            "topics.purchase-created.settings",
            "topics.trainer-allocated.settings",
        ],
    );
    let seen = |topic: &str| {
        let id = format!("topics.{topic}.settings");
        Pipeline::finding(&ran, &id)["seen"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(seen("purchase-created").starts_with("retention.bytes is 1000000: "));
    assert_eq!(
        seen("trainer-allocated"),
        "max.message.bytes is 100: larger events are refused"
    );
    let root = ["topics.purchase-created.settings"];
    record(pipeline, "a topic deletes events by size", &ran, &root);
    set_topic(pipeline, "purchase-created", &[week]).await;
    set_topic(pipeline, "trainer-allocated", &[week]).await;
    set_topic(
        pipeline,
        "dead-letter-queue",
        &[month, ("cleanup.policy", "compact")],
    )
    .await;
    let ran = expect(pipeline, "fail", &["topics.dead-letter-queue.settings"]);
    let finding = Pipeline::finding(&ran, "topics.dead-letter-queue.settings");
    let seen = finding["seen"].as_str().unwrap();
    assert!(
        seen.contains("a dead letter without a key is refused"),
        "{seen}"
    );
    set_topic(pipeline, "dead-letter-queue", &[month]).await;
    pipeline.caravan(&["up", "kafka-init"]).expect(0);
    pipeline.expect_green();
}

/// Deleted before anybody read them, as retention does it.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_deleted_before_they_were_consumed() {
    let pipeline = &deployed().await;
    let topic = "trainer-allocated";
    let drained = || (lag(pipeline, "session-worker", topic) == 0).then_some(());
    eventually("all is consumed", drained);
    pipeline.docker(&["stop", &pipeline.container("session-worker")]);
    let last = read_all(pipeline, topic)
        .into_iter()
        .max_by_key(|e| e.offset);
    let last = last.expect("payments have been made");
    let copies: Vec<Message> = (0..3)
        .map(|_| {
            Message::to(topic, last.partition).value(last.value.as_deref().unwrap_or_default())
        })
        .collect();
    send(pipeline, &copies).await;
    let before = last_committed(pipeline, topic, last.partition);
    delete_before(pipeline, topic, last.partition, before + 3).await;
    pipeline.caravan(&["up", "session-worker"]).expect(0);
    let ran = expect(pipeline, "fail", &["groups.session-worker.lost"]);
    let finding = Pipeline::finding(&ran, "groups.session-worker.lost");
    assert_eq!(
        finding["seen"],
        "3 events were deleted before they were consumed"
    );
    record(
        pipeline,
        "unread events are deleted",
        &ran,
        &["groups.session-worker.lost"],
    );
    // The next event of the partition, of which the worker has done everything already.
    let value = last.value.as_deref().unwrap_or_default();
    let mut again = Message::to(topic, last.partition).value(value);
    if let Some(key) = &last.key {
        again = again.key(key);
    }
    send(pipeline, &[again]).await;
    pipeline.expect_green();
}

/// The group's next offset, of a partition that is consumed: its end before the copies.
fn last_committed(pipeline: &Pipeline, topic: &str, partition: i32) -> i64 {
    let own = read_all(pipeline, topic).into_iter();
    let own = own.filter(|event| event.partition == partition);
    own.map(|event| event.offset).max().expect("has events") + 1 - 3
}

async fn delete_before(pipeline: &Pipeline, topic: &str, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", pipeline.brokers())
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .unwrap();
    admin
        .delete_records(&list, &AdminOptions::new())
        .await
        .unwrap();
}

/// A cache that answers every PING and deletes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_refuses_writes() {
    let pipeline = &deployed().await;
    super::around::redis(pipeline, "config set min-replicas-to-write 1");
    let ran = expect(pipeline, "fail", &["cache.writable"]);
    let finding = Pipeline::finding(&ran, "cache.writable");
    let seen = finding["seen"].as_str().unwrap();
    assert!(seen.starts_with("refuses writes: "), "{seen}");
    assert!(seen.contains("NOREPLICAS"), "{seen}");
    record(pipeline, "Redis refuses writes", &ran, &["cache.writable"]);
    // The worker notices although there is no event, and its health check says so.
    let health = "containers.cache-worker.health";
    let ran = expect(pipeline, "warn", &[health]);
    let finding = Pipeline::finding(&ran, health);
    let seen = finding["seen"].as_str().unwrap();
    let begins = "healthy, but degraded: redis: cached pages stay until they expire";
    assert!(seen.starts_with(begins), "{seen}");
    super::around::redis(pipeline, "config set min-replicas-to-write 0");
    pipeline.expect_green();
}

/// Redis answers, and commands that write wait: as before a failover.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_pauses_writes() {
    let pipeline = &deployed().await;
    super::around::redis(pipeline, "client pause 120000 write");
    let ran = expect(pipeline, "fail", &["cache.writable"]);
    let finding = Pipeline::finding(&ran, "cache.writable");
    let seen = "refuses writes: no answer in time, though PING is answered";
    assert_eq!(finding["seen"], seen);
    super::around::redis(pipeline, "client unpause");
    pipeline.expect_green();
}

/// As after a loss of the broker's volume: the group's offsets are those of records that are gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_offset_after_the_end_of_its_topic() {
    let pipeline = &deployed().await;
    let (group, topic) = ("cache-worker", "purchase-created");
    let consumed = || (lag(pipeline, group, topic) == 0).then_some(());
    eventually("all is consumed", consumed);
    let end = || {
        let of_first = read_all(pipeline, topic).into_iter();
        let of_first = of_first.filter(|event| event.partition == 0);
        of_first.map(|event| event.offset + 1).max().unwrap_or(0)
    };
    let end = end();
    pipeline.docker(&["stop", &pipeline.container(group)]);
    commit(pipeline, group, topic, end + 50);
    let id = "groups.cache-worker.lag";
    let ran = expect(pipeline, "fail", &[id]);
    let finding = Pipeline::finding(&ran, id);
    let seen = "unknown: an offset after the end is committed";
    assert_eq!(finding["seen"], seen);
    let evidence = finding["evidence"].to_string();
    let expected = format!(
        "{topic}/0: {} is committed, and the topic ends at {end}",
        end + 50
    );
    assert!(evidence.contains(&expected), "{evidence}");
    commit(pipeline, group, topic, end);
    pipeline.caravan(&["up", group]).expect(0);
    pipeline.expect_green();
}

/// Commits an offset of the first partition, of a group without members. A former member may still be one.
fn commit(pipeline: &Pipeline, group: &str, topic: &str, offset: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", pipeline.brokers())
        .set("group.id", group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset))
        .unwrap();
    eventually("the offset is committed", || {
        consumer.commit(&list, CommitMode::Sync).ok()
    });
}

/// One event cannot be stored, while those of the other partitions flow.
#[tokio::test(flavor = "multi_thread")]
async fn one_partition_that_stands_still_among_busy_ones() {
    let pipeline = &deployed().await;
    let database = &pipeline.database().await;
    let topic = "purchase-confirmed";
    let stored = read_all(pipeline, topic);
    let held = stored.first().expect("payments have been made");
    let event_id: Uuid = held.json()["eventId"].as_str().unwrap().parse().unwrap();
    // Nobody else can insert this event's inbox row before the transaction ends.
    sqlx::query(
        "DELETE FROM processed_events WHERE consumer = 'purchase-worker' AND event_id = $1",
    )
    .bind(event_id)
    .execute(database)
    .await
    .unwrap();
    let mut transaction = database.begin().await.unwrap();
    sqlx::query("INSERT INTO processed_events (consumer, event_id) VALUES ('purchase-worker', $1)")
        .bind(event_id)
        .execute(&mut *transaction)
        .await
        .unwrap();
    let again = Message::to(topic, held.partition).value(held.value.as_deref().unwrap_or_default());
    send(pipeline, &[again]).await;
    let id = "groups.purchase-worker.lag";
    let began = Instant::now();
    let finding = loop {
        let prefix = Uuid::new_v4().to_string();
        let traffic = async {
            for n in 0..12 {
                payments::post_many(pipeline, &format!("{prefix}-{n}"), 3).await;
                tokio::time::sleep(Duration::from_millis(800)).await;
            }
        };
        let verify = async {
            let mut command = tokio::process::Command::from(
                pipeline.command(&["verify", "--only", id, "-o", "json"]),
            );
            Ran::of(command.output().await.unwrap())
        };
        let ((), ran) = tokio::join!(traffic, verify);
        let finding = Pipeline::finding(&ran, id);
        if finding["status"] == "fail" {
            break finding;
        }
        assert!(began.elapsed() < DEADLINE, "{finding:#}");
    };
    let place = format!("{topic}/{}", held.partition);
    let seen = finding["seen"].as_str().unwrap();
    assert!(seen.contains(&format!("stuck in {place}: ")), "{finding:#}");
    let evidence = finding["evidence"].to_string();
    assert!(evidence.contains(&format!("{place}: ")), "{evidence}");
    assert!(evidence.contains("wait from offset"), "{evidence}");
    transaction.commit().await.unwrap();
    pipeline.expect_green();
}
