//! What a new session may do, and what other sessions keep from it. Only reads.

use std::net::IpAddr;

use sqlx::FromRow;

use super::{ANSWER, Postgres, StoreResult, bounded, quote};

/// Whether a new session can write.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct SessionState {
    /// The server is a standby, or still replays its log (`pg_is_in_recovery()`).
    pub recovery: bool,
    /// `transaction_read_only` of the session.
    pub read_only: bool,
    /// What set `default_transaction_read_only`, as in `pg_settings.source`.
    pub read_only_source: String,
    /// `session_replication_role` is `replica`: ordinary triggers do not fire.
    pub without_triggers: bool,
    /// A commit waits for a synchronous standby, and none is connected.
    pub no_standby: bool,
    /// Sessions of all databases.
    pub sessions: i64,
    /// How many sessions the server accepts from roles that are not superusers.
    pub session_limit: i64,
}

/// A login of a service that cannot do what the declaration says that the service does.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Refused {
    /// The role.
    pub login: String,
    /// The table into which it may not insert. None: its new sessions are read-only.
    pub table: Option<String>,
}

/// A transaction that keeps others from declared tables.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Blocker {
    /// Its backend; None: a prepared transaction.
    pub pid: Option<i32>,
    /// `application_name`, or the role if the client sets none.
    pub client: String,
    /// `active`, `idle in transaction` and so on.
    pub state: String,
    /// Seconds since the transaction began.
    pub age: i64,
    /// The declared tables that it has locked against writers, each with the mode.
    pub locked: Vec<String>,
    /// How many sessions wait for it.
    pub waiting: i64,
}

impl Postgres {
    /// What this session may do.
    ///
    /// # Errors
    /// The query failed.
    pub async fn session_state(&self) -> StoreResult<SessionState> {
        let sql = "\
            SELECT pg_is_in_recovery() AS recovery, \
            current_setting('transaction_read_only') = 'on' AS read_only, \
            coalesce((SELECT source FROM pg_settings \
            WHERE name = 'default_transaction_read_only'), '') AS read_only_source, \
            current_setting('session_replication_role') = 'replica' AS without_triggers, \
            current_setting('synchronous_standby_names') <> '' \
            AND current_setting('synchronous_commit') NOT IN ('off', 'local') \
            AND pg_has_role('pg_monitor', 'USAGE') \
            AND NOT EXISTS (SELECT 1 FROM pg_stat_replication \
            WHERE sync_state IN ('sync', 'quorum')) AS no_standby, \
            (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_stat_database) AS sessions, \
            current_setting('max_connections')::bigint \
            - current_setting('superuser_reserved_connections')::bigint AS session_limit";
        let query = sqlx::query_as(sql);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_one(&mut *connection)).await
    }

    /// The roles of the sessions that clients at `addresses` have open.
    ///
    /// # Errors
    /// The query failed.
    pub async fn logins(&self, addresses: &[IpAddr]) -> StoreResult<Vec<String>> {
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let sql = "SELECT DISTINCT usename::text FROM pg_stat_activity \
                   WHERE datname = current_database() AND usename IS NOT NULL \
                   AND client_addr = ANY($1::text[]::inet[]) ORDER BY 1";
        let query = sqlx::query_scalar(sql).bind(addresses);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// What none of `logins` may do: insert into each of `tables`, and open a session that can write.
    ///
    /// # Errors
    /// The query failed.
    pub async fn refused(&self, logins: &[String], tables: &[&str]) -> StoreResult<Vec<Refused>> {
        let quoted: Vec<String> = tables.iter().map(|t| quote(t)).collect();
        // A table in which one of several logins may insert is that login's.
        let sql = "\
            WITH logins AS (SELECT oid, rolname FROM pg_roles WHERE rolname = ANY($1::text[])), \
            tables AS (SELECT name, to_regclass(quoted) AS oid \
            FROM unnest($2::text[], $3::text[]) AS t (name, quoted)) \
            SELECT l.rolname::text AS login, t.name AS table FROM tables t, logins l \
            WHERE t.oid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM logins o \
            WHERE has_table_privilege(o.oid, t.oid, 'INSERT') \
            OR has_any_column_privilege(o.oid, t.oid, 'INSERT')) \
            UNION ALL SELECT l.rolname::text, NULL FROM logins l \
            WHERE NOT EXISTS (SELECT 1 FROM logins o WHERE NOT EXISTS (\
            SELECT 1 FROM pg_db_role_setting s, unnest(s.setconfig) AS setting \
            WHERE s.setrole = o.oid AND s.setdatabase IN (0, \
            (SELECT oid FROM pg_database WHERE datname = current_database())) \
            AND setting ~* '^default_transaction_read_only=(on|true|yes|1)$')) ORDER BY 1, 2";
        let query = sqlx::query_as(sql).bind(logins).bind(tables).bind(quoted);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// Transactions that are older than `seconds` and have locked one of `tables` against writers, or
    /// have others wait for one of their locks.
    ///
    /// # Errors
    /// The query failed.
    pub async fn blockers(&self, tables: &[&str], seconds: i32) -> StoreResult<Vec<Blocker>> {
        let quoted: Vec<String> = tables.iter().map(|t| quote(t)).collect();
        // Advisory locks are how clients take turns.
        let sql = "\
            WITH declared AS (SELECT name, to_regclass(quoted) AS oid \
            FROM unnest($1::text[], $2::text[]) AS t (name, quoted)), \
            held AS (SELECT l.pid, array_agg(DISTINCT d.name || ' (' || l.mode || ')') AS locked \
            FROM pg_locks l JOIN declared d ON d.oid = l.relation \
            WHERE l.granted AND l.locktype = 'relation' \
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
            AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
            'AccessExclusiveLock') GROUP BY 1), \
            blocked AS (SELECT b.pid, count(DISTINCT w.pid) AS waiting \
            FROM pg_locks w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b (pid) \
            WHERE NOT w.granted AND w.locktype <> 'advisory' GROUP BY 1) \
            SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename::text, '') AS client, \
            coalesce(a.state, '') AS state, \
            extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS age, \
            coalesce(h.locked, ARRAY[]::text[]) AS locked, coalesce(b.waiting, 0) AS waiting \
            FROM pg_stat_activity a LEFT JOIN held h ON h.pid = a.pid \
            LEFT JOIN blocked b ON b.pid = a.pid \
            WHERE a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' \
            AND a.datname = current_database() \
            AND a.xact_start < clock_timestamp() - make_interval(secs => $3) \
            AND (h.pid IS NOT NULL OR b.pid IS NOT NULL) \
            UNION ALL SELECT NULL, 'prepared transaction', 'prepared', \
            coalesce((SELECT max(extract(epoch FROM clock_timestamp() - p.prepared))::bigint \
            FROM pg_prepared_xacts p WHERE p.database = current_database()), 0), h.locked, 0 \
            FROM held h WHERE h.pid IS NULL ORDER BY 4 DESC";
        let query = sqlx::query_as(sql).bind(tables).bind(quoted).bind(seconds);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }
}
