//! Counterexamples of the invariants, and the records that belong to them.
//!
//! Rules keep to a budget of time, which those without one of their own share: they read the newest rows, then
//! further back (`windows`), and do not read again what earlier runs have read, but for a sample.
//! Counterexamples that earlier runs found are looked at again, however old they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};

use super::{ObservationCache, ObservationError, windows::Windows};
use crate::{
    checks::results::{RuleResult, Span, Violated},
    stores::{
        StoreError,
        postgres::{Counterexample, Plans, Postgres, RuleQuery, Session, Snapshot, Window},
    },
};
use declaration::{Budget, Invariant, RULES_BUDGET, Replay};
use kafka::scan::Found;

/// What is known of an invariant.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Counterexamples of this run, and those of earlier runs that were not repaired or dismissed since.
    pub(crate) found: Vec<Counterexample>,
    /// How many of these are as an earlier run found them: there was no time to look again.
    pub(crate) not_looked_at_again: usize,
    pub(crate) reach: Reach,
    /// The database's time.
    pub(crate) at: DateTime<Utc>,
    /// For the next run.
    pub(crate) result: RuleResult,
}

/// Which rows were read, by this run and earlier ones, without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All rows, or as far back as is declared.
    Complete,
    /// The rows of this span before now.
    Back(Duration),
    /// Not one that is older than the grace.
    Nothing,
}

/// How far `--since` has come with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditProgress {
    /// The rule's name.
    pub rule: String,
    /// Rows are read from now back to this time so far.
    pub back_to: DateTime<Utc>,
}

/// A query of `--since` may take so long.
const AUDIT_QUERY: Duration = Duration::from_secs(300);
/// And is planned to take so long, where it can be divided.
const AUDIT_WINDOW: Duration = Duration::from_secs(1);
/// The first window is short, and without it nothing is known: it may take so many budgets.
const FIRST_WINDOW: u32 = 4;
/// When all rules have taken so many budgets, those that remain are not read: each waits for a lock, for instance.
pub(crate) const PATIENCE: u32 = 20;
/// A transaction may become visible so long after the time that its rows have.
const LATE: Duration = Duration::from_secs(10);
/// What Postgres expects to cost less (some 20,000 rows) is read by one query. Many windows of few rows take longer.
const CHEAP: f64 = 2_000.0;
/// Without so much time left no query is begun.
const LEAST: Duration = Duration::from_millis(2);

/// A rule, and what earlier runs found of it.
pub(crate) struct Known<'a> {
    pub(crate) rule: &'a Invariant,
    pub(crate) stored: RuleResult,
}

/// Looks at a rule that does not share its time with others.
pub(crate) async fn look(
    observed: &ObservationCache<'_>,
    rule: &Invariant,
    turn: usize,
    stored: RuleResult,
    progress: &dyn Fn(AuditProgress),
) -> Result<Look, ObservationError> {
    let basis = observed.database_identity().await;
    let stored = of_basis(rule, stored, basis);
    if let Budget::Own(budget) = rule.budget {
        let postgres = observed.database().await?;
        let known = [Known { rule, stored }];
        return look_of(&look_within(postgres, &known, budget).await, rule);
    }
    let postgres = observed.audit_connection(turn).await?;
    let mut session = postgres.exclusive().await;
    let read = audit(&mut session, rule, progress).await?;
    let again = look_again(&mut session, rule, AUDIT_QUERY, &stored).await?;
    Ok(conclude(rule, stored, read, again))
}

/// Looks by the name of the rule.
pub(super) type Looks = BTreeMap<String, Result<Look, ObservationError>>;

pub(super) fn look_of(looks: &Looks, rule: &Invariant) -> Result<Look, ObservationError> {
    let unread = || ObservationError::Incomplete("it was not read".to_owned());
    let look = looks.get(&rule.name);
    look.cloned().unwrap_or_else(|| Err(unread()))
}

