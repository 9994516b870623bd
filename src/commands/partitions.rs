//! What a consumer group has read of each partition, and who holds it: for `groups NAME` and `topics NAME`.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::Utc;

use crate::output::{
    Paint,
    json::Millis,
    listing::{Cell, Column},
    topics,
};
use declaration::units;
use kafka::{
    Kafka, Partition,
    groups::GroupState,
    offsets::{self, End},
};
use platform::Container;

/// Time for finding the oldest unread event of each partition.
const READING: Duration = Duration::from_secs(2);

/// A partition as a group has read it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) partition: Partition,
    pub(super) end: i64,
    /// None: the group has committed nothing.
    pub(super) committed: Option<i64>,
    pub(super) lag: i64,
    /// Age of the oldest event that the group has not read; None: there is none, or it could not be read.
    pub(super) oldest: Option<Duration>,
    /// The member that the partition is assigned to.
    pub(super) member: Option<String>,
    /// The container that the member connects from.
    pub(super) container: Option<String>,
}

/// The partitions, as `group` has read them. `state`: None if the group does not exist.
pub(super) async fn of_group(
    kafka: &Kafka,
    containers: &[Container],
    group: &str,
    state: Option<&GroupState>,
    partitions: &[Partition],
) -> Result<Vec<Held>, kafka::Error> {
    let (committed, earliest, latest) = tokio::try_join!(
        kafka.committed_offsets(group, partitions),
        kafka.ends(partitions, End::Earliest),
        kafka.ends(partitions, End::Latest),
    )?;
    let next = offsets::next(&committed, &earliest, &latest);
    let deadline = Instant::now() + READING;
    // Without the age, the offsets are still worth showing.
    let oldest = kafka.first_times(&next, &latest, deadline).await;
    let oldest = oldest.unwrap_or_default();
    let members: BTreeMap<&Partition, _> = state
        .iter()
        .flat_map(|group| &group.members)
        .flat_map(|member| member.partitions.iter().map(move |p| (p, member)))
        .collect();
    let held = latest.iter().map(|(partition, end)| {
        let member = members.get(partition);
        let container = member.and_then(|member| {
            let mut all = containers.iter();
            let host = member.host.trim_start_matches('/');
            all.find(|c| c.addresses.iter().any(|ip| ip.to_string() == host))
        });
        let at = next.get(partition).copied().unwrap_or(*end);
        Held {
            partition: partition.clone(),
            end: *end,
            committed: committed.get(partition).copied(),
            lag: (end - at).max(0),
            oldest: oldest.get(partition).and_then(|at| age(*at)),
            member: member.map(|m| m.instance.clone().unwrap_or_else(|| m.client_id.clone())),
            container: container.map(|c| c.name.clone()),
        }
    });
    Ok(held.collect())
}

/// The time that has passed since `at`, in milliseconds since the epoch.
fn age(at: i64) -> Option<Duration> {
    let passed = Utc::now().timestamp_millis().saturating_sub(at).max(0);
    u64::try_from(passed).ok().map(Duration::from_millis)
}

/// The columns of [`cells`].
pub(super) const COLUMNS: [Column<'static>; 6] = [
    Column::number("END").optional(2),
    Column::number("COMMITTED").optional(3),
    Column::number("LAG"),
    Column::number("OLDEST"),
    Column::name("MEMBER").optional(4),
    Column::names("HELD BY"),
];

pub(super) fn cells(held: &Held) -> Vec<Cell> {
    let lag = match held.lag {
        0 => "0".into(),
        lag => Cell::painted(Paint::Doubtful, lag.to_string()),
    };
    let oldest = match (held.lag, held.oldest) {
        (0, _) => "-".to_owned(),
        (_, Some(age)) => units::coarse(age),
        (_, None) => "?".to_owned(),
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    // A member that runs in no container of the project is named itself.
    let holder = match held.container.as_ref().or(held.member.as_ref()) {
        Some(holder) => holder.as_str().into(),
        None => Cell::painted(Paint::Doubtful, "not held"),
    };
    vec![
        held.end.to_string().into(),
        or_none(&held.committed.map(|offset| offset.to_string())).into(),
        lag,
        oldest.into(),
        or_none(&held.member).into(),
        holder,
    ]
}

pub(super) fn entry(held: &Held) -> topics::Held<'_> {
    topics::Held {
        topic: &held.partition.0,
        partition: held.partition.1,
        end: held.end,
        committed: held.committed,
        lag: held.lag,
        oldest_unread_ms: Millis::of(held.oldest),
        member: held.member.as_deref(),
        container: held.container.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{listing, widths::expect_readable};

    #[test]
    fn partitions_read_well_at_every_width() {
        let held = |partition, lag, container: Option<&str>| Held {
            partition: ("trainer-allocated".to_owned(), partition),
            end: 123_456_789,
            committed: Some(123_456_789 - lag),
            lag,
            oldest: (lag > 0).then_some(Duration::from_secs(104)),
            member: container.map(|_| "session-worker-1".to_owned()),
            container: container.map(str::to_owned),
        };
        let all = [
            held(0, 0, Some("shop-session-worker")),
            held(1, 1_234, Some("shop-session-worker-2")),
            held(2, 0, None),
        ];
        let columns = [
            &[Column::number("PARTITION"), Column::name("GROUP")],
            &COLUMNS[..],
        ];
        let rows = all.iter().map(|held| {
            let mut row = vec![held.partition.1.to_string().into(), "session-worker".into()];
            row.extend(cells(held));
            row
        });
        let rows: Vec<Vec<Cell>> = rows.collect();
        expect_readable(|console| listing::table(console, &columns.concat(), rows.clone()));
    }
}
