//! The log lines of an event's steps in a worker. `verify` and `test-flow` search for these texts
//! (`stages` in compose.yaml).

use caravan_events::Payload;
use uuid::Uuid;

use super::Received;

/// Topic, type and id of an emitted event, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EmittedRef {
    pub(super) topic: &'static str,
    pub(super) event_type: &'static str,
    pub(super) event_id: Uuid,
}

pub(crate) fn received<P: Payload>(received: &Received<P>) {
    log("message received", received, false);
}

pub(crate) fn processing<P: Payload>(received: &Received<P>) {
    log("processing started", received, false);
}

pub(crate) fn written<P: Payload>(received: &Received<P>, duplicate: bool) {
    log("database write completed", received, duplicate);
}

pub(crate) fn processed<P: Payload>(received: &Received<P>, duplicate: bool) {
    log("message processed successfully", received, duplicate);
}

/// The event's own type and id first, as in the other stages; then what was emitted.
pub(crate) fn emitted<P: Payload>(received: &Received<P>, emitted: EmittedRef) {
    tracing::info!(
        eventType = P::EVENT_TYPE,
        correlationId = %received.event.correlation_id,
        eventId = %received.event.event_id,
        emittedType = emitted.event_type,
        emittedId = %emitted.event_id,
        "event emitted"
    );
}

fn log<P: Payload>(text: &'static str, received: &Received<P>, duplicate: bool) {
    tracing::info!(
        eventType = P::EVENT_TYPE,
        correlationId = %received.event.correlation_id,
        eventId = %received.event.event_id,
        partition = received.partition,
        offset = received.offset,
        duplicate = duplicate.then_some(true),
        "{text}"
    );
}
