//! What a new session may do, and what other sessions keep from it. Only reads.

use std::net::IpAddr;

use sqlx::{Connection, FromRow, postgres::PgConnectOptions};

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

/// DISK_FULL.
const DISK_FULL: &str = "53100";

/// A login of a service that cannot do what the declaration says that the service does.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Refused {
    /// The role.
    pub login: String,
    /// What it may not do, or why: the rest of a sentence that begins with the login.
    pub why: String,
}

/// A sequence that has no next value, and the table whose rows need one.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Exhausted {
    /// The sequence.
    pub sequence: String,
    /// The table, as declared.
    pub table: String,
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

    /// The roles of the sessions that clients at `addresses` have open, and those with which `urls`, as far as
    /// they are addresses of this database, log in.
    ///
    /// # Errors
    /// The query failed.
    pub async fn logins(&self, addresses: &[IpAddr], urls: &[&str]) -> StoreResult<Vec<String>> {
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let of_urls = urls.iter().filter_map(|url| login_of(url));
        let (users, databases): (Vec<_>, Vec<_>) = of_urls.unzip();
        let sql = "SELECT usename::text FROM pg_stat_activity \
                   WHERE datname = current_database() AND usename IS NOT NULL \
                   AND client_addr = ANY($1::text[]::inet[]) \
                   UNION SELECT login FROM unnest($2::text[], $3::text[]) AS u (login, database) \
                   WHERE database = current_database() ORDER BY 1";
        let query = sqlx::query_scalar(sql).bind(addresses);
        let query = query.bind(users).bind(databases);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// What none of `logins` may do: open a session, and one that can write; insert into each table of `writes`,
    /// select from each of `reads`.
    ///
    /// # Errors
    /// The query failed.
    pub async fn refused(
        &self,
        logins: &[String],
        writes: &[String],
        reads: &[String],
    ) -> StoreResult<Vec<Refused>> {
        let tables: Vec<&str> = writes.iter().chain(reads).map(String::as_str).collect();
        let quoted: Vec<String> = tables.iter().map(|t| quote(t)).collect();
        let is_read: Vec<bool> = (0..tables.len()).map(|n| n >= writes.len()).collect();
        // A table in which one of several logins may insert is that login's. A limit of sessions that are the
        // login's own keeps it from nothing. The column of a SERIAL takes its value from a sequence.
        let sql = "\
            WITH database AS (SELECT oid, datconnlimit FROM pg_database \
            WHERE datname = current_database()), \
            tables AS (SELECT t.name, t.is_read, c.* \
            FROM unnest($2::text[], $3::text[], $4::bool[]) AS t (name, quoted, is_read) \
            JOIN pg_class c ON c.oid = to_regclass(t.quoted)), \
            logins AS (SELECT r.oid, r.rolname, r.rolbypassrls OR r.rolsuper AS without_policies, CASE \
            WHEN NOT r.rolcanlogin THEN 'may not log in' \
            WHEN r.rolvaliduntil < now() THEN 'has a password that is expired' \
            WHEN NOT has_database_privilege(r.oid, d.oid, 'CONNECT') \
            THEN 'may not connect to the database' \
            WHEN r.rolconnlimit = 0 AND NOT r.rolsuper THEN 'may open 0 sessions' \
            WHEN d.datconnlimit >= 0 AND NOT r.rolsuper AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a \
            WHERE a.datid = d.oid AND a.usesysid = r.oid) AND d.datconnlimit <= \
            (SELECT numbackends FROM pg_stat_database s WHERE s.datid = d.oid) \
            THEN 'gets no session: the database accepts ' || d.datconnlimit \
            WHEN EXISTS (SELECT 1 FROM pg_db_role_setting s, unnest(s.setconfig) AS setting \
            WHERE s.setrole = r.oid AND s.setdatabase IN (0, d.oid) \
            AND setting ~* '^default_transaction_read_only=(on|true|yes|1)$') \
            THEN 'gets sessions that are read-only' END AS why \
            FROM pg_roles r, database d WHERE r.rolname = ANY($1::text[])), \
            refused AS (SELECT l.oid, t.name, t.is_read, CASE \
            WHEN NOT has_schema_privilege(l.oid, t.relnamespace, 'USAGE') \
            THEN 'may not use the schema of ' || t.name \
            WHEN NOT has_table_privilege(l.oid, t.oid, verb.privilege) \
            AND NOT has_any_column_privilege(l.oid, t.oid, verb.privilege) \
            THEN 'may not ' || verb.does || ' ' || t.name \
            WHEN t.relrowsecurity AND NOT l.without_policies \
            AND (t.relforcerowsecurity OR NOT pg_has_role(l.oid, t.relowner, 'USAGE')) \
            AND NOT EXISTS (SELECT 1 FROM pg_policy p, unnest(p.polroles) AS role (oid) \
            WHERE p.polrelid = t.oid AND p.polpermissive AND p.polcmd IN ('*', verb.command) \
            AND (role.oid = 0 OR pg_has_role(l.oid, role.oid, 'USAGE'))) \
            THEN 'has no policy to ' || verb.does || ' ' || t.name || ', which has row-level security' \
            WHEN NOT t.is_read THEN (SELECT 'may not use ' || s.seqrelid::regclass::text || ' of ' || t.name \
            FROM pg_attrdef a JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid \
            JOIN pg_sequence s ON s.seqrelid = d.refobjid AND d.refclassid = 'pg_class'::regclass \
            WHERE a.adrelid = t.oid AND NOT has_sequence_privilege(l.oid, s.seqrelid, 'USAGE, UPDATE') \
            ORDER BY 1 LIMIT 1) END AS why \
            FROM tables t, logins l, LATERAL (SELECT \
            CASE WHEN t.is_read THEN 'SELECT' ELSE 'INSERT' END AS privilege, \
            CASE WHEN t.is_read THEN 'select from' ELSE 'insert into' END AS does, \
            CASE WHEN t.is_read THEN 'r'::\"char\" ELSE 'a'::\"char\" END AS command) AS verb) \
            SELECT l.rolname::text AS login, r.why FROM refused r JOIN logins l USING (oid) \
            WHERE r.why IS NOT NULL AND NOT EXISTS (SELECT 1 FROM refused o \
            WHERE o.name = r.name AND o.is_read = r.is_read AND o.why IS NULL) \
            UNION SELECT l.rolname::text, l.why FROM logins l \
            WHERE NOT EXISTS (SELECT 1 FROM logins o WHERE o.why IS NULL) ORDER BY 1, 2";
        let query = sqlx::query_as(sql).bind(logins).bind(tables);
        let query = query.bind(quoted).bind(is_read);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// The sequences of columns of `tables` that have no next value: no row can be inserted.
    ///
    /// # Errors
    /// The query failed.
    pub async fn exhausted(&self, tables: &[&str]) -> StoreResult<Vec<Exhausted>> {
        let quoted: Vec<String> = tables.iter().map(|t| quote(t)).collect();
        let sql = "\
            SELECT s.seqrelid::regclass::text AS sequence, t.name AS table \
            FROM unnest($1::text[], $2::text[]) AS t (name, quoted) \
            JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(t.quoted) \
            AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 \
            JOIN pg_sequence s ON s.seqrelid = d.objid CROSS JOIN LATERAL (SELECT CASE \
            WHEN has_sequence_privilege(s.seqrelid, 'USAGE') OR has_sequence_privilege(s.seqrelid, 'SELECT') \
            THEN pg_sequence_last_value(s.seqrelid) END::numeric + s.seqincrement AS next) AS n \
            WHERE NOT s.seqcycle AND (n.next > s.seqmax OR n.next < s.seqmin) ORDER BY 1, 2";
        let query = sqlx::query_as(sql).bind(tables).bind(quoted);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }

    /// Why no row can be stored; None: the disk of the database has room.
    ///
    /// # Errors
    /// The query failed for another reason.
    pub async fn disk_full(&self) -> StoreResult<Option<String>> {
        // A sort of a megabyte in less memory needs a temporary file, which is on the same disk as the tables and
        // is gone with the statement. To write a row would leave something behind.
        let set = "SET LOCAL work_mem = '64kB'; SET LOCAL temp_tablespaces = ''";
        let sort = "SELECT count(*) FROM (SELECT repeat('x', 1000) || g FROM generate_series(1, 1000) g \
                    ORDER BY 1 OFFSET 0) AS sorted";
        let mut connection = self.connection.lock().await;
        let sorting = async {
            let mut transaction = connection.begin().await?;
            sqlx::raw_sql(set).execute(&mut *transaction).await?;
            let sorted = sqlx::query(sort).execute(&mut *transaction).await;
            transaction.rollback().await?;
            match sorted {
                Ok(_) => Ok(None),
                Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(DISK_FULL) => {
                    Ok(Some(e.message().to_owned()))
                }
                Err(e) => Err(e),
            }
        };
        bounded(&self.url, ANSWER, sorting).await
    }

    /// Transactions that are older than `seconds` and have locked one of `tables` against writers, or
    /// have others wait for one of their locks; and sessions that keep an advisory lock for which one of
    /// `own`, the addresses of the pipeline, waits, and are none of the pipeline.
    ///
    /// # Errors
    /// The query failed.
    pub async fn blockers(
        &self,
        tables: &[&str],
        own: &[IpAddr],
        seconds: i32,
    ) -> StoreResult<Vec<Blocker>> {
        let quoted: Vec<String> = tables.iter().map(|t| quote(t)).collect();
        let own: Vec<String> = own.iter().map(IpAddr::to_string).collect();
        // Advisory locks are how the services take turns, so one may wait for another for long.
        let sql = "\
            WITH declared AS (SELECT name, to_regclass(quoted) AS oid \
            FROM unnest($1::text[], $2::text[]) AS t (name, quoted)), \
            held AS (SELECT l.pid, array_agg(DISTINCT d.name || ' (' || l.mode || ')') AS locked \
            FROM pg_locks l JOIN declared d ON d.oid = l.relation \
            WHERE l.granted AND l.locktype = 'relation' \
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
            AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
            'AccessExclusiveLock') GROUP BY 1), \
            own AS (SELECT pid FROM pg_stat_activity WHERE client_addr = ANY($4::text[]::inet[])), \
            blocked AS (SELECT b.pid, count(DISTINCT w.pid) AS waiting, bool_or(w.locktype = 'advisory') AS turns \
            FROM pg_locks w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS b (pid) \
            WHERE NOT w.granted AND (w.locktype <> 'advisory' \
            OR w.pid IN (SELECT pid FROM own) AND b.pid NOT IN (SELECT pid FROM own)) GROUP BY 1) \
            SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename::text, '') AS client, \
            coalesce(a.state, '') AS state, \
            extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change))::bigint AS age, \
            coalesce(h.locked, ARRAY[]::text[]) || CASE WHEN b.turns THEN ARRAY['an advisory key'] \
            ELSE ARRAY[]::text[] END AS locked, coalesce(b.waiting, 0) AS waiting \
            FROM pg_stat_activity a LEFT JOIN held h ON h.pid = a.pid \
            LEFT JOIN blocked b ON b.pid = a.pid \
            WHERE a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' \
            AND a.datname = current_database() \
            AND coalesce(a.xact_start, a.state_change) < clock_timestamp() - make_interval(secs => $3) \
            AND (h.pid IS NOT NULL OR b.pid IS NOT NULL) \
            UNION ALL SELECT NULL, 'prepared transaction', 'prepared', \
            coalesce((SELECT max(extract(epoch FROM clock_timestamp() - p.prepared))::bigint \
            FROM pg_prepared_xacts p WHERE p.database = current_database()), 0), h.locked, 0 \
            FROM held h WHERE h.pid IS NULL ORDER BY 4 DESC";
        let query = sqlx::query_as(sql).bind(tables).bind(quoted);
        let query = query.bind(seconds).bind(own);
        let mut connection = self.connection.lock().await;
        bounded(&self.url, ANSWER, query.fetch_all(&mut *connection)).await
    }
}

/// The login of a `postgres://` URL, also one with a driver's name (`postgresql+asyncpg://`), and its database.
fn login_of(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.split('+').next()?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return None;
    }
    let options: PgConnectOptions = format!("postgres://{rest}").parse().ok()?;
    let database = options.get_database()?.to_owned();
    let names_login = rest.split(['/', '?']).next()?.contains('@');
    names_login.then(|| (options.get_username().to_owned(), database))
}

#[cfg(test)]
mod tests {
    use super::login_of;

    #[test]
    fn a_url_names_a_login_and_its_database() {
        let of = |url| login_of(url).map(|(login, database)| format!("{login} of {database}"));
        let is = |login: &str| Some(login.to_owned());
        assert_eq!(of("postgres://app@db:5432/shop"), is("app of shop"));
        assert_eq!(
            of("postgresql+asyncpg://app:p%40ss@db/shop?sslmode=disable"),
            is("app of shop")
        );
        assert_eq!(of("postgres://db/shop"), None, "the client's user");
        assert_eq!(of("mysql://app@db/shop"), None);
        assert_eq!(of("not a url"), None);
    }
}
