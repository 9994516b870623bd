//! Multiplexes one connection into many streams (yamux), with tokio's traits.

use std::{future::poll_fn, io, task::Poll};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

use super::wire::Channel;

/// A bidirectional stream with a bounded window: a side that does not read blocks the other side of this
/// stream only.
pub(super) type Stream = Compat<yamux::Stream>;

/// Opens streams. The connection ends when the last `Opener` is dropped.
#[derive(Clone)]
pub(super) struct Opener {
    requests: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
}

impl Opener {
    /// Opens a stream for `channel`.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) async fn open(&self, channel: Channel) -> io::Result<Stream> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the connection is gone");
        let (sender, stream) = oneshot::channel();
        self.requests.send(sender).await.map_err(|_| gone())?;
        let mut stream = stream.await.map_err(|_| gone())?.compat();
        stream.write_u8(channel.byte()).await?;
        stream.flush().await?;
        Ok(stream)
    }
}

/// The side of the connection that opens streams. The task ends with the connection.
pub(super) fn opening<T>(socket: T) -> (Opener, JoinHandle<()>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Connection::new(socket.compat(), Config::default(), Mode::Client);
    let (opener, requests) = mpsc::channel(8);
    let (none, _) = mpsc::unbounded_channel();
    (
        Opener { requests: opener },
        tokio::spawn(drive(connection, requests, none)),
    )
}

/// The side of the connection that accepts streams, until the connection ends.
pub(super) fn accepting<T>(socket: T) -> mpsc::UnboundedReceiver<Stream>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Connection::new(socket.compat(), Config::default(), Mode::Server);
    let (accepted, streams) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // The sender lives as long as the connection, because only the other side closes it.
        let (_opener, requests) = mpsc::channel(1);
        drive(connection, requests, accepted).await;
    });
    streams
}

/// Drives the connection until it ends or the last `Opener` is dropped.
async fn drive<T>(
    mut connection: Connection<Compat<T>>,
    mut requests: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
    accepted: mpsc::UnboundedSender<Stream>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut wanted: Option<oneshot::Sender<yamux::Stream>> = None;
    let closing = poll_fn(|cx| {
        loop {
            if wanted.is_none() {
                match requests.poll_recv(cx) {
                    Poll::Ready(Some(sender)) => wanted = Some(sender),
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Pending => {}
                }
            }
            if wanted.is_some() {
                match connection.poll_new_outbound(cx) {
                    Poll::Ready(Ok(stream)) => {
                        // If the receiver was dropped, the stream is closed.
                        if let Some(sender) = wanted.take() {
                            drop(sender.send(stream));
                        }
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => {}
                }
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => drop(accepted.send(stream.compat())),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    if closing.await {
        // Buffered bytes are written first.
        drop(poll_fn(|cx| connection.poll_close(cx)).await);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_unread_stream_blocks_no_other_stream() {
        let (inner, outer) = duplex(1024);
        let (opener, _driver) = opening(inner);
        let mut streams = accepting(outer);
        let mut stuck = opener.open(Channel::Engine).await.expect("opens");
        let mut taken = streams.recv().await.expect("comes");
        assert_eq!(Channel::of(&mut taken).await, Some(Channel::Engine));
        // More bytes than the window, without a reader.
        let stuffing =
            tokio::spawn(async move { stuck.write_all(&vec![7; 1 << 20]).await.map(|()| stuck) });
        let mut out = opener.open(Channel::Out).await.expect("opens");
        let mut shown = streams.recv().await.expect("comes");
        assert_eq!(Channel::of(&mut shown).await, Some(Channel::Out));
        out.write_all(b"all is well").await.expect("writes");
        out.shutdown().await.expect("ends");
        let mut text = String::new();
        shown.read_to_string(&mut text).await.expect("reads");
        assert_eq!(text, "all is well");
        assert!(!stuffing.is_finished());
        // When it is read, the writer continues.
        let mut stuffed = vec![0; 1 << 20];
        taken.read_exact(&mut stuffed).await.expect("reads");
        let _stuck = stuffing.await.expect("ends").expect("writes");
        assert!(stuffed.iter().all(|byte| *byte == 7));
    }
}
