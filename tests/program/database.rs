//! What the connection pool promises on a real server.

use sqlx::PgPool;
use tokio::task::yield_now;
use worker_runtime::database;

use crate::support::{Ran, eventually_async, payments::count, pipeline::Pipeline};

/// How often, each time a little later: some are given up while BEGIN is on its way.
const GIVEN_UP: i64 = 200;

async fn write(pool: &PgPool, title: &str) {
    sqlx::query("INSERT INTO courses (id, title) VALUES (gen_random_uuid(), $1)")
        .bind(title)
        .execute(pool)
        .await
        .unwrap();
}

/// Its workers would not understand what they find.
#[tokio::test]
async fn a_database_of_a_newer_caravan_is_refused() {
    let pipeline = Pipeline::declared("newer", &[]);
    pipeline.caravan(&["up", "migrate"]).expect(0);
    sqlx::query(
        "INSERT INTO _sqlx_migrations
             (version, description, success, checksum, execution_time)
         VALUES (99, 'from the future', true, '', 0)",
    )
    .execute(&pipeline.database().await)
    .await
    .unwrap();
    pipeline.docker(&["rm", &pipeline.container("migrate")]);
    let ran = pipeline.caravan(&["up", "admin-service"]).expect(1);
    let says = [
        "the database has migration 99",
        "a newer Caravan migrated it",
        "waiting for migrate: admin-service",
    ];
    for part in says {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn what_follows_a_cancelled_begin_is_committed() {
    let pipeline = Pipeline::declared("database", &[]);
    pipeline.caravan(&["up", "migrate"]).expect(0);
    let others = pipeline.database().await;
    let pool = database::pool(pipeline.database_url().parse().unwrap(), 1);
    write(&pool, "before").await;
    for turns in 0..GIVEN_UP {
        let patience = async {
            for _ in 0..turns {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = database::begin(&pool) => {}
            () = patience => {}
        }
        write(&pool, "after").await;
    }
    let written = "SELECT count(*) FROM courses WHERE title = 'after'";
    assert_eq!(count(&others, written).await, GIVEN_UP);
}

/// The pool of a service, as it logs in.
async fn of_role(pipeline: &Pipeline, role: &str) -> PgPool {
    let directory = format!(".caravan-{}", pipeline.project);
    let state = pipeline.env_path().with_file_name(directory);
    let file = state.join(format!("database-{}", role.replace('_', "-")));
    let password = std::fs::read_to_string(file).unwrap();
    let port = pipeline.port("POSTGRES_PORT");
    let url = format!("postgres://{role}:{password}@127.0.0.1:{port}/kodingcaravan");
    database::pool(url.parse().unwrap(), 1)
}

const ROLES: [&str; 5] = [
    "payment_service",
    "admin_service",
    "purchase_worker",
    "allocation_worker",
    "session_worker",
];

/// Each service can do what its own statements need, which `test-flow` proves, and nothing else.
async fn each_service_has_its_rights_and_no_more(pipeline: &Pipeline) {
    for role in ROLES {
        let pool = of_role(pipeline, role).await;
        let superusers = "SELECT count(*) FROM pg_roles WHERE rolname = current_user
            AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication)";
        assert_eq!(count(&pool, superusers).await, 0, "{role}");
        for forbidden in [
            "COPY courses (title) FROM PROGRAM 'id'",
            "SELECT pg_read_file('/etc/passwd')",
            "DELETE FROM payments",
            "UPDATE tutoring_sessions SET seq = 99",
            "DROP TABLE payments",
            "CREATE TABLE own (id integer)",
            "SET ROLE kodingcaravan",
        ] {
            let error = sqlx::query(forbidden).execute(&pool).await.unwrap_err();
            let code = error.as_database_error().unwrap().code();
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {forbidden}");
        }
    }
}

#[tokio::test]
async fn each_service_logs_in_as_a_role_with_what_its_statements_need() {
    let pipeline = &crate::bring_up::brought_up();
    each_service_has_its_rights_and_no_more(pipeline).await;
    let owner = pipeline.database().await;
    let users = "SELECT count(DISTINCT usename) FROM pg_stat_activity
        WHERE usename = ANY(ARRAY['payment_service', 'admin_service', 'purchase_worker',
                                  'allocation_worker', 'session_worker'])";
    eventually_async("each has a session", async || {
        (count(&owner, users).await == 5).then_some(())
    })
    .await;
}

/// Takes the schema back to migration 3, as far as a later one needs it to be so.
const BEFORE_ROLES: [&str; 6] = [
    "DELETE FROM _sqlx_migrations WHERE version > 3",
    "ALTER TABLE tutoring_sessions DROP CONSTRAINT tutoring_sessions_pkey",
    "ALTER TABLE tutoring_sessions ADD PRIMARY KEY (id)",
    "ALTER TABLE tutoring_sessions ADD UNIQUE (allocation_id, seq)",
    "DROP INDEX tutoring_sessions_first_created_at",
    "CREATE INDEX tutoring_sessions_created_at ON tutoring_sessions USING brin (created_at)",
];

/// A volume of an earlier version: everything belongs to one user, and there are no roles.
#[tokio::test]
async fn a_volume_without_the_roles_is_upgraded_and_keeps_its_data() {
    let pipeline = Pipeline::declared("roles", &[]);
    pipeline.with_images(&["up", "migrate"]);
    let owner = pipeline.database().await;
    write(&owner, "of before").await;
    for role in ROLES {
        let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop))
            .execute(&owner)
            .await
            .unwrap();
    }
    for sql in BEFORE_ROLES {
        sqlx::query(sql).execute(&owner).await.unwrap();
    }
    let Ran { stderr, .. } = pipeline.caravan(&["up"]).expect(0);
    assert!(!stderr.contains("generated"), "no new secret: {stderr}");
    pipeline.caravan(&["test-flow"]).expect(0);
    pipeline.expect_green();
    each_service_has_its_rights_and_no_more(&pipeline).await;
    let kept = "SELECT count(*) FROM courses WHERE title = 'of before'";
    assert_eq!(count(&owner, kept).await, 1);
}
