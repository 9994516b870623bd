//! librdkafka's admin calls that list and describe consumer groups of both protocols (classic and KIP-848)
//! and list their committed offsets, and that list the ends of partitions with open transactions. The crate `rdkafka` wraps none of these calls. Of the calls that it
//! wraps, one reports groups of the new protocol as dead, and the other needs a client for each group
//! (docs/decisions/0036).
//!
//! This is the only module with FFI calls. Their soundness rests on three rules:
//! - each handle ([`handle`]) is owned by one value whose `Drop` frees it, also when a call fails;
//! - responses arrive on a queue of the call's own, polled up to a deadline: there are no callbacks;
//! - data that belongs to a response is copied before the response is freed.
//!
//! All calls block. The client is borrowed, and therefore alive, until they return.

#![allow(unsafe_code, reason = "what this crate is for")]

use std::{
    ffi::{CString, c_char},
    time::Duration,
};

use rdkafka::{
    TopicPartitionList, bindings as ffi,
    client::{Client, ClientContext},
    error::{KafkaError, RDKafkaErrorCode},
};

mod handle;

use handle::{OffsetQuery, call, code, lent, text};

/// The group protocol between members and coordinator (`group.protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `JoinGroup` and `SyncGroup`: one member computes the assignment.
    Classic,
    /// KIP-848's `ConsumerGroupHeartbeat`: the coordinator computes the assignment.
    Consumer,
}

/// The state of a group, as its coordinator reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No members; committed offsets may exist.
    Empty,
    /// Classic: the coordinator waits for members to join.
    PreparingRebalance,
    /// Classic: members wait for the assignment.
    CompletingRebalance,
    /// KIP-848: some members have not yet revoked or taken over their partitions. (Kafka also has
    /// `Assigning`, before it; librdkafka does not distinguish the two.)
    Reconciling,
    /// Each member owns its assigned partitions.
    Stable,
}

/// A consumer group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its `group.id`.
    pub name: String,
    /// Its group protocol; of an empty group, its last members' protocol.
    pub protocol: Protocol,
    /// Whether it is stable, empty or rebalancing.
    pub state: State,
    /// In the coordinator's order.
    pub members: Vec<Member>,
    /// It has no protocol type: no member ever joined it, consumers only commit offsets.
    pub simple: bool,
}

/// A group's description; None: there is no such group.
pub(crate) type Described = Result<Option<Group>, KafkaError>;

/// Topic, partition, and committed offset: the offset of the next message that the group reads.
pub(crate) type CommittedOffset = (String, i32, i64);

/// A member of a group. A static member stays listed until its session times out, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `client.id`
    pub client_id: String,
    /// `group.instance.id`, of a static member.
    pub instance: Option<String>,
    /// Address that it connects from, as Java prints it: `host/address`; the host is usually empty.
    pub host: String,
    /// The partitions assigned to it: topic and number.
    pub partitions: Vec<(String, i32)>,
}

/// The names of all consumer groups of the cluster, without simple consumer groups (which only commit
/// offsets and have no members).
///
/// # Errors
/// librdkafka's: a broker did not answer in time, for instance.
pub(crate) fn list<C: ClientContext>(
    client: &Client<C>,
    timeout: Duration,
) -> Result<Vec<String>, KafkaError> {
    use ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
    let answer = call(
        client,
        RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS,
        timeout,
        |client, options, queue| {
            // SAFETY: all three are alive; librdkafka copies all of it before it returns.
            unsafe { ffi::rd_kafka_ListConsumerGroups(client, options, queue) }
        },
    )?;
    let result = ffi::rd_kafka_event_ListConsumerGroups_result;
    // SAFETY: librdkafka's, for this event.
    let (errors, groups) = unsafe {
        let errors = lent(
            &answer,
            result,
            ffi::rd_kafka_ListConsumerGroups_result_errors,
        )?;
        let groups = lent(
            &answer,
            result,
            ffi::rd_kafka_ListConsumerGroups_result_valid,
        )?;
        (errors, groups)
    };
    if let Some(error) = errors.first() {
        // SAFETY: an error of the answer, which is alive.
        return Err(failed(unsafe { code(error.cast()) }));
    }
    let names = groups.iter().filter_map(|listed| {
        // SAFETY: a group of the answer, which is alive, as is the text.
        unsafe {
            match ffi::rd_kafka_ConsumerGroupListing_is_simple_consumer_group(*listed) {
                0 => text(ffi::rd_kafka_ConsumerGroupListing_group_id(*listed)),
                _ => None,
            }
        }
    });
    Ok(names.collect())
}

