//! Whether the host ports that a pipeline declares are available.

use std::io;

use crate::{connect::Engine, ports::Holder};
use declaration::{Port, PortBinding};
use diagnostics::Result;
use platform::host_ports;

/// Whether a host port can be published, and what occupies it otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortAvailability {
    /// Nothing occupies it.
    Free,
    /// This container of the project publishes it.
    Own(String),
    /// Another container or a process occupies it.
    Taken(Holder),
    /// The address does not exist, or may not be bound; with the reason.
    Unusable(String),
}

impl Engine {
    /// The availability of each port, in their order. If the engine runs on another machine, only its
    /// containers count: Caravan cannot see that machine's processes.
    ///
    /// # Errors
    /// Docker does not respond.
    pub async fn port_availability(
        &self,
        project: &str,
        wanted: &[&Port],
    ) -> Result<Vec<PortAvailability>> {
        let bindings = self.published().await?;
        let mut availability = Vec::new();
        for port in wanted {
            availability.push(match among(&bindings, project, port) {
                Some(availability) => availability,
                None if self.local => match on_this_machine(port) {
                    Bound::Free => PortAvailability::Free,
                    Bound::Unusable(why) => PortAvailability::Unusable(why),
                    Bound::Taken(number) => PortAvailability::Taken(self.process_on(number).await),
                },
                None => PortAvailability::Free,
            });
        }
        Ok(availability)
    }
}

/// A running container that publishes the port.
fn among(bindings: &[PortBinding], project: &str, port: &Port) -> Option<PortAvailability> {
    let running = bindings.iter().filter(|binding| binding.running);
    let holder = host_ports::binding(running, port, port.host_port?)?;
    if holder.project.as_deref() == Some(project) {
        return Some(PortAvailability::Own(holder.container.clone()));
    }
    Some(PortAvailability::Taken(Holder::container(holder)))
}

/// Whether a port can be bound on this machine.
#[derive(Debug, PartialEq, Eq)]
enum Bound {
    Free,
    /// A process listens on this number.
    Taken(u16),
    Unusable(String),
}

fn on_this_machine(port: &Port) -> Bound {
    let Some(number) = port.host_port else {
        return Bound::Free;
    };
    match host_ports::try_bind(port, number) {
        Ok(()) => Bound::Free,
        // An unprivileged user may not bind ports below 1024; Docker's daemon can.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Bound::Free,
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Bound::Taken(number),
        Err(e) => Bound::Unusable(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn port(host_ip: &str, number: u16) -> Port {
        Port {
            host_ip: host_ip.to_owned(),
            host_port: Some(number),
            host_range: None,
            container_port: 80,
            protocol: "tcp".to_owned(),
        }
    }

    fn publishing(running: bool) -> PortBinding {
        PortBinding {
            host_ip: "127.0.0.1".to_owned(),
            number: 8080,
            protocol: "tcp".to_owned(),
            container: "shop-web".to_owned(),
            project: Some("shop".to_owned()),
            running,
        }
    }

    #[test]
    fn a_running_container_occupies_its_ports() {
        let bindings = [publishing(true)];
        let found = |project, port| among(&bindings, project, &port);
        assert_eq!(
            found("shop", port("127.0.0.1", 8080)),
            Some(PortAvailability::Own("shop-web".to_owned()))
        );
        let Some(PortAvailability::Taken(holder)) = found("other", port("0.0.0.0", 8080)) else {
            panic!("taken by another project");
        };
        assert_eq!(holder.who, "the container shop-web of the project shop");
        assert_eq!(
            holder.advice("set WEB_PORT"),
            "set WEB_PORT; or stop the container shop-web of the project shop yourself, if nothing \
             needs it"
        );
        let mut inherits = publishing(true);
        inherits.project = None;
        let by_label = among(&[inherits], "shop", &port("127.0.0.1", 8080));
        let Some(PortAvailability::Taken(holder)) = by_label else {
            panic!("taken by what only inherits a label");
        };
        assert_eq!(holder.who, "the container shop-web");
        assert_eq!(found("other", port("127.0.0.2", 8080)), None);
        assert_eq!(found("other", port("127.0.0.1", 8081)), None);
    }

    #[test]
    fn a_stopped_container_occupies_nothing() {
        let bindings = [publishing(false)];
        assert_eq!(among(&bindings, "other", &port("127.0.0.1", 8080)), None);
    }

    #[test]
    fn a_listening_process_occupies_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let number = listener.local_addr().expect("bound").port();
        let wanted = port("127.0.0.1", number);
        assert_eq!(on_this_machine(&wanted), Bound::Taken(number));
        drop(listener);
        assert_eq!(on_this_machine(&wanted), Bound::Free);
        let elsewhere = on_this_machine(&port("192.0.2.1", number));
        assert!(matches!(elsewhere, Bound::Unusable(_)), "{elsewhere:?}");
    }
}
