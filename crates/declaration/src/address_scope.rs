//! From where declared addresses are reachable: only from the host, only from the pipeline's network
//! (the host name is a service's), or from both.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Pipeline, Service};

/// Which declared addresses a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Kafka's.
    Kafka,
    /// All.
    Everything,
}

/// From where an address is reachable.
#[derive(Debug, Clone, Copy)]
pub enum AddressScope<'a> {
    /// A loopback address: only from the host.
    Host,
    /// A name of this service: only from the pipeline's network, because only Docker's DNS resolves it.
    Inside(&'a Service),
    /// Another address: from both.
    Anywhere,
}

/// A declared address with its place in the declaration.
pub struct DeclaredAddress<'a> {
    /// Keys from the root of the declaration to the address.
    pub path: Vec<&'a str>,
    /// Host name or IP address, without port.
    pub host: &'a str,
    /// From where it is reachable.
    pub scope: AddressScope<'a>,
}

impl Pipeline {
    /// All declared addresses; each of Kafka's brokers is one.
    pub fn addresses(&self) -> Vec<DeclaredAddress<'_>> {
        let endpoints = [
            ("kafka", "bootstrap", &self.kafka),
            ("postgres", "url", &self.postgres),
            ("redis", "url", &self.redis),
        ];
        let mut declared = Vec::new();
        for (key, address, endpoint) in endpoints {
            let addresses = endpoint.iter().flat_map(|e| e.address.split(','));
            declared.extend(addresses.map(|at| self.declared(vec!["x-caravan", key, address], at)));
        }
        for service in &self.services {
            let path = vec!["services", service.name.as_str(), "x-caravan", "http"];
            declared.extend(
                service
                    .http
                    .iter()
                    .map(|http| self.declared(path.clone(), &http.url)),
            );
        }
        declared
    }

    fn declared<'a>(&'a self, path: Vec<&'a str>, address: &'a str) -> DeclaredAddress<'a> {
        let host = host(address);
        DeclaredAddress {
            path,
            host,
            scope: self.scope(host),
        }
    }

    /// From where the host of an address is reachable.
    fn scope(&self, host: &str) -> AddressScope<'_> {
        if is_loopback(host) {
            return AddressScope::Host;
        }
        let mut services = self.services.iter();
        match services.find(|service| self.answers_to(service, host)) {
            Some(service) => AddressScope::Inside(service),
            None => AddressScope::Anywhere,
        }
    }

    /// Docker's names of the networks from which the needed addresses are reachable. Empty: the host
    /// reaches all of them.
    pub fn networks_inside(&self, needs: Needs) -> Vec<String> {
        let addresses = self.addresses();
        let needed = addresses
            .iter()
            .filter(|a| needs == Needs::Everything || a.path[..2] == ["x-caravan", "kafka"]);
        let services = needed.filter_map(|a| match a.scope {
            AddressScope::Inside(service) => Some(service),
            AddressScope::Host | AddressScope::Anywhere => None,
        });
        let keys: BTreeSet<&str> = services
            .flat_map(|service| service.networks.iter().map(|used| used.network.as_str()))
            .collect();
        let networks = self.networks.iter();
        let inside = networks.filter(|network| keys.contains(network.key.as_str()));
        inside.map(|network| network.name.clone()).collect()
    }

    /// Whether a declared address (`host:port` list or URL) is reachable only from the pipeline's network.
    pub fn is_inside(&self, address: &str) -> bool {
        let mut hosts = address.split(',').map(host);
        hosts.any(|host| matches!(self.scope(host), AddressScope::Inside(_)))
    }

    /// Whether Docker's DNS resolves this name to a service.
    fn answers_to(&self, service: &Service, name: &str) -> bool {
        if service.runtime.network_mode.is_some() {
            return false;
        }
        let derived = format!("{}-{}", self.project, service.name);
        let container = service.container_name.as_ref().unwrap_or(&derived);
        let replica = |n: u32| format!("{container}-{n}");
        let aliases = service.networks.iter().flat_map(|used| &used.aliases);
        let mut names = [&service.name, container]
            .into_iter()
            .chain(&service.hostname)
            .chain(aliases);
        names.any(|known| known.eq_ignore_ascii_case(name))
            || (2..=service.replicas).any(|n| replica(n).eq_ignore_ascii_case(name))
    }
}

/// The host of `HOST:PORT` or a URL.
pub(super) fn host(address: &str) -> &str {
    let address = address.trim();
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((host, _)) => host,
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address() {
        for (address, expected) in [
            ("kafka:9092", "kafka"),
            (" broker-2:9092", "broker-2"),
            (
                "postgres://shop:p%40ss@db.internal:5432/shop?x=@y:1",
                "db.internal",
            ),
            ("redis://:secret@127.0.0.1:6379/0", "127.0.0.1"),
            ("http://payments", "payments"),
            ("http://[::1]:8080/base", "::1"),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
        for (host, expected) in [
            ("localhost", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("kafka", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
