//! What the connection pool promises on a real server.

use sqlx::PgPool;
use tokio::task::yield_now;
use worker_runtime::database;

use crate::support::{payments::count, pipeline::Pipeline};

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
