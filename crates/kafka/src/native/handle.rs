//! Owners of librdkafka's handles: each frees its handle when it is dropped.

use std::{
    ffi::{CStr, CString, c_char},
    ptr::NonNull,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList, bindings as ffi,
    client::{Client, ClientContext},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::failed;

/// Sends an admin request and waits for its response; a later one is freed with the queue. `send` calls
/// librdkafka with the client, the options and the queue, which live until it returns.
///
/// # Errors
/// librdkafka could not allocate, the whole call failed, or no response arrived in time.
pub(super) fn call<C: ClientContext>(
    client: &Client<C>,
    kind: ffi::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(
        *mut ffi::rd_kafka_t,
        *const ffi::rd_kafka_AdminOptions_t,
        *mut ffi::rd_kafka_queue_t,
    ),
) -> Result<Answer, KafkaError> {
    let operation = Operation::new(client, kind, timeout)?;
    let (options, queue) = (operation.options.as_ptr(), operation.queue.as_ptr());
    send(client.native_ptr(), options, queue);
    operation.answer(timeout)
}

/// A call's options, and the queue on which its response arrives.
struct Operation {
    options: NonNull<ffi::rd_kafka_AdminOptions_t>,
    queue: NonNull<ffi::rd_kafka_queue_t>,
}

impl Operation {
    /// # Errors
    /// librdkafka could not allocate, or rejects the timeout.
    fn new<C: ClientContext>(
        client: &Client<C>,
        kind: ffi::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let none = || failed(RDKafkaErrorCode::Fail);
        // SAFETY: the client is alive; the result is NULL on failure.
        let options = unsafe { ffi::rd_kafka_AdminOptions_new(client.native_ptr(), kind) };
        let options = NonNull::new(options).ok_or_else(none)?;
        // SAFETY: as above. From here on `Drop` frees both.
        let queue = unsafe { ffi::rd_kafka_queue_new(client.native_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            // SAFETY: it was created above, and nothing else refers to it.
            unsafe { ffi::rd_kafka_AdminOptions_destroy(options.as_ptr()) };
            return Err(none());
        };
        let operation = Self { options, queue };
        let mut why: [c_char; 256] = [0; 256];
        // SAFETY: the options are alive, and the buffer has the given length.
        let code = unsafe {
            ffi::rd_kafka_AdminOptions_set_request_timeout(
                options.as_ptr(),
                i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
                why.as_mut_ptr(),
                why.len(),
            )
        };
        match code {
            ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(operation),
            code => Err(failed(code.into())),
        }
    }

    /// # Errors
    /// The whole call failed, or no response arrived in time.
    fn answer(self, timeout: Duration) -> Result<Answer, KafkaError> {
        // librdkafka enforces the timeout; this later deadline is for a client whose thread is late.
        let deadline = Instant::now() + timeout + Duration::from_millis(500);
        let left = deadline.saturating_duration_since(Instant::now());
        let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive, and nothing else polls it.
        let event = unsafe { ffi::rd_kafka_queue_poll(self.queue.as_ptr(), left) };
        let Some(event) = NonNull::new(event) else {
            return Err(failed(RDKafkaErrorCode::OperationTimedOut));
        };
        let answer = Answer {
            event,
            _operation: self,
        };
        // SAFETY: the event is alive.
        match unsafe { ffi::rd_kafka_event_error(answer.event()) } {
            ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(answer),
            code => Err(failed(code.into())),
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: this value owns both, and frees each once.
        unsafe {
            ffi::rd_kafka_queue_destroy(self.queue.as_ptr());
            ffi::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
        }
    }
}

/// The request for a group's committed offsets of some partitions.
pub(super) struct OffsetQuery(NonNull<ffi::rd_kafka_ListConsumerGroupOffsets_t>);

impl OffsetQuery {
    /// # Errors
    /// The name contains a NUL, or librdkafka could not allocate.
    pub(super) fn new(group: &str, partitions: &TopicPartitionList) -> Result<Self, KafkaError> {
        let group = CString::new(group).map_err(KafkaError::Nul)?;
        // SAFETY: both are alive, and copied before it returns.
        let query =
            unsafe { ffi::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), partitions.ptr()) };
        let query = NonNull::new(query).ok_or_else(|| failed(RDKafkaErrorCode::Fail))?;
        Ok(Self(query))
    }

    pub(super) fn pointer(&self) -> *mut ffi::rd_kafka_ListConsumerGroupOffsets_t {
        self.0.as_ptr()
    }
}

impl Drop for OffsetQuery {
    fn drop(&mut self) {
        // SAFETY: this value owns it, and frees it once.
        unsafe { ffi::rd_kafka_ListConsumerGroupOffsets_destroy(self.0.as_ptr()) }
    }
}

/// The event that a call ended with. It is freed before the queue that it arrived on.
pub(super) struct Answer {
    event: NonNull<ffi::rd_kafka_event_t>,
    _operation: Operation,
}

impl Answer {
    pub(super) fn event(&self) -> *mut ffi::rd_kafka_event_t {
        self.event.as_ptr()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: this value owns it, and frees it once.
        unsafe { ffi::rd_kafka_event_destroy(self.event.as_ptr()) }
    }
}

/// Borrows an array of elements from a response.
///
/// # Errors
/// The response is of another request. That cannot happen; if it does, no memory is read out of bounds.
///
/// # Safety
/// Both are librdkafka's functions. `result` returns NULL unless the event is of its type. `elements`
/// returns an array of the length that it writes to the count; its elements live as long as the event.
pub(super) unsafe fn lent<R, T>(
    answer: &Answer,
    result: unsafe extern "C" fn(*mut ffi::rd_kafka_event_t) -> *const R,
    elements: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const T,
) -> Result<&[*const T], KafkaError> {
    // SAFETY: the event is alive.
    let result = unsafe { result(answer.event()) };
    if result.is_null() {
        return Err(failed(RDKafkaErrorCode::Fail));
    }
    let mut count = 0;
    // SAFETY: the result is not NULL.
    let first = unsafe { elements(result, &raw mut count) };
    match first.is_null() {
        true => Ok(&[]),
        // SAFETY: as required above.
        false => Ok(unsafe { std::slice::from_raw_parts(first, count) }),
    }
}

/// Copies one of librdkafka's strings; None for NULL.
///
/// # Safety
/// `lent` is NULL, or ends with NUL.
pub(super) unsafe fn text(lent: *const c_char) -> Option<String> {
    match lent.is_null() {
        true => None,
        // SAFETY: as required above.
        false => Some(
            unsafe { CStr::from_ptr(lent) }
                .to_string_lossy()
                .into_owned(),
        ),
    }
}

/// # Safety
/// `error` is alive.
pub(super) unsafe fn code(error: *const ffi::rd_kafka_error_t) -> RDKafkaErrorCode {
    // SAFETY: as required above.
    unsafe { ffi::rd_kafka_error_code(error) }.into()
}
