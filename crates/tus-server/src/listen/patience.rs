//! Bounds how slowly a peer may take what is written to it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::credit::Credit;
use super::io::{Socket, Stream};

/// A stream that is abandoned once its peer has used up its credit.
///
/// It lies directly on the socket, so that what is encrypted above it counts when the peer takes
/// it, and not when it is accepted.
pub(super) struct Patient {
    stream: Stream,
    credit: Credit,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// The same stream, whose peer may stall for `patience` and takes at least `rate` bytes a
    /// second.
    pub(super) fn bound(stream: Stream, patience: Duration, rate: Option<u64>) -> Stream {
        Box::new(Self { stream, credit: Credit::new(patience, rate), stalled: None })
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

impl Socket for Patient {
    fn abandon(&self) -> io::Result<()> {
        self.stream.abandon()
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
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
        // A socket has nothing to flush.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, ended.map_ok(|()| 0)).map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{sleep, timeout};

    use super::*;

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
        let mut stream = Patient::bound(Box::new(ours), PATIENCE, rate);
        let begun = Instant::now();
        let write = async { while stream.write_all(&[0; 1024]).await.is_ok() {} };
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
}
