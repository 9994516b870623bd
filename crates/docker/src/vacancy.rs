//! Whether the host ports that a pipeline declares can be had.

use std::io;

use crate::{connect::Engine, ports::Holder};
use declaration::{Port, PortBinding};
use diagnostics::Result;
use platform::host_ports;

/// Whose a host port is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vacancy {
    Free,
    /// This container of the project has it.
    Own(String),
    Taken(Holder),
    /// The address does not exist, or may not be used.
    Unusable(String),
}

impl Engine {
    /// Whose these ports are, in their order. Of another machine's engine only its containers are
    /// known.
    ///
    /// # Errors
    /// Docker does not answer.
    pub async fn vacancies(&self, project: &str, wanted: &[&Port]) -> Result<Vec<Vacancy>> {
        let bindings = self.published().await?;
        let mut vacancies = Vec::new();
        for port in wanted {
            vacancies.push(match among(&bindings, project, port) {
                Some(vacancy) => vacancy,
                None if self.local => match on_this_machine(port) {
                    Bound::Free => Vacancy::Free,
                    Bound::Unusable(why) => Vacancy::Unusable(why),
                    Bound::Taken(number) => Vacancy::Taken(self.process_on(number).await),
                },
                None => Vacancy::Free,
            });
        }
        Ok(vacancies)
    }
}

/// A running container that publishes the port.
fn among(bindings: &[PortBinding], project: &str, port: &Port) -> Option<Vacancy> {
    let running = bindings.iter().filter(|binding| binding.running);
    let holder = host_ports::binding(running, port, port.host_port?)?;
    if holder.project.as_deref() == Some(project) {
        return Some(Vacancy::Own(holder.container.clone()));
    }
    Some(Vacancy::Taken(Holder::container(holder)))
}

/// Whether a port can be bound on this machine.
#[derive(Debug, PartialEq, Eq)]
enum Bound {
    Free,
    /// Something has this number.
    Taken(u16),
    Unusable(String),
}

fn on_this_machine(port: &Port) -> Bound {
    let Some(number) = port.host_port else {
        return Bound::Free;
    };
    match host_ports::try_bind(port, number) {
        Ok(()) => Bound::Free,
        // Below 1024 only Docker itself may tell.
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
    fn a_container_that_publishes_a_port_holds_it() {
        let bindings = [publishing(true)];
        let found = |project, port| among(&bindings, project, &port);
        assert_eq!(
            found("shop", port("127.0.0.1", 8080)),
            Some(Vacancy::Own("shop-web".to_owned()))
        );
        let Some(Vacancy::Taken(holder)) = found("other", port("0.0.0.0", 8080)) else {
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
        let Some(Vacancy::Taken(holder)) = by_label else {
            panic!("taken by what only inherits a label");
        };
        assert_eq!(holder.who, "the container shop-web");
        assert_eq!(found("other", port("127.0.0.2", 8080)), None);
        assert_eq!(found("other", port("127.0.0.1", 8081)), None);
    }

    #[test]
    fn a_container_that_does_not_run_holds_nothing_yet() {
        let bindings = [publishing(false)];
        assert_eq!(among(&bindings, "other", &port("127.0.0.1", 8080)), None);
    }

    #[test]
    fn a_listening_process_holds_a_port() {
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
