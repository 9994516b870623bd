//! A command that runs on the pipeline's network, where its addresses resolve (docs/decisions/0028).

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// A command that was started inside, attached to this process. It ends when the connection is closed.
pub struct Inside {
    /// Its stdout and stdin.
    pub connection: Box<dyn Connection>,
    /// How it ended: the exit code and the last lines of stderr, a line each.
    pub end: BoxFuture<'static, Vec<String>>,
}
