//! Bounds what the buffers of all connections take together.
//!
//! hyper lets the buffer of a connection grow as long as each read fills it, to a MiB, which halves
//! the cost of a fast upload; but it never gives it back. So a connection is read in sips, which
//! keep its buffer small, until it turns out to be fast and one of a few shares is free.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::io::{Socket, Stream};

/// What is read at once without a share; only that much of the buffer is ever touched.
const SIP: usize = 8 * 1024;

/// How many connections may have a large buffer; what the allocator keeps of its growth doubles it.
const SHARES: usize = 4;

/// The shares of all connections of a server.
#[derive(Clone, Debug)]
pub(super) struct Gulps(Arc<Semaphore>);

impl Gulps {
    /// All of them free.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(SHARES)))
    }

    /// The same stream, read in sips unless it has a share, which it keeps as long as it lives.
    pub(super) fn bound(&self, stream: Stream) -> Stream {
        Box::new(Bounded { stream, shares: Arc::clone(&self.0), share: None })
    }
}

struct Bounded {
    stream: Stream,
    shares: Arc<Semaphore>,
    share: Option<OwnedSemaphorePermit>,
}

impl Socket for Bounded {
    fn abandon(&self) -> io::Result<()> {
        self.stream.abandon()
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.share.is_some() || buf.remaining() <= SIP {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let mut sip = ReadBuf::new(buf.initialize_unfilled_to(SIP));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut sip))?;
        let read = sip.filled().len();
        buf.advance(read);
        if read == SIP {
            self.share = Arc::clone(&self.shares).try_acquire_owned().ok();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