/// Describes groups by name, in that order; None: the group does not exist. `names` has no duplicates.
/// Each group costs one request to its coordinator, a classic group two.
///
/// # Errors
/// librdkafka's, for one group or for all.
pub(crate) fn describe<C: ClientContext>(
    client: &Client<C>,
    names: &[String],
    timeout: Duration,
) -> Result<Vec<Described>, KafkaError> {
    use ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let named: Result<Vec<CString>, _> = names.iter().map(|n| CString::new(n.as_str())).collect();
    let named = named.map_err(KafkaError::Nul)?;
    let mut pointers: Vec<*const c_char> = named.iter().map(|name| name.as_ptr()).collect();
    let (names, count) = (pointers.as_mut_ptr(), pointers.len());
    let answer = call(
        client,
        RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        timeout,
        |client, options, queue| {
            // SAFETY: as in `list`; the names end with NUL, are `count`, and are copied too.
            unsafe { ffi::rd_kafka_DescribeConsumerGroups(client, names, count, options, queue) }
        },
    )?;
    let result = ffi::rd_kafka_event_DescribeConsumerGroups_result;
    // SAFETY: librdkafka's, for this event.
    let described = unsafe {
        lent(
            &answer,
            result,
            ffi::rd_kafka_DescribeConsumerGroups_result_groups,
        )?
    };
    let groups = described.iter().map(|group| {
        // SAFETY: a group of the answer, which is alive.
        unsafe { described_as(*group) }
    });
    Ok(groups.collect())
}

/// A group's committed offsets (`ListConsumerGroupOffsets`) for `partitions`, in one request to its
/// coordinator. Partitions without a commit are left out; a group that does not exist has none.
///
/// The client needs any `group.id`: without one librdkafka 2.12.1 crashes when the coordinator responds
/// with an error (its issue 5040).
///
/// # Errors
/// librdkafka's, for the group or for one partition.
pub(crate) fn list_group_offsets<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    partitions: &TopicPartitionList,
    timeout: Duration,
) -> Result<Vec<CommittedOffset>, KafkaError> {
    use ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
    if partitions.count() == 0 {
        return Ok(Vec::new());
    }
    let query = OffsetQuery::new(group, partitions)?;
    let mut pointers = [query.pointer()];
    let (queries, count) = (pointers.as_mut_ptr(), pointers.len());
    let answer = call(
        client,
        RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
        timeout,
        |client, options, queue| {
            // SAFETY: as in `list`; the queries are `count`, 1, and are copied too.
            unsafe {
                ffi::rd_kafka_ListConsumerGroupOffsets(client, queries, count, options, queue)
            }
        },
    )?;
    let result = ffi::rd_kafka_event_ListConsumerGroupOffsets_result;
    // SAFETY: librdkafka's, for this event.
    let groups = unsafe {
        lent(
            &answer,
            result,
            ffi::rd_kafka_ListConsumerGroupOffsets_result_groups,
        )?
    };
    let group = *groups
        .first()
        .ok_or_else(|| failed(RDKafkaErrorCode::Fail))?;
    // SAFETY: a group of the answer, which is alive, and so is what is borrowed from it.
    unsafe {
        let error = ffi::rd_kafka_group_result_error(group);
        if !error.is_null() {
            return Err(failed(code(error)));
        }
        let elements = elements(ffi::rd_kafka_group_result_partitions(group));
        let offsets = elements.filter_map(|element| match element.err {
            ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR if element.offset < 0 => None,
            ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Some(Ok((
                text(element.topic)?,
                element.partition,
                element.offset,
            ))),
            error => Some(Err(failed(error.into()))),
        });
        offsets.collect()
    }
}

/// The end of each partition, records of open transactions included: topic, partition and offset. Other requests
/// for ends stop at the first of these records, as consumers of committed messages do.
///
/// # Errors
/// librdkafka's, for all or for one partition.
pub(crate) fn list_high_watermarks<C: ClientContext>(
    client: &Client<C>,
    partitions: &TopicPartitionList,
    timeout: Duration,
) -> Result<Vec<CommittedOffset>, KafkaError> {
    use ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
    let list = partitions.ptr();
    // The default isolation level of this call is `read_uncommitted`.
    let answer = call(
        client,
        RD_KAFKA_ADMIN_OP_LISTOFFSETS,
        timeout,
        |client, options, queue| {
            // SAFETY: as in `list`; the partitions are borrowed, alive, and copied.
            unsafe { ffi::rd_kafka_ListOffsets(client, list, options, queue) }
        },
    )?;
    let result = ffi::rd_kafka_event_ListOffsets_result;
    // SAFETY: librdkafka's, for this event.
    let ends = unsafe { lent(&answer, result, ffi::rd_kafka_ListOffsets_result_infos)? };
    // SAFETY: elements of the answer, which is alive, and so is what is borrowed from them.
    let ends = ends.iter().filter_map(|end| unsafe {
        let element = &*ffi::rd_kafka_ListOffsetsResultInfo_topic_partition(*end);
        Some(match element.err {
            ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                Ok((text(element.topic)?, element.partition, element.offset))
            }
            error => Err(failed(error.into())),
        })
    });
    ends.collect()
}

