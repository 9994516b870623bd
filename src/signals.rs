//! The signals that end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal was closed).

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives the three signals from its creation on. Their default action, which ends the process, no longer
/// applies.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None: SIGHUP was ignored when the process started, as under `nohup`.
    hangup: Option<Signal>,
}

impl Signals {
    /// # Errors
    /// The process cannot install a signal handler.
    pub(crate) fn listen() -> io::Result<Self> {
        let hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
        })
    }

    /// Waits for the first request to stop.
    pub(crate) async fn stop(&mut self) {
        let Self {
            interrupt,
            terminate,
            hangup,
        } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
        }
    }

    /// Waits for a request to stop at once, after [`Self::stop`]. SIGHUP does not count: when a terminal is
    /// closed, the kernel and the shell both send one, and a service manager sends it along with SIGTERM.
    pub(crate) async fn stop_at_once(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Whether this process ignores SIGHUP. Read from `/proc`; false on systems without it, where only unsafe code
/// could find out.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, SignalKind::hangup())
}

/// `status`: the text of `/proc/PID/status`.
fn ignores(status: &str, kind: SignalKind) -> bool {
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_read_from_the_process_status() {
        let status = "Name:\tcaravan\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(ignores(status, SignalKind::hangup()));
        assert!(!ignores(status, SignalKind::interrupt()));
        assert!(!ignores("", SignalKind::hangup()));
    }
}
