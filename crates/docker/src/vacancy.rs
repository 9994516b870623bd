//! Whether the host ports that a pipeline declares can be had.

use std::io;

use crate::{
    connect::Engine,
    ports::{self, Holder},
};
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
                None if self.local => on_this_machine(port).await,
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

/// Whether the port can be bound here, and by whom it is held if not.
async fn on_this_machine(port: &Port) -> Vacancy {
    let Some(number) = port.host_port else {
        return Vacancy::Free;
    };
    match host_ports::try_bind(port, number) {
        Ok(()) => Vacancy::Free,
        // Below 1024 only Docker itself may tell.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Vacancy::Free,
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            Vacancy::Taken(ports::process_on(number).await)
        }
        Err(e) => Vacancy::Unusable(e.to_string()),
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
        assert_eq!(holder.free.as_deref(), Some("docker stop shop-web"));
        assert_eq!(found("other", port("127.0.0.2", 8080)), None);
        assert_eq!(found("other", port("127.0.0.1", 8081)), None);
    }

    #[test]
    fn a_container_that_does_not_run_holds_nothing_yet() {
        let bindings = [publishing(false)];
        assert_eq!(among(&bindings, "other", &port("127.0.0.1", 8080)), None);
    }

    #[tokio::test]
    async fn a_listening_process_holds_a_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let number = listener.local_addr().expect("bound").port();
        let Vacancy::Taken(holder) = on_this_machine(&port("127.0.0.1", number)).await else {
            panic!("this very process has it");
        };
        assert!(
            holder.who.contains(&std::process::id().to_string()),
            "{holder:?}"
        );
        drop(listener);
        assert_eq!(
            on_this_machine(&port("127.0.0.1", number)).await,
            Vacancy::Free
        );
        let elsewhere = on_this_machine(&port("192.0.2.1", number)).await;
        assert!(matches!(elsewhere, Vacancy::Unusable(_)), "{elsewhere:?}");
    }
}
