//! Dead letters: listed, shown, sent back once and only once, cut off; and `verify` knows.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use caravan_events::ids;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::killed::{Chance, kills};
use crate::support::{
    Ran, eventually, eventually_async,
    kafka::{KeyAndValue, Message, lag, produce, read_all, send, set_message_limit},
    payments::{self, COURSE, COURSE_WITHOUT_TRAINER},
    pipeline::Pipeline,
};

const DEAD_LETTERS: &str = "dead-letter-queue";
const JOURNAL: &str = "dead-letter-queue.replays";
const SOURCE: &str = "purchase-confirmed";

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_recovered() {
    let pipeline = Pipeline::up("letters", &[]);

    nothing_is_there(&pipeline);
    poison_is_listed_and_shown(&pipeline).await;
    bad_selections_are_told(&pipeline);
    poison_fails_again(&pipeline);
    a_purge_asks_and_cuts_fronts(&pipeline).await;
    what_is_mended_goes_through_once(&pipeline).await;
    an_interrupted_replay_is_settled(&pipeline).await;
    two_runs_do_not_meet(&pipeline).await;
    foreign_letters_are_listed_and_stay(&pipeline).await;
    room_is_made_for_larger_messages(&pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_outlive_kills_and_groups_that_stand_still() {
    let pipeline = Pipeline::up("replays", &[]);

    a_killed_replay_sends_each_once(&pipeline).await;
    a_group_that_stands_still_is_waited_for(&pipeline).await;
}

fn nothing_is_there(pipeline: &Pipeline) {
    let list = pipeline.caravan(&["dlq", "list"]).expect(0);
    assert_eq!(list.stdout, "no dead letters on dead-letter-queue\n");
    let replay = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes"])
        .expect(0);
    assert_eq!(replay.stdout, "nothing to send\n");
    let purge = pipeline
        .caravan(&["dlq", "purge", "--all", "--yes"])
        .expect(0);
    assert_eq!(purge.stdout, "nothing to delete\n");
    // Only what sends makes the journal.
    assert!(
        !pipeline
            .caravan(&["topics"])
            .expect(0)
            .stdout
            .contains(JOURNAL)
    );
}

/// Times as a word.
fn normal(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace).map(|word| {
        let time = word.trim_end();
        if chrono::NaiveDate::parse_from_str(time, "%Y-%m-%d").is_ok() {
            return word.replace(time, "DATE");
        }
        let is_time = chrono::NaiveTime::parse_from_str(time, "%H:%M:%S").is_ok();
        if is_time || chrono::DateTime::parse_from_rfc3339(time).is_ok() {
            word.replace(time, "TIME")
        } else {
            word.to_owned()
        }
    });
    words.collect()
}

fn dead_letters(pipeline: &Pipeline) -> Vec<crate::support::kafka::Stored> {
    let mut letters = read_all(pipeline, DEAD_LETTERS);
    letters.sort_by_key(|l| (l.partition, l.offset));
    letters
}

/// Waits for dead letters that were given up from now on.
fn wait_for_letters(pipeline: &Pipeline, count: usize) {
    eventually("the dead letters", || {
        (dead_letters(pipeline).len() >= count).then_some(())
    });
}

async fn poison_is_listed_and_shown(pipeline: &Pipeline) {
    // One partition each, so that places do not depend on how keys are spread.
    let secret = pipeline.secret("PAYMENT_TOKEN");
    let poison = [
        Message::to(SOURCE, 0)
            .value(b"not json")
            .header("trace", "t-1"),
        Message::to(SOURCE, 1)
            .value(b"\xff\x1b[2J")
            .key(b"\xfe\x00"),
        Message::to(SOURCE, 2).key(b"tombstone"),
        Message::to(SOURCE, 2).value(format!("not json {secret}").as_bytes()),
    ];
    // One after the other, so that it is known which is the oldest.
    for (n, poison) in poison.iter().enumerate() {
        send(pipeline, std::slice::from_ref(poison)).await;
        wait_for_letters(pipeline, n + 1);
    }

    let list = pipeline.caravan(&["dlq", "list"]).expect(0);
    insta::assert_snapshot!("list", list.stdout);
    let each = pipeline
        .caravan(&["dlq", "list", "--each", "--reason", "empty"])
        .expect(0);
    insta::assert_snapshot!("list_each", normal(&each.stdout));
    let json = pipeline
        .caravan(&["dlq", "list", "-o", "json", "--reason", "empty"])
        .expect(0);
    let mut document = json.json();
    document["project"] = "PROJECT".into();
    document["at"] = "TIME".into();
    for tally in ["/summary", "/groups/0"] {
        for time in ["oldestAt", "newestAt"] {
            document.pointer_mut(tally).unwrap()[time] = "TIME".into();
        }
    }
    insta::assert_snapshot!("list_json", format!("{document:#}"));

    let show = pipeline
        .caravan(&["dlq", "show", "purchase-confirmed/1/0"])
        .expect(0);
    let own = own_place(pipeline, SOURCE, 1, 0);
    insta::assert_snapshot!("show", normal(&show.stdout).replace(&own, "OWN"));
    let shown = pipeline
        .caravan(&["dlq", "show", "-o", "json", &own])
        .expect(0)
        .json();
    assert_eq!(shown["letter"]["record"], "purchase-confirmed/1/0");
    assert_eq!(
        shown["payload"],
        json!({ "bytes": 5, "text": null, "hex": "ff1b5b324a", "truncated": false })
    );
    assert_eq!(shown["key"]["hex"], "fe00");
    assert_eq!(shown["letter"]["state"], "waiting");
    for args in [
        ["dlq", "show", "purchase-confirmed/2/1", "-otable"],
        ["dlq", "show", "purchase-confirmed/2/1", "-ojson"],
    ] {
        let masked = pipeline.caravan(&args).expect(0);
        assert!(masked.stdout.contains("not json ****"), "{}", masked.stdout);
        assert!(!masked.stdout.contains(&secret));
    }

    let (ran, ids) = pipeline.not_passing();
    assert_eq!((ran.code, ids), (0, vec!["dead-letters.empty".to_owned()]));
    let finding = Pipeline::finding(&ran, "dead-letters.empty");
    let seen = finding["seen"].as_str().unwrap();
    assert!(seen.starts_with("4 in 10m: "), "{seen}");
    for reason in ["1 empty", "2 not-json", "1 not-utf8"] {
        assert!(seen.contains(reason), "{seen}");
    }
    // The hint runs to the letter.
    let listed = pipeline.shell(finding["hint"].as_str().unwrap()).expect(0);
    let show = next(&listed);
    // It is no JSON, or has no value: replaying it would fail again.
    let shown = pipeline.shell(&show).expect(0);
    let purge = next(&shown);
    assert!(purge.contains(" dlq purge "), "{purge}");
    pipeline.shell(&purge).expect(0);
}

/// The command that comes next.
fn next(ran: &Ran) -> String {
    let mut lines = ran.stderr.lines();
    let next = lines.find_map(|line| line.strip_prefix("Next: "));
    next.unwrap_or_else(|| panic!("no next command: {}", ran.stderr))
        .to_owned()
}

/// Where the dead letter of a message stands.
fn own_place(pipeline: &Pipeline, topic: &str, partition: i32, offset: i64) -> String {
    let letters = dead_letters(pipeline);
    let letter = letters.iter().find(|l| {
        l.headers["dlq-topic"] == topic
            && l.headers["dlq-partition"] == partition.to_string()
            && l.headers["dlq-offset"] == offset.to_string()
    });
    let letter = letter.unwrap_or_else(|| panic!("no letter of {topic}/{partition}/{offset}"));
    format!("{DEAD_LETTERS}/{}/{}", letter.partition, letter.offset)
}

fn bad_selections_are_told(pipeline: &Pipeline) {
    for (args, said) in [
        (vec!["replay"], "no dead letters to replay are selected"),
        (vec!["purge"], "no dead letters to purge are selected"),
        (
            vec!["replay", "--all", "--reason", "empty"],
            "--all cannot be combined with a selection",
        ),
        (
            vec!["replay", "purchase-confirmed/0"],
            "TOPIC/PARTITION/OFFSET",
        ),
        (
            vec!["replay", "purchase-confirmed/0/999"],
            "no dead letter of purchase-confirmed/0/999",
        ),
        (
            vec!["replay", "--reason", "not-jsn"],
            "there are: empty, not-json",
        ),
        (
            vec!["list", "--topic", "purchases"],
            "there are: purchase-confirmed",
        ),
        (
            vec!["purge", "--group", "nobody"],
            "there are: purchase-worker",
        ),
        (
            vec!["show", "purchase-created/0/0"],
            "no dead letter of purchase-created/0/0",
        ),
        (
            vec!["list", "--older-than", "2h", "--newer-than", "1h"],
            "no dead letter is older than",
        ),
        (vec!["list", "--older-than", "soon"], "soon"),
    ] {
        let args: Vec<_> = ["dlq"].into_iter().chain(args).collect();
        // What the command line alone decides is wrong usage; the rest does not exist.
        let is_missing = said.starts_with("no dead letter of") || said.starts_with("there are");
        let ran = pipeline
            .caravan(&args)
            .expect(if is_missing { 1 } else { 2 });
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    let json = pipeline
        .caravan(&["dlq", "replay", "--reason", "x", "-o", "json"])
        .expect(1);
    assert_eq!(json.json()["error"]["kind"], "not-right");
    // A selection that is right and matches nothing is no error.
    let none = ["dlq", "replay", "--older-than", "1h", "--yes"];
    assert_eq!(
        pipeline.caravan(&none).expect(0).stdout,
        "nothing to send\n"
    );
}

fn poison_fails_again(pipeline: &Pipeline) {
    let before = read_all(pipeline, SOURCE).len();
    let dry = pipeline
        .caravan(&["dlq", "replay", "--all", "--dry-run"])
        .expect(0);
    let left_out = "nothing to send\nleft out: 4 not JSON, so they cannot succeed (";
    assert!(dry.stdout.starts_with(left_out), "{}", dry.stdout);
    // None of them can succeed, so it takes an explicit choice.
    let refused = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes"])
        .expect(1);
    assert!(
        refused.stdout.contains("left out: 4 not JSON"),
        "{}",
        refused.stdout
    );
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    let unasked = pipeline
        .caravan(&["dlq", "replay", "--all", "--force"])
        .expect(2);
    assert!(
        unasked.stderr.contains("dlq replay --all --force --yes"),
        "{}",
        unasked.stderr
    );
    assert_eq!(read_all(pipeline, SOURCE).len(), before, "nothing was sent");

    let ran = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes", "--force"])
        .expect(1);
    assert!(
        ran.stdout.contains("sent 1 of 4 dead letters: 0 succeeded"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("1 failed again"), "{}", ran.stdout);
    assert_eq!(
        read_all(pipeline, SOURCE).len(),
        before + 1,
        "the first round alone"
    );
    // Four wait: three that were not sent, and the one that came back, under its new place.
    let list = pipeline
        .caravan(&["dlq", "list", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(list["summary"]["count"], 5);
    assert_eq!(list["summary"]["waiting"], 4);
    assert_eq!(list["summary"]["replayed"], 1);
    let again = ["dlq", "replay", "--all", "--yes", "-o", "json"];
    let document = pipeline.caravan(&again).json();
    let left_out = document["skipped"].as_array().unwrap();
    let hopeless: u64 = left_out
        .iter()
        .filter(|left| matches!(left["why"].as_str(), Some("unreadable" | "failedAgain")))
        .map(|left| left["count"].as_u64().unwrap())
        .sum();
    let planned = document["summary"]["planned"].as_u64().unwrap();
    assert!(hopeless > 0 && planned + hopeless == 4, "{document:#}");
    let ran = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes", "--force", "-o", "json"])
        .expect(1);
    let document = ran.json();
    assert_eq!(document["summary"]["planned"], 4);
    assert_eq!(document["skipped"][0]["why"], "replayed");
    assert_eq!(document["failedAgain"].as_array().unwrap().len(), 1);
}

async fn a_purge_asks_and_cuts_fronts(pipeline: &Pipeline) {
    let before = dead_letters(pipeline);
    let unasked = pipeline.caravan(&["dlq", "purge", "--all"]).expect(2);
    assert!(
        unasked.stderr.contains("will be deleted permanently"),
        "{}",
        unasked.stderr
    );
    assert!(
        unasked.stderr.contains("dlq purge --all --yes"),
        "{}",
        unasked.stderr
    );
    let dry = pipeline
        .caravan(&["dlq", "purge", "--all", "--dry-run"])
        .expect(0);
    assert!(
        dry.stdout.starts_with("would delete 6 dead letters"),
        "{}",
        dry.stdout
    );
    assert_eq!(dead_letters(pipeline), before, "nothing was deleted");

    // A letter that stands behind another of its partition.
    let behind = before.iter().find(|l| {
        before
            .iter()
            .any(|o| o.partition == l.partition && o.offset < l.offset)
    });
    let behind = behind.expect("six letters, three partitions");
    let place = format!("{DEAD_LETTERS}/{}/{}", behind.partition, behind.offset);
    let refused = pipeline
        .caravan(&["dlq", "purge", &place, "--yes"])
        .expect(1);
    assert!(
        refused.stderr.contains("deletes only the oldest records"),
        "{}",
        refused.stderr
    );
    assert_eq!(dead_letters(pipeline), before);

    // The first of a partition goes alone.
    let first = before.iter().find(|l| l.offset == 0).unwrap();
    let place = format!("{DEAD_LETTERS}/{}/0", first.partition);
    pipeline
        .caravan(&["dlq", "purge", &place, "--yes"])
        .expect(0);
    assert_eq!(dead_letters(pipeline).len(), before.len() - 1);

    let purged = pipeline
        .caravan(&["dlq", "purge", "--all", "--yes", "-o", "json"])
        .expect(0);
    assert_eq!(purged.json()["summary"]["count"], before.len() - 1);
    assert_eq!(dead_letters(pipeline), []);
    pipeline.expect_green();
    // What was deleted is forgotten.
    assert_eq!(journal(pipeline), 0);
}

/// How many replays the journal knows.
fn journal(pipeline: &Pipeline) -> usize {
    let mut known = std::collections::BTreeMap::new();
    for record in read_all(pipeline, JOURNAL) {
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        known.insert(key, record.value.is_some());
    }
    known.retain(|key, there| *there && key.starts_with("letter:"));
    known.len()
}

/// A trainer for the course that nobody teaches.
async fn hire(pipeline: &Pipeline) {
    let database = pipeline.database().await;
    let sql = "WITH t AS (INSERT INTO trainers (id, name) VALUES (gen_random_uuid(), 'Hired') RETURNING id)
        INSERT INTO trainer_courses (trainer_id, course_id) SELECT id, $1 FROM t";
    sqlx::query(sql)
        .bind(COURSE_WITHOUT_TRAINER.parse::<Uuid>().unwrap())
        .execute(&database)
        .await
        .unwrap();
}

async fn what_is_mended_goes_through_once(pipeline: &Pipeline) {
    let mut payments = Vec::new();
    for n in 0..15 {
        let key = format!("untaught-{n}");
        let answer = pay(pipeline, &key, COURSE_WITHOUT_TRAINER).await;
        payments.push(
            answer["paymentId"]
                .as_str()
                .unwrap()
                .parse::<Uuid>()
                .unwrap(),
        );
    }
    eventually("fifteen dead letters", || {
        (dead_letters(pipeline).len() == 15).then_some(())
    });
    hire(pipeline).await;
    let sent_before = read_all(pipeline, "purchase-created");
    let ran = pipeline
        .caravan(&["dlq", "replay", "--group", "allocation-worker", "--yes"])
        .expect(0);
    assert!(
        ran.stdout
            .contains("sent 15 of 15 dead letters: 15 succeeded"),
        "{}",
        ran.stdout
    );

    // Byte for byte, and marked.
    let sent = read_all(pipeline, "purchase-created");
    assert_eq!(sent.len(), sent_before.len() + 15);
    for replayed in sent
        .iter()
        .filter(|m| m.headers.contains_key("dlq-replay-of"))
    {
        let place = format!("/{}/", replayed.partition);
        let of = &replayed.headers["dlq-replay-of"];
        assert!(of.contains(&place), "the same partition: {of}");
        let offset: i64 = of.rsplit('/').next().unwrap().parse().unwrap();
        let original = sent
            .iter()
            .find(|m| (m.partition, m.offset) == (replayed.partition, offset));
        let original = original.expect("the original");
        assert_eq!(
            (&original.key, &original.value),
            (&replayed.key, &replayed.value)
        );
        let mut headers = replayed.headers.clone();
        headers.remove("dlq-replay-of");
        let mut expected = original.headers.clone();
        // The same trace: `00-`, its id. The span is the dead letter's.
        let (went_on, began) = (
            headers.remove("traceparent"),
            expected.remove("traceparent"),
        );
        assert_eq!(went_on.unwrap()[..35], began.unwrap()[..35]);
        assert_eq!(headers, expected, "its own headers, and no other");
    }
    // Each became its lessons, once.
    let database = pipeline.database().await;
    for payment in payments {
        let allocation = ids::allocation_id(ids::purchase_id(payment));
        eventually("its sessions", || {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    let sql = "SELECT count(*) FROM tutoring_sessions WHERE allocation_id = $1";
                    let sessions: i64 = sqlx::query_scalar(sql)
                        .bind(allocation)
                        .fetch_one(&database)
                        .await
                        .unwrap();
                    (sessions == 7).then_some(())
                })
            })
        });
    }
    pipeline.expect_green();
    let (ran, _) = pipeline.not_passing();
    let seen = Pipeline::finding(&ran, "dead-letters.empty")["seen"].clone();
    assert_eq!(seen, "none waiting (15 replayed)");

    let again = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes"])
        .expect(0);
    assert!(
        again
            .stdout
            .starts_with("nothing to send\nleft out: 15 replayed before"),
        "{}",
        again.stdout
    );
    assert_eq!(
        read_all(pipeline, "purchase-created").len(),
        sent.len(),
        "sent nothing"
    );
}

/// What a run leaves that is killed between its intent and its note of having sent: once with the
/// letter sent, once without.
async fn an_interrupted_replay_is_settled(pipeline: &Pipeline) {
    pipeline
        .caravan(&["dlq", "purge", "--all", "--yes"])
        .expect(0);
    let valid = valid_event(pipeline).await;
    let ends = |topic: &str| {
        read_all(pipeline, topic)
            .iter()
            .filter(|m| m.partition == 0)
            .map(|m| m.offset + 1)
            .max()
            .unwrap_or(0)
    };
    let end = ends(SOURCE);
    let letter = |offset| good_letter(&valid, offset);
    send(pipeline, &[letter(0), letter(1)]).await;
    let seen: Vec<_> = (0..3)
        .map(|p| {
            dead_letters(pipeline)
                .iter()
                .filter(|l| l.partition == p)
                .map(|l| l.offset + 1)
                .max()
                .unwrap_or(0)
        })
        .collect();
    let intent =
        json!({ "seen": seen, "groups": ["purchase-worker"], "state": "intent", "from": end });
    let intent = intent.to_string();
    let sent = Message::to(SOURCE, 0)
        .value(valid.1.as_ref().unwrap())
        .key(valid.0.as_ref().unwrap())
        .header("dlq-replay-of", "purchase-confirmed/0/0");
    send(
        pipeline,
        &[
            Message::to(JOURNAL, 0)
                .key(b"letter:purchase-confirmed/0/0")
                .value(intent.as_bytes()),
            Message::to(JOURNAL, 0)
                .key(b"letter:purchase-confirmed/0/1")
                .value(intent.as_bytes()),
            sent,
        ],
    )
    .await;
    let (ran, ids) = pipeline.not_passing();
    assert_eq!(ids, ["dead-letters.empty"]);
    let finding = Pipeline::finding(&ran, "dead-letters.empty");
    assert_eq!(finding["seen"], "2 replays were interrupted");
    let hint = finding["hint"].as_str().unwrap();
    assert!(hint.ends_with(" dlq replay --all"), "{hint}");

    let before = ends(SOURCE);
    let ran = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes"])
        .expect(0);
    assert!(
        ran.stderr
            .contains("1 interrupted replay had been sent already"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stdout.contains("sent 1 of 1 dead letter: 1 succeeded"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ends(SOURCE),
        before + 1,
        "only the one that had not been sent"
    );
    pipeline.expect_green();
}

/// The letter of a good event, as if it had been given up for a defect that was mended since.
fn good_letter((key, value): &KeyAndValue, offset: usize) -> Message {
    Message::to(DEAD_LETTERS, 0)
        .value(value.as_ref().unwrap())
        .key(key.as_ref().unwrap())
        .header("dlq-topic", SOURCE)
        .header("dlq-partition", "0")
        .header("dlq-offset", &offset.to_string())
        .header("dlq-group", "purchase-worker")
        .header("dlq-error-kind", "defect")
}

/// What was sent back so far, by what it says to be a replay of.
fn replays(pipeline: &Pipeline) -> Vec<String> {
    let sent = read_all(pipeline, SOURCE).into_iter();
    sent.filter_map(|m| m.headers.get("dlq-replay-of").cloned())
        .collect()
}

/// One of the commands that `killed` kills; here since it needs workers.
async fn a_killed_replay_sends_each_once(pipeline: &Pipeline) {
    let valid = valid_event(pipeline).await;
    let mut chance = Chance::new();
    for round in 0..(kills() / 8).max(1) {
        // The moments of the first are the same in each run: something is sent, and not all.
        let (at_least, later) = match round {
            0 => (100, Duration::ZERO),
            _ => (
                usize::try_from(chance.below(3_000)).unwrap(),
                Duration::from_millis(chance.below(300)),
            ),
        };
        eprintln!("replay {round} is killed {later:?} after {at_least} are sent");
        let first = 100_000 + 10_000 * usize::try_from(round).unwrap();
        let letters: Vec<_> = (first..first + 5_000)
            .map(|n| good_letter(&valid, n))
            .collect();
        send(pipeline, &letters).await;
        let before = replays(pipeline).len();
        let replay = Background::start(pipeline, &["dlq", "replay", "--all", "--yes"]);
        eventually("a part is sent", || {
            (at_least == 0 || replays(pipeline).len() > before + at_least).then_some(())
        });
        tokio::time::sleep(later).await;
        // SIGKILL.
        drop(replay);
        let left = pipeline
            .caravan(&["dlq", "replay", "--all", "--yes"])
            .expect(0);
        assert!(
            round > 0 || left.stderr.contains("waiting until that is certain"),
            "{}",
            left.stderr
        );
        let mut sent = replays(pipeline);
        assert_eq!(sent.len(), before + 5_000);
        sent.sort();
        sent.dedup();
        assert_eq!(sent.len(), before + 5_000, "each once");
        pipeline.expect_green();
    }
}

async fn a_group_that_stands_still_is_waited_for(pipeline: &Pipeline) {
    let worker = pipeline.container("purchase-worker");
    let valid = valid_event(pipeline).await;
    send(pipeline, &[good_letter(&valid, 200_000)]).await;
    pipeline.docker(&["pause", &worker]);
    let late = ["dlq", "replay", "--all", "--yes", "--timeout", "2s"];
    let ran = pipeline.caravan(&late).expect(4);
    assert!(
        ran.stderr
            .contains("group purchase-worker has not consumed what was sent"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("sent so far: 1 of 1"), "{}", ran.stderr);
    let list = pipeline
        .caravan(&["dlq", "list", "-o", "json"])
        .expect(0)
        .json();
    assert_eq!(list["summary"]["inFlight"], 1, "{list}");
    let (ran, _) = pipeline.not_passing();
    let seen = Pipeline::finding(&ran, "dead-letters.empty")["seen"].clone();
    assert_eq!(seen, "1 replayed, not yet consumed by their groups");
    let again = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes"])
        .expect(0);
    assert!(
        again.stdout.contains("1 replayed before, not yet consumed"),
        "{}",
        again.stdout
    );

    pipeline.docker(&["unpause", &worker]);
    pipeline.expect_green();

    // With nobody in the group at all nothing is sent.
    send(pipeline, &[good_letter(&valid, 200_001)]).await;
    pipeline.docker(&["stop", &worker]);
    eventually("the group is empty", || {
        let groups = pipeline.caravan(&["groups", "-o", "json"]).expect(0).json();
        let groups = groups["groups"].as_array().unwrap().clone();
        let group = groups
            .iter()
            .find(|g| g["name"] == "purchase-worker")
            .unwrap()
            .clone();
        (group["members"].as_array().unwrap().is_empty()).then_some(())
    });
    let before = replays(pipeline).len();
    let ran = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes"])
        .expect(1);
    assert!(
        ran.stderr.contains("group purchase-worker has no members"),
        "{}",
        ran.stderr
    );
    assert_eq!(replays(pipeline).len(), before);
    pipeline.caravan(&["up"]).expect(0);
    pipeline
        .caravan(&["dlq", "replay", "--all", "--yes"])
        .expect(0);
    pipeline.expect_green();
}

/// A payment, under one key till it is taken: on a busy machine the database may be slow to answer.
async fn pay(pipeline: &Pipeline, key: &str, course: &str) -> Value {
    eventually_async("the payment", async || {
        let (status, answer) = payments::post(pipeline, key, course).await;
        (status < 300).then_some(answer)
    })
    .await
}

/// Key and value of an event that a payment has made.
async fn valid_event(pipeline: &Pipeline) -> KeyAndValue {
    let answer = pay(pipeline, "valid", COURSE).await;
    let id = answer["paymentId"].as_str().unwrap().as_bytes().to_vec();
    let event = eventually("its event", || {
        let events = read_all(pipeline, SOURCE);
        events.into_iter().find(|e| e.key.as_ref() == Some(&id))
    });
    (event.key, event.value)
}

async fn two_runs_do_not_meet(pipeline: &Pipeline) {
    let poison = [(Some(b"p".to_vec()), Some(b"not json".to_vec()))];
    let before = dead_letters(pipeline).len();
    produce(pipeline, SOURCE, &poison).await;
    wait_for_letters(pipeline, before + 1);
    let run = "run:00000000-0000-4000-8000-000000000001";
    let claim = br#"{"by":"process 7 on another-host"}"#;
    let claim = Message::to(JOURNAL, 0).key(run.as_bytes()).value(claim);
    // One that is alive: it renews.
    send(pipeline, std::slice::from_ref(&claim)).await;
    let mut replay = Background::start(pipeline, &["dlq", "replay", "--all", "--yes", "--force"]);
    let ended = loop {
        send(pipeline, std::slice::from_ref(&claim)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(ended) = replay.ended() {
            break ended;
        }
    };
    let ran = ended.expect(3);
    assert!(
        ran.stderr.contains("process 7 on another-host"),
        "{}",
        ran.stderr
    );
    // One that died: it is waited for.
    let ran = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes", "--force"])
        .expect(1);
    assert!(ran.stdout.contains("failed again"), "{}", ran.stdout);
}

/// `caravan`, beside the test.
struct Background(Option<Child>);

impl Background {
    fn start(pipeline: &Pipeline, args: &[&str]) -> Self {
        let mut command: Command = pipeline.command(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    fn ended(&mut self) -> Option<Ran> {
        let child = self.0.as_mut().unwrap();
        child.try_wait().unwrap()?;
        let child = self.0.take().unwrap();
        Some(Ran::of(child.wait_with_output().unwrap()))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

async fn foreign_letters_are_listed_and_stay(pipeline: &Pipeline) {
    pipeline
        .caravan(&["dlq", "purge", "--all", "--yes"])
        .expect(0);
    let foreign = [
        Message::to(DEAD_LETTERS, 1)
            .value(b"of another program")
            .header("x-death", "1"),
        Message::to(DEAD_LETTERS, 1)
            .value(b"x")
            .header("dlq-topic", "__consumer_offsets")
            .header("dlq-partition", "0")
            .header("dlq-offset", "1"),
        Message::to(DEAD_LETTERS, 1)
            .value(b"x")
            .header("dlq-topic", SOURCE)
            .header("dlq-partition", "99")
            .header("dlq-offset", "1"),
    ];
    send(pipeline, &foreign).await;
    let first = dead_letters(pipeline)[0].offset;
    let list = pipeline
        .caravan(&["dlq", "list", "--each", "-o", "json"])
        .expect(0)
        .json();
    let place = format!("{DEAD_LETTERS}/1/{first}");
    let letters = list["deadLetters"].as_array().unwrap();
    assert!(
        letters
            .iter()
            .any(|l| l["record"] == place.as_str() && l["source"] == Value::Null)
    );
    let shown = pipeline.caravan(&["dlq", "show", &place]).expect(0);
    assert!(
        shown.stdout.contains("of another program"),
        "{}",
        shown.stdout
    );
    let replay = pipeline
        .caravan(&["dlq", "replay", "--all", "--yes", "-o", "json"])
        .expect(0)
        .json();
    let why: Vec<_> = replay["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["why"].as_str().unwrap())
        .collect();
    assert_eq!(why, ["noSource", "undeclaredTopic", "noPartition"]);
    pipeline
        .caravan(&["dlq", "purge", "--all", "--yes"])
        .expect(0);
}

async fn room_is_made_for_larger_messages(pipeline: &Pipeline) {
    set_message_limit(pipeline, SOURCE, 3_000_000).await;
    let (ran, ids) = pipeline.not_passing();
    assert_eq!((ran.code, ids), (0, vec!["dead-letters.room".to_owned()]));
    let finding = Pipeline::finding(&ran, "dead-letters.room");
    assert_eq!(finding["seen"], "1.0 MiB of 2.9 MiB");
    let hint = finding["hint"].as_str().unwrap().to_owned();
    assert!(hint.ends_with(" up kafka-init"), "{hint}");
    pipeline.shell(&hint).expect(0);
    pipeline.expect_green();
    assert_eq!(lag(pipeline, "purchase-worker", SOURCE), 0);
}
