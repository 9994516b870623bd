//! Sessions in the database: one statement reads what is there, one adds what is missing.

use std::collections::HashMap;

use caravan_events::ids;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::window::{self, Allocation, Existing, Session};

/// Fills the windows of these allocations; returns how many sessions were added. Safe side by
/// side with itself: whoever comes second finds the numbers taken, and adds nothing.
pub(crate) async fn fill(
    db: &mut PgConnection,
    allocations: &[Allocation],
) -> Result<u64, sqlx::Error> {
    let (now, existing) = existing(db, allocations).await?;
    let mut sessions = Vec::new();
    for allocation in allocations {
        let existing = existing.get(&allocation.id).copied().unwrap_or(NONE);
        match window::missing(allocation, existing, now) {
            Some(missing) => sessions.extend(missing.into_iter().map(|s| (allocation, s))),
            None => tracing::warn!(
                allocationId = %allocation.id,
                "its sessions would be beyond the calendar"
            ),
        }
    }
    insert(db, &sessions).await
}

const NONE: Existing = Existing {
    last_seq: 0,
    last_start: None,
    upcoming: 0,
};

/// What each allocation has, and the database's own time.
async fn existing(
    db: &mut PgConnection,
    allocations: &[Allocation],
) -> Result<(DateTime<Utc>, HashMap<Uuid, Existing>), sqlx::Error> {
    let ids: Vec<Uuid> = allocations.iter().map(|allocation| allocation.id).collect();
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT now()")
        .fetch_one(&mut *db)
        .await?;
    let rows: Vec<(Uuid, i32, Option<DateTime<Utc>>, i64)> = sqlx::query_as(
        "SELECT allocation_id, max(seq), max(starts_at), count(*) FILTER (WHERE starts_at > $2)
         FROM tutoring_sessions WHERE allocation_id = ANY($1) GROUP BY allocation_id",
    )
    .bind(&ids)
    .bind(now)
    .fetch_all(db)
    .await?;
    let existing = rows
        .into_iter()
        .map(|(id, last_seq, last_start, upcoming)| {
            let existing = Existing {
                last_seq,
                last_start,
                upcoming: i32::try_from(upcoming).unwrap_or(i32::MAX),
            };
            (id, existing)
        });
    Ok((now, existing.collect()))
}

async fn insert(
    db: &mut PgConnection,
    sessions: &[(&Allocation, Session)],
) -> Result<u64, sqlx::Error> {
    if sessions.is_empty() {
        return Ok(0);
    }
    let id = |(allocation, session): &(&Allocation, Session)| {
        ids::session_id(allocation.id, session.seq)
    };
    let result = sqlx::query(
        "INSERT INTO tutoring_sessions (id, allocation_id, seq, starts_at, synthetic)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::timestamptz[],
                              $5::boolean[])
         ON CONFLICT DO NOTHING",
    )
    .bind(sessions.iter().map(id).collect::<Vec<_>>())
    .bind(sessions.iter().map(|(a, _)| a.id).collect::<Vec<_>>())
    .bind(sessions.iter().map(|(_, s)| s.seq).collect::<Vec<_>>())
    .bind(
        sessions
            .iter()
            .map(|(_, s)| s.starts_at)
            .collect::<Vec<_>>(),
    )
    .bind(
        sessions
            .iter()
            .map(|(a, _)| a.synthetic)
            .collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}
