//! The metrics of unsent outbox rows, which are updated periodically, not at every scrape.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker_runtime::metrics::OutboxMetrics;

const EVERY: Duration = Duration::from_secs(10);

/// The number of unsent rows, and the age of the oldest in seconds. Both parts read a partial index
/// that contains only unsent rows.
const UNSENT: &str = "
SELECT (SELECT count(*) FROM outbox WHERE sent_at IS NULL),
       (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
        FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT 1)";

/// Updates the metrics until `shutdown`. While the database is unavailable they keep their last
/// values; `/ready` has the reason.
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

/// The age of the oldest row: 0 if there is none, or if a clock was set back.
fn age(seconds: Option<f64>) -> Duration {
    Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or(Duration::ZERO)
}
