//! Sessions in the database. An event's allocation has none yet, as a rule: its window is inserted without looking
//! for existing sessions, and filled like any other where some of it was there.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::window::{self, Allocation, Existing, Session};

/// Days between sessions if the course is unknown.
const DEFAULT_INTERVAL_DAYS: i32 = 1;

/// An allocation whose window is to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) allocation_id: Uuid,
    pub(crate) course_id: Uuid,
    /// The first session is one interval of the course after this day.
    pub(crate) day: NaiveDate,
    /// Whether the allocation, and so its sessions, are test traffic.
    pub(crate) synthetic: bool,
}

/// An allocation's sessions, the interval of its course, and the database's time.
#[derive(Debug, sqlx::FromRow)]
struct State {
    allocation_id: Uuid,
    interval_days: Option<i32>,
    last_seq: i32,
    last_start: Option<DateTime<Utc>>,
    upcoming: i32,
    now: DateTime<Utc>,
}

/// The interval of each course, and the database's time.
const COURSES: &str = "
SELECT w.course_id, c.session_interval_days AS interval_days, now() AS now
FROM unnest($1::uuid[]) AS w (course_id) LEFT JOIN courses c ON c.id = w.course_id";

/// The sessions of each allocation are found by the primary key.
const STATES: &str = "
SELECT w.allocation_id, c.session_interval_days AS interval_days,
       s.last_seq, s.last_start, s.upcoming, now() AS now
FROM unnest($1::uuid[], $2::uuid[]) AS w (allocation_id, course_id)
LEFT JOIN courses c ON c.id = w.course_id
CROSS JOIN LATERAL (
    SELECT COALESCE(max(seq), 0) AS last_seq, max(starts_at) AS last_start,
           (count(*) FILTER (WHERE starts_at > now()))::integer AS upcoming
    FROM tutoring_sessions WHERE allocation_id = w.allocation_id) s";

/// Creates the windows of these distinct allocations.
pub(crate) async fn create(db: &mut PgConnection, wanted: &[Wanted]) -> Result<(), sqlx::Error> {
    let mut courses: Vec<Uuid> = wanted.iter().map(|w| w.course_id).collect();
    courses.sort_unstable();
    courses.dedup();
    let courses: Vec<(Uuid, Option<i32>, DateTime<Utc>)> = sqlx::query_as(COURSES)
        .bind(courses)
        .fetch_all(&mut *db)
        .await?;
    let mut sessions = Vec::with_capacity(wanted.len() * window::UPCOMING as usize);
    for wanted in wanted {
        let course = courses.iter().find(|(id, ..)| *id == wanted.course_id);
        let Some((_, interval_days, now)) = course else {
            continue;
        };
        let allocation = wanted.allocation(*interval_days);
        add_missing(&mut sessions, wanted, &allocation, Existing::NONE, *now);
    }
    if insert(db, &sessions).await? < sessions.len() as u64 {
        fill(db, wanted).await?;
    }
    Ok(())
}

/// Adds the sessions that an allocation lacks to `sessions`.
fn add_missing<'a>(
    sessions: &mut Vec<(&'a Wanted, Session)>,
    wanted: &'a Wanted,
    allocation: &Allocation,
    existing: Existing,
    now: DateTime<Utc>,
) {
    match window::missing(allocation, existing, now) {
        Some(missing) => sessions.extend(missing.into_iter().map(|s| (wanted, s))),
        None => tracing::warn!(
            allocationId = %wanted.allocation_id,
            "its sessions would be beyond the calendar"
        ),
    }
}

/// Fills the windows of these distinct allocations. Returns the number of inserted sessions. Safe to
/// run concurrently: a second run finds the rows of the first and inserts nothing.
pub(crate) async fn fill(db: &mut PgConnection, wanted: &[Wanted]) -> Result<u64, sqlx::Error> {
    let states = states(db, wanted).await?;
    let mut sessions = Vec::new();
    for wanted in wanted {
        let Some(state) = states.get(&wanted.allocation_id) else {
            continue;
        };
        let allocation = wanted.allocation(state.interval_days);
        let existing = state.existing();
        add_missing(&mut sessions, wanted, &allocation, existing, state.now);
    }
    insert(db, &sessions).await
}

async fn states(
    db: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<HashMap<Uuid, State>, sqlx::Error> {
    let states: Vec<State> = sqlx::query_as(STATES)
        .bind(wanted.iter().map(|w| w.allocation_id).collect::<Vec<_>>())
        .bind(wanted.iter().map(|w| w.course_id).collect::<Vec<_>>())
        .fetch_all(db)
        .await?;
    let by_allocation = states.into_iter().map(|state| (state.allocation_id, state));
    Ok(by_allocation.collect())
}

impl Wanted {
    /// `interval_days` is its course's; None if there is no such course.
    fn allocation(&self, interval_days: Option<i32>) -> Allocation {
        Allocation {
            day: self.day,
            interval_days: interval_days.unwrap_or(DEFAULT_INTERVAL_DAYS),
        }
    }
}

impl State {
    fn existing(&self) -> Existing {
        Existing {
            last_seq: self.last_seq,
            last_start: self.last_start,
            upcoming: self.upcoming,
        }
    }
}

async fn insert(
    db: &mut PgConnection,
    sessions: &[(&Wanted, Session)],
) -> Result<u64, sqlx::Error> {
    if sessions.is_empty() {
        return Ok(0);
    }
    let result = sqlx::query(
        "INSERT INTO tutoring_sessions (allocation_id, seq, starts_at, synthetic)
         SELECT * FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::boolean[])
         ON CONFLICT DO NOTHING",
    )
    .bind(
        sessions
            .iter()
            .map(|(w, _)| w.allocation_id)
            .collect::<Vec<_>>(),
    )
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
            .map(|(w, _)| w.synthetic)
            .collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(result.rows_affected())
}
