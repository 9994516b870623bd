//! Reads, once the payments are through, when each of their events was written.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka::record::{BorrowedMessage, Message, Timestamp};

use super::ledger::{Ledger, Payment, Track};
use declaration::correlation::Correlation;
use diagnostics::{Error, Kind, Result};
use kafka::{Kafka, identity::find_correlation, offsets::Offsets, read::Span};

/// Time limit for reading one topic.
const PATIENCE: Duration = Duration::from_secs(120);

/// Records the events between the two end offsets in the ledger; counts copies.
///
/// # Errors
/// Kafka does not answer. The ledger has no tracks then.
pub(super) async fn read(
    (kafka, correlation): (&Kafka, &Correlation),
    ledger: &mut Ledger,
    from: &Offsets,
    to: &Offsets,
) -> Result<()> {
    let topics: Vec<(usize, String)> = ledger
        .topics()
        .map(|(step, topic)| (step, topic.to_owned()))
        .collect();
    for (step, topic) in topics {
        let of_topic = |offsets: &Offsets| {
            let of_topic = offsets.iter().filter(|((name, _), _)| *name == topic);
            of_topic.map(|(p, at)| (p.clone(), *at)).collect()
        };
        let span = Span {
            from: of_topic(from),
            to: of_topic(to),
        };
        let payments = Arc::clone(&ledger.payments);
        let track = std::mem::take(&mut ledger.tracks[step]);
        let correlation = correlation.clone();
        let see = move |track: &mut Track, message: &BorrowedMessage<'_>| {
            if let Some(payment) = payment(&correlation, &payments, message) {
                track.saw(payment, written_at(message).saturating_mul(1000));
            }
            ControlFlow::Continue(())
        };
        let (track, whole) = kafka
            .read(span, Instant::now() + PATIENCE, track, see)
            .await?;
        ledger.tracks[step] = track;
        if !whole {
            let what = format!("{topic} could not be read within {PATIENCE:?}");
            return Err(Error::new(Kind::Deadline, what));
        }
    }
    Ok(())
}

/// Milliseconds since the epoch, of the producer or the broker.
fn written_at(message: &BorrowedMessage<'_>) -> i64 {
    match message.timestamp() {
        Timestamp::CreateTime(at) | Timestamp::LogAppendTime(at) => at,
        Timestamp::NotAvailable => 0,
    }
}

/// Which of the payments a message is of.
pub(super) fn payment(
    correlation: &Correlation,
    payments: &[Payment],
    message: &impl Message,
) -> Option<usize> {
    find_correlation(correlation, message, |id| Ledger::find(payments, id))
}
