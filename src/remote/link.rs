//! One connection, many streams (yamux), for code that speaks tokio.

use std::{future::poll_fn, io, task::Poll};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, Mode};

use super::wire::Channel;

/// Both ways, bounded: a side that does not read holds the other up, and no other stream.
pub(super) type Stream = Compat<yamux::Stream>;

/// Opens streams. The connection ends when the last one is gone.
#[derive(Clone)]
pub(super) struct Opener {
    wanted: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
}

impl Opener {
    /// # Errors
    /// The connection is gone.
    pub(super) async fn open(&self, channel: Channel) -> io::Result<Stream> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the connection is gone");
        let (sender, stream) = oneshot::channel();
        self.wanted.send(sender).await.map_err(|_| gone())?;
        let mut stream = stream.await.map_err(|_| gone())?.compat();
        stream.write_u8(channel.byte()).await?;
        stream.flush().await?;
        Ok(stream)
    }
}

/// The side that opens streams. The task ends with the connection.
pub(super) fn opening<T>(socket: T) -> (Opener, JoinHandle<()>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Connection::new(socket.compat(), Config::default(), Mode::Client);
    let (wanted, asked) = mpsc::channel(8);
    let (none, _) = mpsc::unbounded_channel();
    (
        Opener { wanted },
        tokio::spawn(drive(connection, asked, none)),
    )
}

/// The side that is given streams. None comes any more once the connection is gone.
pub(super) fn given<T>(socket: T) -> mpsc::UnboundedReceiver<Stream>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Connection::new(socket.compat(), Config::default(), Mode::Server);
    let (came, streams) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // Held for as long as the connection lasts: to be closed is the other side's choice.
        let (_wanted, asked) = mpsc::channel(1);
        drive(connection, asked, came).await;
    });
    streams
}

/// Moves the bytes, until the connection ends or nobody can want a stream any more.
async fn drive<T>(
    mut connection: Connection<Compat<T>>,
    mut asked: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
    came: mpsc::UnboundedSender<Stream>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut wants: Option<oneshot::Sender<yamux::Stream>> = None;
    let closing = poll_fn(|cx| {
        loop {
            if wants.is_none() {
                match asked.poll_recv(cx) {
                    Poll::Ready(Some(sender)) => wants = Some(sender),
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Pending => {}
                }
            }
            if wants.is_some() {
                match connection.poll_new_outbound(cx) {
                    Poll::Ready(Ok(stream)) => {
                        // Who asked may have gone: then the stream is closed again.
                        if let Some(sender) = wants.take() {
                            drop(sender.send(stream));
                        }
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => {}
                }
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => drop(came.send(stream.compat())),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    if closing.await {
        // What is still to be written is, first.
        drop(poll_fn(|cx| connection.poll_close(cx)).await);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_stream_that_nobody_reads_holds_no_other_up() {
        let (inner, outer) = duplex(1024);
        let (opener, _driver) = opening(inner);
        let mut streams = given(outer);
        let mut stuck = opener.open(Channel::Engine).await.expect("opens");
        let mut taken = streams.recv().await.expect("comes");
        assert_eq!(Channel::of(&mut taken).await, Some(Channel::Engine));
        // More than its window, and nobody reads.
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
        // Read after all, it goes on.
        let mut stuffed = vec![0; 1 << 20];
        taken.read_exact(&mut stuffed).await.expect("reads");
        let _stuck = stuffing.await.expect("ends").expect("writes");
        assert!(stuffed.iter().all(|byte| *byte == 7));
    }
}
