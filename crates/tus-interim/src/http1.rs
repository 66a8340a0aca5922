//! HTTP/1.1: a stream that puts complete heads between what a server writes.
//!
//! A server of HTTP/1.1 flushes its stream only when it has nothing left to write. At that moment
//! no message of its own is begun and not ended, save a final response that waits for its body;
//! and that one has ended its request's [`Interim`] before it began. So a head that goes out with
//! a flush splits nothing; nor does one that precedes the first write after a flush, unless
//! another request has begun in between: the answer before may still be in the server's buffer.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Request, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tus_core::{Interim, InterimGuard, SendInterim};

use crate::head;

/// How many bytes may wait for a peer that does not read.
const MOST: usize = 16 * 1024;

/// A stream of a connection, plain or TLS, with room for interim responses.
///
/// hyper and actix-web serve it as they serve the stream inside. hyper's `pipeline_flush` works
/// too: it only delays interim responses while requests are pipelined.
#[derive(Debug)]
pub struct Io<T> {
    inner: T,
    /// What is left of a head that was begun.
    begun: Bytes,
    handle: Handle,
}

impl<T> Io<T> {
    /// Makes room for interim responses.
    pub fn new(inner: T) -> Self {
        Self { inner, begun: Bytes::new(), handle: Handle::default() }
    }

    /// What makes the requests of this connection able to send interim responses.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The stream inside.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The stream inside; what is written to it directly may split an interim response.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T> Drop for Io<T> {
    fn drop(&mut self) {
        self.handle.queue().end();
    }
}

/// Sends interim responses on a connection of HTTP/1.1: goes with the connection, while an
/// [`Interim`] is for one request.
#[derive(Clone, Default)]
pub struct Handle(Arc<Mutex<Queue>>);

impl Handle {
    /// The way to send interim responses to the request that was read last.
    ///
    /// Whoever awaits its response has to hold an [`InterimGuard`] until then, or drop every
    /// clone: nothing may be sent once the response has begun.
    pub fn interim(&self) -> Interim {
        let mut queue = self.queue();
        queue.requests += 1;
        queue.clean = false;
        let request = queue.requests;
        drop(queue);
        Interim::new(Arc::new(Sender { handle: self.clone(), request }))
    }

    /// Puts an [`Interim`] into a request of HTTP/1.1, if there is none; to others, nothing.
    ///
    /// Hold the guard until the response is there.
    pub fn extend<B>(&self, request: &mut Request<B>) -> Option<InterimGuard> {
        if request.version() != Version::HTTP_11 {
            return None;
        }
        let interim = request.extensions_mut().get_or_insert_with(|| self.interim());
        Some(interim.guard())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.queue();
        f.debug_struct("Handle")
            .field("requests", &queue.requests)
            .field("bytes", &queue.bytes)
            .field("ended", &queue.ended)
            .finish()
    }
}

#[derive(Default)]
struct Queue {
    /// Heads that precede what the server writes next.
    ready: VecDeque<Bytes>,
    /// Heads that wait for a flush, each with the number of its request.
    waiting: VecDeque<(u64, Bytes)>,
    /// The bytes of both.
    bytes: usize,
    /// Whether the server has written nothing, and read no request, since a flush.
    clean: bool,
    requests: u64,
    /// That of the task which serves the connection.
    waker: Option<Waker>,
    ended: bool,
}

impl Queue {
    fn push(&mut self, request: u64, head: Bytes) -> bool {
        if self.ended || head.len() > MOST.saturating_sub(self.bytes) {
            return false;
        }
        self.bytes += head.len();
        if self.clean {
            self.ready.push_back(head);
        } else {
            self.waiting.push_back((request, head));
        }
        true
    }

    /// The head that precedes a write.
    fn before_write(&mut self) -> Option<Bytes> {
        let head = self.ready.pop_front();
        self.bytes -= head.as_ref().map_or(0, Bytes::len);
        // Without one, the server writes.
        self.clean &= head.is_some();
        head
    }

    /// The head that goes out with a flush.
    fn at_flush(&mut self, waker: &Waker) -> Option<Bytes> {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        let waiting = &mut self.waiting;
        let head = self.ready.pop_front().or_else(|| waiting.pop_front().map(|(_, head)| head));
        self.bytes -= head.as_ref().map_or(0, Bytes::len);
        self.clean |= head.is_none();
        head
    }

    /// The answer to a request is next: what has to wait would come after it.
    fn forget(&mut self, request: u64) {
        let bytes = &mut self.bytes;
        self.waiting.retain(|(of, head)| {
            *bytes -= if *of == request { head.len() } else { 0 };
            *of != request
        });
    }

    fn end(&mut self) {
        *self = Self { ended: true, requests: self.requests, ..Self::default() };
    }
}

/// Sends to one request.
struct Sender {
    handle: Handle,
    request: u64,
}

impl SendInterim for Sender {
    fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let Some(head) = head::http1(status, headers) else {
            return false;
        };
        let mut queue = self.handle.queue();
        let sent = queue.push(self.request, head);
        let waker = queue.waker.clone();
        drop(queue);
        // The server flushes whenever it is woken; nobody else may write to its stream.
        if let Some(waker) = waker.filter(|_| sent) {
            waker.wake();
        }
        sent
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.handle.queue().forget(self.request);
    }
}

impl<T: AsyncWrite + Unpin> Io<T> {
    /// Writes one head after the other, until there is none.
    fn poll_heads(
        &mut self,
        cx: &mut Context<'_>,
        next: impl Fn(&mut Queue, &Waker) -> Option<Bytes>,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.begun.is_empty() {
                let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.begun))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.begun.advance(written);
            }
            match next(&mut self.handle.queue(), cx.waker()) {
                Some(head) => self.begun = head,
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Io<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_heads(cx, |queue, _| queue.before_write()))?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_heads(cx, |queue, _| queue.before_write()))?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_heads(cx, Queue::at_flush))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // No answer follows, so what has not been begun is of no use.
        self.handle.queue().end();
        ready!(self.poll_heads(cx, |_, _| None))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
