//! How a worker ends: by the shutdown token (SIGTERM), or with a fatal error.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::RunError;

/// The shutdown token, and the first error that cancelled it, if one did.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    shutdown: CancellationToken,
    fatal: Arc<Mutex<Option<RunError>>>,
}

impl Ending {
    pub(crate) fn new(shutdown: CancellationToken) -> Self {
        Self {
            shutdown,
            fatal: Arc::default(),
        }
    }

    /// Shuts the worker down and makes this its result, unless an earlier fatal error exists. The
    /// current batches are finished first.
    pub(crate) fn fatal(&self, error: RunError) {
        tracing::error!(%error, "cannot go on");
        let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        fatal.get_or_insert(error);
        self.shutdown.cancel();
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// The worker's result: the first fatal error, if any.
    pub(crate) fn result(&self) -> Result<(), RunError> {
        let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        fatal.take().map_or(Ok(()), Err)
    }
}
