//! The process that listens on a port of this machine, and the container that it belongs to, by
//! `/proc` (proc(5), cgroups(7)).

use std::{fs, path::Path};

/// A process that listens on a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) pid: u32,
    /// Its executable's name.
    pub(super) name: String,
    /// Where it runs in a container, or is the monitor of one.
    pub(super) container: Option<InContainer>,
}

/// A container, identified by its process' cgroup and command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InContainer {
    pub(super) id: String,
    pub(super) runtime: Runtime,
    /// From the command line, if it has the name.
    pub(super) name: Option<String>,
}

/// The engine that runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runtime {
    Docker,
    Podman,
    Other,
}

/// The process that listens on a TCP port, where its file descriptors may be read.
pub(super) fn on_port(port: u16) -> Option<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pid = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| has_open(&Path::new("/proc").join(pid.to_string()), &socket))?;
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(Listener {
        pid,
        name: read("comm").trim().to_owned(),
        container: monitored(&read("cmdline")).or_else(|| container(&read("cgroup"), &own)),
    })
}

/// The inode of the socket that listens on a port: state 0A, port in hexadecimal.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9)?.parse().ok())?
    })
}

fn has_open(process: &Path, socket: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|target| target.as_os_str() == socket)
}

/// The container whose monitor a process is: `conmon -c ID … -n NAME` (conmon(8)). Podman's monitor
/// holds its container's published ports.
fn monitored(command_line: &str) -> Option<InContainer> {
    let words: Vec<_> = command_line.split('\0').collect();
    if Path::new(words.first()?).file_name()? != "conmon" {
        return None;
    }
    let after = |options: [&str; 2]| {
        let at = words.iter().position(|word| options.contains(word))?;
        words.get(at + 1).map(|word| (*word).to_owned())
    };
    Some(InContainer {
        id: after(["-c", "--cid"])?,
        runtime: Runtime::Podman,
        name: after(["-n", "--name"]),
    })
}

/// The container that a process runs in: the innermost of its cgroup's path that has a container's
/// id. The container that Caravan itself runs in is skipped.
fn container(cgroup: &str, own: &str) -> Option<InContainer> {
    let paths = cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let parts = paths.flat_map(|path| path.rsplit('/').map(move |part| (path, part)));
    parts
        .filter_map(|(path, part)| Some((path, container_id(part)?)))
        .find(|(_, id)| !own.contains(id))
        .map(|(path, id)| InContainer {
            id: id.to_owned(),
            runtime: match path {
                _ if path.contains("libpod") => Runtime::Podman,
                _ if path.contains("docker") => Runtime::Docker,
                _ => Runtime::Other,
            },
            name: None,
        })
}

/// The id in `docker-ID.scope`, in `libpod-conmon-ID.scope`, or without a prefix: 64 hexadecimal digits.
fn container_id(part: &str) -> Option<&str> {
    let mut words = part.split(|c: char| !c.is_ascii_hexdigit());
    words.rfind(|word| word.len() == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592";

    #[test]
    fn the_table_of_sockets_names_the_listener() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        assert_eq!(listening_inode(table, 8080), Some(4242));
        assert_eq!(listening_inode(table, 8081), None);
    }

    #[test]
    fn a_listening_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let found = on_port(port).expect("this very process");
        assert_eq!((found.pid, found.container), (std::process::id(), None));
    }

    #[test]
    fn a_cgroup_names_the_container() {
        for (cgroup, runtime) in [
            (
                format!("0::/system.slice/docker-{ID}.scope"),
                Runtime::Docker,
            ),
            (format!("12:cpu:/docker/{ID}\n0::/"), Runtime::Docker),
            (
                format!("0::/machine.slice/libpod-{ID}.scope/container"),
                Runtime::Podman,
            ),
            (
                format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
                Runtime::Podman,
            ),
            (
                format!("0::/kubepods.slice/cri-containerd-{ID}.scope"),
                Runtime::Other,
            ),
        ] {
            let expected = InContainer {
                id: ID.to_owned(),
                runtime,
                name: None,
            };
            assert_eq!(container(&cgroup, ""), Some(expected), "{cgroup}");
        }
        assert_eq!(container("0::/user.slice/session-3.scope", ""), None);
    }

    #[test]
    fn the_container_that_caravan_runs_in_is_no_container_of_others() {
        let cgroup = format!("0::/docker/{ID}");
        assert_eq!(container(&cgroup, &cgroup), None);
        let inner = ID.replace('5', "6");
        let nested = format!("{cgroup}/docker/{inner}");
        let found = container(&nested, &cgroup).expect("another one inside");
        assert_eq!(found.id, inner);
    }

    #[test]
    fn podmans_monitor_names_its_container() {
        let words = ["/usr/bin/conmon", "--api-version", "1", "-c", ID, "-u", ID];
        let line = [
            &words[..],
            &["-r", "/usr/bin/crun", "-n", "other-kafka", ""],
        ]
        .concat();
        let expected = InContainer {
            id: ID.to_owned(),
            runtime: Runtime::Podman,
            name: Some("other-kafka".to_owned()),
        };
        assert_eq!(monitored(&line.join("\0")), Some(expected));
        assert_eq!(monitored("/usr/bin/nc\0-l\0-n\08080\0"), None);
    }
}
