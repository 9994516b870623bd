//! How much waits in the outbox, for the metrics: looked up now and then, and not at every scrape.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker_runtime::metrics::OutboxMetrics;

const EVERY: Duration = Duration::from_secs(10);

/// How many, and for how many seconds the first of them has waited. Of all rows, only the unsent
/// ones are in the index that both parts read.
const UNSENT: &str = "
SELECT (SELECT count(*) FROM outbox WHERE sent_at IS NULL),
       (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
        FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1)";

/// Keeps the metrics true until `shutdown`. Where the database is away they keep their last
/// values: `/ready` says why.
pub(crate) async fn watch(pool: PgPool, metrics: OutboxMetrics, shutdown: CancellationToken) {
    let look = async {
        loop {
            let unsent: Result<(i64, Option<f64>), _> =
                sqlx::query_as(UNSENT).fetch_one(&pool).await;
            if let Ok((events, oldest)) = unsent {
                metrics.unsent(events, age(oldest));
            }
            sleep(EVERY).await;
        }
    };
    shutdown.run_until_cancelled(look).await;
}

/// None where nothing waits; not below zero where a clock was set back.
fn age(seconds: Option<f64>) -> Duration {
    Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or(Duration::ZERO)
}