/// Looks at the rules that share [`RULES_BUDGET`].
pub(super) async fn look_at_all(
    observed: &ObservationCache<'_>,
    known: &[Known<'_>],
) -> Result<Looks, ObservationError> {
    let postgres = observed.database().await?;
    let basis = observed.database_identity().await;
    let known = known.iter().map(|Known { rule, stored }| Known {
        rule,
        stored: of_basis(rule, stored.clone(), basis),
    });
    let known: Vec<_> = known.collect();
    Ok(look_within(postgres, &known, RULES_BUDGET).await)
}

/// What was found of the rule, without what was read of another database or by another query.
fn of_basis(rule: &Invariant, mut stored: RuleResult, identity: Option<&str>) -> RuleResult {
    let basis = identity.map(|identity| basis_of(rule, identity));
    if basis.is_none() || stored.basis != basis {
        stored.basis = basis;
        stored.read.clear();
        stored.sampled = None;
    }
    stored
}

fn basis_of(rule: &Invariant, identity: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(identity);
    digest.update([0]);
    digest.update(&rule.sql);
    let hex = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    hex[..32].to_owned()
}

/// What one run has read.
struct Read {
    at: DateTime<Utc>,
    /// Windows with counterexamples.
    violated: Vec<Violated>,
    /// Counterexamples among rows that may be in flight.
    in_flight: Vec<Counterexample>,
    reach: Reach,
    /// All rows from there to `at` less the grace are read, unless nothing was.
    reached: Option<DateTime<Utc>>,
    sampled: Option<DateTime<Utc>>,
}

impl Read {
    fn new(at: DateTime<Utc>) -> Self {
        Self {
            at,
            violated: Vec::new(),
            in_flight: Vec::new(),
            reach: Reach::Nothing,
            reached: None,
            sampled: None,
        }
    }

    /// Counterexamples that are not known yet.
    fn add(&mut self, window: Option<Window>, mut found: Vec<Counterexample>) {
        found.retain(|c| {
            !self
                .violated
                .iter()
                .any(|known| contains(&known.found, &c.id))
        });
        if !found.is_empty() {
            self.violated.push(Violated { window, found });
        }
    }

    fn finish(&mut self, windows: &Windows, limit: DateTime<Utc>) {
        let reached = windows.reached();
        self.reached = Some(reached);
        self.sampled = windows.next_sample();
        self.reach = match reached <= limit {
            true => Reach::Complete,
            false => Reach::Back((self.at - reached).to_std().unwrap_or_default()),
        };
    }
}

fn contains(found: &[Counterexample], id: &str) -> bool {
    found.iter().any(|c| c.id == id)
}

/// The rows that may be in flight, or may still become visible, begin here.
fn newest(rule: &Invariant, at: DateTime<Utc>) -> DateTime<Utc> {
    start(at, rule.grace.max(LATE))
}

/// A rule whose turn has come, and what was read of it so far.
struct Turn<'k, 'a> {
    known: &'k Known<'a>,
    /// None: not begun.
    read: Option<Result<Read, ObservationError>>,
}

/// Looks at each rule, all within `budget`: first at those that one query can read, then each of the others gets
/// an equal share of what is left. Right after much was written, Postgres may expect a query to be cheap that is
/// not: it is cancelled when it has taken the whole budget, and the rule gets a share as well.
async fn look_within(postgres: &Postgres, known: &[Known<'_>], budget: Duration) -> Looks {
    let mut session = postgres.exclusive().await;
    let began = Instant::now();
    let mut turns: Vec<_> = known
        .iter()
        .map(|known| Turn { known, read: None })
        .collect();
    let read_at_once = async |snapshot: &mut Snapshot<'_>, known: &Known<'_>, _| {
        read_at_once(snapshot, known.rule, budget).await
    };
    let until = began + budget * PATIENCE;
    each(&mut session, &mut turns, until, read_at_once).await;
    let windows = async |snapshot: &mut Snapshot<'_>, known: &Known<'_>, others: u32| {
        let share = budget.saturating_sub(began.elapsed()) / (others + 1);
        read_windows(snapshot, known, share, budget).await.map(Some)
    };
    each(&mut session, &mut turns, until, windows).await;
    let mut looks = Looks::new();
    for Turn { known, read } in turns {
        let Known { rule, stored } = known;
        let look = match read {
            Some(Ok(read)) => look_again(&mut session, rule, budget, stored)
                .await
                .map(|again| conclude(rule, stored.clone(), read, again)),
            Some(Err(e)) => Err(e),
            None => continue,
        };
        looks.insert(rule.name.clone(), look);
    }
    looks
}

/// Reads with `read` what is not read yet, all in one snapshot unless a query fails: then those that follow get
/// another. `read` is also told how many others follow, and returns None for a rule that it leaves for later.
async fn each(
    session: &mut Session<'_>,
    turns: &mut [Turn<'_, '_>],
    until: Instant,
    read: impl AsyncFn(&mut Snapshot<'_>, &Known<'_>, u32) -> Result<Option<Read>, StoreError>,
) {
    let mut remaining: Vec<_> = turns
        .iter_mut()
        .filter(|turn| turn.read.is_none())
        .collect();
    remaining.reverse();
    while !remaining.is_empty() {
        let mut snapshot = match session.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(e) => {
                remaining
                    .into_iter()
                    .for_each(|turn| turn.read = Some(Err(e.clone().into())));
                return;
            }
        };
        while !snapshot.is_over()
            && let Some(turn) = remaining.pop()
        {
            let others = u32::try_from(remaining.len()).unwrap_or(u32::MAX - 1);
            turn.read = match Instant::now() < until {
                true => read(&mut snapshot, turn.known, others)
                    .await
                    .map_err(Into::into)
                    .transpose(),
                false => Some(Ok(Read::new(snapshot.at))),
            };
        }
    }
}

/// Reads all rows that a rule is about by one query, with those that may be in flight. None: they are too many,
/// or the query was cancelled.
async fn read_at_once(
    snapshot: &mut Snapshot<'_>,
    rule: &Invariant,
    limit: Duration,
) -> Result<Option<Read>, StoreError> {
    let query = RuleQuery {
        sql: &rule.sql,
        plans: Plans::Any,
        limit,
    };
    let mut read = Read::new(snapshot.at);
    let newest = newest(rule, read.at);
    let oldest = rule.within.map(|within| start(read.at, within));
    let Some(oldest) = oldest.filter(|oldest| *oldest < newest) else {
        // Windows make no difference.
        let window = oldest.map(|from| Window { from, until: None });
        let all = [window.unwrap_or(Window::ALL)];
        if let Some([found]) = snapshot.counterexamples(query, all).await? {
            read.add(window, found);
            read.reach = Reach::Complete;
        }
        return Ok(Some(read));
    };
    let all = Window {
        from: oldest,
        until: None,
    };
    if !rule.reads_windows() || snapshot.cost(query, all).await? > CHEAP {
        return Ok(None);
    }
    let older = Window {
        until: Some(newest),
        ..all
    };
    let young = Window {
        from: newest,
        ..all
    };
    let found = snapshot.counterexamples(query, [older, young]).await?;
    Ok(found.map(|[found, in_flight]| {
        read.add(Some(older), found);
        read.in_flight = in_flight;
        read.reached = Some(oldest);
        read.reach = Reach::Complete;
        read
    }))
}

/// Reads the newest rows, then further back, as far as `share` goes: a part of `budget`. A quarter of it is for a
/// sample of what earlier runs have read.
async fn read_windows(
    snapshot: &mut Snapshot<'_>,
    Known { rule, stored }: &Known<'_>,
    share: Duration,
    budget: Duration,
) -> Result<Read, StoreError> {
    let began = Instant::now();
    let mut read = Read::new(snapshot.at);
    let newest = newest(rule, read.at);
    let oldest = rule
        .within
        .map_or(DateTime::UNIX_EPOCH, |within| start(read.at, within));
    let have_ends = rule.reads_windows();
    let mut windows = Windows::new(have_ends, newest, oldest, &stored.read, stored.sampled);
    let mut read_window = async |read: &mut Read, window, limit| {
        let began = Instant::now();
        let query = RuleQuery {
            sql: &rule.sql,
            plans: Plans::ByIndex,
            limit,
        };
        let found = snapshot.counterexamples(query, [window]).await?;
        Ok::<_, StoreError>(found.map(|[found]| {
            read.add(Some(window), found);
            began.elapsed()
        }))
    };
    // Queries are planned to fit, and cancelled much later: the server logs each cancelled one as an error.
    let limit = |share: Duration| share.saturating_sub(began.elapsed()).max(budget / 2);
    let part = share - windows.sample().map_or(Duration::ZERO, |_| share / 4);
    while let Some(window) = windows.unread() {
        let limit = match read.reach {
            Reach::Nothing => budget * FIRST_WINDOW,
            Reach::Complete | Reach::Back(_) if began.elapsed() + LEAST > part => break,
            Reach::Complete | Reach::Back(_) => limit(part),
        };
        let Some(took) = read_window(&mut read, window, limit).await? else {
            return Ok(read);
        };
        windows.has_read(window, took, part.saturating_sub(began.elapsed()) / 3);
        read.finish(&windows, oldest);
    }
    let part = share.min(began.elapsed() + share / 4);
    while let Some(window) = windows.sample()
        && began.elapsed() + LEAST <= part
    {
        let Some(took) = read_window(&mut read, window, limit(part)).await? else {
            return Ok(read);
        };
        windows.has_sampled(window, took, part.saturating_sub(began.elapsed()) / 3);
        read.finish(&windows, oldest);
    }
    Ok(read)
}

/// Reads all rows that `rule` is about, however long that takes; each window in its own snapshot, since one
/// for all would keep dead rows from being vacuumed.
async fn audit(
    session: &mut Session<'_>,
    rule: &Invariant,
    progress: &dyn Fn(AuditProgress),
) -> Result<Read, ObservationError> {
    let at = session.snapshot().await?.at;
    let mut read = Read::new(at);
    let limit = rule
        .within
        .map_or(DateTime::UNIX_EPOCH, |within| start(at, within));
    // Rows that may be in flight are read as well.
    let end = at + TimeDelta::seconds(1);
    let have_ends = rule.within.is_some() && rule.reads_windows();
    let mut windows = Windows::new(have_ends, end, limit, &[], None);
    if !have_ends {
        windows = windows.whole();
    }
    while let Some(window) = windows.unread() {
        let asked = Instant::now();
        let bound = rule.within.map(|_| window);
        let found = query(session, rule, window, AUDIT_QUERY).await?;
        let Some(found) = found else {
            match windows.shrink() {
                true => continue,
                false => break,
            }
        };
        read.add(bound, found);
        windows.has_read(window, asked.elapsed(), AUDIT_WINDOW);
        read.finish(&windows, limit);
        progress(AuditProgress {
            rule: rule.name.clone(),
            back_to: windows.reached(),
        });
    }
    Ok(read)
}

/// A window in which an earlier run found counterexamples, and those that it has now. None: there was no
/// time.
type LookedAgain = (Violated, Option<Vec<Counterexample>>);

/// Looks again at windows in which earlier runs have found counterexamples.
async fn look_again(
    session: &mut Session<'_>,
    rule: &Invariant,
    limit: Duration,
    stored: &RuleResult,
) -> Result<Vec<LookedAgain>, ObservationError> {
    let mut looked = Vec::new();
    let mut missing = Vec::new();
    let began = Instant::now();
    for violated in &stored.violated {
        let left = limit.saturating_sub(began.elapsed());
        let mut found = None;
        // A query without parameters reads all rows in each run.
        if rule.within.is_some() && left >= LEAST {
            // The query had no parameters when they were found.
            let window = violated.window.unwrap_or(Window::ALL);
            found = query(session, rule, window, left).await?;
        }
        if let Some(found) = &found {
            let gone = violated.found.iter().filter(|c| !contains(found, &c.id));
            missing.extend(gone.map(|c| c.id.as_str()));
        }
        looked.push((violated.clone(), found));
    }
    missing.retain(|id| !stored.dismissed.contains(*id));
    if missing.is_empty() {
        return Ok(looked);
    }
    // Repaired, unless somebody changed the time of the row. Where all rows are too many to look for that,
    // it is taken as repaired.
    let mut moved = query(session, rule, Window::ALL, limit)
        .await?
        .unwrap_or_default();
    moved.retain(|c| missing.contains(&c.id.as_str()));
    if let Some(window) = around(&moved) {
        let found = query(session, rule, window, limit).await?;
        let is_there = |found: &Vec<_>| moved.iter().all(|c| contains(found, &c.id));
        let window = found.filter(is_there).map_or(Window::ALL, |_| window);
        let violated = Violated {
            window: Some(window),
            found: moved.clone(),
        };
        looked.push((violated, Some(moved)));
    }
    Ok(looked)
}

/// One query in a snapshot of its own.
async fn query(
    session: &mut Session<'_>,
    rule: &Invariant,
    window: Window,
    limit: Duration,
) -> Result<Option<Vec<Counterexample>>, ObservationError> {
    let query = RuleQuery {
        sql: &rule.sql,
        plans: Plans::Any,
        limit,
    };
    let mut snapshot = session.snapshot().await?;
    let found = snapshot.counterexamples(query, [window]).await?;
    Ok(found.map(|[found]| found))
}

/// The window of rows that were written when these were.
fn around(found: &[Counterexample]) -> Option<Window> {
    let since = || found.iter().map(|c| c.since);
    Some(Window {
        from: since().min()?,
        until: Some(since().max()? + TimeDelta::seconds(1)),
    })
}

/// Joins what this run read with what earlier runs found.
fn conclude(rule: &Invariant, stored: RuleResult, read: Read, again: Vec<LookedAgain>) -> Look {
    let mut result = RuleResult {
        violated: Vec::new(),
        ..stored
    };
    let mut not_looked_at_again = 0;
    for (violated, found) in again {
        // A query without parameters has just read all rows.
        let found = match found {
            _ if rule.within.is_none() && read.reach == Reach::Complete => Vec::new(),
            Some(found) => found,
            None => {
                not_looked_at_again += violated.found.len();
                violated.found
            }
        };
        if !found.is_empty() {
            let window = violated.window;
            result.violated.push(Violated { window, found });
        }
    }
    for mut violated in read.violated {
        let known = |c: &Counterexample| result.violated.iter().any(|v| contains(&v.found, &c.id));
        violated.found.retain(|c| !known(c));
        if !violated.found.is_empty() {
            result.violated.push(violated);
        }
    }
    let all = result.violated.iter().flat_map(|v| &v.found);
    let mut found: Vec<Counterexample> = Vec::new();
    for c in all.chain(&read.in_flight) {
        if !result.dismissed.contains(&c.id) && !contains(&found, &c.id) {
            found.push(c.clone());
        }
    }
    found.sort_by_key(|c| c.since);
    // What is dismissed does not have to be looked at again.
    let dismissed = &result.dismissed;
    result
        .violated
        .retain(|v| v.found.iter().any(|c| !dismissed.contains(&c.id)));
    if let (Some(from), Some(_), Some(_)) = (read.reached, &result.basis, rule.within) {
        let until = newest(rule, read.at);
        result.read.push(Span { from, until });
        result.sampled = read.sampled;
    }
    Look {
        found,
        not_looked_at_again,
        reach: read.reach,
        at: read.at,
        result,
    }
}

/// The start of a span that ends now; the Unix epoch if the span is longer.
fn start(now: DateTime<Utc>, within: Duration) -> DateTime<Utc> {
    let span = TimeDelta::from_std(within).ok();
    let start = span.and_then(|span| now.checked_sub_signed(span));
    start
        .unwrap_or(DateTime::UNIX_EPOCH)
        .max(DateTime::UNIX_EPOCH)
}

/// A counterexample and its record in Kafka.
pub(crate) struct Trace {
    pub(crate) id: String,
    /// `topic/partition/offset (key KEY)`, or why it is not known.
    pub(crate) record: Result<String, ObservationError>,
}

/// The records of counterexamples, if the rule says how to find them.
pub(crate) async fn traces(
    observed: &ObservationCache<'_>,
    rule: &Invariant,
    counterexamples: &[&Counterexample],
) -> Result<Vec<Trace>, ObservationError> {
    let Some(replay) = &rule.replay else {
        return Ok(Vec::new());
    };
    let postgres = observed.database().await?;
    let ids = counterexamples.iter().map(|c| c.id.as_str());
    let keys = ids.clone().map(|id| postgres.text(&replay.key_sql, id));
    let keys = join_all(keys).await;
    let wanted: BTreeSet<String> = keys
        .iter()
        .filter_map(|key| key.as_ref().ok()?.clone())
        .collect();
    let found = find(observed, &replay.topic, wanted).await;
    let record = |key: Result<Option<String>, StoreError>| match (key?, &found) {
        (None, _) => Err(ObservationError::Incomplete(
            "the declared query finds no key for it".to_owned(),
        )),
        (Some(_), Err(why)) => Err(why.clone()),
        (Some(key), Ok(found)) => located(replay, &key, found.get(&key)),
    };
    let traces = ids.zip(keys).map(|(id, key)| Trace {
        id: id.to_owned(),
        record: record(key),
    });
    Ok(traces.collect())
}

fn located(replay: &Replay, key: &str, found: Option<&Found>) -> Result<String, ObservationError> {
    let topic = &replay.topic;
    match found {
        Some(Found { partition, offset }) => {
            Ok(format!("{topic}/{partition}/{offset} (key {key})"))
        }
        None => Err(ObservationError::Incomplete(format!(
            "no message with key {key} was found on {topic}"
        ))),
    }
}

async fn find(
    observed: &ObservationCache<'_>,
    topic: &str,
    keys: BTreeSet<String>,
) -> Result<BTreeMap<String, Found>, ObservationError> {
    let broker = observed.broker().await?;
    let partitions = broker.partitions(topic);
    Ok(broker.kafka.find_keys(&partitions, keys).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use declaration::NO_LIMIT;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    fn window(from: i64, until: i64) -> Option<Window> {
        Some(Window {
            from: at(from),
            until: Some(at(until)),
        })
    }

    fn counterexamples(ids: &[&str]) -> Vec<Counterexample> {
        let of = |id: &&str| Counterexample {
            id: (*id).to_owned(),
            since: at(5),
        };
        ids.iter().map(of).collect()
    }

    fn violated(from: i64, ids: &[&str]) -> Violated {
        Violated {
            window: window(from, from + 10),
            found: counterexamples(ids),
        }
    }

    fn rule() -> Invariant {
        Invariant {
            name: "r".to_owned(),
            says: String::new(),
            grace: Duration::from_secs(60),
            sql: "$1 $2".to_owned(),
            within: Some(Duration::from_secs(3600)),
            budget: Budget::Shared,
            replay: None,
        }
    }

    fn ids(found: &[Counterexample]) -> Vec<&str> {
        found.iter().map(|c| c.id.as_str()).collect()
    }

    #[test]
    fn a_span_starts_at_the_unix_epoch_at_the_earliest() {
        let now = Utc::now();
        assert_eq!(start(now, NO_LIMIT), DateTime::UNIX_EPOCH);
        assert_eq!(
            start(now, Duration::from_secs(60)),
            now - TimeDelta::seconds(60)
        );
    }

    #[test]
    fn a_counterexample_stays_until_its_window_has_none() {
        let stored = RuleResult {
            basis: Some("b".to_owned()),
            ..RuleResult::default()
        };
        let mut read = Read::new(at(10_000));
        read.add(window(9_000, 9_010), counterexamples(&["new", "old"]));
        read.reached = Some(at(9_000));
        let again = vec![
            (violated(0, &["old"]), Some(counterexamples(&["old"]))),
            (violated(20, &["repaired"]), Some(Vec::new())),
            (violated(40, &["no time"]), None),
        ];
        let look = conclude(&rule(), stored, read, again);
        assert_eq!(ids(&look.found), ["old", "no time", "new"]);
        assert_eq!(look.not_looked_at_again, 1);
        let windows: Vec<_> = look.result.violated.iter().map(|v| v.window).collect();
        assert_eq!(
            windows,
            [window(0, 10), window(40, 50), window(9_000, 9_010)]
        );
        let span = Span {
            from: at(9_000),
            until: at(9_940),
        };
        assert_eq!(look.result.read, [span], "not those within the grace");
    }

    #[test]
    fn a_dismissed_counterexample_is_neither_reported_nor_looked_at_again() {
        let stored = RuleResult {
            dismissed: BTreeSet::from(["a".to_owned()]),
            ..RuleResult::default()
        };
        let mut read = Read::new(at(10_000));
        read.add(window(9_000, 9_010), counterexamples(&["a"]));
        let again = vec![(violated(0, &["a", "b"]), Some(counterexamples(&["a", "b"])))];
        let look = conclude(&rule(), stored, read, again);
        assert_eq!(ids(&look.found), ["b"]);
        assert_eq!(look.result.violated.len(), 1);
        assert!(look.result.read.is_empty(), "nothing tells the database");
    }

    #[test]
    fn a_query_over_all_rows_repeats_or_repairs_what_earlier_runs_found() {
        let rule = Invariant {
            within: None,
            ..rule()
        };
        let before = Violated {
            window: None,
            found: counterexamples(&["a", "b"]),
        };
        let mut read = Read::new(at(10_000));
        read.add(None, counterexamples(&["b"]));
        read.reach = Reach::Complete;
        let look = conclude(
            &rule,
            RuleResult::default(),
            read,
            vec![(before.clone(), None)],
        );
        assert_eq!(ids(&look.found), ["b"]);
        // Cancelled, it says nothing of them.
        let read = Read::new(at(10_000));
        let look = conclude(&rule, RuleResult::default(), read, vec![(before, None)]);
        assert_eq!(ids(&look.found), ["a", "b"]);
    }
}
