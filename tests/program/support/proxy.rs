//! A socket in front of Docker's: one that can be cut off, or has no answer to a question.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Relays each connection until it is cut.
pub(crate) struct Proxy {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    streams: Mutex<Vec<UnixStream>>,
    /// Pieces of what Docker said.
    said: AtomicUsize,
}

impl Proxy {
    pub(crate) fn listen(path: &Path) -> Self {
        Self::without(path, None)
    }

    /// As [`Self::listen`], for an engine that does not know this path: a connection that begins with
    /// it gets a 404.
    pub(crate) fn without(path: &Path, unknown: Option<&'static str>) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let shared = Arc::<Shared>::default();
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, all) = (client.unwrap(), Arc::clone(&all));
                std::thread::spawn(move || serve(client, unknown, &all));
            }
        });
        let path = path.to_path_buf();
        Self { path, shared }
    }

    /// What `--host` is given.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// How much Docker has said, in pieces of any size.
    pub(crate) fn said(&self) -> usize {
        self.shared.said.load(Ordering::Relaxed)
    }

    /// Ends every connection, and takes no other.
    pub(crate) fn cut(&self) {
        std::fs::remove_file(&self.path).unwrap();
        for stream in self.shared.streams.lock().unwrap().iter() {
            // One that has ended already is cut.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn serve(mut client: UnixStream, unknown: Option<&str>, shared: &Arc<Shared>) {
    let mut docker = connect_to_docker();
    let mut head = vec![0; 4096];
    let Ok(read) = client.read(&mut head) else {
        return;
    };
    let first = String::from_utf8_lossy(&head[..read]);
    let first = first.lines().next().unwrap_or_default();
    if unknown.is_some_and(|path| first.contains(path)) {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        client.write_all(answer).unwrap();
        return;
    }
    docker.write_all(&head[..read]).unwrap();
    for stream in [&client, &docker] {
        shared
            .streams
            .lock()
            .unwrap()
            .push(stream.try_clone().unwrap());
    }
    let (to, from) = (docker.try_clone().unwrap(), client.try_clone().unwrap());
    relay(from, to, |_| {});
    let shared = Arc::clone(shared);
    relay(docker, client, move |_| {
        shared.said.fetch_add(1, Ordering::Relaxed);
    });
}

fn connect_to_docker() -> UnixStream {
    let host = std::env::var("DOCKER_HOST").ok();
    let path = host.as_deref().and_then(|h| h.strip_prefix("unix://"));
    UnixStream::connect(path.unwrap_or("/var/run/docker.sock")).unwrap()
}

/// Hands on what comes until there is no more.
fn relay(mut from: UnixStream, mut to: UnixStream, heard: impl Fn(usize) + Send + 'static) {
    std::thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        while let Ok(read) = from.read(&mut piece) {
            if read == 0 || to.write_all(&piece[..read]).is_err() {
                break;
            }
            heard(read);
        }
        // Whichever side ends, or is cut off, takes the other one along.
        drop(to.shutdown(Shutdown::Both));
    });
}
