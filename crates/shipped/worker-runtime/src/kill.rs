//! Named points at which a process can be made to die or to freeze, for the crash tests
//! (tests/crash). Without the feature `kill-points` [`reached`] is nothing at all.

#[cfg(feature = "kill-points")]
mod armed;

#[cfg(feature = "kill-points")]
pub use armed::arm;

/// A point on an event's way from the topic to the committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A batch was read from the topic; none of it is processed yet.
    AfterPoll,
    /// The admin-service has answered.
    AfterAdminCall,
    /// The transaction has begun.
    AfterBegin,
    /// The inbox rows are inserted.
    AfterInbox,
    /// The effects are written.
    AfterEffect,
    /// The transaction is complete, but not committed.
    BeforeCommit,
    /// The transaction is committed.
    AfterCommit,
    /// The outputs are read and none is sent.
    BeforeProduce,
    /// The brokers have acknowledged some outputs of a batch.
    AfterSomeAcks,
    /// The brokers have acknowledged all outputs.
    AfterProduce,
    /// An offset is about to be committed.
    BeforeOffsetCommit,
    /// The commit of an offset was requested.
    AfterOffsetCommit,
    /// Partitions are being revoked.
    OnRevoke,
}

/// The process is at `point`.
#[cfg(not(feature = "kill-points"))]
#[inline]
pub fn reached(_point: Point) {}

/// The process is at `point`: where [`arm`] says so, it ends or freezes here, within this call.
#[cfg(feature = "kill-points")]
pub fn reached(point: Point) {
    armed::reached(point);
}
