use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// What happens on a connection, below HTTP/2.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Milliseconds from then to the last bytes that came.
    heard: AtomicU64,
    /// Whether the peer has yet to take what was written.
    blocked: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), heard: 0.into(), blocked: false.into() }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    fn heard(&self) -> Instant {
        self.began + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    fn hear(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(since, Ordering::Relaxed);
    }
}

/// A stream that tells of its activity.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    activity: Arc<Activity>,
}

impl<T> Watched<T> {
    pub(super) fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }

    fn note<R>(&self, written: Poll<R>) -> Poll<R> {
        self.activity.blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.hear();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Asks a peer that says nothing whether it is still there.
pub(super) struct KeepAlive {
    interval: Duration,
    timeout: Duration,
    pings: PingPong,
    asked: bool,
    /// Whether the answer did not come in time.
    pub(super) is_silent: bool,
    timer: Pin<Box<Sleep>>,
}

impl KeepAlive {
    pub(super) fn new((interval, timeout): (Duration, Duration), pings: PingPong) -> Self {
        let timer = Box::pin(sleep(interval));
        Self { interval, timeout, pings, asked: false, is_silent: false, timer }
    }

    /// Completes when the peer has not answered in time, and once more when it has not taken the
    /// goodbye in as much time again.
    pub(super) fn poll_dead(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<()> {
        loop {
            if self.is_silent {
                return self.timer.as_mut().poll(cx);
            }
            if self.asked {
                match self.pings.poll_pong(cx) {
                    Poll::Ready(Ok(_pong)) => {
                        self.asked = false;
                        self.timer.as_mut().reset(Instant::now() + self.interval);
                        continue;
                    }
                    // The connection is at its end, and says so itself.
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => {
                        ready!(self.timer.as_mut().poll(cx));
                        self.is_silent = true;
                        self.timer.as_mut().reset(Instant::now() + self.timeout);
                        return Poll::Ready(());
                    }
                }
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let due = activity.heard() + self.interval;
            if due > now {
                self.timer.as_mut().reset(due);
                continue;
            }
            // It fails when the connection is at its end, which is seen there.
            self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
            let wait = if self.asked { self.timeout } else { self.interval };
            self.timer.as_mut().reset(now + wait);
        }
    }
}
