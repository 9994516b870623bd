use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::statistics::{Broker, Statistics};

use super::*;

/// The topic that it has, of one partition.
pub(crate) const TOPIC: &str = "t";

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;
/// Answers that name the broker, before some that do not.
const GOOD: usize = 2;
/// A client may ask over several connections at once.
const BAD: Duration = Duration::from_secs(3);

/// Speaks as much of Kafka's protocol as a client needs to learn of brokers: first it names itself,
/// then for three seconds nobody, as a broker that has just started, then itself again.
pub(crate) struct FakeBroker {
    pub(crate) address: String,
    after: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Told {
    good: usize,
    bad_since: Option<Instant>,
}

impl FakeBroker {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let after = Arc::<AtomicUsize>::default();
        let told = Arc::<std::sync::Mutex<Told>>::default();
        let count = Arc::clone(&after);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (told, count) = (Arc::clone(&told), Arc::clone(&count));
                thread::spawn(move || serve(connection, port, &told, &count));
            }
        });
        let address = format!("127.0.0.1:{port}");
        Self { address, after }
    }

    /// Questions for metadata once it names itself again.
    pub(crate) fn questions_after_the_loss(&self) -> usize {
        self.after.load(Ordering::Relaxed)
    }
}

fn serve(
    mut connection: TcpStream,
    port: u16,
    told: &std::sync::Mutex<Told>,
    after: &AtomicUsize,
) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        connection.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        connection.read_exact(&mut request)?;
        let number = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
        let body = match (number(0), number(2)) {
            (API_VERSIONS, version) => api_versions(version),
            (METADATA, _) => {
                let mut told = told.lock().expect("no panic");
                let bad = told.good >= GOOD
                    && told.bad_since.get_or_insert_with(Instant::now).elapsed() < BAD;
                if !bad && told.good >= GOOD {
                    after.fetch_add(1, Ordering::Relaxed);
                }
                told.good += usize::from(!bad);
                metadata(port, !bad)
            }
            // Nothing else was offered.
            _ => return Ok(()),
        };
        let length = u32::try_from(body.len() + 4).expect("short");
        let answer = [&length.to_be_bytes(), &request[4..8], &body].concat();
        connection.write_all(&answer)?;
    }
}

/// `ApiVersionsResponse` 0: metadata up to version 1, and itself.
fn api_versions(asked: i16) -> Vec<u8> {
    let error = if asked == 0 { 0 } else { UNSUPPORTED_VERSION };
    let mut body = error.to_be_bytes().to_vec();
    body.extend(2_i32.to_be_bytes());
    for (key, least, most) in [(METADATA, 0_i16, 1_i16), (API_VERSIONS, 0, 0)] {
        for number in [key, least, most] {
            body.extend(number.to_be_bytes());
        }
    }
    body
}

/// `MetadataResponse` 1: one topic, of one partition, and one broker or none.
fn metadata(port: u16, with_broker: bool) -> Vec<u8> {
    let text = |text: &str| {
        let length = i16::try_from(text.len()).expect("short");
        [&length.to_be_bytes()[..], text.as_bytes()].concat()
    };
    let list = |numbers: &[i32]| {
        numbers
            .iter()
            .flat_map(|n| n.to_be_bytes())
            .collect::<Vec<u8>>()
    };
    let mut body = list(&[i32::from(with_broker)]);
    if with_broker {
        body.extend(list(&[1]));
        body.extend(text("127.0.0.1"));
        body.extend(list(&[i32::from(port)]));
        // No rack.
        body.extend((-1_i16).to_be_bytes());
    }
    // The controller; then one topic without an error, not internal.
    body.extend(list(&[1, 1]));
    body.extend(0_i16.to_be_bytes());
    body.extend(text(TOPIC));
    body.push(0);
    // One partition without an error: number, leader, replicas, in sync.
    body.extend(list(&[1]));
    body.extend(0_i16.to_be_bytes());
    body.extend(list(&[0, 1, 1, 1, 1, 1]));
    body
}

fn statistics(sources: &[&str]) -> Statistics {
    let broker = |source: &&str| Broker {
        source: (*source).to_owned(),
        ..Broker::default()
    };
    let brokers = sources.iter().map(|s| ((*s).to_owned(), broker(s)));
    Statistics {
        brokers: brokers.collect::<HashMap<_, _>>(),
        ..Statistics::default()
    }
}

#[test]
fn a_client_with_nobody_left_to_ask_is_lost() {
    let brokers = Brokers::default();
    for known in [&["configured"][..], &["learned", "logical"]] {
        brokers.are_in(&statistics(known));
        assert!(!brokers.are_lost());
    }
    brokers.are_in(&statistics(&["logical", "internal"]));
    assert!(!brokers.are_lost(), "new ones may be on their way");
    brokers.are_in(&statistics(&["logical"]));
    assert!(brokers.are_lost());
    brokers.are_in(&statistics(&["learned"]));
    assert!(!brokers.are_lost());
}
