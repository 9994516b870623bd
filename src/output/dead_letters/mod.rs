//! The output of `dlq list`, `show`, `replay` and `purge`, a file each; `document` is their
//! JSON, `text` escapes the content of dead letters.

pub(crate) mod document;
mod list;
mod purge;
mod replay;
mod show;
mod text;

use proof::dead_letters::Progress;

pub(crate) use list::summary;
pub(crate) use purge::{lost, purge_plan};
pub(crate) use replay::{outcome, plan, what};
pub(crate) use show::dead_letter;

/// The progress of a long command.
pub(crate) fn progress(progress: &Progress) -> String {
    match progress {
        Progress::Reading { read, of } => format!("{read} of about {of} dead letters read"),
        Progress::AwaitingLease { by } => {
            format!("{by} may be changing these dead letters: waiting until that is certain")
        }
        Progress::Sent { sent, of } => format!("{sent} of {of} sent"),
        Progress::Passed { passed, of } => format!("{passed} of {of} succeeded"),
    }
}

/// Whether the progress is shown if the output cannot be redrawn.
pub(crate) fn is_milestone(progress: &Progress) -> bool {
    match progress {
        Progress::Reading { read, .. } => read % 50_000 == 0,
        Progress::AwaitingLease { .. } | Progress::Passed { .. } => true,
        Progress::Sent { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use kafka::record::OwnedMessage;

    use super::*;
    use crate::output::Console;
    use proof::dead_letters::{
        DeadLetter, RecordId, Selection,
        find::Found,
        journal::Status,
        replay::{FailedAgain, Outcome},
        summary::{Age, Kind, Summary, Tally},
    };

    /// What no text may show, apart from names: escaped in text, at the end of what is shown of an
    /// error, and words of Caravan's own.
    const SECRETS: [&str; 7] = [
        "a\"b\\c",
        "lost-in-two",
        "waiting",
        "orders",
        "dead letter",
        "TOPIC",
        "true\u{1b}",
    ];

    fn console() -> Console {
        let console = Console::plain();
        console.mask(&SECRETS.map(str::to_owned));
        console
    }

    fn letter() -> DeadLetter {
        DeadLetter {
            own: RecordId::new("waiting", 0, 3),
            source: Some(RecordId::new("orders", 1, 7)),
            group: Some("orders-worker".to_owned()),
            reason: Some("waiting".to_owned()),
            error: Some(format!(
                "{}: a\"b\\c true\u{1b} {:>41}",
                "x".repeat(16),
                "lost-in-two"
            )),
            attempts: Some("a\"b\\c".to_owned()),
            at: None,
        }
    }

    #[track_caller]
    fn expect(text: &str, kept: &[&str]) {
        for kept in kept {
            assert!(text.contains(kept), "{kept:?} in:\n{text}");
        }
        for lost in ["a\"b", "b\\c", "lost-in", "true", "\u{1b}"] {
            assert!(!text.contains(lost), "{lost:?} in:\n{text}");
        }
    }

    #[test]
    fn a_list_keeps_its_ids_whatever_the_secrets() {
        let kind = Kind {
            topic: Some("orders".to_owned()),
            group: Some("orders-worker".to_owned()),
            reason: Some("waiting".to_owned()),
            age: Age::Hour,
        };
        let mut tally = Tally::default();
        tally.dead_letters = 1;
        tally.by_status = [(Status::Waiting, 1)].into();
        tally.example = Some(RecordId::new("orders", 1, 7));
        let listed = Summary {
            all: tally.clone(),
            kinds: [(kind, tally)].into(),
            listed: vec![(letter(), Status::Waiting)],
            total: 1,
            ..Summary::default()
        };
        let text = summary(&console(), "waiting", &listed, &Selection::default());
        expect(
            &text,
            &[
                "TOPIC   GROUP          REASON",
                "orders  orders-worker  ****",
                "orders/1/7",
                "1 dead letter on waiting: 1 waiting",
            ],
        );
    }

    #[test]
    fn a_list_reads_well_at_every_width() {
        let kind = |reason: &str| Kind {
            topic: Some("purchase-confirmed".to_owned()),
            group: Some("allocation-worker".to_owned()),
            reason: Some(reason.to_owned()),
            age: Age::Day,
        };
        let mut tally = Tally::default();
        tally.dead_letters = 12_345;
        tally.by_status = [(Status::Waiting, 12_345)].into();
        tally.example = Some(RecordId::new("purchase-confirmed", 2, 123_456_789));
        let mut listed = letter();
        listed.error = Some("expected value at line 1 column 1".to_owned());
        let listed = Summary {
            all: tally.clone(),
            kinds: [
                (kind("not-json"), tally.clone()),
                (kind("no such student"), tally),
            ]
            .into(),
            listed: vec![(listed, Status::Waiting)],
            total: 1,
            ..Summary::default()
        };
        crate::output::widths::expect_readable(|console| {
            summary(console, "dead-letter-queue", &listed, &Selection::default())
        });
    }

    #[test]
    fn a_shown_dead_letter_keeps_its_ids_whatever_the_secrets() {
        let payload = b"{\"orders\": \"a\\\"b\\\\c\", \"n\": 1}".to_vec();
        let message = OwnedMessage::new(
            Some(payload),
            Some(b"lost-in-two".to_vec()),
            "waiting".to_owned(),
            kafka::record::Timestamp::NotAvailable,
            0,
            3,
            None,
        );
        let found = Found {
            dead_letter: letter(),
            message,
            status: Status::Waiting,
            others: vec![letter()],
        };
        let text = dead_letter(&console(), &found);
        let expected = [
            "dead letter  waiting/0/3",
            "source       orders/1/7",
            "group        orders-worker",
            "reason       ****",
            "attempts     ****",
            "state        waiting",
            "also         waiting/0/3 (group orders-worker)",
            "key          ****",
            "{\"****\": \"****\", \"n\": 1}",
        ];
        expect(&text, &expected);
    }

    #[test]
    fn a_replay_keeps_its_ids_whatever_the_secrets() {
        let back = FailedAgain {
            was: RecordId::new("orders", 1, 7),
            dead_letter: letter(),
        };
        let ended = Outcome {
            planned: 1,
            sent: 1,
            failed_again: vec![back],
            ..Outcome::default()
        };
        let text = outcome(&console(), &ended);
        let expected = [
            "sent 1 of 1 dead letter",
            "orders/1/7 is orders/1/7 now: ****: ",
        ];
        expect(&text, &expected);
    }
}
