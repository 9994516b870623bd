//! Causes of failed requests to servers.

/// The kind of a failure that a client of Kafka or a store reports; the error itself keeps its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No answer before the deadline.
    Timeout,
    /// No connection: refused, reset, closed, or no broker that answers.
    Connection,
    /// The host name has no address.
    NameResolution,
    /// The server does not accept the credentials.
    Authentication,
    /// The credentials are accepted, but not for this request.
    Authorization,
    /// The server rejected the request with another error.
    Rejected,
    /// The answer violates the protocol (TLS included), or has invalid values.
    Protocol,
    /// The client did not send the request, because a setting, an address or an argument is invalid.
    Client,
}

impl Cause {
    /// The cause of an I/O error of a socket.
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        match error.kind() {
            Kind::TimedOut | Kind::WouldBlock => Self::Timeout,
            Kind::InvalidInput | Kind::Unsupported => Self::Client,
            Kind::InvalidData => Self::Protocol,
            _ if is_name_resolution(error) => Self::NameResolution,
            _ => Self::Connection,
        }
    }
}

/// The standard library has no error kind for failures of `getaddrinfo`, only this message.
fn is_name_resolution(error: &std::io::Error) -> bool {
    error.raw_os_error().is_none()
        && (error.to_string()).starts_with("failed to lookup address information")
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Error, ErrorKind},
        net::{TcpListener, TcpStream, ToSocketAddrs},
    };

    use super::*;

    #[test]
    fn a_closed_port_is_a_connection_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let error = TcpStream::connect(address).expect_err("nothing listens");
        assert_eq!(Cause::of_io(&error), Cause::Connection);
    }

    #[test]
    fn a_name_without_an_address_is_a_name_resolution_failure() {
        let resolved = ("no-such-host.invalid", 1).to_socket_addrs();
        let error = resolved.expect_err("RFC 2606 reserves it");
        assert_eq!(Cause::of_io(&error), Cause::NameResolution, "{error:?}");
    }

    #[test]
    fn an_address_without_a_port_is_never_sent() {
        let error = "localhost".to_socket_addrs().expect_err("no port");
        assert_eq!(Cause::of_io(&error), Cause::Client);
        let late = Error::from(ErrorKind::TimedOut);
        assert_eq!(Cause::of_io(&late), Cause::Timeout);
    }
}
