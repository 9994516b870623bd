//! Whether the host ports that a pipeline declares can be had.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
};

use bollard::{models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};

use crate::{connect::Engine, ports::Holder, published};
use declaration::Port;
use diagnostics::Result;

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
        let options = ListContainersOptionsBuilder::new().build();
        let list = self.docker.list_containers(Some(options));
        let containers = self.call("list containers", list).await?;
        let mut vacancies = Vec::new();
        for port in wanted {
            vacancies.push(match among(&containers, project, port) {
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
fn among(containers: &[ContainerSummary], project: &str, port: &Port) -> Option<Vacancy> {
    let wanted = port.host_port?;
    let publishes = |c: &&ContainerSummary| {
        c.ports.iter().flatten().any(|p| {
            let protocol = p.typ.map(|t| t.to_string());
            p.public_port == Some(wanted)
                && protocol.is_none_or(|protocol| protocol == port.protocol)
                && overlap(p.ip.as_deref().unwrap_or_default(), &port.host_ip)
        })
    };
    let holder = containers.iter().find(publishes)?;
    if published::project(holder).is_some_and(|owner| owner == project) {
        return Some(Vacancy::Own(published::name(holder)));
    }
    Some(Vacancy::Taken(Holder::container(wanted, holder)))
}

/// Whether two addresses of a host cannot both have one port.
fn overlap(one: &str, other: &str) -> bool {
    let all = |ip: &str| {
        ip.parse::<IpAddr>()
            .map_or(ip.is_empty(), |ip| ip.is_unspecified())
    };
    one == other || all(one) || all(other)
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
    let ip = port.host_ip.parse();
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let bound = match port.protocol.as_str() {
        "udp" => UdpSocket::bind((ip, number)).map(drop),
        _ => TcpListener::bind((ip, number)).map(drop),
    };
    match bound {
        Ok(()) => Bound::Free,
        // Below 1024 only Docker itself may tell.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Bound::Free,
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Bound::Taken(number),
        Err(e) => Bound::Unusable(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{PortSummary, PortSummaryTypeEnum};

    use super::*;
    use platform::labels;

    fn port(host_ip: &str, number: u16) -> Port {
        Port {
            host_ip: host_ip.to_owned(),
            host_port: Some(number),
            container_port: 80,
            protocol: "tcp".to_owned(),
        }
    }

    fn publishing(project: &str, ip: &str, number: u16) -> ContainerSummary {
        ContainerSummary {
            names: Some(vec!["/shop-web".to_owned()]),
            labels: Some(
                [
                    (labels::PROJECT, project),
                    (labels::NUMBER, "1"),
                    (labels::COMPOSE_HASH, "0"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ),
            ports: Some(vec![PortSummary {
                ip: Some(ip.to_owned()),
                public_port: Some(number),
                private_port: 80,
                typ: Some(PortSummaryTypeEnum::TCP),
            }]),
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn a_container_that_publishes_a_port_holds_it() {
        let containers = [publishing("shop", "127.0.0.1", 8080)];
        let found = |project, port| among(&containers, project, &port);
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
        let mut inherits = publishing("shop", "127.0.0.1", 8080);
        let labels = inherits.labels.get_or_insert_default();
        labels.retain(|name, _| name == labels::PROJECT);
        let by_label = among(&[inherits], "shop", &port("127.0.0.1", 8080));
        let Some(Vacancy::Taken(holder)) = by_label else {
            panic!("taken by what only inherits a label");
        };
        assert_eq!(holder.who, "the container shop-web");
        assert_eq!(found("other", port("127.0.0.2", 8080)), None);
        assert_eq!(found("other", port("127.0.0.1", 8081)), None);
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
