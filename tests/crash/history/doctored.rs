//! A checker that finds nothing wrong in anything would pass every test: wrong histories have to
//! be found out.

use sqlx::{PgConnection, Row};

use super::*;

/// A right history of one payment, by hand.
fn right() -> History {
    let payment = Uuid::from_u128(1);
    let rows = |rows| (rows, BTreeMap::from([(payment, rows)]));
    let output = BTreeMap::from([(payment, BTreeSet::from([Uuid::from_u128(2)]))]);
    History {
        payments: BTreeSet::from([payment]),
        rows: BTreeMap::from([
            ("trainer_allocations".to_owned(), rows(1)),
            ("tutoring_sessions".to_owned(), rows(7)),
        ]),
        totals: BTreeMap::from([("tutoring_sessions".to_owned(), (7, 7))]),
        counterexamples: BTreeMap::from([("no session without its allocation".to_owned(), vec![])]),
        outputs: BTreeMap::from([("trainer-allocated".to_owned(), output)]),
        dead_letters: 0,
        lags: BTreeMap::from([("session-worker".to_owned(), 0)]),
    }
}

#[track_caller]
fn expect(history: &History, violation: &str) {
    let found = history.violations();
    assert!(
        matches!(&found[..], [one] if one.starts_with(violation)),
        "instead of {violation:?}: {found:#?}"
    );
}

#[test]
fn a_right_history_is_right() {
    assert_eq!(right().violations(), Vec::<String>::new());
}

#[test]
fn each_kind_of_wrong_is_reported_as_itself() {
    let payment = Uuid::from_u128(1);
    for (table, seen) in [
        ("tutoring_sessions", 6),
        ("tutoring_sessions", 8),
        ("trainer_allocations", 0),
        ("trainer_allocations", 2),
    ] {
        let mut history = right();
        let (rows, counted) = history.rows.get_mut(table).unwrap();
        counted.insert(payment, seen);
        let violation =
            format!("payments without exactly {rows} in {table}: 1 ({payment} has {seen})");
        expect(&history, &violation);
    }

    let mut history = right();
    history.totals.get_mut("tutoring_sessions").unwrap().0 = 14;
    expect(&history, "rows of tutoring_sessions: 1 (14 instead of 7)");

    let mut history = right();
    let rule = history.counterexamples.values_mut().next().unwrap();
    rule.push("an orphan".to_owned());
    expect(
        &history,
        "not so: no session without its allocation: 1 (an orphan)",
    );

    let mut history = right();
    history
        .outputs
        .get_mut("trainer-allocated")
        .unwrap()
        .clear();
    expect(
        &history,
        "payments without exactly one event id on trainer-allocated",
    );

    let mut history = right();
    let ids = history.outputs.get_mut("trainer-allocated").unwrap();
    ids.get_mut(&payment).unwrap().insert(Uuid::from_u128(3));
    expect(
        &history,
        "payments without exactly one event id on trainer-allocated",
    );

    let mut history = right();
    history.dead_letters = 1;
    expect(&history, "dead letters: 1");

    let mut history = right();
    history.lags.insert("session-worker".to_owned(), 3);
    expect(&history, "groups behind: 1 (session-worker by 3)");
}

/// The real database, doctored within a transaction that is rolled back: the declared queries
/// have to see it.
///
/// `history` is the right one of the database as it is.
pub(crate) async fn wrong_rows_are_found(
    history: &History,
    declared: &Declared,
    database: &mut PgConnection,
    ever: usize,
) {
    assert_eq!(history.violations(), Vec::<String>::new());
    let doctored: [(&str, &str, &[&str]); 5] = [
        (
            "a session is missing",
            "DELETE FROM tutoring_sessions WHERE ctid = (SELECT ctid FROM tutoring_sessions
             WHERE allocation_id = (SELECT max(a.id::text)::uuid FROM trainer_allocations a
             JOIN student_course_purchases p ON p.id = a.purchase_id WHERE p.payment_id = $1)
             LIMIT 1)",
            &[
                "payments without exactly 7 in tutoring_sessions: 1",
                "rows of tutoring_sessions",
                "not so: every allocation has its 7 upcoming sessions: 1",
            ],
        ),
        (
            "one session too many",
            "INSERT INTO tutoring_sessions (allocation_id, seq, starts_at)
             SELECT a.id, 8, now() + interval '9 days'
             FROM trainer_allocations a JOIN student_course_purchases p ON p.id = a.purchase_id
             WHERE p.payment_id = $1",
            &[
                "payments without exactly 7 in tutoring_sessions: 1",
                "rows of tutoring_sessions",
            ],
        ),
        (
            "a purchase is allocated twice",
            "INSERT INTO trainer_allocations (id, purchase_id, trainer_id, student_id, course_id)
             SELECT gen_random_uuid(), a.purchase_id, a.trainer_id, a.student_id, a.course_id
             FROM trainer_allocations a JOIN student_course_purchases p ON p.id = a.purchase_id
             WHERE p.payment_id = $1",
            &[
                "payments without exactly 1 in trainer_allocations: 1",
                "rows of trainer_allocations",
                "not so: every allocation has its 7 upcoming sessions: 1",
            ],
        ),
        (
            "an allocation of nothing",
            "INSERT INTO trainer_allocations (id, purchase_id, trainer_id, student_id, course_id)
             SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), student_id, course_id
             FROM payments WHERE id = $1",
            &[
                "rows of trainer_allocations",
                "not so: every allocation has its 7 upcoming sessions: 1",
                "not so: no allocation without its purchase: 1",
            ],
        ),
        (
            "a payment forgotten",
            "DELETE FROM student_course_purchases WHERE payment_id = $1",
            &[
                "payments without exactly 1 in student_course_purchases: 1",
                "payments without exactly 1 in trainer_allocations: 1",
                "payments without exactly 7 in tutoring_sessions: 1",
                "rows of student_course_purchases",
                "not so: every payment has its purchase: 1",
                "not so: no allocation without its purchase: 1",
            ],
        ),
    ];
    let payment = *history.payments.first().unwrap();
    for (what, sql, violations) in doctored {
        let mut transaction = sqlx::Connection::begin(&mut *database).await.unwrap();
        allow_doubles(&mut transaction).await;
        let done = sqlx::query(sql)
            .bind(payment)
            .execute(&mut *transaction)
            .await;
        assert_eq!(done.unwrap().rows_affected(), 1, "{what}");
        let mut seen = history.clone();
        seen.gather_rows(declared, &mut transaction, ever).await;
        let found = seen.violations();
        for violation in violations {
            assert!(
                found.iter().any(|f| f.starts_with(violation)),
                "{what}: {violation:?} is not in {found:#?}"
            );
        }
        transaction.rollback().await.unwrap();
    }
}

/// Natural keys keep doubles out; a checker that is never needed still has to work.
async fn allow_doubles(database: &mut PgConnection) {
    let constraints = sqlx::query(
        "SELECT conname FROM pg_constraint
         WHERE conrelid = 'trainer_allocations'::regclass AND contype = 'u'",
    )
    .fetch_all(&mut *database)
    .await
    .unwrap();
    for constraint in constraints {
        let name: String = constraint.get(0);
        let sql = format!("ALTER TABLE trainer_allocations DROP CONSTRAINT {name}");
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut *database)
            .await
            .unwrap();
    }
}