/// Converts a group's description; None: the group does not exist.
///
/// # Safety
/// `group` is of an answer that is alive.
unsafe fn described_as(group: *const ffi::rd_kafka_ConsumerGroupDescription_t) -> Described {
    use ffi::{
        rd_kafka_consumer_group_state_t as state, rd_kafka_consumer_group_type_t as protocol,
    };
    // SAFETY: `group` is alive, and so is what is borrowed from it.
    unsafe {
        let error = ffi::rd_kafka_ConsumerGroupDescription_error(group);
        if !error.is_null() {
            return match code(error) {
                RDKafkaErrorCode::GroupIdNotFound => Ok(None),
                other => Err(failed(other)),
            };
        }
        let protocol = match ffi::rd_kafka_ConsumerGroupDescription_type(group) {
            protocol::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER => Protocol::Consumer,
            _ => Protocol::Classic,
        };
        let state = match ffi::rd_kafka_ConsumerGroupDescription_state(group) {
            // The coordinator reports an unknown group as dead.
            state::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => return Ok(None),
            state::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => State::Empty,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => State::Stable,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE => State::CompletingRebalance,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE => State::PreparingRebalance,
            // librdkafka has no constants for the new protocol's states.
            _ => match protocol {
                Protocol::Consumer => State::Reconciling,
                Protocol::Classic => State::PreparingRebalance,
            },
        };
        let count = ffi::rd_kafka_ConsumerGroupDescription_member_count(group);
        let members = (0..count).map(|n| ffi::rd_kafka_ConsumerGroupDescription_member(group, n));
        Ok(Some(Group {
            name: text(ffi::rd_kafka_ConsumerGroupDescription_group_id(group)).unwrap_or_default(),
            protocol,
            state,
            members: members
                .filter(|member| !member.is_null())
                .map(|member| described_member(member))
                .collect(),
            simple: ffi::rd_kafka_ConsumerGroupDescription_is_simple_consumer_group(group) != 0,
        }))
    }
}

/// # Safety
/// `member` is of an answer that is alive.
unsafe fn described_member(member: *const ffi::rd_kafka_MemberDescription_t) -> Member {
    // SAFETY: `member` is alive, and so is what is borrowed from it.
    unsafe {
        Member {
            client_id: text(ffi::rd_kafka_MemberDescription_client_id(member)).unwrap_or_default(),
            instance: text(ffi::rd_kafka_MemberDescription_group_instance_id(member)),
            host: text(ffi::rd_kafka_MemberDescription_host(member)).unwrap_or_default(),
            partitions: partitions(ffi::rd_kafka_MemberDescription_assignment(member)),
        }
    }
}

/// # Safety
/// `assignment` is NULL, or of an answer that is alive.
unsafe fn partitions(assignment: *const ffi::rd_kafka_MemberAssignment_t) -> Vec<(String, i32)> {
    if assignment.is_null() {
        return Vec::new();
    }
    // SAFETY: the list lives as long as the assignment.
    unsafe {
        let elements = elements(ffi::rd_kafka_MemberAssignment_partitions(assignment));
        let partitions = elements.map(|e| Some((text(e.topic)?, e.partition)));
        partitions.flatten().collect()
    }
}

/// # Safety
/// `list` is NULL, or alive for `'a`.
unsafe fn elements<'a>(
    list: *const ffi::rd_kafka_topic_partition_list_t,
) -> impl Iterator<Item = &'a ffi::rd_kafka_topic_partition_t> {
    // SAFETY: as required above; `cnt` is the length of `elems`.
    unsafe {
        let list = list.as_ref();
        let count = list.map_or(0, |list| usize::try_from(list.cnt).unwrap_or(0));
        (0..count).filter_map(move |n| list.map(|list| &*list.elems.add(n)))
    }
}

fn failed(code: RDKafkaErrorCode) -> KafkaError {
    KafkaError::GroupListFetch(code)
}
