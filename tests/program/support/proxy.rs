//! A socket in front of Docker's: one that can be cut off, or has no answer to a question.

use std::{
    io::{Read, Write, copy},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Relays each connection until it is cut.
pub(crate) struct Proxy {
    path: PathBuf,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Proxy {
    pub(crate) fn listen(path: &Path) -> Self {
        Self::without(path, None)
    }

    /// As [`Self::listen`], for an engine that does not know this path: a connection that begins with
    /// it gets a 404.
    pub(crate) fn without(path: &Path, unknown: Option<&'static str>) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let streams = Arc::<Mutex<Vec<UnixStream>>>::default();
        let all = Arc::clone(&streams);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, all) = (client.unwrap(), Arc::clone(&all));
                std::thread::spawn(move || serve(client, unknown, &all));
            }
        });
        let path = path.to_path_buf();
        Self { path, streams }
    }

    /// What `--host` is given.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Ends every connection, and takes no other.
    pub(crate) fn cut(&self) {
        std::fs::remove_file(&self.path).unwrap();
        for stream in self.streams.lock().unwrap().iter() {
            // One that has ended already is cut.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn serve(mut client: UnixStream, unknown: Option<&str>, all: &Mutex<Vec<UnixStream>>) {
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
        all.lock().unwrap().push(stream.try_clone().unwrap());
    }
    relay(client.try_clone().unwrap(), docker.try_clone().unwrap());
    relay(docker, client);
}

fn connect_to_docker() -> UnixStream {
    let host = std::env::var("DOCKER_HOST").ok();
    let path = host.as_deref().and_then(|h| h.strip_prefix("unix://"));
    UnixStream::connect(path.unwrap_or("/var/run/docker.sock")).unwrap()
}

/// Hands on what comes until there is no more.
fn relay(mut from: UnixStream, mut to: UnixStream) {
    std::thread::spawn(move || {
        // Whichever side ends, or is cut off, takes the other one along.
        drop(copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
}
