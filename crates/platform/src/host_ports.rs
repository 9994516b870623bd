//! Which container or process uses a host port. `up`, `up --dry-run`, `doctor` and error messages
//! share this rule.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
};

use declaration::{Port, PortBinding};

/// The host ports that containers of any project publish.
pub struct UsedPorts {
    /// Each port with its container.
    pub bindings: Vec<PortBinding>,
    /// Whether the platform publishes ports on this machine, so that binding a port shows whether it is
    /// free.
    pub local: bool,
}

/// The first binding of port `number` that conflicts with publishing `port`.
pub fn binding<'a>(
    bindings: impl IntoIterator<Item = &'a PortBinding>,
    port: &Port,
    number: u16,
) -> Option<&'a PortBinding> {
    bindings.into_iter().find(|binding| {
        binding.number == number
            && binding.protocol == port.protocol
            && overlap(&binding.host_ip, &port.host_ip)
    })
}

/// Binds port `number` on this host at the address and protocol of `port`, and releases it.
///
/// # Errors
/// `AddrInUse`: a socket is bound there. Other errors do not show that the port is in use: this host
/// may not have the address, or the port is below 1024.
pub fn try_bind(port: &Port, number: u16) -> io::Result<()> {
    let ip = port.host_ip.parse();
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    match port.protocol.as_str() {
        "udp" => UdpSocket::bind((ip, number)).map(drop),
        _ => TcpListener::bind((ip, number)).map(drop),
    }
}

/// Whether two host addresses conflict if both use the same port.
fn overlap(one: &str, other: &str) -> bool {
    let all = |ip: &str| {
        ip.parse::<IpAddr>()
            .map_or(ip.is_empty(), |ip| ip.is_unspecified())
    };
    one == other || all(one) || all(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: &str, protocol: &str) -> Port {
        Port {
            host_ip: host_ip.to_owned(),
            host_port: Some(8080),
            host_range: None,
            container_port: 80,
            protocol: protocol.to_owned(),
        }
    }

    #[test]
    fn a_binding_conflicts_if_port_protocol_and_address_overlap() {
        let bindings = [PortBinding {
            host_ip: "127.0.0.1".to_owned(),
            number: 8080,
            protocol: "tcp".to_owned(),
            container: "shop-web".to_owned(),
            project: None,
            running: true,
        }];
        let has = |port: &Port, number| binding(&bindings, port, number).is_some();
        assert!(has(&port("127.0.0.1", "tcp"), 8080));
        assert!(has(&port("0.0.0.0", "tcp"), 8080) && has(&port("", "tcp"), 8080));
        assert!(!has(&port("127.0.0.2", "tcp"), 8080));
        assert!(!has(&port("127.0.0.1", "udp"), 8080));
        assert!(!has(&port("127.0.0.1", "tcp"), 8081));
    }

    #[test]
    fn a_port_with_a_listener_is_in_use() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let number = listener.local_addr().expect("bound").port();
        let error = try_bind(&port("127.0.0.1", "tcp"), number).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        try_bind(&port("127.0.0.1", "udp"), number).expect("another protocol");
    }
}
