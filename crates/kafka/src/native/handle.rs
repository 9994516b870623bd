//! What librdkafka hands out and wants back: each in a value that gives it back.

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

/// A call's options, and the queue on which it is answered.
pub(super) struct Operation {
    options: NonNull<ffi::rd_kafka_AdminOptions_t>,
    queue: NonNull<ffi::rd_kafka_queue_t>,
}

impl Operation {
    /// # Errors
    /// librdkafka had no memory, or does not take the timeout.
    pub(super) fn new<C: ClientContext>(
        client: &Client<C>,
        kind: ffi::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let none = || failed(RDKafkaErrorCode::Fail);
        // SAFETY: the client is alive; NULL where it could not be made.
        let options = unsafe { ffi::rd_kafka_AdminOptions_new(client.native_ptr(), kind) };
        let options = NonNull::new(options).ok_or_else(none)?;
        // SAFETY: as above. From here on `Drop` frees both.
        let queue = unsafe { ffi::rd_kafka_queue_new(client.native_ptr()) };
        let Some(queue) = NonNull::new(queue) else {
            // SAFETY: it was made above, and nobody else has it.
            unsafe { ffi::rd_kafka_AdminOptions_destroy(options.as_ptr()) };
            return Err(none());
        };
        let operation = Self { options, queue };
        let mut why: [c_char; 256] = [0; 256];
        // SAFETY: the options are alive, and the text has the length that is said.
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

    pub(super) fn options(&self) -> *const ffi::rd_kafka_AdminOptions_t {
        self.options.as_ptr()
    }

    pub(super) fn queue(&self) -> *mut ffi::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// Waits for the answer; one that comes later goes with the queue.
    ///
    /// # Errors
    /// It says that all failed, or did not come in time.
    pub(super) fn answer(&self, timeout: Duration) -> Result<Answer, KafkaError> {
        // librdkafka keeps the deadline itself; this is for a client that does not get to it.
        let deadline = Instant::now() + timeout + Duration::from_millis(500);
        let left = deadline.saturating_duration_since(Instant::now());
        let left = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive, and polled by nobody else.
        let event = unsafe { ffi::rd_kafka_queue_poll(self.queue.as_ptr(), left) };
        let Some(event) = NonNull::new(event) else {
            return Err(failed(RDKafkaErrorCode::OperationTimedOut));
        };
        let answer = Answer(event);
        // SAFETY: the event is alive.
        match unsafe { ffi::rd_kafka_event_error(answer.event()) } {
            ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(answer),
            code => Err(failed(code.into())),
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: both are this value's own, and given back once.
        unsafe {
            ffi::rd_kafka_queue_destroy(self.queue.as_ptr());
            ffi::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
        }
    }
}

/// Which offsets are asked for: a group's, of some partitions.
pub(super) struct Wanted(NonNull<ffi::rd_kafka_ListConsumerGroupOffsets_t>);

impl Wanted {
    /// # Errors
    /// The name has a NUL in it, or librdkafka had no memory.
    pub(super) fn new(group: &str, partitions: &TopicPartitionList) -> Result<Self, KafkaError> {
        let group = CString::new(group).map_err(KafkaError::Nul)?;
        // SAFETY: both are alive, and copied before it returns.
        let wanted =
            unsafe { ffi::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), partitions.ptr()) };
        let wanted = NonNull::new(wanted).ok_or_else(|| failed(RDKafkaErrorCode::Fail))?;
        Ok(Self(wanted))
    }

    pub(super) fn pointer(&self) -> *mut ffi::rd_kafka_ListConsumerGroupOffsets_t {
        self.0.as_ptr()
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        // SAFETY: it is this value's own, and given back once.
        unsafe { ffi::rd_kafka_ListConsumerGroupOffsets_destroy(self.0.as_ptr()) }
    }
}

/// The event that a call ended with.
pub(super) struct Answer(NonNull<ffi::rd_kafka_event_t>);

impl Answer {
    pub(super) fn event(&self) -> *mut ffi::rd_kafka_event_t {
        self.0.as_ptr()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: it is this value's own, and given back once.
        unsafe { ffi::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// What an answer lends, for as long as that lives.
///
/// # Errors
/// It is an answer to another question. That cannot be; if it is, nothing is read that is not there.
///
/// # Safety
/// Both are librdkafka's: `result` gives NULL unless the event is of its type, and `elements` an array
/// with as many elements as it writes to the count, which live as long as the event.
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
        // SAFETY: as said above.
        false => Ok(unsafe { std::slice::from_raw_parts(first, count) }),
    }
}

/// A text of librdkafka's; None for NULL.
///
/// # Safety
/// It is NULL, or ends with NUL.
pub(super) unsafe fn text(lent: *const c_char) -> Option<String> {
    match lent.is_null() {
        true => None,
        // SAFETY: as said above.
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
    // SAFETY: as said above.
    unsafe { ffi::rd_kafka_error_code(error) }.into()
}
