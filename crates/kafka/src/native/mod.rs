//! Consumer groups of both of Kafka's protocols, the classic one and that of KIP-848, as librdkafka
//! lists and describes them, and what they have committed. The crate `rdkafka` wraps none of these calls;
//! of those that it wraps one takes a group of the new protocol for a dead one, and the other wants a
//! client for each group (docs/decisions/0036).
//!
//! Here alone is foreign code called by hand. What has to be so for that to be sound is kept small:
//! - each handle ([`handle`]) is owned by one value, which is what frees it, also when a call fails;
//! - answers come on a queue of the call's own, polled up to a deadline: there are no callbacks;
//! - what librdkafka lends out of an answer is copied before that answer is freed.
//!
//! All calls block; the client stays borrowed, and so alive, until they return.

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

use handle::{Operation, Wanted, code, lent, text};

/// Which protocol the members of a group speak with its coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `JoinGroup` and `SyncGroup`: a member assigns.
    Classic,
    /// KIP-848's `ConsumerGroupHeartbeat`: the coordinator assigns.
    Consumer,
}

/// Where a group is between two assignments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No members; there are offsets.
    Empty,
    /// Classic: members are waited for.
    PreparingRebalance,
    /// Classic: the assignment is waited for.
    CompletingRebalance,
    /// KIP-848: members have not all taken, or let go of, what they are to. (Kafka also knows
    /// `Assigning`, before it; librdkafka tells neither from the other.)
    Reconciling,
    /// Each member has what it is to have.
    Stable,
}

/// A consumer group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub name: String,
    /// Of an empty group what its last members spoke.
    pub protocol: Protocol,
    /// Where it is between two assignments.
    pub state: State,
    /// In the coordinator's order.
    pub members: Vec<Member>,
}

/// A group's description; None: there is no such group.
pub(crate) type Described = Result<Option<Group>, KafkaError>;

/// Topic, partition, and the offset of the next message that the group is to take.
pub(crate) type Committed = (String, i32, i64);

/// A member of a group. A static one is listed until its session times out, running or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `client.id`
    pub client_id: String,
    /// `group.instance.id`, of a static member.
    pub instance: Option<String>,
    /// Address that it connects from, as Java prints one: `host/address`, mostly with no host.
    pub host: String,
    /// Topics and partitions that it has.
    pub partitions: Vec<(String, i32)>,
}

/// The names of all consumer groups of the cluster; those of programs that commit offsets without being
/// members of anything are left out.
///
/// # Errors
/// librdkafka's: a broker did not answer in time, for instance.
pub(crate) fn list<C: ClientContext>(
    client: &Client<C>,
    timeout: Duration,
) -> Result<Vec<String>, KafkaError> {
    use ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
    let operation = Operation::new(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeout)?;
    // SAFETY: client, options and queue are alive as long as `operation` and `client` are; all is
    // copied by librdkafka before it returns.
    unsafe {
        ffi::rd_kafka_ListConsumerGroups(
            client.native_ptr(),
            operation.options(),
            operation.queue(),
        );
    }
    let answer = operation.answer(timeout)?;
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

/// Describes groups by name, each once, in that order: None does not exist. One question to the
/// coordinator of each, two of a classic one.
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
    let operation = Operation::new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout)?;
    // SAFETY: as in `list`; the names end with NUL, and there are as many as is said.
    unsafe {
        ffi::rd_kafka_DescribeConsumerGroups(
            client.native_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            operation.options(),
            operation.queue(),
        );
    }
    let answer = operation.answer(timeout)?;
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

/// What a group has committed for some of `partitions`: topic, partition and offset; the others have no
/// commit, as has any partition of a group that does not exist. One question to its coordinator.
///
/// The client needs a `group.id`, whichever: without one librdkafka 2.12.1 crashes when the coordinator
/// refuses to tell (its issue 5040).
///
/// # Errors
/// librdkafka's, for the group or for one partition.
pub(crate) fn committed<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    partitions: &TopicPartitionList,
    timeout: Duration,
) -> Result<Vec<Committed>, KafkaError> {
    use ffi::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
    if partitions.count() == 0 {
        return Ok(Vec::new());
    }
    let wanted = Wanted::new(group, partitions)?;
    let mut pointers = [wanted.pointer()];
    let operation = Operation::new(client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout)?;
    // SAFETY: as in `list`; there is one, as is said.
    unsafe {
        ffi::rd_kafka_ListConsumerGroupOffsets(
            client.native_ptr(),
            pointers.as_mut_ptr(),
            pointers.len(),
            operation.options(),
            operation.queue(),
        );
    }
    let answer = operation.answer(timeout)?;
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
    // SAFETY: a group of the answer, which is alive, and so is what it lends.
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

/// None: it does not exist.
///
/// # Safety
/// `group` is of an answer that is alive.
unsafe fn described_as(group: *const ffi::rd_kafka_ConsumerGroupDescription_t) -> Described {
    use ffi::{
        rd_kafka_consumer_group_state_t as state, rd_kafka_consumer_group_type_t as protocol,
    };
    // SAFETY: `group` is alive, and so is what it lends.
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
            // A coordinator's word for a group that it does not know.
            state::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => return Ok(None),
            state::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => State::Empty,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => State::Stable,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE => State::CompletingRebalance,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE => State::PreparingRebalance,
            // librdkafka has no names for the new protocol's.
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
        }))
    }
}

/// # Safety
/// `member` is of an answer that is alive.
unsafe fn described_member(member: *const ffi::rd_kafka_MemberDescription_t) -> Member {
    // SAFETY: `member` is alive, and so is what it lends.
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
    // SAFETY: as said above; the list is as long as it says.
    unsafe {
        let list = list.as_ref();
        let count = list.map_or(0, |list| usize::try_from(list.cnt).unwrap_or(0));
        (0..count).filter_map(move |n| list.map(|list| &*list.elems.add(n)))
    }
}

fn failed(code: RDKafkaErrorCode) -> KafkaError {
    KafkaError::GroupListFetch(code)
}
