//! Replaces declared ports by the ports that the project's containers really publish. The two differ if
//! the project was started with another `.env`.

use std::collections::BTreeSet;

use super::{
    Endpoint, Mount, MountSource, Pipeline, Service,
    address_scope::{host, is_loopback},
};

/// A port without a listener: the host refuses connections to it at once.
const CLOSED_PORT: u16 = 1;

/// A published TCP port of a running container of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// Name of the service.
    pub service: String,
    /// Port in the container.
    pub container_port: u16,
    /// Port on the host.
    pub host_port: u16,
}

/// TCP ports of the host that are in use.
#[derive(Debug, Clone, Default)]
pub struct DeployedPorts {
    /// Ports of the project's running containers.
    pub own: Vec<PublishedPort>,
    /// Ports of other containers and processes.
    pub others: BTreeSet<u16>,
}

impl Pipeline {
    /// Docker's names of the named volumes that a service mounts.
    pub fn volumes_of(&self, service: &Service) -> Vec<&str> {
        let mounts = |key: &String| {
            let is = |m: &Mount| matches!(&m.source, MountSource::Volume(k) if k == key);
            service.mounts.iter().any(is)
        };
        let volumes = self.volumes.iter().filter(|volume| mounts(&volume.key));
        volumes.map(|volume| volume.name.as_str()).collect()
    }

    /// Ports of the declared addresses: Kafka, Postgres, Redis and the services' HTTP URLs.
    pub fn declared_host_ports(&self) -> BTreeSet<u16> {
        let endpoints = [&self.kafka, &self.postgres, &self.redis];
        let addresses = endpoints.into_iter().flatten();
        let addresses = addresses.flat_map(|endpoint| endpoint.address.split(','));
        let urls = self.services.iter().filter_map(|s| s.http.as_ref());
        let urls = urls.map(|http| http.url.as_str());
        addresses.chain(urls).filter_map(port).collect()
    }

    /// Replaces the ports of loopback addresses by those that the services' containers publish. If a
    /// service has no running container and its port is in use, the address gets a port without a
    /// listener: no command may connect to another project's service.
    pub fn use_deployed_ports(&mut self, ports: &DeployedPorts) {
        let Self {
            kafka,
            postgres,
            redis,
            services,
            ..
        } = self;
        for endpoint in [kafka, postgres, redis].into_iter().flatten() {
            let Endpoint {
                service, address, ..
            } = endpoint;
            let named = |s: &&Service| Some(&s.name) == service.as_ref();
            if let Some(service) = services.iter().find(named) {
                let parts = address.split(',');
                let parts: Vec<_> = parts.map(|at| reached(at, service, ports)).collect();
                *address = parts.join(",");
            }
        }
        for service in services {
            let Some(url) = service.http.as_ref().map(|http| http.url.clone()) else {
                continue;
            };
            let url = reached(&url, service, ports);
            if let Some(http) = &mut service.http {
                http.url = url;
            }
        }
    }
}

/// An address of a service with the port that its container publishes. Addresses with a port that the
/// service does not publish (for instance a proxy's) are not changed.
fn reached(address: &str, service: &Service, ports: &DeployedPorts) -> String {
    let Some(declared) = port(address).filter(|_| is_loopback(host(address))) else {
        return address.to_owned();
    };
    let published = service.ports.iter();
    let mut published = published.filter(|p| p.protocol == "tcp");
    let Some(published) = published.find(|p| p.host_port == Some(declared)) else {
        return address.to_owned();
    };
    let of_service = |own: &&PublishedPort| {
        own.service == service.name && own.container_port == published.container_port
    };
    let own: Vec<_> = ports.own.iter().filter(of_service).collect();
    let now = match own.first() {
        Some(_) if own.iter().any(|own| own.host_port == declared) => declared,
        Some(own) => own.host_port,
        None if ports.others.contains(&declared) => CLOSED_PORT,
        None => declared,
    };
    with_port(address, now)
}

