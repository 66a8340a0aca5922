//! A stream that gives back the bytes that told its protocol, and closes without destroying the
//! last response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

use super::pulse::Pulse;

/// A connected socket of any kind.
pub(super) type Stream = Box<dyn Socket>;

/// What is asked of a connected socket.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes closing it throw away what the peer has not taken. Else the kernel goes on offering
    /// that for minutes, and the memory is not free before.
    fn abandon(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn abandon(&self) -> io::Result<()> {
        socket2::SockRef::from(self).set_linger(Some(Duration::ZERO))
    }
}

impl Socket for UnixStream {
    fn abandon(&self) -> io::Result<()> {
        // What waits goes with the peer's end.
        Ok(())
    }
}

/// How long a peer that is still sending has to notice that we ended the connection.
const LINGER: Duration = Duration::from_secs(2);

type Timer = Pin<Box<Sleep>>;

/// The stream that a protocol reads and writes.
pub(super) struct Io {
    stream: Stream,
    first: Bytes,
    pulse: Pulse,
    linger: Duration,
    lingering: Option<Timer>,
}

impl Io {
    /// A stream of which `first` was read before, with a peer that is given at most `patience` to
    /// end its side after ours.
    pub(super) fn new(stream: Stream, first: Bytes, pulse: Pulse, patience: Duration) -> Self {
        Self { stream, first, pulse, linger: LINGER.min(patience), lingering: None }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(length));
        // What follows goes into the same read: the protocol would double its buffer for a second.
        if buf.remaining() > 0
            && let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf)
        {
            read?;
        } else if length == 0 {
            return Poll::Pending;
        }
        if buf.filled().len() > before {
            self.pulse.beat();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
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

    /// Ends our side, and then takes and drops what the peer still sends. Closing with unread
    /// bytes would reset the connection, and the peer's kernel would throw away a refusal that
    /// overtook the body it refuses.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        let linger = self.linger;
        let io = &mut *self;
        let timer = io.lingering.get_or_insert_with(|| Box::pin(sleep(linger)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 8 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut io.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // The end, or a peer that is gone and can be told nothing more.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::connection::Version;
    use super::*;

    impl Socket for DuplexStream {
        fn abandon(&self) -> io::Result<()> {
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn what_was_read_before_comes_first_and_with_what_follows() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b" and more").await.unwrap();
        let first = Bytes::from_static(b"first");
        let mut io = Io::new(Box::new(ours), first, Pulse::new(Version::Http1), PATIENCE);
        let mut read = [0; 3];
        assert_eq!(io.read(&mut read).await.unwrap(), 3);
        assert_eq!(&read, b"fir");
        let mut read = [0; 100];
        assert_eq!(io.read(&mut read).await.unwrap(), 11);
        assert_eq!(&read[..11], b"st and more");
        theirs.write_all(b"!").await.unwrap();
        assert_eq!(io.read(&mut read).await.unwrap(), 1);
        drop(theirs);
        assert_eq!(io.read(&mut read).await.unwrap(), 0);
    }
}
