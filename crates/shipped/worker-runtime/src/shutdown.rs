//! Shutdown of a process: SIGTERM (`docker stop`) or SIGINT (Ctrl-C) cancels one token, which all
//! waits observe.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::RunError;

/// A token that the first SIGTERM or SIGINT cancels. Call it within a Tokio runtime.
///
/// # Errors
/// The signal handlers could not be installed.
pub fn token() -> Result<CancellationToken, RunError> {
    let terminate = listen(SignalKind::terminate())?;
    let interrupt = listen(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    tokio::spawn(cancel_on_signal(terminate, interrupt, token.clone()));
    Ok(token)
}

fn listen(kind: SignalKind) -> Result<Signal, RunError> {
    signal(kind).map_err(|e| RunError::Start(format!("cannot listen for signals: {e}")))
}

async fn cancel_on_signal(mut terminate: Signal, mut interrupt: Signal, token: CancellationToken) {
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "stopping");
    token.cancel();
}
