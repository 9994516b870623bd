//! The open connections of the HTTP server, and which of them gives way to a new one.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

/// Limits of a server's connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Open connections.
    pub(super) connections: usize,
    /// Open connections from one address.
    pub(super) of_one_peer: usize,
    /// Time from the first byte of a request's head, or from the beginning of a connection, to the complete head.
    pub(super) head: Duration,
    /// For how long a connection is kept between two requests: longer than clients keep their idle connections.
    pub(super) idle: Duration,
}

/// The open connections, by number in the order of their arrival.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    peer: IpAddr,
    /// Requests under way; none: it waits for its next request.
    busy: usize,
    /// Since when it waits.
    waits_since: Instant,
    /// When a head has to be complete that has begun.
    head_due: Option<Instant>,
    /// Cancelled to close it.
    closed: CancellationToken,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: Mutex::default(),
        }
    }

    /// Registers a connection. If the limit is reached, closes the connection that has waited longest for a request:
    /// of the same peer if that one has too many, else of any. None: all have requests under way.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut open = self.open();
        let of_peer = |c: &&Connection| c.peer == peer;
        let peer_is_full =
            open.connections.values().filter(of_peer).count() >= self.limits.of_one_peer;
        if peer_is_full || open.connections.len() >= self.limits.connections {
            let waiting = open.connections.iter();
            let waiting = waiting.filter(|(_, c)| c.busy == 0 && (!peer_is_full || c.peer == peer));
            let (&number, _) = waiting.min_by_key(|(number, c)| (c.waits_since, **number))?;
            if let Some(longest) = open.connections.remove(&number) {
                longest.closed.cancel();
            }
        }
        let number = open.next;
        open.next += 1;
        let closed = CancellationToken::new();
        let now = Instant::now();
        open.connections.insert(
            number,
            Connection {
                peer,
                busy: 0,
                waits_since: now,
                head_due: Some(now + self.limits.head),
                closed: closed.clone(),
            },
        );
        Some(Place {
            number,
            closed,
            all: Arc::clone(self),
        })
    }

    /// A panic elsewhere leaves the connections usable.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Connection, &Limits)) {
        // None: it gave way.
        if let Some(connection) = self.open().connections.get_mut(&number) {
            change(connection, &self.limits);
        }
    }
}

/// The registration of a connection; dropping it ends it.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    closed: CancellationToken,
    all: Arc<Connections>,
}

impl Place {
    /// `app`, noting when a request of this connection begins and ends.
    pub(super) fn track(&self, app: Router) -> Router {
        let (number, all) = (self.number, Arc::clone(&self.all));
        app.layer(middleware::from_fn(move |request: Request, next: Next| {
            let busy = Busy::begin(number, Arc::clone(&all));
            async move {
                let response = next.run(request).await;
                drop(busy);
                response
            }
        }))
    }

    /// Waits until the connection has to be closed: it gave way to another one, or a head is overdue.
    pub(super) async fn overdue(&self) {
        loop {
            let due = {
                let open = self.all.open();
                open.connections.get(&self.number).map(|c| c.head_due)
            };
            let now = Instant::now();
            let next = match due {
                None => return,
                Some(Some(due)) if due <= now => return,
                Some(Some(due)) => due,
                // A head may begin meanwhile.
                Some(None) => now + self.all.limits.head,
            };
            tokio::select! {
                () = self.closed.cancelled() => return,
                () = sleep_until(next.into()) => {}
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open().connections.remove(&self.number);
    }
}

/// A request under way.
struct Busy {
    number: u64,
    all: Arc<Connections>,
}

impl Busy {
    fn begin(number: u64, all: Arc<Connections>) -> Self {
        all.change(number, |connection, _| {
            connection.busy += 1;
            connection.head_due = None;
        });
        Self { number, all }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.all.change(self.number, |connection, _| {
            connection.busy -= 1;
            connection.waits_since = Instant::now();
        });
    }
}

/// A stream that notes when the first byte of a head arrives.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    number: u64,
    all: Arc<Connections>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, place: &Place) -> Self {
        Self {
            stream,
            number: place.number,
            all: Arc::clone(&place.all),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.all.change(self.number, |connection, limits| {
                if connection.busy == 0 {
                    let due = Instant::now() + limits.head;
                    connection.head_due.get_or_insert(due);
                }
            });
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