/// The range of the port's digits in `HOST:PORT` or a URL.
fn digits(address: &str) -> Option<std::ops::Range<usize>> {
    let begin = address.find("://").map_or(0, |at| at + 3);
    let rest = &address[begin..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let colon = authority.rfind(':')?;
    let digits = &authority[colon + 1..];
    let number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    number.then_some(begin + colon + 1..begin + end)
}

fn port(address: &str) -> Option<u16> {
    let address = address.trim();
    match digits(address) {
        Some(at) => address[at].parse().ok(),
        None if address.starts_with("http://") => Some(80),
        None => None,
    }
}

fn with_port(address: &str, port: u16) -> String {
    let address = address.trim();
    let mut changed = address.to_owned();
    match digits(address) {
        Some(at) => changed.replace_range(at, &port.to_string()),
        None if port != 80 => {
            let begin = address.find("://").map_or(0, |at| at + 3);
            let end = address[begin..].find(['/', '?', '#']);
            let end = end.map_or(address.len(), |end| begin + end);
            changed.insert_str(end, &format!(":{port}"));
        }
        None => {}
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Port;
    use crate::testing::{depending, pipeline};

    fn published(service: &str, container_port: u16, host_port: u16) -> PublishedPort {
        PublishedPort {
            service: service.to_owned(),
            container_port,
            host_port,
        }
    }

    /// The address of a database that is declared at port 15432.
    fn reached(url: &str, ports: &DeployedPorts) -> String {
        let mut db = depending("db", &[]);
        db.ports.push(Port {
            host_ip: "127.0.0.1".to_owned(),
            host_port: Some(15432),
            host_range: None,
            container_port: 5432,
            protocol: "tcp".to_owned(),
        });
        let mut pipeline = pipeline(vec![db]);
        pipeline.postgres = Some(Endpoint {
            service: Some("db".to_owned()),
            address: url.to_owned(),
        });
        pipeline.use_deployed_ports(ports);
        pipeline.postgres.expect("declared").address
    }

    #[test]
    fn the_port_of_the_own_container_replaces_the_declared_one() {
        let url = "postgres://me:p%40:1@127.0.0.1:15432/shop?x=a:1";
        let own = |port| DeployedPorts {
            own: vec![published("web", 5432, 1111), published("db", 5432, port)],
            others: BTreeSet::from([15432]),
        };
        assert_eq!(reached(url, &own(15432)), url);
        assert_eq!(
            reached(url, &own(30001)),
            "postgres://me:p%40:1@127.0.0.1:30001/shop?x=a:1"
        );
        let by_a_proxy = "postgres://me@127.0.0.1:9999/shop";
        assert_eq!(reached(by_a_proxy, &own(30001)), by_a_proxy);
        let inside = "postgres://me@db:15432/shop";
        assert_eq!(reached(inside, &own(30001)), inside);
    }

    #[test]
    fn a_port_of_another_process_is_not_used() {
        let url = "postgres://me@localhost:15432/shop";
        assert_eq!(reached(url, &DeployedPorts::default()), url);
        let ports = DeployedPorts {
            own: Vec::new(),
            others: BTreeSet::from([15432]),
        };
        assert_eq!(reached(url, &ports), "postgres://me@localhost:1/shop");
    }

    #[test]
    fn a_port_is_found_in_every_kind_of_address() {
        for (address, at, changed) in [
            ("localhost:29092", Some(29092), "localhost:7"),
            ("http://localhost/x:1", Some(80), "http://localhost:7/x:1"),
            ("http://[::1]:8080", Some(8080), "http://[::1]:7"),
            ("redis://:a:b@h:1/0", Some(1), "redis://:a:b@h:7/0"),
        ] {
            assert_eq!(port(address), at, "{address}");
            assert_eq!(with_port(address, 7), changed);
        }
    }
}
