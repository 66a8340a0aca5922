//! A stream that gives back the bytes that told its protocol, bounds how slowly a peer may take
//! ours, and closes without destroying the last response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::credit::Credit;
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
    patience: Duration,
    credit: Credit,
    stalled: Option<Timer>,
    lingering: Option<Timer>,
}

impl Io {
    /// A stream of which `first` was read before, with a peer that may stall for `patience` and
    /// takes at least `rate` bytes a second.
    pub(super) fn new(
        stream: Stream,
        first: Bytes,
        pulse: Pulse,
        patience: Duration,
        rate: Option<u64>,
    ) -> Self {
        let credit = Credit::new(patience, rate);
        Self { stream, first, pulse, patience, credit, stalled: None, lingering: None }
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            // Most writes never wait, and cost no look at the clock.
            Poll::Ready(Ok(_)) if self.credit.is_full() => {}
            Poll::Ready(Ok(bytes)) => {
                let now = Instant::now();
                self.credit.rest(now);
                self.credit.earn(now, bytes);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                ready!(self.stall(cx));
                self.stream.abandon()?;
                let error = io::Error::new(io::ErrorKind::TimedOut, "the peer reads too slowly");
                return Poll::Ready(Err(error));
            }
        }
        written
    }

    /// Completes when the peer's credit is used up.
    fn stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.credit.wait(Instant::now());
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
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
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, written)
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
            let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.written(cx, ended.map_ok(|()| 0)))?;
        }
        let linger = LINGER.min(self.patience);
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
    use tokio::time::timeout;

    use super::super::connection::Version;
    use super::*;

    impl Socket for DuplexStream {
        fn abandon(&self) -> io::Result<()> {
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    /// How long a peer lasts that takes so many bytes every second; none if it lasts.
    async fn lasts(rate: Option<u64>, bytes: usize) -> Option<u64> {
        let (ours, mut theirs) = duplex(1024);
        tokio::spawn(async move {
            let mut read = vec![0; bytes];
            while bytes > 0 && theirs.read_exact(&mut read).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
            // Dropping it would end the connection.
            std::future::pending::<()>().await;
            drop(theirs);
        });
        let pulse = Pulse::new(Version::Http1);
        let mut io = Io::new(Box::new(ours), Bytes::new(), pulse, PATIENCE, rate);
        let begun = Instant::now();
        let write = async { while io.write_all(&[0; 1024]).await.is_ok() {} };
        timeout(PATIENCE * 20, write).await.ok()?;
        Some(begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_too_little_is_cut_and_one_that_takes_enough_is_not() {
        assert_eq!(lasts(Some(1024), 0).await, Some(30));
        assert_eq!(lasts(None, 0).await, Some(30));
        let one_byte = lasts(Some(1024), 1).await;
        assert!(one_byte.is_some_and(|seconds| (30..=32).contains(&seconds)), "{one_byte:?}");
        let half = lasts(Some(1024), 512).await;
        assert!(half.is_some_and(|seconds| (58..=62).contains(&seconds)), "{half:?}");
        assert_eq!(lasts(Some(1024), 1025).await, None);
        assert_eq!(lasts(None, 1).await, None);
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first_and_with_what_follows() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b" and more").await.unwrap();
        let first = Bytes::from_static(b"first");
        let mut io = Io::new(Box::new(ours), first, Pulse::new(Version::Http1), PATIENCE, None);
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
