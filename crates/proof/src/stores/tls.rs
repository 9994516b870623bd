//! Whether a server speaks TLS. A client without TLS only sees that such a server closes its connections.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::redact::place;

/// Types of TLS records (RFC 8446, section 5.1), and the first byte of all versions.
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;
const VERSION: u8 = 0x03;
/// Cipher suites of the hello. A server that knows none of them answers with an alert.
const SUITES: [[u8; 2]; 4] = [[0xc0, 0x2f], [0xc0, 0x2b], [0x00, 0x9c], [0x00, 0x2f]];

/// Whether one of the servers at an address (a URL, or a `host:port` list) answers the beginning of a TLS handshake.
pub async fn speaks_tls(address: &str, limit: Duration) -> bool {
    let place = place(address);
    let servers = place.split('/').next().unwrap_or_default().split(',');
    for server in servers {
        if timeout(limit, answers_hello(server.trim()))
            .await
            .unwrap_or_default()
        {
            return true;
        }
    }
    false
}

async fn answers_hello(server: &str) -> bool {
    let answer = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(&hello()).await?;
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.map(|_| head)
    };
    let answer = answer.await;
    answer.is_ok_and(|[kind, version]| [ALERT, HANDSHAKE].contains(&kind) && version == VERSION)
}

/// A ClientHello of TLS 1.2 without extensions, in its record.
fn hello() -> Vec<u8> {
    let suites = SUITES.concat();
    let body = [
        &[VERSION, 0x03][..],
        &[0x5a; 32],
        // No session id.
        &[0],
        &[0, u8::try_from(suites.len()).unwrap_or_default()],
        &suites,
        // No compression.
        &[1, 0],
    ]
    .concat();
    let length = u8::try_from(body.len()).unwrap_or_default();
    let message = [&[1, 0, 0, length][..], &body].concat();
    let length = u8::try_from(message.len()).unwrap_or_default();
    [&[HANDSHAKE, VERSION, 0x01, 0, length][..], &message].concat()
}
