//! What an exit code means, by the conventions of shells, Docker and Unix.

/// The meaning in a few words; None: the code has none by convention.
pub(super) fn meaning(code: i64) -> Option<&'static str> {
    match code {
        126 => Some("its command cannot be executed"),
        127 => Some("its command was not found"),
        137 => Some("SIGKILL: it was killed"),
        139 => Some("SIGSEGV: it crashed on a memory fault"),
        143 => Some("SIGTERM: it was stopped"),
        _ => signal(code - 128),
    }
}

/// A shell's exit code is 128 and the number of the signal that ended its command (signal(7)).
fn signal(number: i64) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::meaning;

    #[test]
    fn signals_and_conventions_have_names() {
        assert_eq!(meaning(134), Some("SIGABRT"));
        assert_eq!(meaning(127), Some("its command was not found"));
        for own in [0, 1, 75, 128, 255] {
            assert_eq!(meaning(own), None);
        }
    }
}
