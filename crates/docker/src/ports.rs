//! Who holds a host port that a service wants.

use crate::connect::Engine;
use declaration::{Port, PortBinding, Service};
use platform::host_ports;

/// Who holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub port: u16,
    pub who: String,
    /// The exact command that frees it, if there is one.
    pub free: Option<String>,
}

impl Holder {
    /// A running container that publishes the port.
    pub(super) fn container(binding: &PortBinding) -> Self {
        let name = &binding.container;
        let of = binding.project.as_ref();
        let of = of.map(|p| format!(" of the project {p}"));
        Self {
            port: binding.number,
            who: format!("the container {name}{}", of.unwrap_or_default()),
            free: Some(format!("docker stop {name}")),
        }
    }
}

/// Whether Docker's refusal to start a container is about an occupied port.
pub(super) fn is_occupied(reason: &str) -> bool {
    ["port is already allocated", "address already in use"]
        .iter()
        .any(|text| reason.contains(text))
}

impl Engine {
    /// Who holds the port that Docker's refusal names, among those that a service publishes.
    pub(super) async fn port_holder(&self, service: &Service, reason: &str) -> Option<Holder> {
        let named = |port: u16| {
            let port = format!(":{port}");
            reason
                .split(&port)
                .skip(1)
                .any(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let published = service.ports.iter().filter_map(|p| Some((p, p.host_port?)));
        let published: Vec<_> = published.collect();
        let port = published.iter().find(|(_, number)| named(*number));
        let (port, number) = *port.or_else(|| published.first())?;
        if let Some(holder) = self.container_on(port, number).await {
            return Some(holder);
        }
        if !self.local {
            return None;
        }
        Some(process_on(number).await)
    }

    /// A running container of any project that publishes the port.
    async fn container_on(&self, port: &Port, number: u16) -> Option<Holder> {
        let bindings = self.published().await.ok()?;
        let running = bindings.iter().filter(|binding| binding.running);
        host_ports::binding(running, port, number).map(Holder::container)
    }
}

/// The process of this machine that holds a port.
pub(super) async fn process_on(port: u16) -> Holder {
    // Reading /proc is many small files.
    let found = tokio::task::spawn_blocking(move || process::on_port(port)).await;
    found.ok().flatten().unwrap_or_else(|| Holder {
        port,
        who: "a process that this user may not see".to_owned(),
        free: Some(format!("sudo ss -ltnp 'sport = :{port}'")),
    })
}

/// Processes, by `/proc` (proc(5)).
mod process {
    use std::{fs, path::Path};

    use super::Holder;

    /// The process that listens on a TCP port, where its file descriptors may be read.
    pub(super) fn on_port(port: u16) -> Option<Holder> {
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
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some(Holder {
            port,
            who: format!("the process {} (pid {pid})", name.trim()),
            free: Some(format!("kill {pid}")),
        })
    }

    /// The inode of the socket that listens on a port: state 0A, port in hexadecimal.
    pub(super) fn listening_inode(table: &str, port: u16) -> Option<u64> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_sockets_names_the_listener() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        assert_eq!(process::listening_inode(table, 8080), Some(4242));
        assert_eq!(process::listening_inode(table, 8081), None);
    }

    #[test]
    fn a_listening_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let holder = process::on_port(port).expect("this very process");
        assert_eq!(holder.free, Some(format!("kill {}", std::process::id())));
    }

    #[test]
    fn dockers_refusals_are_told_apart() {
        assert!(is_occupied(
            "Bind for 127.0.0.1:80 failed: port is already allocated"
        ));
        assert!(is_occupied(
            "listen tcp4 127.0.0.1:80: bind: address already in use"
        ));
        assert!(!is_occupied("no such image"));
    }
}
