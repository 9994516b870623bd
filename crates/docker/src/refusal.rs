//! Recognises the reason of Docker's errors by their messages (20.10 to 28).

/// A recognised reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Where Docker keeps its data.
    DiskFull,
    NoSuchCommand,
    NotExecutable,
    /// For another architecture, or a script without `#!`.
    ForeignFormat,
    NoSuchUser,
    /// A directory mounted onto a file, or a file onto a directory.
    MountMismatch,
    /// The container with this id has the name.
    NameTaken(String),
    /// The driver of a volume or a network.
    NoDriver(String),
    /// All of Docker's address ranges are in use.
    NoAddresses,
}

impl Refusal {
    pub(super) fn of(reason: &str) -> Option<Self> {
        let says = |text: &str| reason.contains(text);
        if is_disk_full(reason) {
            return Some(Self::DiskFull);
        }
        if is_foreign_format(reason) {
            return Some(Self::ForeignFormat);
        }
        if says("re you trying to mount a directory onto a file") {
            return Some(Self::MountMismatch);
        }
        if says("exec: ") && (says("file not found in $PATH") || says("no such file or directory"))
        {
            return Some(Self::NoSuchCommand);
        }
        if says("exec: ") && (says("permission denied") || says("is a directory")) {
            return Some(Self::NotExecutable);
        }
        if says("unable to find user") || says("unable to find group") {
            return Some(Self::NoSuchUser);
        }
        if says("non-overlapping") || says("Pool overlaps") || says("fully subnetted") {
            return Some(Self::NoAddresses);
        }
        if let Some(id) = between(reason, "is already in use by container \"", "\"") {
            return Some(Self::NameTaken(id));
        }
        between(reason, "plugin \"", "\" not found").map(Self::NoDriver)
    }
}

/// Whether a message reports `ENOSPC`.
pub(super) fn is_disk_full(text: &str) -> bool {
    text.to_ascii_lowercase()
        .contains("no space left on device")
}

/// Whether a message reports `ENOEXEC`.
pub(super) fn is_foreign_format(text: &str) -> bool {
    text.to_ascii_lowercase().contains("exec format error")
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    Some(found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_messages_are_recognised() {
        let runc =
            "OCI runtime create failed: runc create failed: unable to start container process";
        for (reason, refusal) in [
            (
                "write /var/lib/docker/tmp/x: no space left on device",
                Refusal::DiskFull,
            ),
            (
                &format!("{runc}: exec: \"nope\": executable file not found in $PATH: unknown"),
                Refusal::NoSuchCommand,
            ),
            (
                &format!("{runc}: exec: \"/a/b\": stat /a/b: no such file or directory: unknown"),
                Refusal::NoSuchCommand,
            ),
            (
                &format!("{runc}: exec: \"/etc/passwd\": permission denied: unknown"),
                Refusal::NotExecutable,
            ),
            (
                &format!("{runc}: exec /x: exec format error: unknown"),
                Refusal::ForeignFormat,
            ),
            (
                &format!(
                    "{runc}: error mounting \"/a\" to rootfs at \"/etc/passwd\": not a directory: \
                     unknown: Are you trying to mount a directory onto a file (or vice-versa)?"
                ),
                Refusal::MountMismatch,
            ),
            (
                "unable to find user nobodyatall: no matching entries in passwd file",
                Refusal::NoSuchUser,
            ),
            (
                "Conflict. The container name \"/db\" is already in use by container \"9592de\". \
                 You have to remove (or rename) that container to be able to reuse that name.",
                Refusal::NameTaken("9592de".to_owned()),
            ),
            (
                "create v: error looking up volume plugin nfs: plugin \"nfs\" not found",
                Refusal::NoDriver("nfs".to_owned()),
            ),
            (
                "could not find an available, non-overlapping IPv4 address pool among the defaults \
                 to assign to the network",
                Refusal::NoAddresses,
            ),
        ] {
            assert_eq!(Refusal::of(reason), Some(refusal), "{reason}");
        }
        assert_eq!(Refusal::of("invalid restart policy"), None);
    }
}
